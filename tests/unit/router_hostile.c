// SPDX-License-Identifier: ISC
// The router's engine against endpoints that were taken over: what they can neither take nor hold back.
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

static void log_in(uint8_t principal)
{
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_LOGIN, 0, "me", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    uint8_t reply[8] = {1, 0, principal, 0};
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_OK);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
}

// Connection 7 is nobody's and has joined the alarms; connection 8 is principal 2, whose raw message makes
// decode send one. What 7 says while it holds the copy is said by nobody.
TEST(broadcast_lends_no_name)
{
    fake_clear();
    fake_flows[RAW].is_open = 0;
    fake_flows[RAW].principals = 2; // the second one
    fake_start();
    speak(7);
    fake_join(&records, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    speak(8);
    log_in(2);
    expect(fake_gateway(LINK_INPUT, 8, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    fake_item(&records, OUT_ALARM, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    const struct fake_delivery *copy = &fake.deliveries[FRONT][0];
    expect(fake.delivery_count[FRONT] == 1 && copy->deliver.flow == 2);
    expect(copy->deliver.principal == 2); // the guest is told who sent it
    uint32_t rows = fake.row_count;
    fake_item(&records, OUT_RAW, 1, 1, 2);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.row_count == rows && fake.last_dead_reason == REASON_PRINCIPAL);
    expect(fake_is_exact());
    fake_stop();
}

// A message's slot is used again: behind a short context nothing of the one before may leave.
TEST(context_shows_nothing_older)
{
    begin();
    speak(7);
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_TICK, 0, "12345678", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(memcmp(fake.deliveries[FRONT][0].context, "12345678", 8) == 0);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    for (int i = 0; i < 3; i++) { // until that slot has its turn
        expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
        fake_send_record(&records, OUT_TICK, 0, "a", &item, sizeof item);
        expect(fake_end(FRONT, &records) == STATUS_OK);
        expect(fake.last_context_padding[0] == 'a');
        for (int j = 1; j < 8; j++)
            expect(fake.last_context_padding[j] == 0);
        expect(fake_end(FRONT, NULL) == STATUS_OK);
    }
    fake_stop();
}

// An instance ends its connection and then asks for a timer far away: it dies with the connection.
TEST(timer_behind_the_end)
{
    begin();
    struct item item = {1, 1, 1};
    for (uint64_t i = 0; i < 2; i++) {
        speak(7 + i);
        fake_wire(&records, "bye", 1);
        fake_send_record(&records, OUT_TICK, UINT32_MAX, "", &item, sizeof item);
        expect(fake_end(FRONT, &records) == STATUS_OK);
    }
    expect(fake_count(TICK, REASON_ENTERED) == 2 && fake_count(TICK, REASON_CONNECTION) == 2);
    fake_stop();
}

// Two flows are held back, each by its first message; a later one of the first flow that nothing holds back waits too.
TEST(order_in_two_blocked_flows)
{
    fake_clear();
    fake_flows[LATER].is_open = 0;
    fake_flows[LATER].principals = 2;
    fake_flows[LATER].count_max = 2;
    fake_flows[LATER].cap = 3;
    fake_start();
    const struct commit_send sends[] = {{.flow = READING, .receiver = SINK, .principal = 2}, // takes what room there is
                                        {.flow = READING, .receiver = SINK, .principal = 2},
                                        {.flow = LATER, .receiver = SINK, .principal = 2},
                                        {.flow = READING, .receiver = SINK}};
    struct commit_spool spool = {{sizeof spool, COMMIT_SPOOL, 0, LATER}, 1, 200, 0};
    expect(fake_give(ENGINE_STORE, 0, &spool, sizeof spool) == STATUS_OK);
    for (int i = 0; i < 4; i++)
        fake.rows[fake.row_count++] = (struct fake_row){.send = sends[i], .is_alive = 1};
    fake_outbox();
    expect(fake.rows[3].is_sent && fake.delivery_count[SINK] == 1);
    fake_stop();
}

// Readings that wait for room in the flow of timers fill their own window, not that of the timers which make the room.
TEST(backlog_holds_back_no_timer)
{
    fake_clear();
    fake_flows[LATER].cap = 0;
    fake_start();
    for (int i = 0; i <= 200; i++)
        fake.rows[fake.row_count++] = (struct fake_row){
            .send = {.flow = i == 200 ? LATER : READING, .receiver = SINK}, .is_alive = 1};
    fake_outbox();
    expect(fake.rows[0].is_sent && !fake.rows[199].is_sent && fake.rows[200].is_sent);
    fake_stop();
}

// One connection asks for timers far away as long as it is let. It fails before it holds back another, and
// nothing of it stays.
TEST(timers_of_one_connection)
{
    begin();
    struct item item = {1, 1, 1};
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
    uint32_t served = 0;
    for (; served < 300 && !fake.has_ended[7]; served++) {
        expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
        fake_send_record(&records, OUT_TICK, UINT32_MAX, "", &item, sizeof item);
        if (fake_end(FRONT, &records) != STATUS_OK)
            break;
        fake_store();
    }
    expect(served >= 4 && served < 20 && fake.last_dead_reason == REASON_BUDGET);
    expect(strcmp(fake.last_dead_text, "budget tick.timers of one connection") == 0);
    expect(fake_count(TICK, REASON_CONNECTION) == served - 1 && fake_count(TICK, REASON_ENTERED) == served - 1);
    speak(8);
    expect(fake.delivery_count[FRONT] == 1);
    for (int i = 0; i < 300; i++) { // each one takes the place of the one before
        fake_send_record(&records, OUT_TICK, 10, "", &item, sizeof item);
        expect(fake_end(FRONT, &records) == STATUS_OK);
        fake_tick(11);
    }
    expect(fake.delivery_count[FRONT] == 1 && !fake.has_ended[8]);
    fake_stop();
}

// More connections than one flow has room for: each has its timer, and each is served.
TEST(timers_of_many_connections)
{
    fake_clear();
    fake_gateways[0].connections_max = 250;
    fake_unikernels[FRONT].instances_max = 250;
    fake_flows[TICK].count_max = 2;
    fake_start();
    struct item item = {1, 1, 1};
    for (uint64_t i = 0; i < 250; i++) {
        speak(100 + i);
        fake_send_record(&records, OUT_TICK, 60000, "", &item, sizeof item);
        expect(fake_end(FRONT, &records) == STATUS_OK);
    }
    expect(fake_count(TICK, REASON_ENTERED) == 250 && fake.page->connections == 250);
    fake_tick(60001);
    for (int i = 0; i < 250; i++)
        expect(fake_end(FRONT, NULL) == STATUS_OK);
    expect(fake_count(TICK, REASON_DONE) == 250);
    fake_stop();
}

// A reply to what was no question, on a flow that carries replies.
TEST(answer_without_question)
{
    fake_clear();
    fake_flows[LATER].kind = SYSTEM_REPLY;
    fake_start();
    speak(7);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    fake_item(&records, 0, 1, 1, 1);
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_FLOW && strcmp(fake.last_dead_text, "flow later") == 0);
    fake_stop();
}

// A slow connection is ended while its event waits for the store. Its instance is there until that is over, so the one
// that takes its place at the gateway has to wait: a tender that holds no more takes one more for a broken link.
TEST(no_more_instances_than_the_tender_holds)
{
    begin();
    for (uint64_t i = 1; i <= 8; i++) {
        speak(i);
        fake_wire(&records, "hello", 0);
        expect(fake_end(FRONT, &records) == STATUS_OK);
    }
    expect(fake_gateway(LINK_INPUT, 1, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK); // the store does not answer yet
    for (uint64_t i = 2; i <= 8; i++)
        expect(fake_drained(i, 5) == STATUS_OK);
    fake_clock(6000);
    (void)engine_tick(fake.engine);
    expect(fake.has_ended[1] && fake.close_count == 0);
    speak(9);
    expect(fake.delivery_count[FRONT] == 0);
    fake_store();
    expect(fake.close_count == 1 && fake.delivery_count[FRONT] == 0);
    struct link_header gone = {sizeof gone, LINK_GONE, 0, fake.closed[0]};
    expect(fake_give(ENGINE_RECEIVER, FRONT, &gone, sizeof gone) == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 1);
    fake_stop();
}

int main(void)
{
    RUN(answer_without_question);
    RUN(broadcast_lends_no_name);
    RUN(context_shows_nothing_older);
    RUN(timer_behind_the_end);
    RUN(order_in_two_blocked_flows);
    RUN(backlog_holds_back_no_timer);
    RUN(timers_of_one_connection);
    RUN(timers_of_many_connections);
    RUN(no_more_instances_than_the_tender_holds);
    TEST_END();
}
