# The checker beside its peers (tests/bench/checker): one program each. nanopb (Debian: nanopb libnanopb-dev) and FlatBuffers
# (flatbuffers-compiler libflatbuffers-dev g++) are built where they are installed; tests/bench/checker/checker.py says what is not.
CHECKER = $(BENCH)/checker
CHECKER_PEERS = crenel generated cbor cjson \
	$(if $(shell command -v protoc && command -v nanopb_generator.py),nanopb) \
	$(if $(shell command -v flatc && command -v g++),flatbuffers)

.PHONY: bench-checker
bench-checker: ## What the verdict on one message costs, beside other formats and readers of them; a minute
	@$(MAKE_QUIETLY) $(CHECKER_PEERS:%=$(CHECKER)/checker_%)
	@/usr/bin/python3 tests/bench/checker/checker.py $(BUILD)

$(CHECKER)/checker_%: $(BUILD)/tests/bench/checker/checker.o $(BUILD)/tests/bench/checker/peer_%.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_LDFLAGS) -Wl,--gc-sections -o $@ $(filter %.o %.a,$^) $(CHECKER_LIBS)
$(CHECKER)/checker_crenel: $(filter-out %/main.o,$(call room,cli)) $(HOST) $(CORE)
$(CHECKER)/checker_crenel: CHECKER_LIBS = -lsodium -lyaml -lcjson
$(CHECKER)/checker_cjson: CHECKER_LIBS = -lcjson
$(CHECKER)/checker_nanopb: $(CHECKER)/reading.pb.o
$(CHECKER)/checker_nanopb: CHECKER_LIBS = -lprotobuf-nanopb
$(CHECKER)/checker_flatbuffers: CHECKER_LIBS = -lstdc++

$(CHECKER)/reading.pb.c: tests/bench/checker/reading.proto tests/bench/checker/reading.options
	@mkdir -p $(@D)
	$(Q)cd tests/bench/checker && nanopb_generator.py -q -D $(abspath $(@D)) reading.proto
$(BUILD)/tests/bench/checker/peer_nanopb.o $(CHECKER)/reading.pb.o: HOST_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -I$(CHECKER) -I/usr/include/nanopb $(HARDENING) $(CFLAGS)
$(BUILD)/tests/bench/checker/peer_nanopb.o: $(CHECKER)/reading.pb.c
$(CHECKER)/reading.pb.o: $(CHECKER)/reading.pb.c
	$(Q)$(CC) $(HOST_CFLAGS) -c -o $@ $<
$(CHECKER)/reading_generated.h: tests/bench/checker/reading.fbs
	@mkdir -p $(@D)
	$(Q)flatc --cpp -o $(@D) $<
$(BUILD)/tests/bench/checker/peer_flatbuffers.o: tests/bench/checker/peer_flatbuffers.cc $(CHECKER)/reading_generated.h
	@mkdir -p $(@D)
	$(Q)g++ -std=gnu++17 -I. -I$(CHECKER) $(HARDENING) $(CFLAGS) -c -o $@ $<
