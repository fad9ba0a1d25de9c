# What must be trusted for isolation, counted: docs/tcb.md.

# The linker's map says which code of which file came into a program. The router is linked once more for it, file by file.
$(BUILD)/tcb/crenel-router: $(call room,router) $(HOST) $(CORE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -Wl,--as-needed -Wl,-Map=$@.map -o $@ $(filter %.o,$^) -lsodium
programs: $(BUILD)/tcb/crenel-router
$(BUILD)/bin/crenel-tender: override MUSL_LINK += -Wl,-Map=$@.map

.PHONY: tcb
tcb: programs guest ## code lines of what must be trusted for isolation, by part; fails above a budget
	@tools/tcb $(BUILD)
