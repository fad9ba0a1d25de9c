// SPDX-License-Identifier: ISC
// From EFFECTS to the end of the event.
//
//   EFFECTS -> judged -> tokens -> cursors -> durable? COMMIT -> DONE -> released -> over
//      |          |         \________ wait ______/  |
//      |          +-> dead letter: COMMIT --------- +-> over
//      +-> LOST: its message goes back to its place
//
// A connection's instance cannot run an event twice: its memory has moved on. Where other events
// would be delivered again, or failed, its connection ends.
#include "router/state.h"

#include "core/check.h"

#include <stdio.h>
#include <string.h>

static struct connection *event_connection(struct engine *engine, const struct event *event)
{
    uint64_t id = message_connection(engine, &engine->messages[event->message]);
    return id != 0 ? connection_find(engine, id) : NULL;
}

static int is_of_connection(const struct engine *engine, const struct event *event)
{
    return message_connection(engine, &engine->messages[event->message]) != 0;
}

// Gives back all that the event held but its message.
static void event_leave(struct engine *engine, struct event *event)
{
    struct receiver *receiver = &engine->receivers[event->receiver];
    const struct message *message = &engine->messages[event->message];
    check(receiver->in_flight > 0 && event->state != EVENT_FREE);
    event_unreserve(engine, event);
    receiver->in_flight--;
    page_set(&engine->page->in_flight, engine->page->in_flight - 1);
    struct connection *connection = event_connection(engine, event);
    if (connection != NULL)
        connection->is_busy = 0;
    else if (message->has_key)
        receiver->busy[message->key % ROUTER_BUCKETS] = 0;
    event->state = EVENT_FREE;
    event->next = engine->event_free;
    engine->event_free = event_index(engine, event);
}

// Over, and if its input is durable, consumed.
static void event_finish(struct engine *engine, struct event *event, enum reason reason)
{
    uint32_t index = event->message;
    struct connection *connection = event_connection(engine, event);
    int is_input = engine->messages[index].is_input;
    int is_last = engine->messages[index].is_last;
    event_leave(engine, event);
    message_settle(engine, index, reason);
    if (connection == NULL)
        return;
    if (reason != REASON_DONE || is_last)
        connection_end(engine, connection, 1);
    else if (is_input)
        connection_taken(engine, connection);
    connection_settle(engine, connection);
}

static void event_wait(struct engine *engine, struct event *event, int64_t in_ms)
{
    event->state = EVENT_WAITING;
    event->retry_ms = engine->now_ms + in_ms;
    event->next = ROUTER_NONE;
    uint32_t index = event_index(engine, event);
    if (engine->waiting_tail != ROUTER_NONE)
        engine->events[engine->waiting_tail].next = index;
    else
        engine->waiting_head = index;
    engine->waiting_tail = index;
}

static void event_fail(struct engine *engine, struct event *event, enum reason reason)
{
    event->is_dead = 1;
    event->reason = (uint16_t)reason;
    for (char *c = event->text; *c != 0; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    int is_error = reason == REASON_FAULT || reason == REASON_DEADLINE || reason == REASON_ATTEMPTS;
    journal(engine, event->receiver, is_error ? ABI_LOG_ERROR : ABI_LOG_WARNING,
            (const uint8_t *)event->text, strlen(event->text));
    event_proceed(engine, event);
}

// The volatile part of one SEND.
static void send_release(struct engine *engine, const struct event *event, const struct effect *effect)
{
    uint16_t index = engine->receivers[event->receiver].outputs[effect->send.flow];
    const struct system_flow *flow = &engine->system->flows[index];
    const struct message *input = &engine->messages[event->message];
    uint32_t size = effect->send.payload_bytes;
    if (engine->flows[index].is_durable)
        return;
    if (!engine->flows[index].is_queued) {
        connection_output(engine, index, input->connection, effect->second, size);
        return;
    }
    for (uint32_t i = 0; i < engine->flows[index].fan_out; i++) {
        struct address to;
        address_of(engine, event, index, effect, i, &to);
        uint32_t slot = message_new(engine);
        struct message *message = &engine->messages[slot];
        message->flow = index;
        message->receiver = to.receiver;
        message->port = to.port;
        message->connection = to.connection;
        message->asker = to.asker;
        message->asker_flow = to.asker_flow;
        message->principal = event->principal;
        message->number = engine->epoch << 40 | ++engine->number;
        message->time_ms = engine->wall_ms;
        message->payload_bytes = size;
        message->context_bytes = to.context_bytes;
        memcpy(message_body(engine, slot), effect->second, size);
        memcpy(message_context(engine, slot), to.context, to.context_bytes);
        uint8_t key[ROUTER_KEY_BYTES_MAX];
        size_t key_bytes;
        message->key = key_of(engine, index, effect->second, size, key, &key_bytes);
        message->has_key = flow->key_field != SYSTEM_NONE;
        count(engine, COUNTER_FLOW(index, REASON_ENTERED), 1);
        engine->flows[index].waiting++;
        uint64_t id = message_connection(engine, message);
        struct connection *connection = id != 0 ? connection_find(engine, id) : NULL;
        if (connection != NULL)
            connection->own += engine->flows[index].is_own;
        int is_over = id != 0 && (connection == NULL || connection->state != CONNECTION_OPEN);
        if (effect->send.delay_ms != 0 && !is_over) { // nobody would clear away what is delayed for none
            message->state = MESSAGE_DELAYED;
            message->due_ms = engine->now_ms + effect->send.delay_ms;
            list_append(engine, &engine->delayed, slot);
        } else {
            message_enqueue(engine, slot);
        }
    }
}

static void event_release(struct engine *engine, struct event *event, int is_durable)
{
    size_t at = 0;
    struct effect effect;
    while (at < event->record_bytes &&
           effect_next(event->records, event->record_bytes, &at, &effect) == STATUS_OK) {
        if (effect.kind == ABI_SEND)
            send_release(engine, event, &effect);
        if (effect.kind != ABI_LOG)
            continue;
        if (effect.log.level == ABI_LOG_REFUSAL)
            journal_refusal(engine, event->receiver, effect.log.code, effect.first, effect.log.text_bytes);
        else
            journal(engine, event->receiver, effect.log.level, effect.first, effect.log.text_bytes);
        if (!is_durable && effect.log.level == ABI_LOG_REFUSAL)
            count(engine, COUNTER_REFUSAL(event->receiver, effect.log.code), 1);
    }
}

// Tokens of all its flows, or none.
static int event_pay(struct engine *engine, struct event *event)
{
    const struct receiver *receiver = &engine->receivers[event->receiver];
    uint64_t connection = message_connection(engine, &engine->messages[event->message]);
    for (int is_trial = 1; is_trial >= 0; is_trial--)
        for (uint16_t i = 0; i < receiver->output_count; i++) {
            uint16_t flow = receiver->outputs[i];
            if (event->counts[i] == 0 ||
                tokens_take(engine, flow, connection, event->counts[i], is_trial))
                continue;
            if (!event->is_throttled)
                count(engine, COUNTER_FLOW(flow, REASON_THROTTLED), 1);
            event->is_throttled = 1;
            return 0;
        }
    return 1;
}

void event_proceed(struct engine *engine, struct event *event)
{
    if (!event->is_dead && !event->is_paid) {
        if (!event_pay(engine, event)) {
            event_wait(engine, event, ROUTER_TOKEN_MS);
            return;
        }
        event->is_paid = 1;
    }
    if (!event->is_dead && !event->is_held) {
        enum reason reason = cursors_hold(engine, event);
        if (reason == REASON_ENTERED) {
            event_wait(engine, event, ROUTER_TOKEN_MS);
            return;
        }
        if (reason != REASON_DONE) {
            event_fail(engine, event, reason);
            return;
        }
        event->is_held = 1;
    }
    if (!event_is_durable(engine, event)) {
        cursors_settle(engine, event, 1);
        event_release(engine, event, 0);
        event_finish(engine, event, REASON_DONE);
        return;
    }
    event->state = EVENT_COMMITTING;
    enum status status = commit_event(engine, event);
    if (status == STATUS_TOO_LARGE) {
        cursors_settle(engine, event, 0);
        snprintf(event->text, sizeof event->text, "budget effects of one event");
        event_fail(engine, event, REASON_BUDGET);
    } else if (status != STATUS_OK) {
        event_wait(engine, event, ROUTER_RETRY_MS);
    }
}

void events_retry(struct engine *engine)
{
    uint32_t index = engine->waiting_head;
    engine->waiting_head = engine->waiting_tail = ROUTER_NONE;
    while (index != ROUTER_NONE) {
        struct event *event = &engine->events[index];
        index = event->next;
        if (event->retry_ms <= engine->now_ms)
            event_proceed(engine, event);
        else
            event_wait(engine, event, event->retry_ms - engine->now_ms);
    }
}

static void event_conflict(struct engine *engine, struct event *event)
{
    struct message *message = &engine->messages[event->message];
    cursors_settle(engine, event, 0);
    if (is_of_connection(engine, event) || message->conflicts >= ROUTER_CONFLICTS_MAX) {
        snprintf(event->text, sizeof event->text, "conflict in the store, %u times",
                 message->conflicts + 1u);
        event_fail(engine, event, REASON_CONFLICT);
        return;
    }
    message->conflicts++;
    uint32_t index = event->message;
    event_leave(engine, event);
    message_requeue(engine, index);
}

void event_committed(struct engine *engine, struct event *event, uint32_t result)
{
    if (event->state != EVENT_COMMITTING)
        return;
    if (result == COMMIT_CONFLICT && !event->is_dead) {
        event_conflict(engine, event);
        return;
    }
    if (result == COMMIT_REFUSED && !event->is_dead) {
        cursors_settle(engine, event, 0);
        snprintf(event->text, sizeof event->text, "namespace is full");
        event_fail(engine, event, REASON_NAMESPACE);
        return;
    }
    if (result != COMMIT_OK && result != COMMIT_DUPLICATE) {
        event_wait(engine, event, ROUTER_RETRY_MS);
        return;
    }
    if (!event->is_dead)
        cursors_settle(engine, event, result == COMMIT_OK);
    if (result == COMMIT_OK) {
        struct commit_counter counters[ROUTER_COUNTERS_PER_EVENT];
        size_t used = event_counters(engine, event, counters);
        for (size_t i = 0; i < used; i++)
            count_page(engine, counters[i].index, counters[i].value);
        const struct receiver *receiver = &engine->receivers[event->receiver];
        for (uint16_t i = 0; i < receiver->output_count && !event->is_dead; i++) {
            uint16_t flow = receiver->outputs[i];
            if (event->counts[i] == 0 || !engine->flows[flow].is_durable)
                continue;
            engine->flows[flow].waiting += (uint64_t)event->counts[i] * engine->flows[flow].fan_out;
            page_set(&engine->page->spooled[flow], engine->flows[flow].waiting);
        }
        if (!event->is_dead)
            event_release(engine, event, 1);
    }
    event_finish(engine, event, event->is_dead ? (enum reason)event->reason : REASON_DONE);
}

void event_lost(struct engine *engine, struct event *event)
{
    struct message *message = &engine->messages[event->message];
    uint32_t index = event->message;
    struct connection *connection = event_connection(engine, event);
    if (is_of_connection(engine, event)) {
        event_leave(engine, event);
        message_end(engine, index, REASON_CONNECTION);
        if (connection != NULL) {
            connection_end(engine, connection, 1);
            connection_settle(engine, connection);
        }
        return;
    }
    if (message->attempt >= ROUTER_ATTEMPTS_MAX) {
        snprintf(event->text, sizeof event->text, "attempts %u", message->attempt);
        event_fail(engine, event, REASON_ATTEMPTS);
        return;
    }
    count(engine, COUNTER_FLOW(message->flow, REASON_REDELIVERED), 1);
    message->attempt++;
    event_leave(engine, event);
    message_requeue(engine, index);
}

// Outcomes that are the guest's doing and carry no effects.
static enum reason failure_of(struct engine *engine, struct event *event, struct link_effects *effects,
                              const struct link_crash *crash)
{
    const struct receiver *receiver = &engine->receivers[event->receiver];
    effects->text[sizeof effects->text - 1] = 0;
    if (event->is_dead) // judged while it was reading
        return (enum reason)event->reason;
    if (effects->outcome == LINK_FAULT || effects->outcome == LINK_DEADLINE) {
        text_crash(engine, event, effects, crash);
        return effects->outcome == LINK_FAULT ? REASON_FAULT : REASON_DEADLINE;
    }
    if (effects->outcome == LINK_REFUSED && event->receiver < engine->system->unikernel_count &&
        effects->code < engine->system->unikernels[event->receiver].refusal_count) {
        event->code = effects->code;
        snprintf(event->text, sizeof event->text, "refused %s",
                 engine->system->unikernels[event->receiver].refusals[effects->code]);
        return REASON_GUEST;
    }
    snprintf(event->text, sizeof event->text, "envelope %s: %s", receiver->name,
             effects->outcome == LINK_CONTRACT ? effects->text : "unknown refusal");
    if (effects->outcome == LINK_CONTRACT)
        text_crash(engine, event, effects, NULL);
    return REASON_ENVELOPE;
}

enum status effects_receive(struct engine *engine, struct event *event, const uint8_t *bytes, size_t size)
{
    struct link_effects effects;
    struct link_crash crash;
    if (size < sizeof effects)
        return STATUS_TRUNCATED;
    memcpy(&effects, bytes, sizeof effects);
    int is_crash = effects.outcome == LINK_FAULT || effects.outcome == LINK_DEADLINE;
    size_t fixed = sizeof effects + (is_crash ? sizeof crash : 0);
    if (effects.outcome > LINK_LOST || effects.record_bytes > ABI_OUTPUT_BYTES ||
        size != fixed + effects.record_bytes)
        return STATUS_MALFORMED;
    if (is_crash)
        memcpy(&crash, bytes + sizeof effects, sizeof crash);
    check(engine->receivers[event->receiver].with_receiver > 0);
    engine->receivers[event->receiver].with_receiver--;
    event->state = EVENT_WAITING;
    if (effects.outcome == LINK_LOST) {
        event_lost(engine, event);
        return STATUS_OK;
    }
    if (effects.outcome != LINK_ENDED || event->is_dead) {
        event_fail(engine, event, failure_of(engine, event, &effects, is_crash ? &crash : NULL));
        return STATUS_OK;
    }
    memcpy(event->records, bytes + fixed, effects.record_bytes);
    event->record_bytes = effects.record_bytes;
    enum reason reason = judge(engine, event);
    if (reason != REASON_DONE)
        event_fail(engine, event, reason);
    else
        event_proceed(engine, event);
    return STATUS_OK;
}
