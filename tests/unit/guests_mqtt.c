// SPDX-License-Identifier: ISC
// The MQTT engine: connections, packets, publications.
#include "tests/unit/mqtt_client.h"

// --- Tests -----------------------------------------------------------------------------------

TEST(connect_asks_and_is_answered)
{
    start();
    feed(connect_plain, 10);
    expect(seen.logins == 0 && seen.watches == 1 && seen.watch_ms == ENGINE_LOGIN_MS);
    feed(connect_plain + 10, sizeof connect_plain - 1 - 10);
    expect(seen.logins == 1 && strcmp(seen.user, "press") == 0 &&
           strcmp(seen.password, "secret") == 0);
    expect(seen.wire_count == 0);
    login(1);
    expect(SENT("\x20\2\0\0") && !seen.is_closed && seen.watch_ms == 15000);
}

TEST(connect_is_refused)
{
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    login(0);
    expect(SENT("\x20\2\0\4") && seen.is_closed);
    start();
    FEED("\x10\x0f\0\4MQTT\5\2\0\x0a\0\0\0\0\0"); // MQTT 5
    expect(SENT("\x20\2\0\1") && seen.is_closed);
    start();
    FEED("\x10\x0e\0\6MQIsdp\3\2\0\x0a\0\0"); // MQTT 3.1
    expect(SENT("\x20\2\0\1") && seen.is_closed);
    start();
    FEED("\x10\x0c\0\4MQTT\4\2\0\x0a\0\0"); // nobody
    expect(SENT("\x20\2\0\5") && seen.is_closed);
    start();
    FEED("\x10\x13\0\4MQTT\4\x80\0\x0a\0\0\0\5press"); // no client id, session to be kept
    expect(SENT("\x20\2\0\2") && seen.is_closed);
    start();
    FEED("\x10\x13\0\4MQTT\4\x82\0\x0a\0\0\0\5press"); // no password
    expect(SENT("\x20\2\0\4") && seen.is_closed);
    start();
    engine_init(&engine, NULL); // no good configuration
    feed(connect_plain, sizeof connect_plain - 1);
    expect(SENT("\x20\2\0\3") && seen.is_closed);
}

TEST(malformed_packets_end_the_connection)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool is_connected;
    } cases[] = {
#define CASE(literal, connected) {literal, sizeof(literal) - 1, connected}
        CASE("GET / HTTP/1.1\r\n", false),
        CASE("\x10\x0c\0\4MQTX\4\2\0\x0a\0\0", false),     // protocol name
        CASE("\x10\x0c\0\4MQTT\4\3\0\x0a\0\0", false),     // reserved flag
        CASE("\x10\x0c\0\4MQTT\4\x42\0\x0a\0\0", false),   // password without user
        CASE("\x10\x0c\0\4MQTT\4\x1a\0\x0a\0\0", false),   // will QoS without will
        CASE("\x10\x0d\0\4MQTT\4\2\0\x0a\0\0x", false),    // bytes behind the end
        CASE("\x10\x0d\0\4MQTT\4\2\0\x0a\0\1\0", false),   // U+0000 in the client id
        CASE("\x10\x0e\0\4MQTT\4\2\0\x0a\0\2\xc0\x80", false), // UTF-8 not in shortest form
        CASE("\x10\xff\xff\xff\xff\1", false),               // length of five bytes
        CASE("\xc0\0", false),                                 // PINGREQ first
        CASE("\x10\0", true),                                  // second CONNECT
        CASE("\x20\2\0\0", true),                              // CONNACK from a client
        CASE("\xc1\0", true),                                  // reserved flags
        CASE("\xc0\1x", true),                                 // PINGREQ with a body
        CASE("\x32\4\0\0\0\1", true),                          // empty topic
        CASE("\x32\5\0\1a\0\0", true),                         // packet id 0
        CASE("\x32\5\0\1+\0\1", true),                         // wildcard in a topic name
        CASE("\x36\5\0\1a\0\1", true),                         // QoS 3
        CASE("\x38\3\0\1a", true),                             // DUP with QoS 0
        CASE("\x82\2\0\1", true),                              // SUBSCRIBE to nothing
        CASE("\x80\6\0\1\0\1a\0", true),                       // its flags
        CASE("\x82\6\0\1\0\1a\3", true),                       // QoS 3
        CASE("\x82\7\0\1\0\2#a\0", true),                      // filter
        CASE("\xa2\5\0\0\0\1a", true),                         // packet id 0
        CASE("\xe0\1x", true),                                 // DISCONNECT with a body
        CASE("\x62\2\0\1", true),                              // PUBREL, of QoS 2
        CASE("\x82\x80\x40\0\1", true),                        // a SUBSCRIBE over the buffer
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cases[i].is_connected ? connect_as(1) : start();
        feed(cases[i].bytes, cases[i].size);
        expect(seen.is_closed && seen.refused[REFUSAL_MALFORMED_PACKET] == 1);
        if (test_why != NULL) {
            fprintf(stderr, "case %zu\n", i);
            return;
        }
        feed("\xc0\0", 2);
        expect(seen.wire_count == 0); // closed is closed
    }
}

TEST(publish_goes_to_its_flow)
{
    connect_as(1);
    publish(2, 0x1234, "plant/press-7/temperature", "73.9");
    expect(seen.publications == 1 && seen.last.output == 4 && seen.last.qos == 1);
    expect(strcmp(seen.last.topic, "plant/press-7/temperature") == 0);
    expect(seen.last.payload_bytes == 4 && memcmp(seen.last.payload, "73.9", 4) == 0);
    expect(SENT("\x40\2\x12\x34"));
    publish(0, 0, "plant/press-7/temperature", "1"); // its own rule for QoS 0
    expect(seen.publications == 1 && seen.last.output == 6 && seen.wire_count == 0);
    publish(0x0b, 7, "last/will", "1"); // DUP and RETAIN
    expect(seen.last.output == 7 && seen.last.is_duplicate && seen.last.qos == 1);
    publish(0, 0, "last/will", "1"); // no publish0 rule: the publish rule
    expect(seen.publications == 1 && seen.last.output == 7);
}

TEST(what_is_not_allowed_is_counted_and_acknowledged)
{
    connect_as(1);
    publish(2, 1, "plant/rig-2/temperature", "1"); // another principal's
    expect(seen.refused[REFUSAL_NOT_ALLOWED] == 1 && seen.publications == 0);
    expect(SENT("\x40\2\0\1") && !seen.is_closed);
    publish(2, 2, "nobody/knows", "1");
    expect(seen.refused[REFUSAL_NOT_ALLOWED] == 1 && SENT("\x40\2\0\2"));
    connect_as(2);
    publish(2, 3, "plant/rig-2/\x01", "1"); // the schema of publish/1 admits no control character
    expect(seen.refused[REFUSAL_NOT_ALLOWED] == 1 && SENT("\x40\2\0\3"));
    publish(4, 3, "plant/rig-2/temperature", "1");
    expect(seen.refused[REFUSAL_UNSUPPORTED] == 1 && seen.is_closed);
}

TEST(oversize_costs_only_itself)
{
    static uint8_t packet[40000];
    static char payload[30000];
    memset(payload, 'x', sizeof payload);
    connect_as(2);
    feed(packet, make_publish(packet, 2, 1, "plant/rig-2/a", payload, 65)); // over the rule's 64
    expect(seen.refused[REFUSAL_OVERSIZE] == 1 && SENT("\x40\2\0\1"));
    feed(packet, make_publish(packet, 2, 2, "plant/rig-2/a", payload, 64));
    expect(seen.publications == 1 && SENT("\x40\2\0\2"));
    // Larger than the buffer, in pieces of every length that a gateway may choose.
    for (size_t piece = 1; piece <= ENGINE_WIRE_BYTES_MAX; piece = piece * 3 + 1) {
        unsigned refused = 0, acknowledged = 0, published = 0;
        size_t size = make_publish(packet, 2, 3, "plant/rig-2/a", payload, sizeof payload);
        size += make_publish(packet + size, 2, 4, "plant/rig-2/a", payload, 10);
        for (size_t at = 0; at < size; at += piece) {
            feed(packet + at, size - at < piece ? size - at : piece);
            refused += seen.refused[REFUSAL_OVERSIZE];
            published += seen.publications;
            acknowledged += (unsigned)(seen.wire_bytes / 4);
            expect(!seen.is_closed);
        }
        expect(refused == 1 && acknowledged == 2 && published == 1);
    }
}

TEST(a_flood_of_small_packets_loses_nothing)
{
    connect_as(1);
    uint8_t one[64], input[ENGINE_WIRE_BYTES_MAX];
    size_t size = make_publish(one, 0, 0, "last/will", "", 0), sent = 0, offset = 0;
    bool is_more = false;
    unsigned refused = 0;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof input; i++) {
            input[i] = one[offset];
            offset = (offset + 1) % size;
            sent += offset == 0;
        }
        feed(input, sizeof input);
        expect(seen.publications <= ENGINE_PUBLICATIONS_MAX && !seen.is_closed);
        refused += seen.refused[REFUSAL_OVERRUN];
        is_more = is_more || seen.more == 1;
        if (is_more) {
            is_more = false;
            tick(TICK_MORE, 0);
            is_more = seen.more == 1;
        }
    }
    while (is_more) {
        tick(TICK_MORE, 0);
        is_more = seen.more == 1;
        expect(seen.publications != 0 || !is_more);
    }
    expect(refused != 0 && total_publications + refused == sent);
}

// The answers of many PINGREQs leave no room for that of the SUBSCRIBE behind them: it waits, and holds nobody back.
TEST(an_answer_that_must_wait_ends_nothing)
{
    static uint8_t input[4 * ENGINE_WIRE_BYTES_MAX];
    size_t at = sizeof connect_plain - 1;
    start();
    memcpy(input, connect_plain, at);
    for (int i = 0; i < 515; i++, at += 2)
        memcpy(input + at, "\xc0\0", 2);
    at += packet_header_write(input + at, PACKET_SUBSCRIBE, 2, 2 + 1022 * 4);
    memcpy(input + at, "\0\1", 2);
    at += 2;
    for (int i = 0; i < 1022; i++, at += 4)
        memcpy(input + at, "\0\1a\0", 4);
    for (; at < sizeof input; at += 2)
        memcpy(input + at, "\xc0\0", at + 1 < sizeof input ? 2 : 1);
    for (size_t i = 0; i < 4; i++)
        feed(input + i * ENGINE_WIRE_BYTES_MAX, ENGINE_WIRE_BYTES_MAX);
    login(1);
    expect(seen.more == 1 && !seen.is_closed && engine.input_bytes > 6144);
    memset(input, 0, sizeof input);
    input[0] = 0; // the end of the last PINGREQ
    for (size_t i = 1; i < ENGINE_WIRE_BYTES_MAX; i += 2)
        input[i] = 0xc0;
    feed(input, ENGINE_WIRE_BYTES_MAX);
    expect(!seen.is_closed && seen.wire[0] == 0x90); // now it is the first
    for (int i = 0; i < 8; i++)
        tick(TICK_MORE, 0);
    expect(!seen.is_closed && seen.more == 0 && engine.input_bytes <= 1);
}

TEST(the_end_counts_what_waits)
{
    connect_as(1);
    uint8_t input[ENGINE_WIRE_BYTES_MAX];
    size_t size = 0;
    for (unsigned i = 0; i < 3 * ENGINE_PUBLICATIONS_MAX; i++)
        size += make_publish(input + size, 0, 0, "last/will", "x", 1);
    feed(input, size);
    expect(seen.publications == ENGINE_PUBLICATIONS_MAX && seen.more == 1);
    shut();
    expect(seen.is_closed && seen.publications == ENGINE_PUBLICATIONS_MAX);
    expect(seen.refused[REFUSAL_UNFINISHED] == ENGINE_PUBLICATIONS_MAX);
}

TEST(input_before_the_answer_is_kept)
{
    start();
    uint8_t input[ENGINE_WIRE_BYTES_MAX];
    size_t size = sizeof connect_plain - 1;
    memcpy(input, connect_plain, size);
    size += make_publish(input + size, 2, 9, "last/will", "x", 1);
    feed(input, size);
    expect(seen.logins == 1 && seen.publications == 0);
    login(1);
    expect(seen.publications == 1 && SENT("\x20\2\0\0\x40\2\0\x09"));
    // Answers to all of it do not fit into one event.
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    for (size_t i = 0; i < sizeof input; i += 2)
        memcpy(input + i, "\xc0", 2);
    feed(input, sizeof input);
    feed(input, sizeof input);
    login(1);
    size_t answered = seen.wire_bytes - 4;
    while (seen.more == 1) {
        tick(TICK_MORE, 0);
        answered += seen.wire_bytes;
    }
    expect(answered == 2 * sizeof input);
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    feed(input, sizeof input - 10);
    size = packet_header_write(input, PACKET_SUBSCRIBE, 2, 2 + 60 * 4);
    memcpy(input + size, "\0\1", 2);
    size += 2;
    for (int i = 0; i < 60; i++, size += 4)
        memcpy(input + size, "\0\1x\0", 4);
    feed(input, size);
    login(1);
    expect(seen.more == 1);
    tick(TICK_MORE, 0);
    expect(seen.wire_bytes == 64 && seen.wire[0] == 0x90);
    // What is kept is bounded.
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    memset(input, 0xc0, sizeof input);
    for (int i = 0; i < 4; i++)
        feed(input, sizeof input);
    expect(!seen.is_closed);
    feed(input, 1);
    expect(seen.is_closed);
}

int main(void)
{
    RUN(connect_asks_and_is_answered);
    RUN(connect_is_refused);
    RUN(malformed_packets_end_the_connection);
    RUN(publish_goes_to_its_flow);
    RUN(what_is_not_allowed_is_counted_and_acknowledged);
    RUN(oversize_costs_only_itself);
    RUN(a_flood_of_small_packets_loses_nothing);
    RUN(an_answer_that_must_wait_ends_nothing);
    RUN(the_end_counts_what_waits);
    RUN(input_before_the_answer_is_kept);
    TEST_END();
}
