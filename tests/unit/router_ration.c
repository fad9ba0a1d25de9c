// SPDX-License-Identifier: ISC
// Faults are rationed per sender and unikernel: whose messages crash one too often is not shown to it for a while, and
// nobody else notices.
#include "tests/unit/router_fake.h"

static struct fake_records records;

static void open_as(uint64_t handle, uint8_t principal)
{
    struct item item = {1, 1, 1};
    uint8_t reply[8] = {1, 0, principal, 0};
    expect(fake_gateway(LINK_OPEN, handle, "p") == STATUS_OK);
    if (principal == 0)
        return;
    expect(fake_gateway(LINK_INPUT, handle, "x") == STATUS_OK);
    fake_send_record(&records, OUT_LOGIN, 0, "me", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_OK);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
}

// Connections 1 and 2 of principals 1 and 2, 3 and 4 of nobody.
static void begin(void)
{
    fake_clear();
    fake_unikernels[SINK].lifetime = 2; // resident
    fake_start();
    open_as(1, 1);
    open_as(2, 2);
    open_as(3, 0);
    open_as(4, 0);
}

// One message of that connection, on the way to its receiver.
static void say(uint64_t connection, uint16_t output, uint32_t key)
{
    expect(fake_gateway(LINK_INPUT, connection, "x") == STATUS_OK);
    fake_item(&records, output, 1, key, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

static void crash(uint64_t connection, uint16_t output, uint32_t receiver, uint16_t outcome)
{
    say(connection, output, 1);
    expect(fake.delivery_count[receiver] == 1 && fake_fail(receiver, outcome) == STATUS_OK);
    fake_store();
}

static void expect_served(uint64_t connection, uint16_t output, uint32_t receiver)
{
    say(connection, output, 1);
    expect(fake.delivery_count[receiver] == 1 && fake_end(receiver, NULL) == STATUS_OK);
    fake_store();
}

// Dead-lettered at once, and not shown.
static void expect_rationed(uint64_t connection, uint16_t output, uint32_t receiver)
{
    uint32_t dead = fake.dead_count, shown = fake.delivery_count[receiver];
    say(connection, output, 1);
    expect(fake.delivery_count[receiver] == shown && fake.dead_count == dead + 1);
    expect(fake.last_dead_reason == REASON_RATIONED && strstr(fake.last_dead_text, "rationed: ") == fake.last_dead_text);
}

static void expect_exact(void)
{
    fake_tick(1500);
    fake_tick(1500); // what is volatile has reached the store
    expect(fake_is_exact() && fake.page->in_flight == 0);
    expect(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
    for (uint32_t flow = 0; flow < FLOWS; flow++)
        expect(fake_count(flow, REASON_ENTERED) == fake_ended(fake.page->counters, flow));
}

static void ration(uint16_t output, uint32_t flow, uint32_t receiver)
{
    begin();
    crash(1, output, receiver, LINK_FAULT);
    crash(1, output, receiver, LINK_DEADLINE);
    expect_served(1, output, receiver);
    crash(1, output, receiver, LINK_FAULT);
    for (uint32_t i = 0; i < 10; i++) {
        expect_rationed(1, output, receiver);
        expect_served(2, output, receiver);
        expect_served(3, output, receiver);
    }
    expect_served(1, receiver == SINK ? OUT_RAW : OUT_NOTE, receiver == SINK ? DECODE : SINK); // there it did nothing
    fake_tick(FAULT_FORGOTTEN_MS - 1);
    expect_rationed(1, output, receiver);
    fake_tick(1);
    expect_served(1, output, receiver); // one more
    crash(1, output, receiver, LINK_FAULT);
    expect_rationed(1, output, receiver);
    fake_tick(FAULTS_MAX * FAULT_FORGOTTEN_MS);
    for (uint32_t i = 0; i < FAULTS_MAX; i++) // all of it is back
        crash(1, output, receiver, LINK_FAULT);
    expect_rationed(1, output, receiver);
    expect(fake_count(flow, REASON_RATIONED) == 13 && fake_count(flow, REASON_DEADLINE) == 1);
    expect(fake_count(flow, REASON_FAULT) == 6 && fake_count(flow, REASON_DONE) == 22 && fake.dead_count == 20);
    expect_exact();
    fake_stop();
}

TEST(durable_messages) { ration(OUT_RAW, RAW, DECODE); }
TEST(volatile_messages) { ration(OUT_NOTE, NOTE, SINK); }

// What was in flight when the ration ended is not taken back: it is paid back.
TEST(in_flight)
{
    begin();
    crash(1, OUT_RAW, DECODE, LINK_FAULT);
    crash(1, OUT_RAW, DECODE, LINK_FAULT);
    for (uint32_t key = 1; key <= 3; key++)
        say(1, OUT_RAW, key);
    expect(fake.delivery_count[DECODE] == 3);
    for (uint32_t i = 0; i < 3; i++)
        expect(fake_fail(DECODE, LINK_FAULT) == STATUS_OK);
    fake_store();
    fake_tick(3 * FAULT_FORGOTTEN_MS - 1);
    expect_rationed(1, OUT_RAW, DECODE);
    fake_tick(1);
    expect_served(1, OUT_RAW, DECODE);
    expect(fake_count(RAW, REASON_FAULT) == 5);
    expect_exact();
    fake_stop();
}

// A message behind many of one who is rationed starts as if they were not there; theirs wait for the store alone.
TEST(flood)
{
    begin();
    for (uint32_t i = 0; i < FAULTS_MAX; i++)
        crash(1, OUT_RAW, DECODE, LINK_FAULT);
    for (uint32_t key = 1; key <= 3; key++) // keeps all instances busy
        say(2, OUT_RAW, key);
    for (uint32_t i = 0; i < 60; i++)
        say(1, OUT_RAW, 4);
    say(2, OUT_RAW, 5);
    expect(fake.delivery_count[DECODE] == 3);
    fake.next_result = COMMIT_NOT_NOW;
    fake.result_count = 61;
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    expect(fake.delivery_count[DECODE] == 3); // though nothing has been committed
    fake_store();
    expect(fake.dead_count == FAULTS_MAX && fake.page->spooled[RAW] == 64);
    fake_tick(200);
    expect(fake.dead_count == FAULTS_MAX + 60 && fake_count(RAW, REASON_RATIONED) == 60);
    for (uint32_t i = 0; i < 3; i++)
        expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect_exact();
    fake_stop();
}

// For what nobody stands behind, whoever sent it: connections without a name share what their unikernel has.
TEST(nobody)
{
    begin();
    for (uint32_t i = 0; i < FAULTS_MAX; i++)
        crash(3 + i % 2, OUT_RAW, DECODE, LINK_FAULT);
    expect_rationed(3, OUT_RAW, DECODE);
    expect_rationed(4, OUT_RAW, DECODE);
    expect_served(1, OUT_RAW, DECODE);
    const struct commit_send own = {.flow = LATER, .receiver = SINK}; // its sender is sink
    for (uint32_t i = 0; i <= FAULTS_MAX; i++) {
        fake.rows[fake.row_count++] = (struct fake_row){.send = own, .is_alive = 1};
        fake.counters[COUNTER_FLOW(LATER, REASON_ENTERED)]++;
        fake.page->counters[COUNTER_FLOW(LATER, REASON_ENTERED)]++;
        struct commit_spool spool = {{sizeof spool, COMMIT_SPOOL, 0, LATER}, 1, COMMIT_ROW_BYTES, 0};
        expect(fake_give(ENGINE_STORE, 0, &spool, sizeof spool) == STATUS_OK);
        fake_store();
        expect(fake.delivery_count[SINK] == (i < FAULTS_MAX));
        if (i < FAULTS_MAX)
            expect(fake_fail(SINK, LINK_FAULT) == STATUS_OK);
        fake_store();
    }
    expect(fake_count(LATER, REASON_FAULT) == FAULTS_MAX && fake_count(LATER, REASON_RATIONED) == 1);
    expect_served(3, OUT_NOTE, SINK); // front's have their own
    expect_exact();
    fake_stop();
}

// An instance of a connection costs its connection when it crashes, and nobody is turned away for it.
TEST(connections_are_not_rationed)
{
    begin();
    for (uint64_t handle = 5; handle < 15; handle++) {
        open_as(handle, 1);
        expect(fake_gateway(LINK_INPUT, handle, "x") == STATUS_OK);
        expect(fake.delivery_count[FRONT] == 1 && fake_fail(FRONT, LINK_FAULT) == STATUS_OK);
        fake_store();
        expect(fake.last_ended == handle);
        struct link_header gone = {sizeof gone, LINK_GONE, 0, fake.closed[(fake.close_count - 1) % 64]};
        expect(fake_give(ENGINE_RECEIVER, FRONT, &gone, sizeof gone) == STATUS_OK);
    }
    expect(fake_count(WIRE_IN, REASON_FAULT) == 10 && fake_count(WIRE_IN, REASON_RATIONED) == 0);
    expect_served(1, OUT_RAW, DECODE);
    expect_exact();
    fake_stop();
}

int main(void)
{
    RUN(durable_messages);
    RUN(volatile_messages);
    RUN(in_flight);
    RUN(flood);
    RUN(nobody);
    RUN(connections_are_not_rationed);
    TEST_END();
}
