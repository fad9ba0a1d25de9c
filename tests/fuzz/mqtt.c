// SPDX-License-Identifier: ISC
// Fuzz target: whole connections of the MQTT engine.
//
// The input is a script of steps, one byte each, with what follows it: 0..0x7f so many bytes from the client;
// 0x80.. an event of the kind in the low three bits, or a packet of the table in front of changed bytes.
// What must hold after every event: the bounds that engine.h names, effects that fit the output region, and
// output that is a run of whole packets that a server may send.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "guests/mqtt/engine.h"

#include <string.h>

#define OUTPUT_REGION_BYTES 32760u // ABI_OUTPUT_BYTES without its header

static const char configuration[] = "publish 4 1 1024 1 a/b\npublish 5 1 64 3 a/+\n"
                                    "publish0 6 0 1024 1 a/#\nsubscribe 3 0 0 1 a/#\n"
                                    "subscribe 4 0 0 1 +/b\n";

static struct {
    unsigned wires, logins, joins, watches, mores, publications;
    size_t record_bytes;
    uint32_t watch_serial;
    bool is_closed;
} seen;

static void record(size_t struct_bytes, size_t payload_bytes)
{
    seen.record_bytes += struct_bytes + ((payload_bytes + 7) & ~(size_t)7);
}

void outside_wire(struct bytes bytes, bool is_closed)
{
    seen.wires++;
    seen.is_closed = is_closed;
    record(24, 4 + bytes.size);
    while (bytes.size != 0) {
        must(bytes.size >= 2);
        uint8_t type = bytes.at[0] >> 4;
        must(type == PACKET_CONNACK || type == PACKET_PUBLISH || type == PACKET_PUBACK ||
             type == PACKET_SUBACK || type == PACKET_UNSUBACK || type == PACKET_PINGRESP);
        size_t body = bytes.at[1] & 127, header = 2;
        if (bytes.at[1] >= 128) {
            must(bytes.size >= 3 && bytes.at[2] < 128);
            body |= (size_t)bytes.at[2] << 7;
            header = 3;
        }
        must(bytes.size >= header + body);
        bytes.at += header + body;
        bytes.size -= header + body;
    }
}

void outside_login(struct bytes user, struct bytes password)
{
    seen.logins++;
    record(24, 168);
    must(user.size >= 1 && user.size <= 32 && password.size <= 128);
}

void outside_join(uint16_t input, bool is_joined)
{
    (void)is_joined;
    seen.joins++;
    record(24, 8);
    must(input >= RULES_INPUT_FIRST && input < RULES_INPUT_FIRST + RULES_PORTS);
}

void outside_tick(enum engine_tick_kind kind, uint32_t serial, uint32_t delay_ms)
{
    record(24, 8);
    must((kind == TICK_MORE) == (delay_ms == 0));
    if (kind == TICK_MORE) {
        seen.mores++;
    } else {
        seen.watches++;
        seen.watch_serial = serial;
    }
}

void outside_publish(uint16_t output, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload)
{
    (void)is_duplicate;
    seen.publications++;
    record(24, 134 + payload.size);
    must(output >= RULES_OUTPUT_FIRST && output < RULES_OUTPUT_FIRST + RULES_PORTS && qos <= 1);
    must(topic.size >= 1 && topic.size <= 128 && payload.size <= 1024);
}

void outside_refuse(enum engine_refusal refusal)
{
    must(refusal <= REFUSAL_UNFINISHED);
    record(16, 0);
}

static struct rules rules;
static struct engine engine;
static bool is_over, is_more_coming;

static void begin(void) { memset(&seen, 0, offsetof(__typeof__(seen), watch_serial)); }

static void judge(void)
{
    must(seen.wires <= 1 && seen.logins <= 1 && seen.joins <= 8 && seen.mores <= 1);
    must(seen.watches + seen.mores <= 2 && seen.publications <= ENGINE_PUBLICATIONS_MAX + 1);
    must(seen.record_bytes <= OUTPUT_REGION_BYTES);
    must(engine.state == ENGINE_LOGIN || engine.state == ENGINE_CLOSED ||
         engine.input_bytes <= ENGINE_INPUT_BYTES - ENGINE_WIRE_BYTES_MAX);
    must(!(is_over && (seen.wires != 0 || seen.publications != 0))); // closed is closed
    must((engine.state == ENGINE_CLOSED) == (is_over || seen.is_closed));
    is_over = is_over || seen.is_closed;
    is_more_coming = is_more_coming || seen.mores != 0;
}

static void feed(const uint8_t *bytes, size_t size)
{
    begin();
    engine_wire(&engine, 1000, (struct bytes){bytes, size}, false);
    judge();
}

static const struct {
    const char *bytes;
    size_t size;
} packets[] = {
#define PACKET(literal) {literal, sizeof(literal) - 1}
    PACKET("\x10\x29\0\4MQTT\4\xce\0\x0a\0\2c1\0\3a/b\0\5bye..\0\5press\0\6secret"),
    PACKET("\x32\x0b\0\3a/b\0\1""12.5"),
    PACKET("\x30\x08\0\3a/bxyz"),
    PACKET("\x82\x10\0\1\0\3a/#\1\0\5x/b/+\0"),
    PACKET("\xa2\7\0\2\0\3a/#"),
    PACKET("\xc0\0"),
    PACKET("\x40\2\0\1"),
    PACKET("\x32\xff\x7f\0\3a/b\0\7"), // oversize
};

static void step(uint8_t kind)
{
    static const uint8_t payload[1024];
    begin();
    switch (kind & 7) {
    case 0: engine_login(&engine, 1000, true, 1 + (kind >> 3 & 1)); break;
    case 1: engine_login(&engine, 1000, false, 0); break;
    case 2:
        if (!is_more_coming)
            return;
        is_more_coming = false;
        engine_tick(&engine, 1000, TICK_MORE, 0);
        break;
    case 3: engine_tick(&engine, 1000 + (kind >> 3) * 4000, TICK_WATCH, seen.watch_serial); break;
    case 4:
    case 5:
        engine_deliver(&engine, (uint16_t)(RULES_INPUT_FIRST + (kind & 1)), kind >> 3 & 1,
                       (struct bytes){(const uint8_t *)"a/b", 3},
                       (struct bytes){payload, (kind & 16) != 0 ? 1024 : 1});
        break;
    case 6: engine_wire(&engine, 1000, (struct bytes){0}, true); break;
    default: break;
    }
    judge();
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t begin[] = {0xc0, 0, 0, 0x80}; // CONNECT and its answer
    uint32_t state = index * 0x9e3779b9u + 1;
    if (index >= 512)
        return 0;
    memcpy(bytes, begin, sizeof begin);
    size_t size = sizeof begin + index % 92;
    for (size_t at = sizeof begin; at < size; at++) {
        state ^= state << 13, state ^= state >> 17, state ^= state << 5;
        bytes[at] = (uint8_t)(state >> 8);
        if (state % 3 != 0)
            bytes[at] |= 0x80;
        if (state % 4 == 0)
            bytes[at] = 0; // many changes of nothing, so that connections live
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t input[ENGINE_WIRE_BYTES_MAX];
    unsigned line;
    must(rules_read(&rules,
                    (struct bytes){(const uint8_t *)configuration, sizeof configuration - 1}, &line));
    engine_init(&engine, &rules);
    memset(&seen, 0, sizeof seen);
    is_over = is_more_coming = false;
    for (size_t at = 0; at < size;) {
        uint8_t kind = data[at++];
        if (kind < 0x80) {
            size_t count = kind < size - at ? kind : size - at;
            feed(data + at, count);
            at += count;
        } else if (kind < 0xc0) {
            step(kind);
        } else { // one packet of the table, many times
            size_t which = (kind & 7), filled = 0;
            while (filled + packets[which].size <= sizeof input && filled <= (kind >> 3 & 7) * 292u) {
                memcpy(input + filled, packets[which].bytes, packets[which].size);
                filled += packets[which].size;
            }
            if (at + 1 < size) { // with one byte changed, or none
                size_t place = data[at] * 8u;
                input[place % filled] ^= data[at + 1];
                at += 2;
            }
            feed(input, filled);
        }
    }
    return 0;
}
