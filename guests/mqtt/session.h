// SPDX-License-Identifier: ISC
// What a connected client publishes, subscribes and receives (inside the engine).
#ifndef CRENEL_GUESTS_MQTT_SESSION_H
#define CRENEL_GUESTS_MQTT_SESSION_H

#include "engine.h"

#define SESSION_REFUSED 0x80u // return code of SUBACK

// Sends the publication to its flow, or counts why not.
void session_publish(struct engine *engine, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload);

// Returns the granted QoS or SESSION_REFUSED. A filter subscribed again is replaced.
uint8_t session_subscribe(struct engine *engine, struct bytes filter, uint8_t qos);
void session_unsubscribe(struct engine *engine, struct bytes filter);

// Inputs that carry what is subscribed now: bit i for deliver_i.
uint8_t session_ports(const struct engine *engine);

// Writes the message to the output when a subscription selects it. false: the client has left every
// packet id unacknowledged.
bool session_deliver(struct engine *engine, uint16_t input, uint8_t qos, struct bytes topic,
                     struct bytes payload);
void session_acknowledge(struct engine *engine, uint16_t id);

#endif
