# Benchmarks: docs/benchmarks.md. Nothing here is part of `make test`.

BENCH = $(BUILD)/tests/bench
BENCH_IMAGES = $(patsubst %,$(BENCH)/%.img,relay relay-resident relay-connection)

.PHONY: bench bench-checks $(BENCH_IMAGES)
bench: ## Crenel beside mosquitto and posix_spawn; some minutes. Installs what is missing
	@tools/install-packages $(BUILD)
	@$(MAKE_QUIETLY) all $(BENCH)/mqtt_bench $(BENCH)/spawn_bench $(BENCH)/checks_bench $(BENCH)/wall_bench $(BENCH)/router_bench $(BENCH)/hello $(BENCH_IMAGES)
	@/usr/bin/python3 tests/bench/bench.py $(BUILD)
	@$(BENCH)/checks_bench
	@$(MAKE_QUIETLY) bench-checker

bench-checks: $(BENCH)/checks_bench ## What judging one message costs the router alone, with a million keys; a minute
	@$(BENCH)/checks_bench

$(BENCH)/checks_bench: $(BUILD)/tests/bench/checks_bench.o $(filter-out %/main.o,$(call room,router)) $(HOST) $(CORE)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) -lsodium -lseccomp

$(BENCH)/mqtt_bench: $(BUILD)/tests/bench/mqtt_bench.o
	$(Q)$(CC) $(HOST_LDFLAGS) -o $@ $<

$(BENCH)/router_bench: LTO = $(WHOLE)
$(BENCH)/router_bench: $(BUILD)/tests/bench/router_bench.o $(filter-out %/main.o,$(call room,router)) $(HOST) $(CORE)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^)

# It starts the tender that lies beside it.
$(BENCH)/spawn_bench: $(BUILD)/tests/bench/spawn_bench.o $(filter-out %/main.o,$(call room,cli)) $(HOST) $(CORE)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o,$^) -lsodium -lyaml -lcjson
	@ln -sf ../../bin/crenel-tender $(BENCH)/crenel-tender

$(BENCH)/hello: tests/bench/hello.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -static -o $@ $<

$(BENCH_IMAGES): $(BENCH)/%.img: programs guest
	@mkdir -p $(@D)
	@$(BUILD)/bin/crenel build tests/bench/relay/unikernels/$* -o $@
