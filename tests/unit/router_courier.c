// SPDX-License-Identifier: ISC
// Couriers at the router's engine: what is delivered to them, and what they bring. reading goes to sink and to the courier;
// note comes from the courier to sink, keyed by nothing, and may be sent by a principal alone where a test says so.
#include "router/state.h"
#include "tests/unit/router_fake.h"

static struct fake_records records;
static struct system_courier courier;
static uint16_t brought_flow = NOTE;

static void prepare(void)
{
    fake_clear();
    courier = (struct system_courier){.name = "cloud", .peer_count = 2, .peers = {{.name = "a"}, {.name = "b", .principal = 2}}};
    fake.system.couriers = &courier;
    fake.system.courier_count = 1;
    fake_flows[READING].receiver_count = 2;
    fake_flows[READING].receivers[1] = (struct system_receiver){.kind = SYSTEM_COURIER};
    fake_unikernels[FRONT].outputs[OUT_NOTE] = SYSTEM_NONE;
    fake_flows[NOTE].sender_kind = SYSTEM_COURIER;
    fake_flows[NOTE].sender = 0;
    fake_flows[NOTE].count_max = 1;
    fake_flows[NOTE].is_durable = 1;
    fake_flows[NOTE].cap = 100;
    fake_flows[NOTE].bytes_max = 1 << 20;
}

static void start(void)
{
    fake_start();
    expect(fake_hello(COURIER, 64) == STATUS_OK);
    fake_store();
}

static void begin(void)
{
    prepare();
    start();
}

// Handle and sequence are the same.
static enum status bring(uint64_t sequence, uint64_t previous, uint32_t value)
{
    struct {
        struct link_bring bring;
        struct item item;
    } record = {{.header = {sizeof record, LINK_BRING, 0, sequence}, .source = {77, sequence, previous, 0, {0}},
                 .flow = brought_flow, .payload_bytes = sizeof(struct item)},
                {value, 1, 1}};
    return fake_give(ENGINE_RECEIVER, COURIER, &record, sizeof record);
}

static int was_brought(uint32_t at, uint64_t handle, uint32_t reason)
{
    return at < fake.brought_count && fake.brought[at].header.handle == handle && fake.brought[at].reason == reason;
}

// One reading, by way of raw.
static void read_one(uint64_t sequence)
{
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 5, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    fake_item(&records, OUT_READING, 5, 1, sequence);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
}

TEST(what_is_brought_is_an_effect_of_the_courier)
{
    begin();
    expect(bring(1, 0, 5) == STATUS_OK && fake.brought_count == 0);
    fake_store();
    expect(was_brought(0, 1, REASON_DONE)); // after the commit, not before
    expect(fake.last_source.stream == 77 && fake.last_source.sequence == 1 && fake.last_header.flow == NOTE &&
           fake.last_header.consume == 0 && fake.last_header.unikernel == SYSTEM_NONE);
    expect(fake.delivery_count[SINK] == 1 && fake.page->spooled[NOTE] == 1 && fake_count(NOTE, REASON_ENTERED) == 1);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake.last_source.sequence == 0 && fake_count(NOTE, REASON_DONE) == 1 && fake.page->spooled[NOTE] == 0);
    expect(fake_is_exact() && fake.page->in_flight == 0);
    fake_stop();
}

TEST(what_is_refused_is_a_dead_letter_and_has_its_place_in_the_stream)
{
    begin();
    expect(bring(1, 0, 1001) == STATUS_OK); // above its maximum
    expect(bring(2, 1, 7) == STATUS_OK);
    fake_store();
    expect(was_brought(0, 1, REASON_RANGE) && was_brought(1, 2, REASON_DONE));
    expect(fake.dead_count == 1 && fake.last_dead_reason == REASON_RANGE && strcmp(fake.last_dead_text, "range note.value") == 0);
    expect(fake_count(NOTE, REASON_ENTERED) == 2 && fake_count(NOTE, REASON_RANGE) == 1 && fake.page->spooled[NOTE] == 1);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake_is_exact() && fake.page->spooled[NOTE] == 0 && fake.page->in_flight == 0);
    fake_stop();
}

TEST(what_the_store_has_had_has_no_effect)
{
    begin();
    fake.next_result = COMMIT_DUPLICATE;
    fake.result_count = 1;
    expect(bring(1, 0, 5) == STATUS_OK);
    fake_store();
    expect(was_brought(0, 1, REASON_DONE) && fake.delivery_count[SINK] == 0 && fake_count(NOTE, REASON_ENTERED) == 0);
    fake.next_result = COMMIT_DUPLICATE; // also of one that was refused
    fake.result_count = 1;
    expect(bring(2, 1, 1001) == STATUS_OK);
    fake_store();
    expect(was_brought(1, 2, REASON_DONE) && fake_count(NOTE, REASON_RANGE) == 0 && fake.dead_count == 0);
    fake.next_result = COMMIT_NOT_NOW; // the one before it has not come yet, or the disk is full
    fake.result_count = 3;
    expect(bring(4, 3, 5) == STATUS_OK);
    fake_store();
    expect(fake.brought_count == 2);
    for (int i = 0; i < 4; i++)
        fake_tick(ROUTER_RETRY_MS);
    expect(was_brought(2, 4, REASON_DONE) && fake.delivery_count[SINK] == 1);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake_is_exact() && fake.page->in_flight == 0);
    fake_stop();
}

TEST(what_is_brought_goes_to_subscribers)
{
    prepare();
    fake_unikernels[DECODE].outputs[OUT_ALARM] = SYSTEM_NONE;
    fake_flows[ALARM].sender_kind = SYSTEM_COURIER;
    fake_flows[ALARM].sender = 0;
    brought_flow = ALARM;
    start();
    expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_join(&records, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(bring(1, 0, 5) == STATUS_OK);
    fake_store();
    expect(was_brought(0, 1, REASON_DONE) && fake.delivery_count[FRONT] == 1 && fake.deliveries[FRONT][0].deliver.flow == 2);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(ALARM, REASON_DONE) == 1 && fake_is_exact());
    brought_flow = NOTE;
    fake_stop();
}

TEST(a_principal_is_the_peers)
{
    prepare();
    fake_flows[NOTE].is_open = 0;
    fake_flows[NOTE].principals = 2; // the second one, whom peer b speaks for
    start();
    expect(bring(1, 0, 5) == STATUS_OK); // from a
    fake_store();
    expect(was_brought(0, 1, REASON_PRINCIPAL) && fake.delivery_count[SINK] == 0 && fake_is_exact());
    fake_stop();
}

TEST(rates_and_room_hold_back_and_lose_nothing)
{
    prepare();
    fake_flows[NOTE].cap = 3;
    fake_flows[NOTE].rate_per_second = fake_flows[NOTE].rate_burst = 2;
    start();
    for (uint64_t i = 1; i <= 6; i++)
        expect(bring(i, i - 1, 5) == STATUS_OK);
    fake_store();
    expect(fake.brought_count == 2 && fake_count(NOTE, REASON_THROTTLED) >= 1);
    fake_tick(5000);
    expect(fake.brought_count == 3 && fake.page->spooled[NOTE] == 3); // now its cap
    for (uint64_t i = 1; i <= 6; i++) {
        expect(fake.deliveries[SINK][0].deliver.payload_bytes == sizeof(struct item));
        expect(fake_end(SINK, NULL) == STATUS_OK);
        fake_store();
        fake_tick(1000);
    }
    expect(fake.brought_count == 6 && fake_count(NOTE, REASON_DONE) == 6 && fake_is_exact());
    for (uint32_t i = 0; i < 6; i++)
        expect(was_brought(i, i + 1, REASON_DONE)); // in order
    fake_stop();
}

TEST(no_more_is_taken_than_the_link_allows)
{
    prepare();
    fake_flows[NOTE].cap = 1;
    start();
    for (uint64_t i = 1; i <= LINK_BRINGS_MAX + 1; i++)
        expect(bring(i, i - 1, 5) == STATUS_OK);
    expect(was_brought(0, LINK_BRINGS_MAX + 1, REASON_LOST)); // one is being committed, the others wait
    fake_store();
    expect(was_brought(1, 1, REASON_DONE) && fake.brought_count == 2);
    engine_closed(fake.engine, ENGINE_RECEIVER, COURIER); // what has not begun is forgotten
    expect(fake_hello(COURIER, 64) == STATUS_OK);
    expect(fake.brought_count == 1 + LINK_BRINGS_MAX && was_brought(2, 2, REASON_LOST) && bring(2, 0, 5) == STATUS_OK);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(was_brought(1 + LINK_BRINGS_MAX, 2, REASON_DONE) && fake_is_exact());
    fake_stop();
}

// No link for days: its events stay with the courier, or come back, and no attempt is used up.
TEST(no_attempt_is_used_up_by_a_courier)
{
    begin();
    for (uint64_t i = 1; i <= 3; i++)
        read_one(i);
    expect(fake.delivery_count[COURIER] == 3 && fake.deliveries[COURIER][0].deliver.flow == READING);
    for (unsigned i = 0; i < 10; i++) {
        fake.delivery_count[COURIER] = 0;
        engine_closed(fake.engine, ENGINE_RECEIVER, COURIER);
        expect(fake_hello(COURIER, 64) == STATUS_OK);
        expect(fake.delivery_count[COURIER] == 3);
        for (uint32_t j = 1; j < 3; j++) // in order
            expect(fake.deliveries[COURIER][j].deliver.number > fake.deliveries[COURIER][j - 1].deliver.number);
    }
    expect(fake_fail(COURIER, LINK_LOST) == STATUS_OK && fake.delivery_count[COURIER] == 3 && fake.dead_count == 0);
    while (fake.delivery_count[COURIER] != 0)
        expect(fake_end(COURIER, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(READING, REASON_DONE) == 3 && fake_is_exact());
    fake_stop();
}

TEST(what_the_peer_refused_is_a_dead_letter)
{
    begin();
    read_one(1);
    expect(fake_fail(COURIER, LINK_CONTRACT) == STATUS_OK);
    fake_store();
    expect(fake.dead_count == 1 && fake.last_dead_reason == REASON_ENVELOPE && fake_count(READING, REASON_ENVELOPE) == 1);
    fake_stop();
}

// A courier that was taken over.
TEST(a_courier_says_nothing_else)
{
    struct {
        struct link_bring bring;
        struct item item;
    } good = {{.header = {sizeof good, LINK_BRING, 0, 1}, .source = {1, 1, 0, 0, {0}}, .flow = NOTE,
               .payload_bytes = sizeof(struct item)}, {5, 1, 1}}, bad;
    begin();
    bad = good, bad.bring.flow = READING; // goes to it
    expect(fake_give(ENGINE_RECEIVER, COURIER, &bad, sizeof bad) == STATUS_MALFORMED);
    bad = good, bad.bring.flow = 200;
    expect(fake_give(ENGINE_RECEIVER, COURIER, &bad, sizeof bad) == STATUS_MALFORMED);
    bad = good, bad.bring.source.peer = 2;
    expect(fake_give(ENGINE_RECEIVER, COURIER, &bad, sizeof bad) == STATUS_MALFORMED);
    bad = good, bad.bring.payload_bytes = 17;
    expect(fake_give(ENGINE_RECEIVER, COURIER, &bad, sizeof bad) == STATUS_MALFORMED);
    bad = good, bad.bring.payload_bytes = UINT32_MAX;
    expect(fake_give(ENGINE_RECEIVER, COURIER, &bad, sizeof bad) == STATUS_MALFORMED);
    expect(fake_give(ENGINE_RECEIVER, SINK, &good, sizeof good) == STATUS_MALFORMED); // a tender
    expect(fake_give(ENGINE_RECEIVER, LOGIN, &good, sizeof good) == STATUS_MALFORMED);
    read_one(1);
    fake_item(&records, 0, 5, 1, 1); // an effect of what it was given to carry
    expect(fake_end(COURIER, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_FLOW && fake_count(NOTE, REASON_ENTERED) == 0);
    engine_closed(fake.engine, ENGINE_RECEIVER, COURIER);
    expect(fake_give(ENGINE_RECEIVER, COURIER, &good, sizeof good) == STATUS_MALFORMED); // before HELLO
    fake_stop();
}

int main(void)
{
    RUN(what_is_brought_is_an_effect_of_the_courier);
    RUN(what_is_refused_is_a_dead_letter_and_has_its_place_in_the_stream);
    RUN(what_the_store_has_had_has_no_effect);
    RUN(what_is_brought_goes_to_subscribers);
    RUN(a_principal_is_the_peers);
    RUN(rates_and_room_hold_back_and_lose_nothing);
    RUN(no_more_is_taken_than_the_link_allows);
    RUN(no_attempt_is_used_up_by_a_courier);
    RUN(what_the_peer_refused_is_a_dead_letter);
    RUN(a_courier_says_nothing_else);
    TEST_END();
}
