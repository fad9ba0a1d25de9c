// SPDX-License-Identifier: ISC
// What the engine makes happen. main.c turns each call into one effect of the event; tests record them.
// Nothing here fails: the bounds named in engine.h keep the effects of one event within the
// manifest's worst case.
#ifndef CRENEL_GUESTS_MQTT_OUTSIDE_H
#define CRENEL_GUESTS_MQTT_OUTSIDE_H

#include "bytes.h"

enum engine_tick_kind { TICK_WATCH = 0, TICK_MORE = 1 }; // schemas/tick.yaml

enum engine_refusal { // in the order of unikernel.yaml
    REFUSAL_MALFORMED_PACKET = 0, // not MQTT 3.1.1; the connection ends
    REFUSAL_OVERSIZE = 1,         // payload over the topic's maximum, or packet over the buffer
    REFUSAL_NOT_ALLOWED = 2,      // no rule lets this principal publish on this topic
    REFUSAL_UNSUPPORTED = 3,      // QoS 2; the connection ends
    REFUSAL_OVERRUN = 4,          // more small packets at once than can be handled
    REFUSAL_UNFINISHED = 5,       // the connection ended before it could be handled
};

void outside_wire(struct bytes bytes, bool is_closed);
void outside_login(struct bytes user, struct bytes password);
void outside_join(uint16_t input, bool is_joined);
void outside_tick(enum engine_tick_kind kind, uint32_t serial, uint32_t delay_ms);
void outside_publish(uint16_t output, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload);
void outside_refuse(enum engine_refusal refusal);

#endif
