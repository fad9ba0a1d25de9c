// SPDX-License-Identifier: ISC
// The MQTT engine without a host: a client that feeds it, and a record of what it made happen. Included by
// one test program each, like test.h.
#ifndef CRENEL_TESTS_MQTT_CLIENT_H
#define CRENEL_TESTS_MQTT_CLIENT_H

#include "guests/mqtt/engine.h"
#include "guests/mqtt/topic.h"
#include "tests/unit/test.h"

#include <string.h>

// --- What the engine made happen in one event ----------------------------------------------

static struct {
    uint8_t wire[ENGINE_OUTPUT_BYTES];
    size_t wire_bytes, wire_count;
    bool is_closed;
    unsigned logins, publications, more, watches, refused[6];
    uint32_t watch_ms, watch_serial;
    char user[64], password[256];
    struct {
        uint16_t output;
        uint8_t qos;
        bool is_duplicate;
        char topic[256];
        char payload[2048];
        size_t payload_bytes;
    } last;
    uint32_t joined, left; // bit i: deliver_i
} seen;
static unsigned total_publications;

void outside_wire(struct bytes bytes, bool is_closed)
{
    expect(bytes.size <= sizeof seen.wire);
    memcpy(seen.wire, bytes.at, bytes.size < sizeof seen.wire ? bytes.size : sizeof seen.wire);
    seen.wire_bytes = bytes.size;
    seen.wire_count++;
    seen.is_closed = is_closed;
}

void outside_login(struct bytes user, struct bytes password)
{
    seen.logins++;
    snprintf(seen.user, sizeof seen.user, "%.*s", (int)user.size, (const char *)user.at);
    snprintf(seen.password, sizeof seen.password, "%.*s", (int)password.size,
             (const char *)password.at);
}

void outside_join(uint16_t input, bool is_joined)
{
    *(is_joined ? &seen.joined : &seen.left) |= 1u << (input - RULES_INPUT_FIRST);
}

void outside_tick(enum engine_tick_kind kind, uint32_t serial, uint32_t delay_ms)
{
    if (kind == TICK_MORE) {
        seen.more++;
    } else {
        seen.watches++;
        seen.watch_ms = delay_ms;
        seen.watch_serial = serial;
    }
}

void outside_publish(uint16_t output, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload)
{
    seen.publications++;
    total_publications++;
    seen.last.output = output;
    seen.last.qos = qos;
    seen.last.is_duplicate = is_duplicate;
    snprintf(seen.last.topic, sizeof seen.last.topic, "%.*s", (int)topic.size,
             (const char *)topic.at);
    memcpy(seen.last.payload, payload.at, payload.size);
    seen.last.payload_bytes = payload.size;
}

void outside_refuse(enum engine_refusal refusal) { seen.refused[refusal]++; }

// --- A client ------------------------------------------------------------------------------

static const char configuration[] = "publish 4 1 1024 1 plant/press-7/temperature\n"
                                    "publish 5 1 64 2 plant/rig-2/+\n"
                                    "publish0 6 0 1024 1 plant/press-7/temperature\n"
                                    "publish 7 1 1024 3 last/will\n"
                                    "subscribe 3 0 0 4 plant/alarms\n"
                                    "subscribe 4 0 0 7 plant/+/status\n";
static struct rules rules;
static struct engine engine;
static int64_t now_ms;

static struct bytes text(const char *string)
{
    return (struct bytes){(const uint8_t *)string, strlen(string)};
}

static __attribute__((unused)) void start(void)
{
    unsigned line;
    expect(rules_read(&rules, text(configuration), &line));
    engine_init(&engine, &rules);
    now_ms = 1000000;
    total_publications = 0;
}

static void feed(const void *bytes, size_t size)
{
    memset(&seen, 0, sizeof seen);
    engine_wire(&engine, now_ms, (struct bytes){bytes, size}, false);
}

static __attribute__((unused)) void shut(void)
{
    memset(&seen, 0, sizeof seen);
    engine_wire(&engine, now_ms, (struct bytes){0}, true);
}

static __attribute__((unused)) void login(uint32_t principal)
{
    memset(&seen, 0, sizeof seen);
    engine_login(&engine, now_ms, principal != 0, principal);
}

static __attribute__((unused)) void tick(enum engine_tick_kind kind, uint32_t serial)
{
    memset(&seen, 0, sizeof seen);
    engine_tick(&engine, now_ms, kind, serial);
}

static __attribute__((unused)) void deliver(uint16_t input, uint8_t qos, const char *topic, const char *payload)
{
    memset(&seen, 0, sizeof seen);
    engine_deliver(&engine, input, qos, text(topic), text(payload));
}

static __attribute__((unused)) bool was_sent(const char *bytes, size_t size)
{
    return seen.wire_bytes == size && memcmp(seen.wire, bytes, size) == 0;
}
#define SENT(literal) was_sent(literal, sizeof(literal) - 1)
#define FEED(literal) feed(literal, sizeof(literal) - 1)

static size_t put_string(uint8_t *out, const char *string)
{
    size_t size = strlen(string);
    out[0] = (uint8_t)(size >> 8);
    out[1] = (uint8_t)size;
    memcpy(out + 2, string, size);
    return size + 2;
}

static __attribute__((unused)) size_t make_publish(uint8_t *out, uint8_t flags, uint16_t id, const char *topic,
                           const void *payload, size_t payload_bytes)
{
    size_t body = 2 + strlen(topic) + ((flags & 6) != 0 ? 2 : 0) + payload_bytes;
    size_t at = packet_header_write(out, PACKET_PUBLISH, flags, (uint32_t)body);
    at += put_string(out + at, topic);
    if ((flags & 6) != 0) {
        out[at++] = (uint8_t)(id >> 8);
        out[at++] = (uint8_t)id;
    }
    if (payload_bytes != 0)
        memcpy(out + at, payload, payload_bytes);
    return at + payload_bytes;
}

static __attribute__((unused)) void publish(uint8_t flags, uint16_t id, const char *topic, const char *payload)
{
    uint8_t packet[4096];
    feed(packet, make_publish(packet, flags, id, topic, payload, strlen(payload)));
}

// Keep-alive 10 s, clean session, will "bye" on last/will, user press, password secret.
#define CONNECT_WILL                                                                               \
    "\x10\x2d\0\4MQTT\4\xce\0\x0a\0\2c1\0\x09last/will\0\3bye\0\5press\0\6secret"
static const char connect_plain[] = "\x10\x1d\0\4MQTT\4\xc2\0\x0a\0\2c1\0\5press\0\6secret";

static __attribute__((unused)) void connect_as(uint32_t principal)
{
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    login(principal);
}

#endif
