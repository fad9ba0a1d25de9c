// SPDX-License-Identifier: ISC
// One MQTT 3.1.1 connection: events in, effects out (outside.h), no other input or output.
//
// States. NEW waits for CONNECT; LOGIN has asked whether the user may enter, and buffers; CONNECTED
// handles packets; CLOSED has said goodbye and ignores everything.
//
// Bounds of one event. At most ENGINE_PUBLICATIONS_MAX publications and the will are sent, one run of bytes of
// at most ENGINE_OUTPUT_BYTES goes out, and each input is joined or left at most once. Packets
// beyond that stay buffered, and a `more` tick to itself continues with them; at most one is under
// way. After each event the buffer has room for the largest input, so nothing is lost: where small
// packets come faster than events, publications are refused as `overrun` and counted. What is held back because its
// answer does not fit any more (a SUBSCRIBE behind many PINGREQs) comes on top, in ENGINE_HELD_BYTES.
//
// Every publication that arrived is either sent to its flow or refused with one outside_refuse(),
// also when the connection ends early; only bytes behind a malformed packet are not looked at.
#ifndef CRENEL_GUESTS_MQTT_ENGINE_H
#define CRENEL_GUESTS_MQTT_ENGINE_H

#include "outside.h"
#include "packet.h"
#include "rules.h"

#define ENGINE_PACKET_BYTES_MAX 4096u // larger publications are skipped, other packets end the connection
#define ENGINE_WIRE_BYTES_MAX 2048u   // of one wire event
#define ENGINE_HELD_BYTES 2048u       // by one event, which answers ENGINE_OUTPUT_BYTES at most
#define ENGINE_INPUT_BYTES (8192u + ENGINE_HELD_BYTES)
#define ENGINE_OUTPUT_BYTES 2048u
#define ENGINE_PUBLICATIONS_MAX 31u // and the will: 32, as unikernel.yaml says
#define ENGINE_SUBSCRIPTIONS_MAX 32u
#define ENGINE_TOPIC_BYTES_MAX 128u   // publish/1
#define ENGINE_PAYLOAD_BYTES_MAX 1024u // publish/1
#define ENGINE_USER_BYTES_MAX 32u     // password-request/1
#define ENGINE_PASSWORD_BYTES_MAX 128u
#define ENGINE_LOGIN_MS 10000u // from the first byte to CONNACK

enum engine_state { ENGINE_NEW, ENGINE_LOGIN, ENGINE_CONNECTED, ENGINE_CLOSED };

struct engine_will {
    bool is_set;
    uint8_t qos;
    uint8_t topic_bytes;
    uint16_t payload_bytes;
    uint8_t topic[ENGINE_TOPIC_BYTES_MAX];
    uint8_t payload[ENGINE_PAYLOAD_BYTES_MAX];
};

struct engine_subscription {
    uint8_t filter_bytes; // 0: free
    uint8_t qos;          // granted
    uint8_t ports;        // inputs that may carry what it selects, bit i for deliver_i
    uint8_t filter[ENGINE_TOPIC_BYTES_MAX];
};

struct engine_skip { // an oversize publication that is passing by
    bool is_on;
    uint8_t qos;
    uint16_t id;          // 0: not read yet
    uint32_t topic_bytes; // still to come before the id
    uint32_t body_bytes;  // still to come, all parts
};

struct engine {
    const struct rules *rules; // NULL: the configuration is not good, nobody may enter
    enum engine_state state;
    uint32_t principal;
    uint32_t limit_ms;      // silence that ends the connection; 0: none
    int64_t heard_ms;       // when the last packet came
    uint32_t watch_serial;  // of the watch tick that counts
    bool is_more_coming;
    unsigned publications; // of this event
    uint8_t ports_joined;  // as the router knows them
    uint16_t last_id;
    struct engine_will will;
    struct engine_skip skip;
    size_t input_bytes, output_bytes;
    uint8_t input[ENGINE_INPUT_BYTES];
    uint8_t output[ENGINE_OUTPUT_BYTES];
    struct engine_subscription subscriptions[ENGINE_SUBSCRIPTIONS_MAX];
    uint8_t ids_in_flight[65536 / 8]; // packet ids that the client has not acknowledged
};

void engine_init(struct engine *engine, const struct rules *rules);

// One call per event. now_ms is the event's time.
void engine_wire(struct engine *engine, int64_t now_ms, struct bytes bytes, bool is_closed);
void engine_login(struct engine *engine, int64_t now_ms, bool is_accepted, uint32_t principal);
void engine_tick(struct engine *engine, int64_t now_ms, enum engine_tick_kind kind, uint32_t serial);
void engine_deliver(struct engine *engine, uint16_t input, uint8_t qos, struct bytes topic,
                    struct bytes payload);

#endif
