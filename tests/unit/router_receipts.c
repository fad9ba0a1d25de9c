// SPDX-License-Identifier: ISC
// Receipts and deadlines: whoever asked learns exactly once how it ended, and no room of others is used for it.
#include "proto/builtin.h"
#include "tests/unit/router_fake.h"

static struct fake_records records;

// Front sends one raw message: an event for decode.
static void publish(uint32_t key)
{
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, key, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

static void add_receipt(uint16_t output, uint32_t key, uint64_t sequence, const char *context)
{
    struct item item = {1, key, sequence};
    struct abi_send send = {.record.kind = ABI_SEND, .flow = output, .flags = ABI_SEND_RECEIPT,
                            .context_bytes = (uint32_t)strlen(context), .payload_bytes = sizeof item};
    fake_record(&records, &send, sizeof send, context, strlen(context), &item, sizeof item);
}

// The event that a unikernel is in is a receipt that says that, for that context.
static int is_receipt(uint32_t receiver, uint16_t port, uint16_t output, uint16_t reason, const char *context)
{
    const struct fake_delivery *delivery = &fake.deliveries[receiver][0];
    struct builtin_receipt receipt;
    memcpy(&receipt, delivery->payload, sizeof receipt);
    return fake.delivery_count[receiver] == 1 && delivery->deliver.flow == port && receipt.output == output &&
           receipt.reason == reason && receipt.is_taken == (reason == REASON_DONE) &&
           delivery->deliver.context_bytes == strlen(context) &&
           memcmp(delivery->context, context, strlen(context)) == 0;
}

static void begin(uint32_t cap)
{
    fake_clear();
    fake_receipts(DECODE, cap);
    fake_start();
}

TEST(taken)
{
    begin(100);
    publish(1);
    add_receipt(OUT_READING, 1, 1, "asked");
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    // Its context is the sender's alone.
    expect(fake.delivery_count[SINK] == 1 && fake.deliveries[SINK][0].deliver.context_bytes == 0);
    expect(fake_count(RECEIPT, REASON_ENTERED) == 0 && fake.delivery_count[DECODE] == 0);
    fake_put(&records, 1, 9, 9);
    expect(fake_end(SINK, &records) == STATUS_OK && fake.delivery_count[DECODE] == 0); // not before it is committed
    fake_store();
    expect(fake.last_header.send_count == 1 && fake_count(RECEIPT, REASON_ENTERED) == 1);
    expect(is_receipt(DECODE, 1, OUT_READING, REASON_DONE, "asked") && fake_is_exact());
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(RECEIPT, REASON_DONE) == 1 && fake.page->spooled[RECEIPT] == 0 && fake_is_exact());
    fake_stop();
}

TEST(refused_with_the_reason)
{
    static const uint16_t outcomes[] = {LINK_FAULT, LINK_DEADLINE, LINK_CONTRACT};
    static const uint16_t reasons[] = {REASON_FAULT, REASON_DEADLINE, REASON_ENVELOPE};
    begin(100);
    for (int i = 0; i < 3; i++) {
        publish((uint32_t)i);
        add_receipt(OUT_READING, (uint32_t)i, 1, "why");
        expect(fake_end(DECODE, &records) == STATUS_OK);
        fake_store();
        expect(fake_fail(SINK, outcomes[i]) == STATUS_OK);
        fake_store();
        expect(is_receipt(DECODE, 1, OUT_READING, reasons[i], "why") && fake.dead_count == (uint32_t)i + 1);
        expect(fake_end(DECODE, NULL) == STATUS_OK);
        fake_store();
        expect(fake_is_exact());
    }
    fake_stop();
}

// The sender's own event fails: nothing was sent, so there is nothing to receipt.
TEST(nothing_for_what_was_not_sent)
{
    begin(100);
    publish(1);
    add_receipt(OUT_READING, 1, 1, "x");
    fake_item(&records, OUT_READING, 1001, 1, 2); // above its maximum
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_RANGE && fake_count(RECEIPT, REASON_ENTERED) == 0 && fake_is_exact());
    fake_stop();
}

static uint32_t refused_of(uint32_t sender, uint16_t output)
{
    fake.dead_count = 0;
    add_receipt(output, 1, 1, "");
    expect(fake_end(sender, &records) == STATUS_OK);
    fake_store();
    return fake.dead_count == 1 ? fake.last_dead_reason : REASON_DONE;
}

TEST(who_may_ask)
{
    begin(100);
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(refused_of(FRONT, OUT_RAW) == REASON_ENVELOPE); // takes no receipts
    expect(fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 8, "x") == STATUS_OK);
    fake_stop();
    fake_clear();
    fake_receipts(FRONT, 100);
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(refused_of(FRONT, OUT_NOTE) == REASON_ENVELOPE); // volatile
    expect(fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 8, "x") == STATUS_OK);
    expect(refused_of(FRONT, OUT_TICK) == REASON_ENVELOPE); // to itself
    // It comes to the connection that asked, not to another.
    expect(fake_gateway(LINK_OPEN, 9, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 9, "x") == STATUS_OK);
    uint64_t connection = fake.deliveries[FRONT][0].deliver.connection;
    add_receipt(OUT_RAW, 1, 1, "mine");
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(is_receipt(FRONT, 4, OUT_RAW, REASON_DONE, "mine"));
    expect(fake.deliveries[FRONT][0].deliver.connection == connection && fake_is_exact());
    fake_stop();
}

// Room for a receipt is taken when it is promised: whoever ends the message never waits for it.
TEST(room_is_promised)
{
    begin(3); // an event of decode may ask for 2 with readings, and for 1 with an alarm
    publish(1);
    expect(fake.delivery_count[DECODE] == 1);
    add_receipt(OUT_READING, 1, 1, "");
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    publish(2);
    expect(fake.delivery_count[DECODE] == 0 && fake.delivery_count[SINK] == 1); // one is promised, three might be
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    // The receipt is taken in although its flow has no room for three more: it makes it. Then the other.
    expect(is_receipt(DECODE, 1, OUT_READING, REASON_DONE, ""));
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] == 1 && fake.deliveries[DECODE][0].deliver.flow == 0 && fake_is_exact());
    fake_stop();
}

// A new epoch knows what was promised from the store.
TEST(promises_outlast_an_epoch)
{
    begin(3);
    struct commit_spool spool = {{sizeof spool, COMMIT_SPOOL, 0, RECEIPT}, 0, 0, 1};
    expect(fake_give(ENGINE_STORE, 0, &spool, sizeof spool) == STATUS_OK);
    publish(1);
    expect(fake.delivery_count[DECODE] == 0);
    // One that the store ended left its receipt there.
    struct commit_spool reading = {{sizeof reading, COMMIT_SPOOL, 0, READING}, 1, 200, 0};
    expect(fake_give(ENGINE_STORE, 0, &reading, sizeof reading) == STATUS_OK);
    struct commit_left left = {{sizeof left, COMMIT_LEFT, 0, READING}, 1, 200, 1, 136, REASON_EXPIRED, 0};
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_OK);
    expect(fake.page->spooled[READING] == 0 && fake.page->spooled[RECEIPT] == 1);
    expect(fake_count(RECEIPT, REASON_ENTERED) == 1 && fake_count(READING, REASON_EXPIRED) == 1);
    left.packet.handle = NOTE;
    expect(fake_give(ENGINE_STORE, 0, &left, sizeof left) == STATUS_MALFORMED);
    fake_stop();
}

// ---- Requests ----
static void ask(void)
{
    struct item item = {1, 1, 1};
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK && fake.delivery_count[FRONT] == 1);
    fake_send_record(&records, OUT_LOGIN, 0, "question", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
}

static void begin_request(void)
{
    fake_clear();
    fake_receipts(FRONT, 100);
    fake_flows[LOGIN_ASK].live_ms = 2000;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
}

static void answer(void)
{
    uint8_t reply[8] = {1, 0, 1};
    struct abi_send send = {.record.kind = ABI_SEND, .flags = ABI_SEND_REPLY, .payload_bytes = sizeof reply};
    fake_record(&records, &send, sizeof send, NULL, 0, reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_OK);
}

TEST(answered_in_time)
{
    begin_request();
    ask();
    answer();
    fake_store();
    expect(fake.delivery_count[FRONT] == 1 && fake.deliveries[FRONT][0].deliver.flow == 1); // its reply, and no more
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_tick(5000);
    expect(fake.delivery_count[FRONT] == 0 && fake_count(RECEIPT, REASON_ENTERED) == 0);
    expect(fake_count(LOGIN_ASK, REASON_DONE) == 1 && fake_is_exact());
    fake_stop();
}

// Nobody is there to answer.
TEST(late_while_it_waits)
{
    begin_request();
    engine_closed(fake.engine, ENGINE_RECEIVER, LOGIN);
    ask();
    fake_tick(1900);
    expect(fake_count(LOGIN_ASK, REASON_LATE) == 0);
    fake_tick(150);
    expect(fake_count(LOGIN_ASK, REASON_LATE) == 1 && is_receipt(FRONT, 4, OUT_LOGIN, REASON_LATE, "question"));
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_store();
    expect(fake_hello(LOGIN, 4) == STATUS_OK && fake.delivery_count[LOGIN] == 0 && fake_is_exact());
    expect(fake_count(RECEIPT, REASON_DONE) == 1 && fake.dead_count == 0);
    fake_stop();
}

// The answer comes too late: it is refused, and the asker has the receipt in its place. Once.
TEST(late_answer)
{
    begin_request();
    ask();
    fake_tick(2500);
    expect(fake_count(LOGIN_ASK, REASON_LATE) == 0); // its event is under way
    answer();
    fake_store();
    expect(fake_count(LOGIN_ASK, REASON_LATE) == 1 && fake.last_dead_reason == REASON_LATE);
    expect(is_receipt(FRONT, 4, OUT_LOGIN, REASON_LATE, "question") && fake_count(LOGIN_REPLY, REASON_ENTERED) == 0);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[FRONT] == 0 && fake_is_exact());
    // Taken in and not answered, or refused: the asker learns that, too.
    ask();
    expect(fake_end(LOGIN, NULL) == STATUS_OK);
    fake_store();
    expect(is_receipt(FRONT, 4, OUT_LOGIN, REASON_DONE, "question") && fake_end(FRONT, NULL) == STATUS_OK);
    fake_store();
    ask();
    expect(fake_fail(LOGIN, LINK_FAULT) == STATUS_OK);
    fake_store();
    expect(is_receipt(FRONT, 4, OUT_LOGIN, REASON_FAULT, "question") && fake_is_exact());
    fake_stop();
}

// A second later, by a clock that was set.
static void tick_with(int64_t set_ms)
{
    fake.now_ms += 1000;
    engine_clock(fake.engine, fake.now_ms, fake.now_ms, 1700000000000 + fake.now_ms + set_ms);
    (void)engine_tick(fake.engine);
    fake_store();
}

// The host's clock is set: what was asked has the time that it was given, no less and no more.
TEST(deadline_while_the_clock_is_set)
{
    const int64_t jumps[] = {-3600000, 3600000};
    for (int i = 0; i < 2; i++) {
        begin_request();
        engine_closed(fake.engine, ENGINE_RECEIVER, LOGIN);
        ask();
        fake_store();
        tick_with(jumps[i]);
        expect(fake_count(LOGIN_ASK, REASON_LATE) == 0);
        tick_with(jumps[i]);
        expect(fake_count(LOGIN_ASK, REASON_LATE) == 1);
        fake_stop();
    }
}

int main(void)
{
    RUN(taken);
    RUN(refused_with_the_reason);
    RUN(nothing_for_what_was_not_sent);
    RUN(who_may_ask);
    RUN(room_is_promised);
    RUN(promises_outlast_an_epoch);
    RUN(answered_in_time);
    RUN(late_while_it_waits);
    RUN(late_answer);
    RUN(deadline_while_the_clock_is_set);
    TEST_END();
}
