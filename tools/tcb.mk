# What must be trusted for isolation, counted: docs/tcb.md.

# The linker's map says which code of which file came into a program.
$(BUILD)/bin/crenel-router: override LDFLAGS += -Wl,-Map=$@.map
$(BUILD)/bin/crenel-tender: override MUSL_LINK += -Wl,-Map=$@.map

.PHONY: tcb
tcb: programs guest ## code lines of what must be trusted for isolation, by part; fails above a budget
	@tools/tcb $(BUILD)
