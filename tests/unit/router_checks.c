// SPDX-License-Identifier: ISC
// State of keys in the life of events: held, settled, kept, observed; requests and fan-out. The checks
// themselves: core_flow_check.c.
#include "tests/unit/router_fake.h"

#include "core/flow_check.h"

static struct fake_records records;
static struct system_check *order;

static void begin(void)
{
    fake_clear();
    order = &fake_checks[READING * 64]; // strict
    fake_flows[READING].count_max = 8;
    fake_flows[READING].live_ms = 86400000; // so that none is kept: a COMMIT that sends such ones has no conflict
}

static uint32_t result, result_count; // of the COMMITs of decode

// decode gets a raw message.
static void decode_starts(void)
{
    static uint32_t key;
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    struct fake_records raw = {0};
    fake_item(&raw, OUT_RAW, 1, 10 + ++key % 60, 1);
    expect(fake_end(FRONT, &raw) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] >= 1);
}

// And its event ends with what is in `records`.
static void decode_ends(void)
{
    decode_starts();
    fake.next_result = result;
    fake.result_count = result_count;
    result_count = 0;
    expect(fake_end_at(DECODE, fake.delivery_count[DECODE] - 1, LINK_ENDED, 0, &records) == STATUS_OK);
}

static uint64_t sent(void) { return fake_count(READING, REASON_ENTERED); }

// One message of a key; 0: refused.
static int is_taken(uint32_t value, uint32_t key, uint64_t sequence)
{
    uint64_t before = sent();
    fake_item(&records, OUT_READING, value, key, sequence);
    decode_ends();
    fake_store();
    while (fake.delivery_count[SINK] != 0) {
        expect(fake_end(SINK, NULL) == STATUS_OK);
        fake_store();
    }
    return sent() == before + 1;
}

static void window_of(uint32_t size)
{
    order->window = size;
    order->most = size - 1;
}

// Everything but the store begins anew, as when the router dies; the store says what it has kept.
static void router_restarts(void)
{
    static struct engine_io io = {NULL, FAKE_SEED, fake_send, fake_log};
    fake_store();
    engine_destroy(fake.engine);
    memset(fake.page, 0, STATUS_PAGE_BYTES);
    memset(fake.delivery_count, 0, sizeof fake.delivery_count);
    memset(fake.credit, 0, sizeof fake.credit);
    fake.engine = engine_create(&fake.system, fake.page, &io, 2);
    fake_clock(1);
    engine_attached(fake.engine, ENGINE_STORE, 0);
    size_t size = sizeof(struct commit_packet);
    for (uint32_t i = 0; i < fake.state_count; i++) {
        const struct fake_state *state = &fake.states[i];
        memset(fake_packet + size, 0, sizeof state->entry + SYSTEM_KEY_BYTES_MAX + 8 + COMMIT_PARTS_BYTES_MAX);
        memcpy(fake_packet + size, &state->entry, sizeof state->entry);
        size += sizeof state->entry;
        memcpy(fake_packet + size, state->key, state->entry.key_bytes);
        size += ABI_ALIGN8((size_t)state->entry.key_bytes);
        memcpy(fake_packet + size, state->parts, state->entry.part_bytes);
        size += ABI_ALIGN8((size_t)state->entry.part_bytes);
    }
    struct commit_packet packet = {(uint32_t)size, COMMIT_STATE, 0, 0}, ready = {sizeof ready, COMMIT_READY, 0, 0};
    memcpy(fake_packet, &packet, sizeof packet);
    if (fake.state_count != 0)
        expect(fake_give(ENGINE_STORE, 0, fake_packet, size) == STATUS_OK);
    for (uint32_t i = 0; i < COUNTERS_MAX; i++)
        fake.page->counters[i] = fake.counters[i];
    expect(fake_give(ENGINE_STORE, 0, &ready, sizeof ready) == STATUS_OK);
    for (uint32_t i = 0; i < 4; i++)
        expect(fake_hello(i, i == FRONT ? fake_unikernels[FRONT].instances_max : i == DECODE ? 3 : 4) == STATUS_OK);
    fake_store();
}

TEST(acceptance_3)
{
    begin();
    fake_start();
    for (uint64_t i = 1; i <= 20; i++)
        expect(is_taken(1, 1, i));
    for (uint64_t i = 1; i <= 20; i++)
        expect(!is_taken(1, 1, i)); // any recorded message
    expect(is_taken(1, 1, 22) && !is_taken(1, 1, 21) && is_taken(1, 2, 21)); // reorder; another key has its own
    expect(is_taken(1, 1, UINT64_MAX) && !is_taken(1, 1, 0)); // it does not wrap
    engine_closed(fake.engine, ENGINE_RECEIVER, DECODE);      // a guest's restart is no new epoch
    fake.delivery_count[DECODE] = 0;
    expect(fake_hello(DECODE, 3) == STATUS_OK);
    expect(!is_taken(1, 2, 21) && is_taken(1, 2, 22));
    router_restarts(); // nor is the router's, for a durable flow
    expect(!is_taken(1, 2, 22) && !is_taken(1, 1, 5) && is_taken(1, 2, 23) && is_taken(1, 3, 1));
    fake_stop();
    begin();
    window_of(64);
    fake_start();
    expect(is_taken(1, 1, 100) && is_taken(1, 1, 37) && !is_taken(1, 1, 37) && !is_taken(1, 1, 36) && is_taken(1, 1, 99));
    router_restarts();
    expect(!is_taken(1, 1, 37) && !is_taken(1, 1, 99) && is_taken(1, 1, 38) && !is_taken(1, 1, 38) && is_taken(1, 1, 101));
    expect(fake_is_exact());
    fake_stop();
}

TEST(acceptance_4)
{
    begin();
    struct system_check *rate = fake_check(READING, SYSTEM_CHECK_RATE);
    rate->per_second = 10;
    rate->most = 5;
    fake_start();
    for (uint64_t i = 1; i <= 5; i++)
        expect(is_taken(1, 1, i));
    expect(!is_taken(1, 1, 6) && fake.last_dead_reason == REASON_RATE); // burst + 1 in the same tick
    expect(strcmp(fake.last_dead_text, "rate reading.key") == 0);
    expect(fake.last_refusal.check == rate - fake_checks && fake.last_refusal_state[2] == 5000); // before it
    for (uint32_t key = 2; key <= 64; key++)
        expect(is_taken(1, key, 1)); // others are not touched, and fill the table
    for (uint32_t key = 100; key < 200; key++)
        expect(!is_taken(1, key, 1) && fake.last_dead_reason == REASON_KEY_TABLE);
    expect(!is_taken(1, 1, 6) && !is_taken(1, 2, 1)); // nobody's state was pushed out
    fake_clock(100);
    expect(is_taken(1, 1, 6) && !is_taken(1, 1, 7) && fake_is_exact());
    fake_stop();
}

TEST(acceptance_6)
{
    begin();
    struct system_check *step = fake_check(READING, SYSTEM_CHECK_STEP);
    step->field = 0;
    step->most = 10;
    step->line = 41;
    fake_start();
    expect(is_taken(5, 1, 1)); // a warm flow
    expect(is_taken(6, 1, 2) && !is_taken(600, 1, 3) && is_taken(7, 1, 3) && !is_taken(1001, 1, 4));
    expect(fake.last_dead_reason == REASON_RANGE && sent() == 3);
    expect(!is_taken(600, 1, 4) && strcmp(fake.last_dead_text, "step reading.value (system.yaml:41)") == 0);
    expect(fake.page->checks[READING * 64 + 1].refused == 2);
    fake_stop();
}

// Each is judged behind the one before it; one refusal drops all, with all that they would have changed.
TEST(several_sends_of_one_event)
{
    begin();
    fake_start();
    for (uint64_t i = 1; i <= 3; i++)
        fake_item(&records, OUT_READING, 1, 1, i);
    fake_item(&records, OUT_READING, 1, 2, 9);
    decode_ends();
    fake_store();
    expect(sent() == 4 && fake.last_header.state_count == 2);
    fake_item(&records, OUT_READING, 1, 1, 4);
    fake_item(&records, OUT_READING, 1, 3, 4); // a new key
    fake_item(&records, OUT_READING, 1, 1, 4);
    decode_ends();
    fake_store();
    expect(sent() == 4 && fake.last_dead_reason == REASON_REPLAY);
    expect(is_taken(1, 1, 4) && is_taken(1, 3, 1));
    fake_stop();
}

TEST(conflict_and_refusal_leave_no_trace)
{
    begin();
    fake_start();
    result = COMMIT_CONFLICT;
    result_count = 1;
    expect(!is_taken(1, 1, 5)); // runs again
    fake_item(&records, OUT_READING, 1, 1, 5);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(sent() == 1);
    result = COMMIT_REFUSED; // a namespace is full
    result_count = 1;
    expect(!is_taken(1, 1, 6) && fake.last_dead_reason == REASON_NAMESPACE);
    result = COMMIT_NOT_NOW;
    result_count = 2;
    fake_item(&records, OUT_READING, 1, 1, 6);
    decode_ends();
    fake_store();
    fake_tick(150);
    expect(sent() == 1);
    fake_tick(150);
    expect(sent() == 2 && !is_taken(1, 1, 6) && is_taken(1, 1, 7));
    fake_stop();
}

// A key that no message was taken for takes no place.
TEST(only_keys_that_were_taken)
{
    begin();
    fake_flows[READING].keys_max = 1;
    fake_start();
    result = COMMIT_REFUSED;
    result_count = 1;
    expect(!is_taken(1, 1, 5) && fake.last_dead_reason == REASON_NAMESPACE);
    fake_item(&records, OUT_READING, 1, 2, 1);
    fake_item(&records, OUT_READING, 1, 2, 1);
    decode_ends();
    fake_store();
    expect(fake.last_dead_reason == REASON_REPLAY);
    expect(is_taken(1, 3, 1) && !is_taken(1, 1, 5) && fake.last_dead_reason == REASON_KEY_TABLE && is_taken(1, 3, 2));
    fake_stop();
}

// Another event with a held key waits, and is judged against what the first one left.
TEST(a_held_key_is_waited_for)
{
    begin();
    fake_start();
    decode_starts();
    decode_starts();
    for (uint64_t i = 0; i < 2; i++) {
        fake_item(&records, OUT_READING, 1, 1, 5 + i);
        expect(fake_end(DECODE, &records) == STATUS_OK);
    }
    expect(fake.commit_count == 1 && sent() == 0);
    fake_store();
    fake_tick(0); // at once
    expect(sent() == 2 && fake.dead_count == 0);
    expect(!is_taken(1, 1, 6));
    fake_stop();
}

// Whoever waits for a key has it before those whose effects come when it is free again.
TEST(a_key_goes_to_who_waits_for_it)
{
    begin();
    fake_start();
    for (int i = 0; i < 3; i++)
        decode_starts();
    for (uint64_t i = 0; i < 3; i++) {
        fake_item(&records, OUT_READING, 1, 1, 5 + i);
        expect(fake_end(DECODE, &records) == STATUS_OK);
        if (i == 1)
            fake_store(); // the first one's COMMIT is done
    }
    for (int i = 0; i < 3; i++) {
        fake_store();
        fake_tick(0);
    }
    expect(sent() == 3 && fake.dead_count == 0 && fake_is_exact());
    fake_stop();
}

static void make_valve(void)
{
    fake_machines[0] = (struct system_machine){.name = "valve", .schema = SCHEMA_ITEM, .state_count = 2,
                                               .states = {"closed", "open"}, .transition_count = 2};
    uint32_t closed = flow_name_hash(FLOW_NAME_HASH, "closed"), open = flow_name_hash(FLOW_NAME_HASH, "open");
    fake_machines[0].transitions[0] = (struct system_transition){closed, open, 1, 0, {{0, {0}, 1, 1}}};
    fake_machines[0].transitions[1] = (struct system_transition){open, closed, 1, 0, {{0, {0}, 2, 2}}};
    struct system_check *check = fake_check(READING, SYSTEM_CHECK_MACHINE);
    check->machine = 0;
    check->line = 12;
}

// All parts of a state are there again, also for direct keys and when the checks of a later version differ.
TEST(state_survives_the_router)
{
    for (int form = 0; form < 3; form++) { // hashed, direct, direct with a sign
        uint32_t low = form == 2 ? UINT32_MAX - 19 : 10;
        begin();
        make_valve();
        window_of(64);
        struct system_check *step = fake_check(READING, SYSTEM_CHECK_STEP);
        step->field = 0;
        step->most = 1;
        fake_fields[SCHEMA_ITEM][1].type = form == 2 ? SCHEMA_I32 : SCHEMA_U32;
        fake_fields[SCHEMA_ITEM][1].minimum = form == 0 ? 0 : form == 1 ? 10 : -20;
        fake_fields[SCHEMA_ITEM][1].maximum = form == 0 ? UINT32_MAX : 73;
        fake_flows[READING].keys_max = 100;
        fake_start();
        expect(is_taken(1, low, 5) && is_taken(1, 73, 6));
        expect(!is_taken(1, low, 6) && strcmp(fake.last_dead_text, "state reading.valve (system.yaml:12)") == 0);
        router_restarts();
        expect(!is_taken(1, low, 6) && is_taken(2, low, 6) && !is_taken(1, 73, 7) && is_taken(1, 11, 1));
        // A later version: a wider window counts all that came before as seen, the machine is gone, the step begins anew.
        fake_checks[READING * 64 + 1] = fake_checks[READING * 64 + 2];
        fake_checks[READING * 64 + 1].id = 999;
        fake_flows[READING].check_count = 2;
        window_of(1024);
        router_restarts();
        expect(!is_taken(1, low, 4) && is_taken(500, low, 7) && !is_taken(502, low, 8) && is_taken(501, low, 8));
        expect(is_taken(1, 12, 1) && fake_is_exact());
        fake_stop();
    }
    fake_fields[SCHEMA_ITEM][1].type = SCHEMA_U32;
    fake_fields[SCHEMA_ITEM][1].minimum = 0;
    fake_fields[SCHEMA_ITEM][1].maximum = UINT32_MAX;
}

// A state that a later version has no more is not taken for another one.
TEST(state_that_is_gone)
{
    begin();
    make_valve();
    fake_start();
    expect(is_taken(1, 1, 1)); // open
    snprintf(fake_machines[0].states[1], SYSTEM_NAME_BYTES, "ajar");
    fake_machines[0].transitions[0].to = fake_machines[0].transitions[1].from = flow_name_hash(FLOW_NAME_HASH, "ajar");
    router_restarts();
    expect(!is_taken(2, 1, 2) && fake.last_dead_reason == REASON_STATE && !is_taken(1, 1, 2));
    expect(is_taken(1, 2, 1) && is_taken(2, 2, 2));
    fake_checks[READING * 64 + 1].id++; // another name
    router_restarts();
    expect(is_taken(1, 1, 2) && is_taken(2, 1, 3));
    fake_stop();
}

// An operator had the store forget the state of a key: it begins anew, and its place is free.
static void forget(uint32_t key)
{
    struct commit_packet packet = {sizeof packet + sizeof(struct commit_state) + 8, COMMIT_STATE, 0, 0};
    struct commit_state state = {READING, sizeof key, 0};
    const uint8_t bytes[8] = {(uint8_t)(key >> 24), (uint8_t)(key >> 16), (uint8_t)(key >> 8), (uint8_t)key};
    memcpy(fake_packet, &packet, sizeof packet);
    memcpy(fake_packet + sizeof packet, &state, sizeof state);
    memcpy(fake_packet + sizeof packet + sizeof state, bytes, sizeof bytes);
    expect(fake_give(ENGINE_STORE, 0, fake_packet, packet.size) == STATUS_OK);
}

TEST(a_state_that_was_forgotten)
{
    for (int is_direct = 0; is_direct < 2; is_direct++) {
        begin();
        fake_flows[READING].keys_max = is_direct ? 65536 : 2;
        fake_fields[SCHEMA_ITEM][1].maximum = is_direct ? 65535 : UINT32_MAX;
        fake_start();
        expect(is_taken(1, 0, 5) && is_taken(1, 1, 7) && !is_taken(1, 0, 5) && !is_taken(1, 1, 6));
        if (!is_direct)
            expect(!is_taken(1, 2, 1) && fake.last_dead_reason == REASON_KEY_TABLE);
        forget(0);
        forget(9); // nothing is held of it
        expect(is_direct ? is_taken(1, 0, 5) : is_taken(1, 2, 1));
        expect(!is_taken(1, 1, 7));
        // One that an event holds is what that makes it.
        decode_starts();
        fake_item(&records, OUT_READING, 1, 1, 8);
        expect(fake_end(DECODE, &records) == STATUS_OK);
        forget(1);
        fake_store();
        expect(!is_taken(1, 1, 8) && is_taken(1, 1, 9) && fake_is_exact());
        fake_stop();
    }
    fake_fields[SCHEMA_ITEM][1].maximum = UINT32_MAX;
}

// Of a table that is nearly full keys leave by whose state no verdict goes any more, in the store, too.
TEST(spent_keys_leave)
{
    begin();
    fake_flows[READING].keys_max = 8;
    *order = (struct system_check){.kind = SYSTEM_CHECK_STEP, .field = 0, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE,
                                   .id = 100, .most = 10, .ticks = 60000};
    fake_start();
    for (uint32_t key = 1; key <= 8; key++)
        expect(is_taken(500, key, 1));
    expect(!is_taken(500, 9, 1) && fake.last_dead_reason == REASON_KEY_TABLE && fake.state_count == 8);
    for (int i = 0; i < 30; i++)
        fake_tick(1000);
    expect(is_taken(501, 1, 1) && !is_taken(500, 9, 1)); // still young
    for (int i = 0; i < 29; i++)
        fake_tick(1000);
    // The store cannot, now: nothing leaves, and what is used meanwhile stays.
    result = COMMIT_NOT_NOW;
    decode_starts();
    fake_item(&records, OUT_READING, 505, 2, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_tick(3000);
    for (int i = 0; i < 3; i++)
        fake_tick(1000);
    expect(fake.state_count == 2 && is_taken(1, 9, 1) && is_taken(1, 10, 1) && fake.state_count == 4);
    expect(!is_taken(1, 1, 1) && !is_taken(1, 2, 1) && is_taken(1, 3, 1)); // 1 and 2 go by what they were
    router_restarts();
    expect(!is_taken(20, 9, 1) && !is_taken(1, 2, 1) && is_taken(900, 4, 1) && fake_is_exact());
    fake_stop();
    // A key that is used while the store forgets it stays, as it is then.
    begin();
    fake_flows[READING].keys_max = 8;
    *order = (struct system_check){.kind = SYSTEM_CHECK_STEP, .field = 0, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE,
                                   .id = 100, .most = 10, .ticks = 60000};
    fake_start();
    for (uint32_t key = 1; key <= 8; key++)
        expect(is_taken(500, key, 1));
    decode_starts();
    fake_clock(61000);
    (void)engine_tick(fake.engine);
    fake_item(&records, OUT_READING, 100, 5, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake.state_count == 1 && !is_taken(500, 5, 1) && is_taken(101, 5, 1) && is_taken(900, 6, 1) && fake_is_exact());
    fake_stop();
    // A volatile flow forgets by itself.
    begin();
    fake_flows[READING].keys_max = 8;
    fake_flows[READING].is_durable = 0;
    fake_flows[READING].cap = 0;
    *order = (struct system_check){.kind = SYSTEM_CHECK_RATE, .field = SYSTEM_NONE, .time_field = SYSTEM_NONE,
                                   .machine = SYSTEM_NONE, .id = 100, .most = 1, .per_second = 1};
    fake_start();
    for (uint32_t key = 1; key <= 8; key++)
        expect(is_taken(500, key, 1));
    expect(!is_taken(500, 9, 1));
    for (int i = 0; i < 3; i++)
        fake_tick(1000);
    expect(is_taken(500, 9, 1) && fake_is_exact());
    fake_stop();
}

// A store may hold states that fit nothing: of other versions, or damaged.
TEST(states_that_do_not_fit)
{
    begin();
    fake_start();
    expect(is_taken(1, 1, 5));
    fake.state_count = 0;
    struct fake_state *state = &fake.states[fake.state_count++];
    struct commit_part part = {fake_checks[READING * 64].id, 4000};
    *state = (struct fake_state){.entry = {READING, 4, 16}, .key = {0, 0, 0, 2}}; // longer than it is
    memcpy(state->parts, &part, sizeof part);
    part.bytes = 4;
    state = &fake.states[fake.state_count++];
    *state = (struct fake_state){.entry = {READING, 4, 16}, .key = {0, 0, 0, 3}}; // shorter than its check's
    memcpy(state->parts, &part, sizeof part);
    fake.states[fake.state_count++] = (struct fake_state){.entry = {FLOWS + 3, 4, 16}};
    fake.states[fake.state_count++] = (struct fake_state){.entry = {NOTE, 4, 16}}; // a flow without checks
    router_restarts();
    for (uint32_t key = 1; key <= 64; key++)
        expect(is_taken(1, key, 1)); // all 64 places are free
    struct commit_state entry = {READING, 200, 16};
    struct commit_packet packet = {sizeof packet + sizeof entry + 216, COMMIT_STATE, 0, 0};
    memset(fake_packet, 0, 512);
    memcpy(fake_packet, &packet, sizeof packet);
    memcpy(fake_packet + sizeof packet, &entry, sizeof entry);
    expect(fake_give(ENGINE_STORE, 0, fake_packet, packet.size) == STATUS_MALFORMED);
    fake_stop();
}

// What observes refuses nothing, counts what it would have refused, and goes on from what it would have accepted.
TEST(observe)
{
    begin();
    fake_flows[READING].is_observed = 1;
    fake_flows[READING].keys_max = 2;
    struct system_check *step = fake_check(READING, SYSTEM_CHECK_STEP);
    step->field = 0;
    step->most = 10;
    step->line = 9;
    fake_start();
    expect(is_taken(5, 1, 1) && is_taken(500, 1, 2) && is_taken(6, 1, 2) && is_taken(6, 1, 2));
    expect(fake_count(READING, REASON_OBSERVED) == 2 && fake.counters[COUNTER_FLOW(READING, REASON_OBSERVED)] == 2);
    const struct check_page *pages = &fake.page->checks[READING * 64];
    expect(pages[0].refused == 1 && pages[1].refused == 1 && pages[1].measured == 4 && pages[1].peak == 495);
    expect(strstr(fake.last_log, "observed only: replay reading.sequence (system.yaml:0)") != NULL);
    expect(is_taken(1, 2, 1) && is_taken(1, 3, 1)); // the table is full
    expect(fake_count(READING, REASON_OBSERVED) == 3 && fake.dead_count == 0 && fake_is_exact());
    expect(!is_taken(1001, 1, 3) && fake.last_dead_reason == REASON_RANGE); // its schema is enforced
    // A conflict counts what it observed once.
    result = COMMIT_CONFLICT;
    result_count = 1;
    expect(!is_taken(900, 1, 9));
    fake_item(&records, OUT_READING, 900, 1, 9);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake_count(READING, REASON_OBSERVED) == 4 && pages[1].refused == 2);
    // So does an event that had to wait for another's key.
    decode_starts();
    decode_starts();
    fake_item(&records, OUT_READING, 6, 2, 5);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_item(&records, OUT_READING, 6, 1, 1); // a replay
    fake_item(&records, OUT_READING, 6, 2, 6);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    for (int i = 0; i < 3; i++)
        fake_tick(20);
    expect(fake_count(READING, REASON_OBSERVED) == 5 && pages[0].refused == 2 && fake_is_exact());
    expect(pages[0].measured == 9 && pages[1].measured == 9); // each message once, however often it was tried
    fake_stop();
}

TEST(fresh_when_it_was_sent)
{
    begin();
    struct system_check *fresh = fake_check(READING, SYSTEM_CHECK_FRESH);
    fresh->field = 2;
    fresh->ticks = 1000;
    fresh->most = 50;
    fake_checks[READING * 64] = *fresh;
    fake_flows[READING].check_count = 1;
    fake_flows[READING].keys_max = 0;
    fake_flows[READING].rate_per_second = 1;
    fake_flows[READING].rate_burst = 2;
    fake_flows[READING].count_max = 1;
    fake_start();
    uint64_t now = (uint64_t)(1700000000000 + fake.now_ms);
    expect(is_taken(1, 1, now + 50) && !is_taken(1, 1, now + 51) && fake.last_dead_reason == REASON_STALE);
    uint64_t before = sent();
    fake_clock(1000); // one token more; two had been taken, also by the refused one
    fake_item(&records, OUT_READING, 1, 1, now + 1000);
    decode_ends();
    fake_store();
    fake_item(&records, OUT_READING, 1, 1, now + 1000); // waits a second for its token
    decode_ends();
    fake_store();
    expect(sent() == before + 1);
    for (int i = 0; i < 12; i++)
        fake_tick(100);
    expect(sent() == before + 2 && fake_is_exact());
    fake_stop();
}

TEST(bytes_wait_and_key_bytes_are_refused)
{
    begin();
    struct system_check *bytes = fake_check(READING, SYSTEM_CHECK_BYTES);
    bytes->per_second = 16;
    bytes->most = 32;
    fake_flows[RAW].bytes_per_second = 160; // ten a second
    fake_flows[RAW].bytes_burst = 5 * 16;
    fake_start();
    expect(is_taken(1, 1, 1) && is_taken(1, 1, 2) && !is_taken(1, 1, 3) && fake.last_dead_reason == REASON_RATE);
    expect(is_taken(1, 2, 3) && is_taken(1, 2, 4)); // with these raw's bytes are used up
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] == 0 && fake_count(RAW, REASON_THROTTLED) == 1); // waits
    fake_tick(110);
    expect(fake.delivery_count[DECODE] == 1 && fake_is_exact());
    fake_stop();
}

TEST(fan_out)
{
    begin();
    fake_unikernels[DECODE].fan_out = 2;
    fake_unikernels[DECODE].line = 6;
    fake_start();
    for (uint64_t i = 1; i <= 2; i++)
        fake_item(&records, OUT_READING, 1, 1, i);
    decode_ends();
    fake_store();
    expect(sent() == 2);
    for (uint64_t i = 3; i <= 4; i++)
        fake_item(&records, OUT_READING, 1, 1, i);
    fake_item(&records, OUT_ALARM, 1, 1, 1); // over all outputs
    decode_ends();
    fake_store();
    expect(sent() == 2 && fake.last_dead_reason == REASON_BUDGET &&
           strcmp(fake.last_dead_text, "budget decode.fan_out (system.yaml:6)") == 0);
    fake_stop();
}

// A reply is an effect of its request's event: not before, not twice, not by another event, not by another party.
TEST(request_pairing)
{
    begin();
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_LOGIN, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[LOGIN] == 1);
    struct fake_delivery asked = fake.deliveries[LOGIN][0];
    uint8_t reply[8] = {0};
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[FRONT] == 1 && fake_count(LOGIN_REPLY, REASON_ENTERED) == 1);
    fake.deliveries[LOGIN][0] = asked; // the same request once more
    fake.delivery_count[LOGIN] = 1;
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_MALFORMED); // its event is over: that costs the link
    expect(fake_count(LOGIN_REPLY, REASON_ENTERED) == 1);
    fake_stop();
}

// A million keys of one flow, and none of them in another's place.
TEST(a_million_keys)
{
    begin();
    fake_fields[SCHEMA_ITEM][1].maximum = SYSTEM_KEYS_MAX - 1;
    fake_flows[READING].keys_max = SYSTEM_KEYS_MAX;
    fake_start();
    for (uint32_t key = 0; key < SYSTEM_KEYS_MAX; key += 24989)
        expect(is_taken(1, key, key + 1) && !is_taken(1, key, key + 1));
    expect(is_taken(1, SYSTEM_KEYS_MAX - 1, 7) && !is_taken(1, SYSTEM_KEYS_MAX - 1, 7));
    fake_stop();
    fake_fields[SCHEMA_ITEM][1].maximum = UINT32_MAX;
}

int main(void)
{
    RUN_AS(acceptance_3, "acceptance 3: replays are refused, late numbers are taken once in a window, restarts change nothing");
    RUN_AS(acceptance_4, "acceptance 4: burst + 1 is refused in the same tick, and no key displaces another");
    RUN_AS(acceptance_6, "acceptance 6: good, bad, good, bad: two are delivered");
    RUN(several_sends_of_one_event);
    RUN(conflict_and_refusal_leave_no_trace);
    RUN(only_keys_that_were_taken);
    RUN(a_held_key_is_waited_for);
    RUN(a_key_goes_to_who_waits_for_it);
    RUN(state_survives_the_router);
    RUN(state_that_is_gone);
    RUN(a_state_that_was_forgotten);
    RUN(spent_keys_leave);
    RUN(states_that_do_not_fit);
    RUN(observe);
    RUN(fresh_when_it_was_sent);
    RUN(bytes_wait_and_key_bytes_are_refused);
    RUN(fan_out);
    RUN(request_pairing);
    RUN(a_million_keys);
    TEST_END();
}
