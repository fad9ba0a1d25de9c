# The library OS: what `crenel build` finds beside itself, in the layout of an installed prefix.

GUEST = $(BUILD)/guest
GUEST_COMPILER = $(if $(findstring clang,$(CC)),clang,gcc)
GUEST_CFLAGS = @guest/compile.flags @guest/compile.$(GUEST_COMPILER).flags -Os -I. \
	-isystem $(shell $(CC) -print-file-name=include) \
	-ffile-prefix-map=$(CURDIR)=. -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
GUEST_LIBRARY = $(patsubst guest/library/%.c,$(GUEST)/object/%.o,$(sort $(wildcard guest/library/*.c)))
GUEST_FILES = $(GUEST)/include/crenel.h $(GUEST)/libcrenel.a $(GUEST)/image.ld \
	$(addprefix $(GUEST)/,compile.flags compile.gcc.flags compile.clang.flags) \
	$(patsubst schemas/%,$(GUEST)/schemas/%,$(wildcard schemas/*.yaml))

.PHONY: guest
guest: $(GUEST_FILES) ## the library OS and what else `crenel build` needs

$(GUEST)/object/%.o: guest/library/%.c $(wildcard guest/*.flags)
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(GUEST)/libcrenel.a: $(GUEST_LIBRARY)
	@rm -f $@
	$(if $(V),,@echo "  library $@")
	$(Q)ar rcsD $@ $^

$(GUEST)/include/%.h: guest/include/%.h
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(GUEST)/%: guest/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(GUEST)/schemas/%: schemas/%
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(BUILD)/tests/unit/cli_library: | guest
