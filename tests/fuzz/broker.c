// SPDX-License-Identifier: ISC
// Fuzz target: what an MQTT 5 broker says to a courier, as its client reads it.
//
// Input: a byte that says in what pieces (and whether the owner takes at once), then the connection's bytes.
// What must hold: nothing is taken before CONNACK, and no more than was offered; ready once; never more packets without their PUBACK
// than the broker's window, nor a publish without room; what goes out is whole packets of a client, CONNECT first, SUBSCRIBE once,
// and a PUBACK for each QoS 1 packet that was taken, none for another; once it has ended it stays so and says why in printable words.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "courier/broker/mqtt5.h"

#include <string.h>

static struct mqtt5 mqtt;
static struct mqtt5_terms terms;
static struct {
    int takes, is_ready;
    unsigned taken, said[16]; // packets by kind
} world;

static void on_ready(void *context)
{
    (void)context;
    must(!world.is_ready && mqtt.state == MQTT5_READY);
    world.is_ready = 1;
}

static int on_take(void *context, const uint8_t *payload, size_t size)
{
    (void)context;
    must(mqtt.state == MQTT5_SUBSCRIBING || mqtt.state == MQTT5_READY);
    must(size < MQTT5_PACKET_MAX);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) // all of it can be read
        sum = (uint8_t)(sum + payload[i]);
    world.taken += (unsigned)world.takes;
    return world.takes;
}

static void judge_output(void)
{
    const uint8_t *bytes;
    size_t size = mqtt5_output(&mqtt, &bytes), at = 0;
    while (at < size) {
        size_t length = 0, shift = 0, i = at + 1;
        do {
            must(i < size && shift < 28);
            length |= (size_t)(bytes[i] & 127) << shift;
            shift += 7;
        } while ((bytes[i++] & 128) != 0);
        unsigned kind = bytes[at] >> 4;
        must(length <= size - i && (kind == 1 || kind == 3 || kind == 4 || kind == 8 || kind == 12));
        must((kind == 1) == (world.said[1] == 0));
        world.said[kind]++;
        at = i + length;
    }
    must(world.said[1] == 1 && world.said[8] <= 1 && world.said[4] <= world.taken);
    must(world.is_ready || world.said[3] == 0);
    mqtt5_sent(&mqtt, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct mqtt5_owner owner = {NULL, on_ready, on_take};
    memset(&world, 0, sizeof world);
    memset(&terms, 0, sizeof terms);
    memcpy(terms.publish, "t/up", 4);
    memcpy(terms.subscribe, "t/down", 6);
    mqtt5_begin(&mqtt, &terms, &owner);
    judge_output();
    if (size == 0)
        return 0;
    size_t piece = (bytes[0] & 0x7f) + 1u, at = 1;
    world.takes = bytes[0] >> 7;
    enum status status = STATUS_OK;
    while (at < size && status == STATUS_OK) {
        uint8_t *to;
        size_t room = mqtt5_room(&mqtt, &to), part = size - at < piece ? size - at : piece;
        if (room < part) { // only what was not taken can lie there so long
            must(!world.takes);
            world.takes = 1;
            status = mqtt5_received(&mqtt, 0);
            continue;
        }
        memcpy(to, bytes + at, part);
        status = mqtt5_received(&mqtt, part);
        at += part;
        if (mqtt5_may_publish(&mqtt))
            mqtt5_publish(&mqtt, "head", 4, "body", 4);
        must(mqtt.open_count <= mqtt.window && mqtt.window >= 1 && mqtt.window <= MQTT5_WINDOW);
        mqtt5_ping(&mqtt);
        judge_output();
    }
    must((status == STATUS_OK) == (mqtt.state != MQTT5_ENDED));
    if (status == STATUS_OK)
        return 0;
    uint8_t *to;
    must(mqtt.why[0] != 0 && !mqtt5_may_publish(&mqtt) && mqtt5_room(&mqtt, &to) == 0);
    for (const char *c = mqtt.why; *c != 0; c++)
        must(*c >= 0x20 && *c < 0x7f);
    must(mqtt5_received(&mqtt, 0) != STATUS_OK);
    return 0;
}

// A broker that does as it should, with one thing more each time.
size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
#define PART(text) {text, sizeof text - 1}
    static const struct {
        const char *bytes;
        size_t size;
    } parts[] = {
        PART("\x20\x22\0\0\x1f\x11\0\0\0\0\x12\0\1c\x26\0\1a\0\1b\x26\0\1a\0\1b\x21\0\2\x13\0\5\x25\0"),
        PART("\x90\x04\0\1\0\1"),
        PART("\x32\x10\0\6t/down\0\7\0hello"),
        PART("\x40\3\0\1\x10"),
        PART("\x3a\x15\0\6t/down\0\7\5\x26\0\0\0\0hello"),
        PART("\x30\x0e\0\6t/down\0hello\xd0\0"),
        PART("\xe0\7\x8e\5\x1f\0\2no"),
    };
    size_t size = 1;
    if (index >= sizeof parts / sizeof parts[0])
        return 0;
    bytes[0] = (uint8_t)(index % 3 != 0 ? 0xff : 0x03);
    for (unsigned i = 0; i <= index; i++) {
        memcpy(bytes + size, parts[i].bytes, parts[i].size);
        size += parts[i].size;
    }
    return size;
}
