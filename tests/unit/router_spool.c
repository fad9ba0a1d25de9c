// SPDX-License-Identifier: ISC
// The router's side of what waits in the store: bytes are reserved as messages are, what is too late ends while it
// waits, what the store ended is known.
#include "router/state.h"
#include "tests/unit/router_fake.h"

static struct fake_records records;

// Front sends one raw message for each input of connection 7.
static void publish(uint32_t key)
{
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    if (fake.delivery_count[FRONT] == 0)
        return;
    fake_item(&records, OUT_RAW, 1, key, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

// An event of front may send four: so many bytes must be free before it starts.
TEST(bytes_are_reserved)
{
    fake_clear();
    uint64_t row = system_row_bytes(&fake.system.schemas[SCHEMA_ITEM]);
    uint64_t waits = commit_row_bytes(4, 0, sizeof(struct item)); // of one message
    fake_flows[RAW].bytes_max = 4 * row + 2 * waits - 1;
    fake_start();
    publish(1);
    publish(2);
    expect(fake.row_count == 2 && fake.taken == 2);
    publish(3); // not now: two wait, and four might come
    expect(fake.delivery_count[FRONT] == 0 && fake.row_count == 2 && fake.taken == 2);
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[FRONT] == 1); // now there is room
    fake_item(&records, OUT_RAW, 1, 3, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.row_count == 3 && fake_is_exact());
    fake_stop();
}

// Nobody waits for room in a flow that keeps the newest.
TEST(newest_needs_no_room)
{
    fake_clear();
    fake_flows[RAW].cap = 5;
    fake_flows[RAW].is_newest_kept = 1;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    for (uint32_t i = 0; i < 5; i++)
        publish(i);
    publish(9);
    expect(fake.row_count == 6 && fake.page->spooled[RAW] == 6);
    // What the store ended for it.
    struct commit_left left = {{sizeof left, COMMIT_LEFT, 0, RAW}, 1, commit_row_bytes(4, 0, 16), 0, 0, REASON_DISPLACED, 0};
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_OK);
    expect(fake.page->spooled[RAW] == 5 && fake_count(RAW, REASON_DISPLACED) == 1);
    expect(fake_count(RAW, REASON_ENTERED) == 6 && fake_ended(fake.page->counters, RAW) == 1);
    left.count = 6; // more than there are
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_MALFORMED);
    left.count = 1;
    left.reason = REASON_ENTERED;
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_MALFORMED);
    left.packet.handle = NOTE; // volatile
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_MALFORMED);
    fake_stop();
}

// Also while nobody is there to take it. Each is counted, none is a dead letter.
TEST(what_is_too_late_ends)
{
    fake_clear();
    fake_flows[RAW].live_ms = 10000;
    fake_start();
    engine_closed(fake.engine, ENGINE_RECEIVER, DECODE);
    for (uint32_t i = 0; i < 3; i++) {
        publish(i);
        fake_clock(1000);
    }
    fake_tick(6000);
    expect(fake_count(RAW, REASON_EXPIRED) == 0 && fake.page->spooled[RAW] == 3);
    fake_clock(1000); // the first is ten seconds old
    int in_ms = engine_tick(fake.engine);
    expect(in_ms > 0 && in_ms <= 1000);
    fake_store();
    expect(fake_count(RAW, REASON_EXPIRED) == 1 && fake.page->spooled[RAW] == 2 && fake_is_exact());
    expect(fake.last_header.reason == REASON_EXPIRED && fake.last_header.dead_count == 0 && fake.dead_count == 0);
    // The others are in time, in order, and an event that began may end.
    expect(fake_hello(DECODE, 3) == STATUS_OK && fake.delivery_count[DECODE] == 2);
    expect(fake.deliveries[DECODE][0].deliver.number == 2 && fake.deliveries[DECODE][1].deliver.number == 3);
    fake_tick(60000);
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_DONE) == 1 && fake_count(RAW, REASON_EXPIRED) == 1);
    // One whose instance was lost goes back to its place, and is too late there.
    expect(fake_fail(DECODE, LINK_LOST) == STATUS_OK && fake.delivery_count[DECODE] == 0);
    fake_store();
    expect(fake_count(RAW, REASON_EXPIRED) == 2 && fake.page->spooled[RAW] == 0 && fake_is_exact());
    fake_stop();
}

// What waits has its time by the time that passes, not by a clock that is set; the store does the same with what it has.
TEST(a_clock_that_is_set_makes_nothing_late)
{
    const int64_t day_ms = 86400000;
    fake_clear();
    fake_flows[RAW].live_ms = 10000;
    fake_start();
    engine_closed(fake.engine, ENGINE_RECEIVER, DECODE);
    publish(1);
    for (int i = 1; i <= 9; i++) {
        fake.now_ms += 1000;
        engine_clock(fake.engine, fake.now_ms, fake.now_ms, 1700000000000 + fake.now_ms + (i < 5 ? day_ms : -day_ms));
        (void)engine_tick(fake.engine);
        fake_store();
    }
    expect(fake_count(RAW, REASON_EXPIRED) == 0);
    fake.now_ms += 1000;
    engine_clock(fake.engine, fake.now_ms, fake.now_ms, 1700000000000 + fake.now_ms - day_ms);
    (void)engine_tick(fake.engine);
    fake_store();
    expect(fake_count(RAW, REASON_EXPIRED) == 1 && fake_is_exact());
    fake_stop();
}

static void give_row(uint16_t flow, uint16_t receiver, uint64_t waiting)
{
    fake.rows[fake.row_count++] = (struct fake_row){.send = {.flow = flow, .receiver = receiver}, .is_alive = 1};
    struct commit_spool spool = {{sizeof spool, COMMIT_SPOOL, 0, flow}, waiting, waiting * COMMIT_ROW_BYTES, 0};
    expect(fake_give(ENGINE_STORE, 0, &spool, sizeof spool) == STATUS_OK);
    fake.counters[COUNTER_FLOW(flow, REASON_ENTERED)] += waiting;
    fake.page->counters[COUNTER_FLOW(flow, REASON_ENTERED)] += waiting;
}

// A unikernel may set two timers in one event, and the flow of its timers is exactly full: its events would wait
// for room that only they can make. They go on, one after the other; one that asks for more than there is fails.
TEST(full_of_its_own_timers)
{
    struct item item = {1, 1, 1};
    fake_clear();
    fake_flows[LATER].count_max = 2;
    fake_flows[LATER].cap = 4;
    fake_start();
    for (int i = 0; i < 4; i++)
        give_row(LATER, SINK, 1);
    fake_outbox();
    expect(fake.delivery_count[SINK] == 1); // one at a time
    fake_send_record(&records, 0, 10000, "", &item, sizeof item);
    expect(fake_end(SINK, &records) == STATUS_OK); // takes the place of the one that it was
    fake_store();
    expect(fake_count(LATER, REASON_DONE) == 1 && fake.page->spooled[LATER] == 4 && fake.delivery_count[SINK] == 1);
    fake_send_record(&records, 0, 10000, "", &item, sizeof item);
    fake_send_record(&records, 0, 10000, "", &item, sizeof item);
    expect(fake_end(SINK, &records) == STATUS_OK); // wants one more
    fake_store();
    expect(fake_count(LATER, REASON_BUDGET) == 1 && fake.last_dead_reason == REASON_BUDGET && fake_is_exact());
    expect(fake.page->spooled[LATER] == 3 && fake.delivery_count[SINK] == 1); // 3 - 1 + 2: may set two again
    fake_send_record(&records, 0, 10000, "", &item, sizeof item);
    fake_send_record(&records, 0, 10000, "", &item, sizeof item);
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.page->spooled[LATER] == 4 && fake_count(LATER, REASON_BUDGET) == 1 && fake_is_exact());
    fake_stop();
}

// Why the compiler refuses a cycle of flows that all keep the oldest: once all are full nobody can start. A time to live
// in one of them ends that.
TEST(a_full_cycle)
{
    fake_clear();
    // decode -reading-> sink -back-> decode: the flow of timers leads back to decode instead.
    fake_flows[LATER].receivers[0].index = DECODE;
    fake_flows[LATER].receivers[0].port = 1;
    fake_unikernels[SINK].inputs[2] = SYSTEM_NONE;
    fake_unikernels[DECODE].inputs[1] = LATER;
    fake_unikernels[DECODE].input_count = 2;
    fake_flows[READING].cap = 2;
    fake_flows[LATER].cap = 2;
    fake_flows[LATER].live_ms = 30000;
    fake_start();
    for (int i = 0; i < 2; i++) {
        give_row(READING, SINK, 1);
        give_row(LATER, DECODE, 1);
    }
    for (uint32_t i = 0; i < fake.row_count; i++)
        fake.rows[i].time_ms = 1700000000000 + fake.now_ms;
    fake_outbox();
    for (int i = 0; i < 20; i++)
        fake_tick(1000);
    expect(fake.delivery_count[SINK] == 0 && fake.delivery_count[DECODE] == 0); // for ever
    fake_tick(10000);
    expect(fake_count(LATER, REASON_EXPIRED) == 2 && fake.delivery_count[SINK] == 1); // not so: one of a key
    fake_stop();
}

// A cycle through connections: alarms of decode wait for a connection whose client may send on a flow that is full, and
// decode for the alarms. A connection that holds up what others sent it is ended, as one that reads nothing is.
TEST(a_full_cycle_through_a_connection)
{
    fake_clear();
    fake_flows[RAW].count_max = fake_flows[ALARM].count_max = 1;
    fake_flows[RAW].cap = fake_flows[ALARM].cap = 2;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_join(&records, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    for (int i = 0; i < 2; i++) {
        give_row(RAW, DECODE, 1);
        give_row(ALARM, FRONT, 1);
    }
    fake_outbox();
    expect(fake_gateway(LINK_INPUT, 7, "y") == STATUS_OK); // waits in front of nobody
    for (int i = 0; i < 49; i++)
        fake_tick(100);
    expect(fake.delivery_count[FRONT] == 0 && fake.delivery_count[DECODE] == 0 && fake.ended == 0);
    fake_tick(200);
    fake_store();
    expect(fake.ended == 1 && fake.last_ended == 7 && fake_count(ALARM, REASON_CONNECTION) == 2);
    fake_tick(1);
    expect(fake.delivery_count[DECODE] == 1 && fake_is_exact()); // one of a key
    fake_stop();
    // Who only sends is held back as long as it takes.
    fake_clear();
    fake_flows[RAW].count_max = fake_flows[ALARM].count_max = 1;
    fake_flows[RAW].cap = 2;
    fake_start();
    fake.credit[DECODE][RAW] = 0;
    for (int i = 0; i < 2; i++)
        give_row(RAW, DECODE, 1);
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    for (int i = 0; i < 20; i++)
        fake_tick(1000);
    expect(fake.delivery_count[FRONT] == 0 && fake.ended == 0 && fake_is_exact());
    fake_stop();
}

// Two tenders that were taken over hold as many events as they may. The others go on.
TEST(events_are_left_for_the_others)
{
    fake_clear();
    fake_unikernels[DECODE].instances_max = fake_unikernels[SINK].instances_max = 256;
    for (int i = 0; i < FLOWS; i++)
        fake_flows[i].cap = fake_flows[i].is_durable ? 1000000 : 0;
    fake_flows[RAW].key_field = fake_flows[READING].key_field = SYSTEM_NONE;
    fake_flows[READING].check_count = 0;
    fake_flows[READING].keys_max = 0;
    fake_start();
    fake.engine->events.count = 300; // fewer than they may hold; with many unikernels there always are
    for (uint32_t i = DECODE; i <= SINK; i++) {
        engine_closed(fake.engine, ENGINE_RECEIVER, i);
        expect(fake_hello(i, 256) == STATUS_OK);
        fake.credit[i][i == DECODE ? RAW : READING] = 1000;
    }
    for (int i = 0; i < 600; i++)
        fake.rows[fake.row_count++] = (struct fake_row){
            .send = {.flow = i % 2 ? RAW : READING, .receiver = i % 2 ? DECODE : SINK}, .is_alive = 1};
    for (int i = 0; i < 200; i++)
        fake_outbox();
    expect(fake.delivery_count[DECODE] + fake.delivery_count[SINK] == 298);
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 1); // front is served
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_LOGIN, 0, "", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK && fake.delivery_count[LOGIN] == 1); // and the service
    fake_stop();
}

int main(void)
{
    RUN(full_of_its_own_timers);
    RUN(a_full_cycle);
    RUN(a_full_cycle_through_a_connection);
    RUN(events_are_left_for_the_others);
    RUN(bytes_are_reserved);
    RUN(newest_needs_no_room);
    RUN(what_is_too_late_ends);
    RUN(a_clock_that_is_set_makes_nothing_late);
    TEST_END();
}
