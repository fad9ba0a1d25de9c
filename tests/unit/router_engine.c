// SPDX-License-Identifier: ISC
// The router's engine against fake endpoints: the life of events, one property a test.
#include "tests/unit/router_fake.h"

static struct fake_records records;

static void begin(void)
{
    fake_clear();
    fake_start();
}

// Connection 7 speaks; front answers with one raw message.
static void publish(uint32_t value, uint32_t key)
{
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, value, key, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

TEST(volatile_event)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "127.0.0.1:5") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "hello") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 1);
    expect(fake.deliveries[FRONT][0].payload[2] == 5 && fake.deliveries[FRONT][0].payload[4] == 'h');
    expect(fake.deliveries[FRONT][0].deliver.connection != 0);
    fake_wire(&records, "answer", 0);
    fake_item(&records, OUT_NOTE, 5, 1, 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake.output_bytes == 6 && fake.taken == 1);
    expect(fake.delivery_count[SINK] == 1); // at once, without the store
    expect(fake_end(SINK, NULL) == STATUS_OK);
    expect(fake_count(WIRE_IN, REASON_DONE) == 1 && fake_count(NOTE, REASON_DONE) == 1);
    expect(fake_count(WIRE_OUT, REASON_ENTERED) == 1 && fake_count(WIRE_OUT, REASON_DONE) == 1);
    expect(fake.commit_count == 0);
    fake_tick(2000); // the second's interval takes the counts to the store
    expect(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
    fake_stop();
}

TEST(durable_event)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 5, 1, 1);
    fake_wire(&records, "ack", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake.output_bytes == 0 && fake.taken == 0); // nothing leaves before the commit
    fake_store();
    expect(fake.output_bytes == 3 && fake.taken == 1);
    expect(fake.page->spooled[RAW] == 1 && fake.delivery_count[DECODE] == 1);
    fake_item(&records, OUT_READING, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake.page->spooled[RAW] == 0 && fake.page->spooled[READING] == 1);
    fake_put(&records, 3, 9, 9);
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_header.write_count == 1 && fake.last_header.is_kept && fake.last_header.consume != 0);
    expect(fake_count(READING, REASON_DONE) == 1 && fake_is_exact());
    fake_stop();
}

TEST(refusal_drops_all)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_NOTE, 5, 1, 0);
    fake_item(&records, OUT_RAW, 1001, 1, 0); // above its maximum
    fake_wire(&records, "never", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[SINK] == 0 && fake.output_bytes == 0 && fake.row_count == 0);
    expect(fake.dead_count == 1 && fake.last_dead_reason == REASON_RANGE);
    expect(strcmp(fake.last_dead_text, "range raw.value") == 0);
    expect(fake_count(WIRE_IN, REASON_RANGE) == 1 && fake_count(NOTE, REASON_ENTERED) == 0);
    expect(fake.ended == 1 && fake.close_count == 1); // costs that connection
    fake_stop();
}

// What sink says about one reading, and the reason of the dead letter.
static uint32_t refused_with(void (*build)(void))
{
    begin();
    publish(1, 1);
    fake_item(&records, OUT_READING, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[SINK] == 1);
    build();
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.dead_count == 1 && fake_is_exact() && fake_count(READING, fake.last_dead_reason) == 1);
    uint32_t reason = fake.last_dead_reason;
    fake_stop();
    return reason;
}

static void build_wrong_key(void) { fake_put(&records, 1, 9, 8); }
static void build_two_writes(void)
{
    fake_put(&records, 1, 9, 9);
    fake_put(&records, 1, 8, 8);
}
static void build_bad_value(void) { fake_put(&records, 5000, 9, 9); }
static void build_unknown_output(void) { fake_item(&records, 9, 1, 1, 1); }
static void build_too_many(void)
{
    fake_item(&records, 0, 1, 1, 1);
    fake_item(&records, 0, 1, 1, 1);
}
static void build_bad_size(void)
{
    fake_item(&records, 0, 1, 1, 1);
    records.bytes[0] += 8; // runs into END
}
static void build_short_payload(void) { fake_send_record(&records, 0, 0, "", "12345678", 8); }
static void build_padding(void)
{
    struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_INFO, .text_bytes = 3};
    fake_record(&records, &log, sizeof log, "abcd", 4, NULL, 0);
}
static void build_log_code(void)
{
    struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_REFUSAL, .code = 3};
    fake_record(&records, &log, sizeof log, NULL, 0, NULL, 0);
}

TEST(refusals)
{
    expect(refused_with(build_wrong_key) == REASON_NAMESPACE);
    expect(refused_with(build_two_writes) == REASON_BUDGET);
    expect(refused_with(build_bad_value) == REASON_RANGE);
    expect(refused_with(build_unknown_output) == REASON_FLOW);
    expect(refused_with(build_too_many) == REASON_BUDGET);
    expect(refused_with(build_bad_size) == REASON_ENVELOPE);
    expect(refused_with(build_short_payload) == REASON_LENGTH);
    expect(refused_with(build_padding) == REASON_ENVELOPE);
    expect(refused_with(build_log_code) == REASON_ENVELOPE);
}

TEST(guest_failures)
{
    begin();
    publish(1, 1);
    expect(fake_end_at(DECODE, 0, LINK_REFUSED, 0, NULL) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_GUEST && strcmp(fake.last_dead_text, "refused malformed-json") == 0);
    expect(fake.page->counters[COUNTER_REFUSAL(DECODE, 0)] == 1 && fake.counters[COUNTER_REFUSAL(DECODE, 0)] == 1);
    publish(1, 1);
    expect(fake_fail(DECODE, LINK_FAULT) == STATUS_OK);
    fake_store();
    expect(strstr(fake.last_dead_text, "SIGSEGV: write to 0x10 in page 0 at decode+0x1a3 (build 0102") == fake.last_dead_text);
    expect(fake.last_crash.signal == 11 && fake.last_crash.build_id[0] == 1 && fake.last_crash.build_id[1] == 2);
    publish(1, 1);
    expect(fake_fail(DECODE, LINK_DEADLINE) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_GUEST) == 1 && fake_count(RAW, REASON_FAULT) == 1 &&
           fake_count(RAW, REASON_DEADLINE) == 1);
    expect(fake.dead_count == 3 && fake_is_exact() && fake.page->in_flight == 0);
    fake_stop();
}

TEST(redelivery)
{
    begin();
    publish(1, 1);
    uint64_t number = fake.deliveries[DECODE][0].deliver.number;
    expect(fake_fail(DECODE, LINK_LOST) == STATUS_OK);
    expect(fake.delivery_count[DECODE] == 1 && fake.deliveries[DECODE][0].deliver.attempt == 2 &&
           fake.deliveries[DECODE][0].deliver.number == number);
    fake.delivery_count[DECODE] = 0;
    engine_closed(fake.engine, ENGINE_RECEIVER, DECODE); // its tender died
    expect(fake.delivery_count[DECODE] == 0);
    expect(fake_hello(DECODE, 3) == STATUS_OK);
    expect(fake.delivery_count[DECODE] == 1 && fake.deliveries[DECODE][0].deliver.attempt == 3);
    expect(fake_fail(DECODE, LINK_LOST) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_ATTEMPTS && fake_count(RAW, REASON_REDELIVERED) == 2);
    expect(fake_count(RAW, REASON_ATTEMPTS) == 1 && fake_is_exact());
    fake_stop();
}

TEST(conflict)
{
    fake_clear();
    fake_flows[READING].live_ms = 86400000; // none is kept: a COMMIT that sends such ones has no conflict
    fake_start();
    publish(1, 1);
    fake.next_result = COMMIT_CONFLICT;
    fake.result_count = 8;
    for (int i = 0; i < 8; i++) {
        expect(fake.delivery_count[DECODE] == 1 && fake.deliveries[DECODE][0].deliver.attempt == 1);
        fake_item(&records, OUT_READING, 1, 1, 1); // the key was given back each time
        expect(fake_end(DECODE, &records) == STATUS_OK);
        fake_store();
        expect(fake.dead_count == 0);
    }
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_DONE) == 1 && fake.page->spooled[READING] == 1);
    publish(1, 1);
    fake.result_count = 9;
    for (int i = 0; i < 9; i++) {
        expect(fake_end(DECODE, NULL) == STATUS_OK);
        fake_store();
    }
    expect(fake_count(RAW, REASON_CONFLICT) == 1 && fake.dead_count == 1 && fake_is_exact());
    fake_stop();
}

TEST(not_now)
{
    begin();
    publish(1, 1);
    fake.next_result = COMMIT_NOT_NOW;
    fake.result_count = 3;
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    for (int i = 0; i < 3; i++) {
        expect(fake_count(RAW, REASON_DONE) == 0 && fake.page->in_flight == 2);
        fake_tick(200);
    }
    expect(fake_count(RAW, REASON_DONE) == 1 && fake.delivery_count[SINK] == 1 && fake_is_exact());
    fake_stop();
}

TEST(full_namespace)
{
    begin();
    publish(1, 1);
    fake.next_result = COMMIT_REFUSED;
    fake.result_count = 1;
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_NAMESPACE) == 1 && fake.dead_count == 1);
    fake_stop();
}

TEST(order_per_key)
{
    begin();
    for (uint32_t i = 0; i < 6; i++)
        publish(i, i == 5 ? 2 : 1); // five of one key, one of another
    expect(fake.delivery_count[DECODE] == 2); // though there are three instances
    struct item item;
    memcpy(&item, fake.deliveries[DECODE][1].payload, sizeof item);
    expect(item.value == 5);
    expect(fake_end_at(DECODE, 1, LINK_ENDED, 0, NULL) == STATUS_OK);
    for (uint32_t i = 0; i < 5; i++) {
        expect(fake.delivery_count[DECODE] == 1);
        memcpy(&item, fake.deliveries[DECODE][0].payload, sizeof item);
        expect(item.value == i);
        if (i == 2) { // an attempt that is lost keeps its place
            expect(fake_fail(DECODE, LINK_LOST) == STATUS_OK);
            memcpy(&item, fake.deliveries[DECODE][0].payload, sizeof item);
            expect(item.value == 2);
        }
        expect(fake_end(DECODE, NULL) == STATUS_OK);
        expect(fake.delivery_count[DECODE] == 0); // not before the commit
        fake_store();
    }
    expect(fake_count(RAW, REASON_DONE) == 6 && fake_is_exact());
    fake_stop();
}

TEST(reservation)
{
    fake_clear();
    fake_flows[READING].cap = 5; // an event of decode may send 2
    fake_start();
    fake_store();
    engine_closed(fake.engine, ENGINE_RECEIVER, SINK); // nothing drains
    for (uint32_t i = 0; i < 3; i++)
        publish(1, i);
    expect(fake.delivery_count[DECODE] == 2); // 2 + 2 <= 5 < 2 + 2 + 2
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] == 2); // 1 spooled, 2 reserved: there is room for 2 more
    fake_item(&records, OUT_READING, 1, 2, 1);
    fake_item(&records, OUT_READING, 1, 3, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_item(&records, OUT_READING, 1, 4, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    publish(1, 9);
    expect(fake.page->spooled[READING] == 4 && fake.delivery_count[DECODE] == 0);
    expect(fake_hello(SINK, 4) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[SINK] == 4);
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake.delivery_count[DECODE] == 1);
    fake_stop();
}

TEST(room_for_whom)
{
    fake_clear();
    fake_flows[RAW].cap = 3; // no event of front may send 4
    fake_start();
    fake_store();
    expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 0);
    fake_stop();
    fake_clear();
    fake_flows[RAW].cap = 3;
    fake_flows[RAW].is_open = 0; // nothing of this connection could enter it
    fake_start();
    fake_store();
    expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 1);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    fake_stop();
}

// A connection speaks; `is_asking`: front asks the service who it is, else its event stays in flight.
static void speak(uint64_t handle, int is_asking)
{
    struct item item = {1, 1, 1};
    expect(fake_gateway(LINK_INPUT, handle, "x") == STATUS_OK);
    if (!is_asking)
        return;
    fake_send_record(&records, OUT_LOGIN, 0, "", &item, sizeof item);
    expect(fake_end_at(FRONT, fake.delivery_count[FRONT] - 1, LINK_ENDED, 0, &records) == STATUS_OK);
}

TEST(reply_room)
{
    fake_clear();
    fake_gateways[0].connections_max = 300;
    fake_unikernels[FRONT].instances_max = 256;
    fake_start();
    engine_closed(fake.engine, ENGINE_RECEIVER, FRONT);
    expect(fake_hello(FRONT, 256) == STATUS_OK);
    for (uint64_t i = 1; i <= 200; i++)
        expect(fake_gateway(LINK_OPEN, i, "p") == STATUS_OK);
    uint8_t reply[8] = {0};
    for (uint64_t i = 1; i <= 100; i++) {
        speak(i, 1);
        speak(i, 0); // while it is in flight the reply has to wait
        fake_send_record(&records, 0, 0, "", reply, sizeof reply);
        expect(fake_end(LOGIN, &records) == STATUS_OK);
    }
    // 100 replies wait and 100 events may still ask: room for 56 more questions, whose replies fill the 256.
    for (uint64_t i = 101; i <= 156; i++)
        speak(i, 1);
    expect(fake.delivery_count[FRONT] == 100);
    speak(157, 0);
    expect(fake.delivery_count[FRONT] == 100); // its reply would have no room
    expect(fake_end(FRONT, NULL) == STATUS_OK); // makes room for 157 and lets a reply start
    expect(fake.delivery_count[FRONT] == 100);
    expect(fake_end_at(FRONT, 99, LINK_ENDED, 0, NULL) == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 100);
    fake_stop();
}

TEST(throttle)
{
    fake_clear();
    fake_flows[NOTE].rate_per_second = 10;
    fake_flows[NOTE].rate_burst = 2;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
    for (int i = 0; i < 3; i++) {
        expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
        fake_item(&records, OUT_NOTE, 1, 1, 1);
        expect(fake_end(FRONT, &records) == STATUS_OK);
    }
    expect(fake_count(NOTE, REASON_ENTERED) == 2 && fake.taken == 2);
    for (int i = 0; i < 3; i++)
        fake_tick(20);
    expect(fake_count(NOTE, REASON_THROTTLED) == 1 && fake.taken == 2); // once per event
    fake_tick(50);
    expect(fake_count(NOTE, REASON_ENTERED) == 3 && fake.taken == 3);
    fake_stop();
}

TEST(throttled_input)
{
    fake_clear();
    fake_flows[WIRE_IN].rate_per_second = 10;
    fake_flows[WIRE_IN].rate_burst = 1;
    fake_flows[WIRE_IN].is_rate_per_connection = 1;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 0 && fake_count(WIRE_IN, REASON_THROTTLED) == 1);
    expect(fake_gateway(LINK_INPUT, 8, "x") == STATUS_OK); // another connection has its own
    expect(fake.delivery_count[FRONT] == 1);
    fake_tick(100);
    expect(fake.delivery_count[FRONT] == 2);
    fake_stop();
}

static uint64_t join(uint64_t handle)
{
    expect(fake_gateway(LINK_OPEN, handle, "p") == STATUS_OK && fake_gateway(LINK_INPUT, handle, "s") == STATUS_OK);
    uint64_t connection = fake.deliveries[FRONT][0].deliver.connection;
    fake_join(&records, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    return connection;
}

static void alarm(void)
{
    fake_item(&records, OUT_ALARM, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
}

TEST(broadcast)
{
    begin();
    publish(1, 1);
    alarm(); // nobody joined
    expect(fake_count(ALARM, REASON_NO_SUBSCRIBER) == 1 && fake.page->spooled[ALARM] == 0);
    uint64_t first = join(8), second = join(9);
    publish(1, 1);
    alarm();
    expect(fake.delivery_count[FRONT] == 2 && fake.page->spooled[ALARM] == 1);
    expect(fake.deliveries[FRONT][0].deliver.connection == first && fake.deliveries[FRONT][0].deliver.flow == 2);
    expect(fake.deliveries[FRONT][1].deliver.connection == second);
    fake_wire(&records, "alarm!", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.output_bytes == 6 && fake.page->spooled[ALARM] == 1); // one copy is still under way
    expect(fake_gateway(LINK_SHUT, 9, "") == STATUS_OK);
    fake_wire(&records, "alarm!", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.page->spooled[ALARM] == 0 && fake_count(ALARM, REASON_DONE) == 1 && fake_is_exact());
    expect(fake_end(FRONT, NULL) == STATUS_OK); // connection 9's last event
    expect(fake.last_ended == 9 && fake.close_count == 1);
    publish(1, 1);
    alarm();
    expect(fake.delivery_count[FRONT] == 1); // 8 alone
    expect(fake_fail(FRONT, LINK_FAULT) == STATUS_OK);
    fake_store();
    expect(fake_count(ALARM, REASON_FAULT) == 1 && fake.dead_count == 1 && fake_is_exact());
    fake_stop();
}

TEST(subscription_is_judged)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "s") == STATUS_OK);
    fake_join(&records, 0, 1); // wire is no broadcast
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_FLOW && fake.ended == 1);
    fake_stop();
}

TEST(replay)
{
    begin();
    const uint64_t sequences[] = {5, 5, 4, 6};
    for (int i = 0; i < 4; i++) {
        publish(1, 1);
        fake_item(&records, OUT_READING, 1, 1, sequences[i]);
        expect(fake_end(DECODE, &records) == STATUS_OK);
        fake_store();
    }
    expect(fake_count(RAW, REASON_REPLAY) == 2 && fake_count(READING, REASON_ENTERED) == 2);
    expect(strcmp(fake.last_dead_text, "replay reading.sequence") == 0);
    // Two events of different keys in flight say the same: the second waits, then is a replay.
    publish(1, 1);
    publish(1, 2);
    fake_item(&records, OUT_READING, 1, 1, 9);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_item(&records, OUT_READING, 1, 1, 9);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    expect(fake.commit_count == 1);
    fake_store();
    fake_tick(50);
    expect(fake_count(RAW, REASON_REPLAY) == 3 && fake_count(READING, REASON_ENTERED) == 3 && fake_is_exact());
    for (uint32_t key = 100; key < 163; key++) { // with key 1 the table of 64 is full
        publish(1, key);
        fake_item(&records, OUT_READING, 1, key, 1);
        expect(fake_end(DECODE, &records) == STATUS_OK);
        fake_store();
        expect(fake_end(SINK, NULL) == STATUS_OK);
        fake_store();
    }
    expect(fake_count(RAW, REASON_KEY_TABLE) == 0);
    publish(1, 1);
    fake_item(&records, OUT_READING, 1, 500, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_KEY_TABLE) == 1);
    fake_stop();
}

TEST(principal)
{
    fake_clear();
    fake_flows[RAW].is_open = 0;
    fake_flows[RAW].principals = 2; // the second one
    fake_start();
    publish(1, 1);
    expect(fake.last_dead_reason == REASON_PRINCIPAL && fake.row_count == 0);
    expect(fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 8, "login") == STATUS_OK);
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_LOGIN, 0, "remember me", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake.delivery_count[LOGIN] == 1 && fake.deliveries[LOGIN][0].deliver.context_bytes == 0);
    uint8_t reply[8] = {1, 0, 2, 0};
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    expect(fake_end(LOGIN, &records) == STATUS_OK);
    const struct fake_delivery *back = &fake.deliveries[FRONT][0];
    expect(back->deliver.flow == 1 && back->deliver.principal == 2 && back->deliver.context_bytes == 11 &&
           memcmp(back->context, "remember me", 11) == 0);
    expect(fake_end(FRONT, NULL) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 8, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.row_count == 1 && fake.deliveries[DECODE][0].deliver.principal == 2); // travels with the message
    fake_stop();
}

TEST(reply_needs_its_request)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 8, "login") == STATUS_OK);
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_LOGIN, 0, "", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    uint8_t reply[8] = {0};
    fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    fake_send_record(&records, 0, 0, "", reply, sizeof reply); // one answer a question
    expect(fake_end(LOGIN, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_BUDGET && fake.delivery_count[FRONT] == 0);
    expect(fake_count(LOGIN_ASK, REASON_BUDGET) == 1);
    fake_stop();
}

TEST(reads)
{
    begin();
    publish(1, 1);
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    struct {
        struct link_header header;
        struct abi_read read;
        uint8_t key[8];
    } ask = {{sizeof ask, LINK_READ, 0, fake.deliveries[SINK][0].deliver.header.handle},
             {.record = {sizeof ask.read + 8, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1, .from_bytes = 4}, {0}};
    fake.read_version = 77;
    expect(fake_give(ENGINE_RECEIVER, SINK, &ask, sizeof ask) == STATUS_OK);
    fake_store();
    expect(fake.answer_items == 1);
    fake_put(&records, 1, 3, 3);
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_header.read_count == 1 && fake_count(READING, REASON_DONE) == 1);
    expect(fake.last_seen.version == 77 && fake.last_seen.op == ABI_READ_GET && fake.last_seen.from_bytes == 4);
    // A namespace that the system does not give: doomed, though it ends well.
    publish(1, 2);
    ask.header.handle = fake.deliveries[DECODE][0].deliver.header.handle;
    expect(fake_give(ENGINE_RECEIVER, DECODE, &ask, sizeof ask) == STATUS_OK);
    expect(fake.answer_items == 0 && fake.commit_count == 0);
    expect(fake_end(DECODE, NULL) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_NAMESPACE && fake_count(RAW, REASON_NAMESPACE) == 1);
    fake_stop();
}

TEST(timers)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    struct item item = {1, 1, 1};
    fake_send_record(&records, OUT_TICK, 500, "context", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK && fake.delivery_count[FRONT] == 0);
    fake_tick(400);
    expect(fake.delivery_count[FRONT] == 0);
    fake_tick(101);
    expect(fake.delivery_count[FRONT] == 1 && fake.deliveries[FRONT][0].deliver.flow == 3 &&
           fake.deliveries[FRONT][0].deliver.context_bytes == 7);
    fake_send_record(&records, OUT_TICK, 500, "", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake_gateway(LINK_SHUT, 7, "") == STATUS_OK && fake_end(FRONT, NULL) == STATUS_OK);
    expect(fake_count(TICK, REASON_CONNECTION) == 1 && fake_count(TICK, REASON_DONE) == 1); // dies with it
    publish(1, 1);
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    fake_send_record(&records, 0, 500, "", &item, sizeof item);
    expect(fake_end(SINK, &records) == STATUS_OK);
    fake_store();
    expect(fake.page->spooled[LATER] == 1 && fake.delivery_count[SINK] == 0);
    fake_tick(501);
    expect(fake.delivery_count[SINK] == 1 && fake.deliveries[SINK][0].deliver.flow == 2);
    // A delay on a flow to another is refused.
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_send_record(&records, OUT_NOTE, 500, "", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.last_dead_reason == REASON_ENVELOPE);
    fake_stop();
}

TEST(chain_of_timers)
{
    fake_clear();
    fake_flows[LATER].cap = 1; // the timer that is handled makes room for the next
    fake_start();
    publish(1, 1);
    fake_item(&records, OUT_READING, 1, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
    struct item item = {1, 1, 1};
    for (int i = 0; i < 5; i++) {
        fake_send_record(&records, 0, 10, "", &item, sizeof item);
        expect(fake_end(SINK, &records) == STATUS_OK);
        fake_store();
        fake_tick(20);
        expect(fake.delivery_count[SINK] == 1 && fake_count(LATER, REASON_ENTERED) == (uint64_t)i + 1);
    }
    fake_stop();
}

TEST(slow_connection)
{
    fake_clear();
    fake_gateways[0].output_bytes_max = 8192; // as much as one event of front may say
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_wire(&records, "0123456789", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 0); // ten bytes wait, four times 2048 may come
    fake_tick(4000);
    expect(fake_drained(7, 11) == STATUS_MALFORMED);
    expect(fake_drained(7, 9) == STATUS_OK);
    fake_tick(4000);
    expect(fake.ended == 0);
    expect(fake_drained(7, 1) == STATUS_OK && fake.delivery_count[FRONT] == 1);
    fake_wire(&records, "0123456789", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_tick(5100);
    expect(fake.ended == 1 && fake.close_count == 1);
    fake_stop();
}

TEST(closing)
{
    begin();
    for (uint64_t i = 1; i <= 9; i++)
        expect(fake_gateway(LINK_OPEN, i, "p") == STATUS_OK);
    expect(fake.ended == 1 && fake.last_ended == 9 && fake.page->connections == 8);
    expect(fake_gateway(LINK_INPUT, 1, "x") == STATUS_OK);
    uint64_t connection = fake.deliveries[FRONT][0].deliver.connection;
    fake_wire(&records, "bye", 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake.last_ended == 1 && fake.close_count == 1 && fake.closed[0] == connection);
    expect(fake_gateway(LINK_INPUT, 1, "late") == STATUS_OK); // crossed END
    struct link_header gone = {sizeof gone, LINK_GONE, 0, connection};
    expect(fake_give(ENGINE_RECEIVER, FRONT, &gone, sizeof gone) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 2, "x") == STATUS_OK && fake.delivery_count[FRONT] == 1);
    fake.delivery_count[FRONT] = 0;
    engine_closed(fake.engine, ENGINE_RECEIVER, FRONT); // ends what it served, keeps the others
    expect(fake.last_ended == 2 && fake.page->connections == 6 && fake_count(WIRE_IN, REASON_CONNECTION) == 1);
    expect(fake_gateway(LINK_INPUT, 3, "x") == STATUS_OK && fake.delivery_count[FRONT] == 0);
    expect(fake_hello(FRONT, 8) == STATUS_OK && fake.delivery_count[FRONT] == 1);
    engine_closed(fake.engine, ENGINE_GATEWAY, 0);
    expect(fake.page->connections == 0);
    expect(fake_end(FRONT, NULL) == STATUS_OK && fake.close_count == 2);
    expect(fake.page->in_flight == 0);
    fake_stop();
}

TEST(hostile_packets)
{
    begin();
    publish(1, 1);
    struct link_header header = {sizeof header, LINK_EFFECTS, 0, 12345};
    expect(fake_give(ENGINE_RECEIVER, DECODE, &header, sizeof header) != STATUS_OK);
    header.handle = fake.deliveries[DECODE][0].deliver.header.handle;
    expect(fake_give(ENGINE_RECEIVER, DECODE, &header, sizeof header) != STATUS_OK); // cut short
    expect(fake_give(ENGINE_RECEIVER, SINK, &header, sizeof header) != STATUS_OK);   // another's event
    fake.deliveries[SINK][fake.delivery_count[SINK]++] = fake.deliveries[DECODE][0];
    expect(fake_end(SINK, NULL) == STATUS_MALFORMED && fake_count(RAW, REASON_DONE) == 0); // the same, well formed
    header = (struct link_header){99, LINK_GONE, 0, 5};
    expect(fake_give(ENGINE_RECEIVER, DECODE, &header, sizeof header) != STATUS_OK);
    expect(fake_hello(DECODE, 3) != STATUS_OK); // twice
    expect(fake_gateway(LINK_OPEN, 7, "p") != STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "") != STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") != STATUS_OK); // before TAKEN
    expect(fake_gateway(99, 7, "x") != STATUS_OK);
    expect(fake_gateway(LINK_OPEN, 8, "p") == STATUS_OK && fake_gateway(LINK_SHUT, 8, "") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 8, "x") != STATUS_OK && fake_gateway(LINK_SHUT, 8, "") != STATUS_OK);
    engine_closed(fake.engine, ENGINE_RECEIVER, SINK);
    struct link_hello hello = {{sizeof hello, LINK_HELLO, 0, 0}, LINK_VERSION, 4, 1, {9}};
    expect(fake_give(ENGINE_RECEIVER, SINK, &hello, sizeof hello) == STATUS_SIGNATURE); // another image
    fake_stop();
}

TEST(log_lines)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_INFO, .text_bytes = 5};
    for (int i = 0; i < 500; i++)
        fake_record(&records, &log, sizeof log, "a\"\n\x1b]", 5, NULL, 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(strstr(fake.last_log, "\"unikernel\":\"front\"") != NULL && strchr(fake.last_log, 0x1b) == NULL &&
           strstr(fake.last_log, "a\\\"") != NULL);
    for (int turn = 0; turn < 3; turn++) {
        expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
        for (int i = 0; i < 500; i++)
            fake_record(&records, &log, sizeof log, "aaaaa", 5, NULL, 0);
        expect(fake_end(FRONT, &records) == STATUS_OK);
    }
    expect(fake.log_lines == 1000);
    fake_tick(2000);
    expect(strstr(fake.last_log, "1000 lines dropped") != NULL);
    fake_stop();
}

TEST(next_epoch)
{
    fake_clear();
    struct engine_io io = {NULL, FAKE_SEED, fake_send, fake_log};
    fake.engine = engine_create(&fake.system, fake.page, &io, 2);
    fake_clock(1);
    struct {
        struct commit_packet packet;
        struct commit_counter counter;
    } entered = {{sizeof entered, COMMIT_COUNTER, 0, 0}, {COUNTER_FLOW(NOTE, REASON_ENTERED), 0, 10}};
    expect(fake_give(ENGINE_STORE, 0, &entered, sizeof entered) == STATUS_OK);
    entered.counter = (struct commit_counter){COUNTER_FLOW(NOTE, REASON_DONE), 0, 7};
    expect(fake_give(ENGINE_STORE, 0, &entered, sizeof entered) == STATUS_OK);
    entered.counter = (struct commit_counter){COUNTER_FLOW(RAW, REASON_ENTERED), 0, 4};
    expect(fake_give(ENGINE_STORE, 0, &entered, sizeof entered) == STATUS_OK);
    struct commit_spool spool = {{sizeof spool, COMMIT_SPOOL, 0, RAW}, 4, 4 * 200, 0};
    expect(fake_give(ENGINE_STORE, 0, &spool, sizeof spool) == STATUS_OK);
    struct commit_packet ready = {sizeof ready, COMMIT_READY, 0, 0};
    expect(fake_give(ENGINE_STORE, 0, &ready, sizeof ready) == STATUS_OK);
    expect(fake_count(NOTE, REASON_LOST) == 3 && fake_count(RAW, REASON_LOST) == 0);
    expect(fake.page->spooled[RAW] == 4 && engine_is_ready(fake.engine));
    fake_stop();
}

int main(void)
{
    RUN(volatile_event);
    RUN(durable_event);
    RUN(refusal_drops_all);
    RUN(refusals);
    RUN(guest_failures);
    RUN(redelivery);
    RUN(conflict);
    RUN(not_now);
    RUN(full_namespace);
    RUN(order_per_key);
    RUN(reservation);
    RUN(room_for_whom);
    RUN(reply_room);
    RUN(throttle);
    RUN(throttled_input);
    RUN(broadcast);
    RUN(subscription_is_judged);
    RUN(replay);
    RUN(principal);
    RUN(reply_needs_its_request);
    RUN(reads);
    RUN(timers);
    RUN(chain_of_timers);
    RUN(slow_connection);
    RUN(closing);
    RUN(hostile_packets);
    RUN(log_lines);
    RUN(next_epoch);
    TEST_END();
}
