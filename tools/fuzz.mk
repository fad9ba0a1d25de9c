# Fuzzing. tests/fuzz/NAME.c is a libFuzzer target; the sources that it needs stand here. Each is replayed in
# `make test` by a program in tests/unit that links it: ROOM_fuzz_NAME (guests_fuzz: mqtt).

TIME ?= 60
FUZZ_NAMES = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
fuzz_room = $(filter-out %/main.c,$(sort $(wildcard $(addsuffix /*.c,$(1)) $(addsuffix /*/*.c,$(1)))))
FUZZ_HOST = $(call fuzz_room,core host)
FUZZ_LIBS = -lsodium -lsqlite3 -lyaml -lcjson
FUZZ_mqtt = $(call fuzz_room,guests)
FUZZ_image = $(call fuzz_room,core) host/check.c
FUZZ_system = $(call fuzz_room,core) host/check.c
FUZZ_schema = $(call fuzz_room,core) host/check.c
FUZZ_yaml = $(call fuzz_room,cli) $(FUZZ_HOST)
FUZZ_records = tender/records.c core/guest_record.c
FUZZ_router = $(call fuzz_room,router) $(FUZZ_HOST)
FUZZ_commit = $(call fuzz_room,store) $(FUZZ_HOST)
FUZZ_audit = $(call fuzz_room,audit) $(FUZZ_HOST)

$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/generated/filter_code.h
	@command -v clang >/dev/null || { echo "fuzzing needs clang: apt-get install clang" >&2; exit 1; }
	@mkdir -p $(@D)
	clang -std=gnu11 -D_GNU_SOURCE -I. -I$(BUILD)/generated -g -O1 -w -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -o $@ $< $(FUZZ_$*) $(FUZZ_LIBS)
# The good inputs to begin from come from the replay; the corpus stays for the next time.
.PRECIOUS: $(BUILD)/fuzz/%
.PHONY: FORCE
FORCE:
fuzz-%: $(BUILD)/fuzz/% FORCE
	@mkdir -p $(BUILD)/fuzz/corpus-$*
	@for replay in $(BUILD)/tests/unit/*_fuzz_$*; do \
		[ ! -x $$replay ] || $$replay $(BUILD)/fuzz/corpus-$*; done
	cd $(BUILD)/fuzz && ./$* -max_total_time=$(TIME) -max_len=16384 -timeout=10 corpus-$*

.PHONY: fuzz
fuzz: unit-tests $(addprefix fuzz-,$(FUZZ_NAMES)) ## every fuzz target under libFuzzer (clang); TIME=seconds for each

$(BUILD)/tests/unit/guests_fuzz: $(BUILD)/tests/fuzz/mqtt.o
FUZZ_REPLAYS = $(filter-out guests_fuzz,$(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*_fuzz_*.c)))
$(foreach r,$(FUZZ_REPLAYS),$(eval $(BUILD)/tests/unit/$(r): $(BUILD)/tests/fuzz/$(lastword $(subst _, ,$(r))).o))
