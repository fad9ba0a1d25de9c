// SPDX-License-Identifier: ISC
// A client of an MQTT 5 broker that publishes on one topic and takes another, both with QoS 1. No input or output here: bytes
// of the connection in, calls to the owner and bytes for the connection out.
//
//   CONNECTING -> SUBSCRIBING -> READY -> ENDED
//
// Clean start, and a session that ends with the connection: nothing waits for us at the broker, whose queues drop beyond a
// limit that only its operator knows. What is retained is not asked for. What is published waits for its PUBACK within the
// broker's receive maximum; what comes has its PUBACK when the owner has taken it. No topic aliases, no authentication exchange.
// What breaks the standard (or asks for what was not offered) ends the connection.
#ifndef CRENEL_COURIER_BROKER_MQTT5_H
#define CRENEL_COURIER_BROKER_MQTT5_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define MQTT5_TOPIC_BYTES 72u
#define MQTT5_SECRET_BYTES 256u
#define MQTT5_PAYLOAD_MAX 16384u
#define MQTT5_PACKET_MAX (MQTT5_PAYLOAD_MAX + 1024u) // that we take, as CONNECT says
#define MQTT5_WINDOW 16u          // packets without their PUBACK, in each direction
#define MQTT5_OUTPUT_BYTES (4u * MQTT5_PACKET_MAX)
#define MQTT5_KEEP_ALIVE_S 15u

struct mqtt5_terms {
    char publish[MQTT5_TOPIC_BYTES], subscribe[MQTT5_TOPIC_BYTES]; // the first is the client identifier, too
    char user[MQTT5_TOPIC_BYTES];                                  // empty: without user and password
    uint8_t password[MQTT5_SECRET_BYTES];
    size_t password_bytes;
};

struct mqtt5_owner {
    void *context;
    void (*ready)(void *context);
    // 1: taken. 0: not now; it is offered again at the next mqtt5_received().
    int (*take)(void *context, const uint8_t *payload, size_t size);
};

enum mqtt5_state { MQTT5_CONNECTING, MQTT5_SUBSCRIBING, MQTT5_READY, MQTT5_ENDED };

struct mqtt5 {
    const struct mqtt5_terms *terms;
    struct mqtt5_owner owner;
    enum mqtt5_state state;
    char why[200]; // it is ENDED, printable
    unsigned window;     // the broker's receive maximum, at most ours
    uint32_t packet_max; // that the broker takes
    uint16_t keep_alive_s;
    uint8_t is_open[MQTT5_WINDOW]; // packet identifier i + 1 has no PUBACK yet
    unsigned open_count;
    size_t input_used, output_begin, output_end;
    uint8_t input[2 * MQTT5_PACKET_MAX];
    uint8_t output[MQTT5_OUTPUT_BYTES];
};

// terms: live as long as it.
void mqtt5_begin(struct mqtt5 *mqtt, const struct mqtt5_terms *terms, const struct mqtt5_owner *owner);

// Where the next bytes of the connection go, and how many may be put there (0: the owner has to take something first).
size_t mqtt5_room(struct mqtt5 *mqtt, uint8_t **at);
// So many were put there (0: only offer again). STATUS_OK, or it is ENDED; what is in the output may still be sent.
enum status mqtt5_received(struct mqtt5 *mqtt, size_t size) MUST_USE;

int mqtt5_may_publish(const struct mqtt5 *mqtt);
// head and body together at most MQTT5_PAYLOAD_MAX.
void mqtt5_publish(struct mqtt5 *mqtt, const void *head, size_t head_bytes, const void *body, size_t body_bytes);
void mqtt5_ping(struct mqtt5 *mqtt);

// Bytes for the connection; then how many of them were given away.
size_t mqtt5_output(const struct mqtt5 *mqtt, const uint8_t **bytes);
void mqtt5_sent(struct mqtt5 *mqtt, size_t size);

#endif
