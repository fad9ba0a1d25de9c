// SPDX-License-Identifier: ISC
// The client of an MQTT 5 broker, against packets made by hand.
#include "courier/broker/mqtt5.h"
#include "tests/unit/test.h"

#include <string.h>

static struct mqtt5 mqtt;
static struct mqtt5_terms terms;
static struct {
    unsigned ready, taken;
    int is_full; // it takes nothing
    uint8_t last[MQTT5_PAYLOAD_MAX];
    size_t last_bytes;
} owner;

static void on_ready(void *context) { (void)context, owner.ready++; }

static int on_take(void *context, const uint8_t *payload, size_t size)
{
    (void)context;
    if (owner.is_full)
        return 0;
    owner.taken++;
    memcpy(owner.last, payload, size);
    owner.last_bytes = size;
    return 1;
}

// In pieces of `piece` bytes.
static enum status feed(const void *bytes, size_t size, size_t piece)
{
    enum status status = STATUS_OK;
    for (size_t at = 0; at < size && status == STATUS_OK; at += piece) {
        uint8_t *to;
        size_t part = size - at < piece ? size - at : piece;
        expect(mqtt5_room(&mqtt, &to) >= part);
        memcpy(to, (const uint8_t *)bytes + at, part);
        status = mqtt5_received(&mqtt, part);
    }
    return status;
}
#define FEED(text) feed(text, sizeof text - 1, 1000)

// What goes out is exactly that.
static int says(const char *bytes, size_t size)
{
    const uint8_t *output;
    int is_same = mqtt5_output(&mqtt, &output) == size && memcmp(output, bytes, size) == 0;
    mqtt5_sent(&mqtt, mqtt5_output(&mqtt, &output));
    return is_same;
}
#define SAYS(text) says(text, sizeof text - 1)

static void begin(const char *user)
{
    const struct mqtt5_owner is = {NULL, on_ready, on_take};
    memset(&owner, 0, sizeof owner);
    memset(&terms, 0, sizeof terms);
    snprintf(terms.publish, sizeof terms.publish, "t/up");
    snprintf(terms.subscribe, sizeof terms.subscribe, "t/down");
    snprintf(terms.user, sizeof terms.user, "%s", user);
    memcpy(terms.password, "pw", 2);
    terms.password_bytes = 2;
    mqtt5_begin(&mqtt, &terms, &is);
}

#define CONNACK_OK "\x20\x03\0\0\0"
#define SUBACK_OK "\x90\x04\0\1\0\1"
#define CONNECT_TAIL "\x08\x21\0\x10\x27\0\0\x44\0\0\4t/up"

static void make_ready(void)
{
    begin("");
    expect(SAYS("\x10\x19\0\4MQTT\5\2\0\x0f" CONNECT_TAIL));
    expect(FEED(CONNACK_OK) == STATUS_OK && SAYS("\x82\x0c\0\1\0\0\6t/down\x21"));
    expect(FEED(SUBACK_OK) == STATUS_OK && owner.ready == 1 && mqtt.state == MQTT5_READY);
}

TEST(it_connects_and_subscribes)
{
    begin("me");
    expect(SAYS("\x10\x21\0\4MQTT\5\xc2\0\x0f" CONNECT_TAIL "\0\2me\0\2pw"));
    expect(!mqtt5_may_publish(&mqtt));
    // Session expiry, assigned identifier, a user property twice, receive maximum 2, a server keep alive.
    static const char full[] = "\x20\x22\0\0\x1f\x11\0\0\0\0\x12\0\1c\x26\0\1a\0\1b\x26\0\1a\0\1b\x21\0\2\x13\0\5\x25\0";
    expect(feed(full, sizeof full - 1, 1) == STATUS_OK && mqtt.window == 2 && mqtt.keep_alive_s == 5);
    expect(FEED(SUBACK_OK) == STATUS_OK && mqtt.state == MQTT5_READY);
    mqtt5_publish(&mqtt, "h", 1, "b", 1);
    expect(mqtt5_may_publish(&mqtt));
    mqtt5_publish(&mqtt, "h", 1, "b", 1);
    expect(!mqtt5_may_publish(&mqtt)); // the broker's window
    expect(FEED("\x40\2\0\1") == STATUS_OK && mqtt5_may_publish(&mqtt));
}

TEST(it_publishes_and_takes)
{
    make_ready();
    mqtt5_publish(&mqtt, "head", 4, "body", 4);
    expect(SAYS("\x32\x11\0\4t/up\0\1\0headbody"));
    expect(FEED("\x40\3\0\1\x10") == STATUS_OK && mqtt.open_count == 0); // nobody has subscribed
    for (size_t piece = 1; piece < 20; piece++) {
        owner.taken = 0;
        expect(feed("\x32\x10\0\6t/down\0\7\0hello\xd0\0", 20, piece) == STATUS_OK);
        expect(owner.taken == 1 && owner.last_bytes == 5 && memcmp(owner.last, "hello", 5) == 0 && SAYS("\x40\2\0\7"));
    }
    expect(FEED("\x30\x0e\0\6t/down\0hello") == STATUS_OK && owner.taken == 2 && SAYS("")); // QoS 0: no PUBACK
    expect(FEED("\x3a\x15\0\6t/down\0\7\5\x26\0\0\0\0hello") == STATUS_OK && owner.taken == 3 && SAYS("\x40\2\0\7"));
    mqtt5_ping(&mqtt);
    expect(SAYS("\xc0\0") && FEED("\xd0\0") == STATUS_OK);
}

TEST(what_is_not_taken_is_offered_again_and_not_acknowledged)
{
    make_ready();
    owner.is_full = 1;
    expect(FEED("\x32\x10\0\6t/down\0\7\0hello") == STATUS_OK && owner.taken == 0 && SAYS(""));
    expect(mqtt5_received(&mqtt, 0) == STATUS_OK && SAYS(""));
    owner.is_full = 0;
    expect(mqtt5_received(&mqtt, 0) == STATUS_OK && owner.taken == 1 && SAYS("\x40\2\0\7"));
    expect(mqtt5_received(&mqtt, 0) == STATUS_OK && owner.taken == 1);
}

TEST(the_largest_packet_fits_and_no_larger_one)
{
    static uint8_t packet[MQTT5_PACKET_MAX + 8] = {0x32};
    static const uint8_t middle[] = {0, 6, 't', '/', 'd', 'o', 'w', 'n', 0, 1, 0};
    size_t length = sizeof middle + MQTT5_PAYLOAD_MAX;
    packet[1] = (uint8_t)(length % 128 | 128), packet[2] = (uint8_t)(length / 128 % 128 | 128), packet[3] = (uint8_t)(length / 16384);
    memcpy(packet + 4, middle, sizeof middle);
    make_ready();
    expect(feed(packet, 4 + length, 999) == STATUS_OK && owner.last_bytes == MQTT5_PAYLOAD_MAX);
    expect(FEED("\x32\x80\x80\x02") == STATUS_MALFORMED && strstr(mqtt.why, "larger than was offered") != NULL);
    uint8_t *at;
    expect(mqtt5_room(&mqtt, &at) == 0 && !mqtt5_may_publish(&mqtt));
}

TEST(what_the_broker_refuses_is_said)
{
    begin("");
    expect(FEED("\x20\x0a\0\x87\7\x1f\0\4no\n!") == STATUS_MALFORMED);
    expect(strcmp(mqtt.why, "the broker refuses the connection: not authorized (0x87): no?!") == 0);
    begin("");
    expect(FEED("\x20\5\0\0\2\x24\0") == STATUS_MALFORMED && strstr(mqtt.why, "QoS 1") != NULL);
    begin("");
    expect(FEED("\x20\x08\0\0\5\x27\0\0\1\0") == STATUS_MALFORMED && strstr(mqtt.why, "at most 256 bytes") != NULL);
    begin("");
    expect(FEED(CONNACK_OK "\x90\x04\0\1\0\x87") == STATUS_MALFORMED && strstr(mqtt.why, "refuses the subscription") != NULL);
    begin("");
    expect(FEED(CONNACK_OK "\x90\x04\0\1\0\0") == STATUS_MALFORMED && strstr(mqtt.why, "QoS 0 only") != NULL);
    make_ready();
    expect(FEED("\xe0\1\x8e") == STATUS_MALFORMED && strstr(mqtt.why, "same identifier") != NULL);
    make_ready();
    expect(FEED("\xe0\0") == STATUS_MALFORMED);
    make_ready();
    mqtt5_publish(&mqtt, "h", 1, "b", 1);
    expect(FEED("\x40\4\0\1\x97\0") == STATUS_MALFORMED && strstr(mqtt.why, "quota exceeded") != NULL);
}

TEST(malformed_packets_end_it)
{
    static const struct {
        const char *bytes;
        size_t size;
        int is_ready; // else right after the start
    } packets[] = {
#define BAD(text, is_ready) {text, sizeof text - 1, is_ready}
        BAD("\x20\3\1\0\0", 0),             // a session that was not asked for
        BAD("\x20\3\0\1\0", 0),             // a code that does not exist
        BAD("\x20\2\0\0", 0),               // without properties
        BAD("\x20\4\0\0\0\0", 0),           // something behind
        BAD("\x20\6\0\0\3\x21\0\0", 0),     // receive maximum 0
        BAD("\x20\5\0\0\2\x24\2", 0),       // maximum QoS 2
        BAD("\x20\7\0\0\4\x25\1\x25\1", 0), // twice
        BAD("\x20\6\0\0\3\x23\0\1", 0),     // not of CONNACK
        BAD("\x20\7\0\0\4\x1f\0\5x", 0),    // a string over the end
        BAD("\x20\4\0\0\x80\0", 0),         // a length in more bytes than it needs
        BAD("\x21\3\0\0\0", 0),             // flags
        BAD(SUBACK_OK, 0), BAD("\xd0\0", 0), BAD("\x32\x10\0\6t/down\0\7\0hello", 0), // before CONNACK
        BAD(CONNACK_OK, 1), BAD(SUBACK_OK, 1),                                        // a second time
        BAD("\x40\2\0\1", 1), BAD("\x40\2\0\0", 1), BAD("\x40\2\xff\xff", 1),         // nothing was published
        BAD("\xd0\1\0", 1),
        BAD("\x34\x10\0\6t/down\0\7\0hello", 1),       // QoS 2
        BAD("\x36\x10\0\6t/down\0\7\0hello", 1),       // QoS 3
        BAD("\x38\x0e\0\6t/down\0hello", 1),           // QoS 0, and again
        BAD("\x32\x10\0\6t/down\0\0\0hello", 1),       // identifier 0
        BAD("\x32\x10\0\6t/down/\0\7hello", 1),
        BAD("\x32\x0e\0\4t/up\0\7\0hello", 1),         // another topic
        BAD("\x32\x0d\0\0\0\7\3\x23\0\1hello", 1),     // a topic alias
        BAD("\x32\x12\0\6t/down\0\7\2\x0b\1hello", 1), // a subscription identifier
        BAD("\x32\3\0\6t", 1), BAD("\x32\0", 1),
        BAD("\xf0\0", 1), BAD("\x50\2\0\1", 1), BAD("\x10\0", 1), BAD("\0\0", 1), // not for a client
        BAD("\x32\xff\xff\xff\xff", 1), BAD("\x32\x80\x80\x80\x80", 1), BAD("\x32\x80\0", 1),
    };
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++)
        for (size_t piece = 1; piece < 30; piece += 7) {
            if (packets[i].is_ready)
                make_ready();
            else
                begin("");
            owner.taken = 0;
            expect(feed(packets[i].bytes, packets[i].size, piece) == STATUS_MALFORMED);
            expect(mqtt.state == MQTT5_ENDED && mqtt.why[0] != 0 && owner.taken == 0);
        }
}

int main(void)
{
    RUN(it_connects_and_subscribes);
    RUN(it_publishes_and_takes);
    RUN(what_is_not_taken_is_offered_again_and_not_acknowledged);
    RUN(the_largest_packet_fits_and_no_larger_one);
    RUN(what_the_broker_refuses_is_said);
    RUN(malformed_packets_end_it);
    TEST_END();
}
