# Fuzzing. tests/fuzz/NAME.c is a libFuzzer target; tests/unit/ROOM_fuzz_NAME.c replays it in `make test` and says
# by its name which room's objects the target needs besides core and host. docs/fuzzing.md has the table.
#   make fuzz TIME=600              each target for so many seconds
#   make fuzz RUNS=10000000         each target for at least so many inputs; a table at the end
#   make fuzz-image                 one of them; its corpus stays in build/fuzz/corpus-image
#   make fuzz-keep-image            the corpus, made small, into tests/fuzz/seeds/image

TIME ?= 60
FUZZ_REPLAYS = $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*_fuzz_*.c))
FUZZ_NAMES = $(foreach r,$(FUZZ_REPLAYS),$(lastword $(subst _, ,$(r))))
fuzz_replay = $(filter %_fuzz_$(1),$(FUZZ_REPLAYS))

# What a target needs beyond its room, and the functions that it stands in for (ld --wrap).
FUZZ_MORE_decode = $(addprefix examples/machine-watch/unikernels/decode/,json.c instant.c) guest/library/number.c
$(FUZZ_MORE_decode:%.c=$(BUILD)/%.o): HOST_CFLAGS += -Itests/fuzz/decode
$(FUZZ_MORE_decode:%.c=$(BUILD)/fuzz/object/%.o): FUZZ_FLAGS += -Itests/fuzz/decode
FUZZ_WRAP_control = accept4 getsockopt setsockopt socketpair openat recv send close channel_send_fd loop_add loop_remove \
	member_event member_give phases_step phases_stop records_add report_ps report_status
FUZZ_WRAP_pages = memory_of fstatvfs fopen
FUZZ_WRAP_member = launch_member loop_add loop_remove loop_timer_add loop_timer_set channel_receive_fd channel_send_fd \
	sandbox_verify waitid close phases_step phases_member_failed
FUZZ_WRAP_gateway = accept4 setsockopt recv send shutdown close channel_init channel_receive channel_send_parts loop_add \
	loop_change loop_remove loop_timer_set loop_clock_ms
FUZZ_WRAP_sources = fopen realpath __realpath_chk stat mkdir access malloc realloc calloc free build_unikernel image_read report_error
FUZZ_WRAP_run = calloc free image_read run_tender_start run_tender_stop channel_receive channel_send_parts report_error
FUZZ_WRAP_replies = state_find state_is_running socket connect channel_receive_fd read __read_chk store_client_open send fopen access open close log_key_read \
	log_checkpoint_read log_bundle_read report_error report_progress
FUZZ_WRAP_verify = calloc malloc free log_hash durable_write durable_read fstatat openat crypto_sign_ed25519_verify_detached
FUZZ_WRAP_pool = channel_send_parts loop_clock_ms loop_timer_set
FUZZ_WRAP_yaml = fopen malloc realloc free report_error
FUZZ_WRAP_learn = report_error
FUZZ_WRAP_fault = machine_fault
FUZZ_WRAP_operator = recv send store_commit
FUZZ_WRAP_password = channel_receive channel_send openat fstat read __read_chk close crypto_pwhash_str_verify
FUZZ_WRAP_courier = socket connect getsockopt setsockopt accept4 shutdown getrandom recv close loop_add loop_change loop_remove \
	loop_timer_set loop_clock_ms channel_receive channel_send channel_send_parts channel_flush \
	tls_new tls_destroy tls_handshake tls_read tls_write tls_why
FUZZ_WRAP_seal = channel_receive channel_send channel_send_parts channel_flush randombytes_buf
FUZZ_WRAP_tunnel = socket connect getsockopt socketpair getrandom recv send close loop_add loop_change loop_remove loop_timer_set \
	loop_clock_ms
FUZZ_WRAP_storelink = channel_receive channel_send channel_send_parts store_commit

fuzz_wrap = $(foreach f,$(FUZZ_WRAP_$(1)),-Wl,--wrap=$(f))
fuzz_room = $(call room,$(filter-out core host,$(firstword $(subst _, ,$(call fuzz_replay,$(1))))))
fuzz_objects = $(filter-out %/main.o,$(call fuzz_room,$(1))) $(CORE) $(HOST) $(FUZZ_MORE_$(1):%.c=$(BUILD)/%.o)
FUZZ_LIBS = -lsodium -lsqlite3 -lyaml -lcjson -lssl -lcrypto -lcares
FUZZ_FLAGS = -std=gnu11 -D_GNU_SOURCE -I. -I$(BUILD)/generated -g -O2 -w -fno-sanitize-recover=all -ffunction-sections

# Comparisons of the target itself, and of all counters and queues of all flows, teach libFuzzer nothing and cost half of its time.
$(BUILD)/fuzz/object/tests/fuzz/%.o: FUZZ_FLAGS += -fno-sanitize-coverage=trace-cmp
$(addprefix $(BUILD)/fuzz/object/router/,commit.o schedule.o): FUZZ_FLAGS += -fno-sanitize-coverage=trace-cmp

$(BUILD)/fuzz/object/%.o: %.c
	@mkdir -p $(@D)
	@command -v clang >/dev/null || { echo "fuzzing needs clang: apt-get install clang" >&2; exit 1; }
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/object/host/filter.o: $(BUILD)/generated/filter_code.h

define fuzz_rules
$(BUILD)/tests/unit/$(call fuzz_replay,$(1)): $(BUILD)/tests/fuzz/$(1).o $(FUZZ_MORE_$(1):%.c=$(BUILD)/%.o)
$(BUILD)/tests/unit/$(call fuzz_replay,$(1)): HOST_LDFLAGS += $(call fuzz_wrap,$(1))
$(BUILD)/fuzz/$(1): $(patsubst $(BUILD)/%,$(BUILD)/fuzz/object/%,$(BUILD)/tests/fuzz/$(1).o $(call fuzz_objects,$(1)))
	$$(Q)clang -fsanitize=fuzzer,address,undefined -Wl,--gc-sections $(call fuzz_wrap,$(1)) -o $$@ $$^ $(FUZZ_LIBS)
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_rules,$(n))))

# Largest inputs: small ones are quick, and say the same.
FUZZ_BYTES = 512
FUZZ_BYTES_system = 16384
FUZZ_BYTES_flowstate = 256
FUZZ_BYTES_image = 4096
$(foreach n,audit commit crash manifest records router schema session version,$(eval FUZZ_BYTES_$(n) = 2048))
$(foreach n,sources replies,$(eval FUZZ_BYTES_$(n) = 1024))
$(foreach n,courier diff engine fault gateway learn member mqtt pages pool run seal storelink tunnel verify,$(eval FUZZ_BYTES_$(n) = 200))

# The good inputs to begin from come from the replay; the corpus stays for the next time.
FUZZ_END = $(if $(RUNS),-runs=$(RUNS),-max_total_time=$(TIME))
.PHONY: FORCE fuzz fuzz-oracle
FORCE:
fuzz-%: $(BUILD)/fuzz/% FORCE
	@mkdir -p $(BUILD)/fuzz/corpus-$*
	@$(MAKE) -s --no-print-directory $(BUILD)/tests/unit/$(call fuzz_replay,$*)
	@$(BUILD)/tests/unit/$(call fuzz_replay,$*) $(BUILD)/fuzz/corpus-$*
	$(Q)cd $(BUILD)/fuzz && ASAN_OPTIONS=quarantine_size_mb=8 ./$* $(FUZZ_END) -max_len=$(or $(FUZZ_BYTES_$*),$(FUZZ_BYTES)) -timeout=10 -print_final_stats=1 \
		corpus-$* 2>$*.log || { tail -n 40 $*.log >&2; exit 1; }

fuzz: $(addprefix fuzz-,$(FUZZ_NAMES)) ## every fuzz target under libFuzzer (clang): TIME=seconds or RUNS=inputs for each
	@for name in $(FUZZ_NAMES); do awk -v name=$$name '/number_of_executed_units/ { runs = $$2 } \
		/average_exec_per_sec/ { printf "%-12s %12d inputs  %8d a second\n", name, runs, $$2 }' \
		$(BUILD)/fuzz/$$name.log; done

fuzz-oracle: all ## a million messages against the schema oracle in Python (MESSAGES=, SEED=)
	@MESSAGES=$(or $(MESSAGES),1000000) CRENEL_BUILD=$(BUILD) /usr/bin/python3 tests/system/schema_oracle.py

fuzz-keep-%: $(BUILD)/fuzz/%
	@rm -rf $(BUILD)/fuzz/small-$* && mkdir -p $(BUILD)/fuzz/small-$*
	cd $(BUILD)/fuzz && ./$* -merge=1 -max_len=512 small-$* corpus-$* 2>$*.log
	@tools/pack-seeds $(BUILD)/fuzz/small-$* tests/fuzz/seeds/$*
