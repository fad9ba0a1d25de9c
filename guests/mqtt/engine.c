// SPDX-License-Identifier: ISC
// Events of one connection. Each entry begins with nothing sent and ends in finish().
#include "engine.h"

#include "dialogue.h"
#include "session.h"

void engine_init(struct engine *engine, const struct rules *rules)
{
    __builtin_memset(engine, 0, sizeof *engine);
    engine->rules = rules;
}

static void begin(struct engine *engine)
{
    engine->publications = 0;
    engine->output_bytes = 0;
}

static void watch(struct engine *engine, uint32_t delay_ms)
{
    outside_tick(TICK_WATCH, ++engine->watch_serial, delay_ms);
}

static void join_ports(struct engine *engine)
{
    uint8_t wanted = session_ports(engine);
    for (unsigned i = 0; i < RULES_PORTS; i++) {
        bool is_wanted = (wanted >> i & 1) != 0;
        if (is_wanted != ((engine->ports_joined >> i & 1) != 0))
            outside_join((uint16_t)(RULES_INPUT_FIRST + i), is_wanted);
    }
    engine->ports_joined = wanted;
}

// Everything that the event said leaves as one piece.
static void finish(struct engine *engine, bool is_left)
{
    bool is_closed = engine->state == ENGINE_CLOSED;
    if (!is_closed)
        join_ports(engine); // the router forgets a closed connection by itself
    if (engine->output_bytes != 0 || is_closed)
        outside_wire((struct bytes){engine->output, engine->output_bytes}, is_closed);
    if (is_left && !is_closed && !engine->is_more_coming) {
        engine->is_more_coming = true;
        outside_tick(TICK_MORE, 0, 0);
    }
}

// The connection ends before all that came was handled.
static void abandon(struct engine *engine)
{
    dialogue_refuse_rest(engine);
    dialogue_end(engine);
}

void engine_wire(struct engine *engine, int64_t now_ms, struct bytes bytes, bool is_closed)
{
    if (engine->state == ENGINE_CLOSED)
        return;
    begin(engine);
    if (engine->watch_serial == 0)
        watch(engine, ENGINE_LOGIN_MS);
    size_t room = ENGINE_INPUT_BYTES - (engine->state == ENGINE_CONNECTED ? 0 : ENGINE_HELD_BYTES);
    if (bytes.size > room - engine->input_bytes) {
        // Only before CONNACK: afterwards each event leaves room for one more.
        abandon(engine);
        finish(engine, false);
        return;
    }
    if (bytes.size != 0)
        __builtin_memcpy(engine->input + engine->input_bytes, bytes.at, bytes.size);
    engine->input_bytes += bytes.size;
    bool is_left = dialogue_continue(engine, now_ms);
    if (is_closed && engine->state != ENGINE_CLOSED)
        abandon(engine);
    finish(engine, is_left);
}

void engine_login(struct engine *engine, int64_t now_ms, bool is_accepted, uint32_t principal)
{
    if (engine->state != ENGINE_LOGIN)
        return;
    begin(engine);
    if (!is_accepted || principal == 0) {
        dialogue_connack(engine, CONNACK_CREDENTIALS);
        abandon(engine);
        finish(engine, false);
        return;
    }
    engine->state = ENGINE_CONNECTED;
    engine->principal = principal;
    engine->heard_ms = now_ms;
    dialogue_connack(engine, CONNACK_ACCEPTED);
    if (engine->limit_ms != 0)
        watch(engine, engine->limit_ms);
    bool is_left = dialogue_continue(engine, now_ms);
    finish(engine, is_left);
}

static void tick_watch(struct engine *engine, int64_t now_ms)
{
    if (engine->state == ENGINE_CONNECTED) {
        int64_t left_ms = engine->limit_ms - (now_ms - engine->heard_ms);
        if (engine->limit_ms == 0)
            return;
        if (left_ms > 0) {
            watch(engine, left_ms < engine->limit_ms ? (uint32_t)left_ms : engine->limit_ms);
            return;
        }
    } else if (engine->state == ENGINE_LOGIN) {
        dialogue_connack(engine, CONNACK_UNAVAILABLE);
    }
    abandon(engine);
    finish(engine, false);
}

void engine_tick(struct engine *engine, int64_t now_ms, enum engine_tick_kind kind, uint32_t serial)
{
    if (kind == TICK_MORE)
        engine->is_more_coming = false;
    if (engine->state == ENGINE_CLOSED)
        return;
    begin(engine);
    if (kind == TICK_MORE) {
        bool is_left = dialogue_continue(engine, now_ms);
        finish(engine, is_left);
    } else if (serial == engine->watch_serial) {
        tick_watch(engine, now_ms);
    }
}

void engine_deliver(struct engine *engine, uint16_t input, uint8_t qos, struct bytes topic,
                    struct bytes payload)
{
    if (engine->state != ENGINE_CONNECTED)
        return;
    begin(engine);
    if (!session_deliver(engine, input, qos, topic, payload))
        abandon(engine);
    finish(engine, false);
}
