# Crenel. `make` builds, `make demo` runs the main job, `make test` tests; `make help` lists the rest.
# `make V=1` shows every command; demo, test and bench build with as many jobs as there are processors.
# One room is one folder; every .c in it is found by itself. tools/*.mk hold the parts.

BUILD ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
# For recipes only: before them make does not say whether it was given -j.
MAKE_QUIETLY = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
Q = $(if $(V),,@)
# Tuned for processors of the last ten years, and running on all: without it each small struct is cleared by a loop in microcode.
CFLAGS ?= -O2 -g -mtune=skylake
WARNINGS = -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wcast-qual -Wcast-align -Wwrite-strings -Wvla -Wformat=2 \
	-Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference -Werror
HARDENING = -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection \
	-ftrivial-auto-var-init=zero -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
HOST_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -I$(BUILD)/generated $(WARNINGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer,$(HARDENING)) $(CFLAGS)
HOST_LDFLAGS = -pie $(LTO) -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

# The objects of rooms, and of the folders in them.
room = $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard $(addsuffix /*.c,$(1)) $(addsuffix /*/*.c,$(1)))))

CORE = $(call room,core)
HOST = $(call room,host)
PROGRAMS = $(addprefix $(BUILD)/bin/,crenel crenel-supervisor crenel-router crenel-store \
	crenel-audit crenel-gateway crenel-courier crenel-password crenel-seal crenel-tender)

# What moves messages is optimised as a whole when it is linked: a message's way leads through a dozen files. Its objects hold
# machine code all the same, for tests, other programs, and `make tcb`, which counts by object.
LTO = -fno-lto
WHOLE = $(if $(SANITIZE)$(findstring clang,$(CC)),,-flto=auto)
$(call room,router) $(HOST) $(CORE): HOST_CFLAGS += $(if $(WHOLE),-flto -ffat-lto-objects -frandom-seed=$<)

.DEFAULT_GOAL := all
.PHONY: all programs
all: programs guest ## build everything: programs, library OS, the example's images
	@:
programs: $(PROGRAMS)

$(BUILD)/bin/crenel: $(call room,cli) $(HOST) $(CORE)
$(BUILD)/bin/crenel: LIBS = -lsodium -lyaml -lcjson
$(BUILD)/bin/crenel-supervisor: $(call room,supervisor) $(HOST) $(CORE)
$(BUILD)/bin/crenel-supervisor: LIBS = -lsodium -lcjson
$(BUILD)/bin/crenel-router: $(call room,router) $(HOST) $(CORE)
$(BUILD)/bin/crenel-router: LTO = $(WHOLE)
$(BUILD)/bin/crenel-store: $(call room,store) $(HOST) $(CORE)
$(BUILD)/bin/crenel-store: LIBS = -lsqlite3 -lsodium -lcjson
$(BUILD)/bin/crenel-audit: $(call room,audit) $(HOST) $(CORE)
$(BUILD)/bin/crenel-audit: LIBS = -lsodium -lcjson
$(BUILD)/bin/crenel-gateway: $(call room,gateway) $(HOST) $(CORE)
$(BUILD)/bin/crenel-courier: $(call room,courier) $(HOST) $(CORE)
$(BUILD)/bin/crenel-courier: LIBS = -lssl -lcrypto -lcares
$(BUILD)/bin/crenel-password: $(call room,password) $(HOST) $(CORE)
$(BUILD)/bin/crenel-password: LIBS = -lsodium
$(BUILD)/bin/crenel-seal: $(call room,seal) $(HOST) $(CORE)

# host/ may use libsodium (only what is referenced is linked in).
$(filter-out %/crenel-tender,$(PROGRAMS)):
	@mkdir -p $(@D)
	$(if $(V),,@echo "  program $@")
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -Wl,--as-needed -o $@ $(filter %.o,$^) $(LIBS) -lsodium

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

# The filters of our programs, made from their tables: tools/filters/generate.c.
$(BUILD)/tools/filters/generate: tools/filters/generate.c host/filter.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) -o $@ $< -lseccomp
$(BUILD)/generated/filter_code.h: $(BUILD)/tools/filters/generate
	@mkdir -p $(@D)
	$(Q)$< >$@.new && mv $@.new $@
$(BUILD)/host/filter.o $(BUILD)/musl/host/filter.o: $(BUILD)/generated/filter_code.h

include $(sort $(wildcard tools/*.mk))
-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)

.PHONY: clean help
clean: ## remove the build folder
	$(Q)rm -rf $(BUILD)
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
