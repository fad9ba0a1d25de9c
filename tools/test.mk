# Tests. Every file tests/unit/ROOM_*.c is a program of its own that includes nothing but headers and
# links core, host and the room's objects; every executable tests/system/*.sh or *.py is a test too, and
# tests/attack/*.sh (tools/attack.mk).
# Each prints lines "ok NAME", "not ok NAME - WHY", "skip NAME - WHY"; tools/run-tests counts them.

UNIT_SOURCES = $(sort $(wildcard tests/unit/*.c))
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SOURCES))

.PHONY: deps kvm-deps test unit system
deps: ## install the Debian packages that building and testing need (or print the command)
	@tools/install-packages $(BUILD)
kvm-deps: ## what tests/system/kvm_machine.sh needs: QEMU, and a kernel of Debian's in BUILD/kvm-machine
	@tools/install-packages $(BUILD) qemu-system-x86 busybox-static
	@tools/kvm-machine $(BUILD) fetch
test: deps ## build and run every test; ends in "N passed, N failed, N skipped"
	@case "system kvm_machine.sh" in *"$(TEST)"*) $(MAKE) --no-print-directory -s kvm-deps 2>&1 || \
		echo "crenel: going on; the test that needs it is skipped";; esac >&2
	@echo "building the programs, the example and the tests" >&2
	@$(MAKE_QUIETLY) all unit-tests attack-programs
	@tools/run-tests $(BUILD) $(TEST)
unit: unit-tests ## unit tests only
	@tools/run-tests $(BUILD) unit
system: all ## system tests only
	@tools/run-tests $(BUILD) system
.PHONY: unit-tests
unit-tests: $(UNIT_TESTS)
	@:

# The rooms whose objects (without main.o) a unit test links: the word before the first '_'.
unit_room = $(firstword $(subst _, ,$(1)))
unit_objects = $(filter-out %/main.o,$(call room,$(filter-out core host,$(call unit_room,$(1)))))

define unit_rule
$(BUILD)/tests/unit/$(1): $(BUILD)/tests/unit/$(1).o $(call unit_objects,$(1)) $(HOST) $(CORE)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(HOST_LDFLAGS) -Wl,--gc-sections -o $$@ $$(filter %.o,$$^) -lsodium -lsqlite3 -lyaml -lcjson $(if $(filter courier,$(call unit_room,$(1))),-lssl -lcrypto -lcares)
endef
# tools/tender.mk has the rule for the others.
$(foreach t,$(filter-out $(MUSL_TESTS),$(patsubst tests/unit/%.c,%,$(UNIT_SOURCES))),$(eval $(call unit_rule,$(t))))
