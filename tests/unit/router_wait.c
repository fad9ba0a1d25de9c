// SPDX-License-Identifier: ISC
// The router's engine while something has to wait: what was paid, counted or bound once stays so.
#include "tests/unit/router_fake.h"

static struct fake_records records;

static void begin(void)
{
    fake_clear();
    fake_start();
}

static void speak(uint64_t handle)
{
    expect(fake_gateway(LINK_OPEN, handle, "p") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, handle, "x") == STATUS_OK);
}

// What waits for the store has paid already.
TEST(paid_once)
{
    fake_clear();
    fake_flows[RAW].rate_per_second = 1;
    fake_flows[RAW].rate_burst = 2;
    fake_start();
    fake.next_result = COMMIT_NOT_NOW;
    fake.result_count = 3;
    speak(7);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    for (int i = 0; i < 3; i++)
        fake_tick(110);
    expect(fake_count(RAW, REASON_ENTERED) == 1 && fake.taken == 1);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_ENTERED) == 2 && fake_count(RAW, REASON_THROTTLED) == 0);
    fake_stop();
}

// Counts of volatile events that the store cannot take now are offered again, none lost and none twice.
TEST(interval_is_kept)
{
    begin();
    speak(7);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_clock(2000);
    (void)engine_tick(fake.engine);
    expect(fake.commit_count == 1);
    struct commit_done done = {{sizeof done, COMMIT_DONE, 0, 0}, COMMIT_NOT_NOW, 0, 0};
    free(fake.commits[0].bytes);
    fake.commit_count = 0;
    expect(fake_give(ENGINE_STORE, 0, &done, sizeof done) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK && fake_end(FRONT, NULL) == STATUS_OK);
    fake_tick(1100);
    fake_tick(1100);
    expect(fake.counters[COUNTER_FLOW(WIRE_IN, REASON_DONE)] == 2);
    expect(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
    fake_stop();
}

// A connection that ended while its effects are with the store keeps its place and its instance until they are taken.
TEST(connection_stays_for_its_commit)
{
    begin();
    speak(7);
    uint64_t connection = fake.deliveries[FRONT][0].deliver.connection;
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    engine_closed(fake.engine, ENGINE_GATEWAY, 0);
    expect(fake.page->connections == 0 && fake.close_count == 0);
    speak(8); // does not get the place of the one that is ending
    expect(fake.delivery_count[FRONT] == 1 && fake.deliveries[FRONT][0].deliver.connection != connection);
    fake_store();
    expect(fake.row_count == 1 && fake.close_count == 1 && fake.closed[0] == connection);
    expect(fake_end(FRONT, NULL) == STATUS_OK && fake.taken == 1);
    struct link_header gone = {sizeof gone, LINK_GONE, 0, connection};
    expect(fake_give(ENGINE_RECEIVER, FRONT, &gone, sizeof gone) == STATUS_OK);
    expect(fake.page->connections == 1 && fake.page->in_flight == 1 && fake_is_exact()); // RAW is with decode
    fake_stop();
}

// The store's answer to an attempt that is lost is not taken for one to the next attempt.
TEST(late_answer)
{
    begin();
    speak(7);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    struct {
        struct link_header header;
        struct abi_read read;
        uint8_t key[8];
    } ask = {{sizeof ask, LINK_READ, 0, fake.deliveries[SINK][0].deliver.header.handle},
             {.record = {sizeof ask.read + 8, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1, .from_bytes = 4}, {0}};
    uint64_t lost = ask.header.handle;
    expect(fake_give(ENGINE_RECEIVER, SINK, &ask, sizeof ask) == STATUS_OK);
    expect(fake_fail(SINK, LINK_LOST) == STATUS_OK);
    expect(fake.delivery_count[SINK] == 1 && fake.deliveries[SINK][0].deliver.attempt == 2);
    ask.header.handle = fake.deliveries[SINK][0].deliver.header.handle;
    expect(fake_give(ENGINE_RECEIVER, SINK, &ask, sizeof ask) == STATUS_OK);
    fake.answer_items = 0;
    fake_answer(lost);
    expect(fake.answer_items == 0);
    fake_answer(ask.header.handle);
    expect(fake.answer_items == 1);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(READING, REASON_DONE) == 1 && fake_is_exact());
    fake_stop();
}

// One that is too late ends its connection, and with it what waits behind it in the same queue.
TEST(late_with_its_connection)
{
    for (int is_free = 0; is_free < 2; is_free++) { // seen by the clock, or when an instance is free
        struct item item = {1, 1, 0};
        fake_clear();
        fake_flows[TICK].count_max = 3;
        fake_flows[TICK].live_ms = 100;
        fake_start();
        speak(7);
        for (int i = 0; i < 3; i++)
            fake_send_record(&records, OUT_TICK, 0, "c", &item, sizeof item);
        expect(fake_end(FRONT, &records) == STATUS_OK && fake.delivery_count[FRONT] == 1);
        fake_clock(200);
        if (is_free)
            expect(fake_end(FRONT, NULL) == STATUS_OK);
        fake_tick(0);
        while (fake.delivery_count[FRONT] != 0)
            expect(fake_end(FRONT, NULL) == STATUS_OK);
        fake_store();
        expect(fake_count(TICK, REASON_ENTERED) == fake_ended(fake.page->counters, TICK) && fake.ended == 1);
        expect(fake.page->in_flight == 0 && fake_count(TICK, REASON_EXPIRED) == 1 && fake_is_exact());
        fake_stop();
    }
}

// Connection `handle` sends so many; when its turn before is over.
static void send_raw(uint64_t handle, int count)
{
    static uint32_t value;
    if (!fake.has_taken[handle])
        return;
    fake.has_taken[handle] = 0;
    expect(fake_gateway(LINK_INPUT, handle, "x") == STATUS_OK && fake.delivery_count[FRONT] == 1);
    for (int i = 0; i < count; i++)
        fake_item(&records, OUT_RAW, 1, ++value, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

// Who needs many tokens has his turn among those who need one and take each that comes.
TEST(many_tokens)
{
    fake_clear();
    fake_flows[RAW].rate_per_second = 10;
    fake_flows[RAW].rate_burst = 4;
    fake_start();
    for (uint64_t handle = 7; handle <= 9; handle++) {
        expect(fake_gateway(LINK_OPEN, handle, "p") == STATUS_OK);
        fake.has_taken[handle] = 1;
    }
    send_raw(8, 4);
    send_raw(7, 4);
    expect(fake.has_taken[8] && !fake.has_taken[7]); // 7 waits
    for (int i = 0; i < 20; i++) {
        send_raw(8, 1);
        send_raw(9, 1);
        fake_tick(100);
    }
    expect(fake.has_taken[7] && fake_count(RAW, REASON_ENTERED) >= 4 + 4 + 8);
    fake_stop();
}

// A message that kills the tender is the only one that pays for it: on its last attempt each is alone with the tender.
TEST(poison_costs_no_other)
{
    int deaths = 0;
    begin();
    speak(7);
    for (uint32_t i = 1; i <= 4; i++)
        fake_item(&records, OUT_RAW, i, i, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] == 3); // as many as it has instances
    while (fake.delivery_count[DECODE] != 0 && deaths < 10) {
        int is_poisoned = 0;
        for (uint32_t i = 0; i < fake.delivery_count[DECODE]; i++)
            is_poisoned |= fake.deliveries[DECODE][i].payload[0] == 2;
        if (!is_poisoned) {
            expect(fake_end(DECODE, NULL) == STATUS_OK);
        } else {
            deaths++;
            fake.delivery_count[DECODE] = 0;
            engine_closed(fake.engine, ENGINE_RECEIVER, DECODE);
            expect(fake_hello(DECODE, 3) == STATUS_OK);
        }
        fake_store();
    }
    expect(deaths == 3 && fake.dead_count == 1 && fake_count(RAW, REASON_ATTEMPTS) == 1);
    expect(fake_count(RAW, REASON_DONE) == 3 && fake.page->in_flight == 0 && fake_is_exact());
    fake_stop();
}

int main(void)
{
    RUN(paid_once);
    RUN(interval_is_kept);
    RUN(connection_stays_for_its_commit);
    RUN(late_answer);
    RUN(late_with_its_connection);
    RUN(many_tokens);
    RUN(poison_costs_no_other);
    TEST_END();
}
