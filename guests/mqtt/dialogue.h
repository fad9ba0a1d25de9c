// SPDX-License-Identifier: ISC
// Packets of the client, from the buffer to what they mean (inside the engine).
#ifndef CRENEL_GUESTS_MQTT_DIALOGUE_H
#define CRENEL_GUESTS_MQTT_DIALOGUE_H

#include "engine.h"

// Takes packets from the buffer until it holds no whole one, the connection ends, or this event has done its
// share (true: a later event must continue).
bool dialogue_continue(struct engine *engine, int64_t now_ms);

void dialogue_connack(struct engine *engine, enum packet_connack code);

// The connection ends with this event; without a DISCONNECT before, the will speaks.
void dialogue_end(struct engine *engine);

// Counts the whole publications that wait in the buffer when the connection ends.
void dialogue_refuse_rest(struct engine *engine);

#endif
