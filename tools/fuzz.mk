# Fuzzing. tests/fuzz/NAME.c is a libFuzzer target; the sources that it needs stand here. Each is replayed in
# `make test` by a program in tests/unit that links it.

FUZZ_SECONDS ?= 60
FUZZ_mqtt = $(filter-out %/main.c,$(wildcard guests/mqtt/*.c))

$(BUILD)/fuzz/%: tests/fuzz/%.c
	@mkdir -p $(@D)
	clang -std=gnu11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -o $@ $< $(FUZZ_$*)
fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/fuzz/corpus-$*
	cd $(BUILD)/fuzz && ./$* -max_total_time=$(FUZZ_SECONDS) -max_len=4096 corpus-$*

.PHONY: fuzz
fuzz: $(addprefix fuzz-,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))) ## every fuzz target for FUZZ_SECONDS

$(BUILD)/tests/unit/guests_fuzz: $(BUILD)/tests/fuzz/mqtt.o
