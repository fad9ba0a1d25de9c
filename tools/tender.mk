# The tender: a static program with musl, a small C library that asks the processor nothing when a program starts
# (glibc's start runs dozens of CPUID, each of which traps in a virtual machine) and of which nothing is linked
# that is not used. The tender's unit tests are built the same way, so that they test what is shipped; under
# sanitizers, which musl has not, with the host's C library.

MUSL_ARCH ?= $(shell uname -m)-linux-musl
MUSL_LIB ?= /usr/lib/$(MUSL_ARCH)
MUSL_INCLUDE ?= /usr/include/$(MUSL_ARCH)
# The kernel's headers lie among glibc's; this folder shows them alone. musl's ioctl takes an int.
KERNEL_INCLUDE = $(BUILD)/generated/kernel
MUSL_CFLAGS = $(HOST_CFLAGS) -Wno-sign-conversion -nostdinc -isystem $(MUSL_INCLUDE) \
	-isystem $(shell $(CC) -print-file-name=include) -isystem $(KERNEL_INCLUDE)
MUSL_LINK = $(CC) -nostdlib -static-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections $(LDFLAGS)
MUSL_BEGIN = $(MUSL_LIB)/rcrt1.o $(MUSL_LIB)/crti.o
MUSL_END = $(MUSL_LIB)/libc.a -lgcc $(MUSL_LIB)/crtn.o

$(KERNEL_INCLUDE):
	@mkdir -p $@
	@ln -sfn /usr/include/linux $@/linux
	@ln -sfn /usr/include/asm-generic $@/asm-generic
	@ln -sfn /usr/include/$(shell $(CC) -print-multiarch)/asm $@/asm

musl = $(patsubst $(BUILD)/%,$(BUILD)/musl/%,$(call room,$(1)))
TENDER_HOST = $(patsubst %,$(BUILD)/musl/host/%.o,channel check filter loop process sandbox sealed_file)

$(TENDER_HOST): MUSL_CFLAGS += -Wno-conversion # whose types are wider in glibc, for which host/ is checked
$(BUILD)/musl/%.o: %.c | $(KERNEL_INCLUDE)
	@mkdir -p $(@D)
	$(Q)$(CC) $(MUSL_CFLAGS) -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<

$(BUILD)/bin/crenel-tender: $(call musl,tender) $(call musl,core) $(TENDER_HOST)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  program $@")
	$(Q)$(MUSL_LINK) -o $@ $(MUSL_BEGIN) $(filter %.o,$^) $(MUSL_END)

MUSL_TESTS = $(if $(SANITIZE),,$(filter-out tender_fuzz_%,$(patsubst tests/unit/%.c,%,$(wildcard tests/unit/tender_*.c))))
$(patsubst %,$(BUILD)/tests/unit/%,$(MUSL_TESTS)) $(BUILD)/tests/bench/wall_bench: $(BUILD)/tests/%: \
		$(BUILD)/musl/tests/%.o $(filter-out %/main.o,$(call musl,tender)) $(call musl,core) $(TENDER_HOST)
	@mkdir -p $(@D)
	$(Q)$(MUSL_LINK) -o $@ $(MUSL_BEGIN) $(filter %.o,$^) $(MUSL_END)
