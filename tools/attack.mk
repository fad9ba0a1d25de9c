# The attack suite: docs/attacks.md. tests/attack/*.c is one program, which plays supervisor and router to
# crenel-tender. For each mechanism (core/mechanism.h) a tender is built without it, to see that its attacks
# then get through; only the files that name it are compiled anew. Those tenders do not scan images either.

ATTACK = $(BUILD)/tests/attack
ATTACK_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/attack/*.c)))
MECHANISMS = $(shell sed -n 's/^\#define MECHANISM_\([A-Z0-9_]*\) 0x.*/\1/p' core/mechanism.h)
TENDER_OBJECTS = $(call musl,tender) $(call musl,core) $(TENDER_HOST)
TENDERS_WITHOUT = $(addprefix $(ATTACK)/without/,$(MECHANISMS))

.PHONY: attack attack-programs
attack: attack-programs ## every known way out of an instance, tried; then once more without what stops it
	@CRENEL_BUILD=$(BUILD) tests/attack/contained.sh; code=$$?; \
	CRENEL_BUILD=$(BUILD) tests/attack/mutations.sh && exit $$code
attack-programs: $(ATTACK)/attack $(ATTACK)/inspector/inspector $(TENDERS_WITHOUT) $(BUILD)/bin/crenel-tender
	@:

# Guests are code that stands alone: no canary, no library call, nothing outside their section.
$(ATTACK)/%.o: HOST_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) -O2 -g -fPIE -fno-stack-protector \
	-fcf-protection=branch -fno-tree-loop-distribute-patterns -fno-jump-tables -fno-tree-vectorize
$(ATTACK)/attack: $(ATTACK_OBJECTS) $(filter-out %/main.o,$(call room,cli)) $(HOST) $(CORE)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) -lsodium -lyaml -lcjson

$(ATTACK)/inspector/inspector: $(BUILD)/tests/attack/inspector/inspector.o $(filter-out %/main.o,$(call room,router)) $(HOST) $(CORE)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) -lsodium

$(ATTACK)/without/%: $(BUILD)/bin/crenel-tender
	@mkdir -p $@.d
	$(if $(V),,@echo "  tender  without $*")
	$(Q)objects="$(TENDER_OBJECTS)"; \
	for source in $$(grep -lE 'MECHANISM\(($*|IMAGE_SCAN)\)' $(patsubst $(BUILD)/musl/%.o,%.c,$(TENDER_OBJECTS))); do \
		object=$@.d/$$(echo $$source | tr / -).o; \
		$(CC) $(MUSL_CFLAGS) -Wno-conversion '-DMECHANISMS_OFF=(MECHANISM_$*|MECHANISM_IMAGE_SCAN)' \
			-c -o $$object $$source || exit 1; \
		objects=$$(echo "$$objects" | sed "s,$(BUILD)/musl/$${source%.c}\.o,$$object,"); \
	done; \
	$(MUSL_LINK) -o $@ $(MUSL_BEGIN) $$objects $(MUSL_END)
