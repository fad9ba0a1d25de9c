// SPDX-License-Identifier: ISC
// From EFFECTS to the end of the event (the states: state.h).
//
//   EFFECTS -> judged -> tokens -> keys ->    durable? COMMIT -> DONE -> counted, released -> over
//      |          |         \________ wait ______/  |
//      |          +-> dead letter: COMMIT --------- +-> over
//      +-> LOST: its message goes back to its place
//
// A connection's instance cannot run an event twice: its memory has moved on. Where other events
// would be delivered again, or failed, its connection ends.
#include "router/state.h"

#include "core/check.h"
#include "core/crash.h"
#include "proto/builtin.h"

#include <stdio.h>
#include <string.h>

static void wait(struct engine *engine, struct message *message, int64_t in_ms)
{
    message->state = MESSAGE_WAITING;
    message->due_ms = engine->now_ms + in_ms;
    wake(engine, message->due_ms);
    list_insert(&engine->waiting, message);
}

// Why is in event->text.
static void condemn(struct engine *engine, struct message *message, enum reason reason)
{
    char *text = message->event->text;
    message->reason = (uint8_t)reason;
    for (char *c = text; *c != 0; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    int is_error = reason == REASON_FAULT || reason == REASON_DEADLINE || reason == REASON_ATTEMPTS;
    uint32_t level = is_error ? ABI_LOG_ERROR : ABI_LOG_WARNING;
    journal(engine, message->send.receiver, level, "", text, strlen(text));
}

static void fail(struct engine *engine, struct message *message, enum reason reason)
{
    condemn(engine, message, reason);
    message_proceed(engine, message);
}

// Tokens that all share go to the oldest message that waits for them: among others that need few, and take each one that
// comes, it would wait for ever. Who waits for tokens of his connection holds back nobody.
static uint64_t *claim_of(struct engine *engine, const struct message *message, uint16_t index)
{
    const struct system_flow *flow = &engine->system->flows[index];
    int is_own = message->connection != NULL && (flow->is_rate_per_connection || flow->is_bytes_per_connection);
    return is_own ? NULL : &engine->flows[index].claim;
}

// Are there tokens for what the event sends on that output? If not, when to try again.
static int is_payable(struct engine *engine, const struct message *message, uint16_t flow, const struct output *output,
                      int64_t *in_ms)
{
    struct event *event = message->event;
    uint64_t *claim = claim_of(engine, message, flow);
    int is_behind = claim != NULL && *claim != 0 && *claim < message->order;
    if (!is_behind && tokens_left(engine, flow, message->connection, output->count, output->payload_bytes))
        return 1;
    if (claim != NULL && !is_behind) {
        *claim = message->order;
        int64_t one_ms = 1000 / engine->system->flows[flow].rate_per_second + 1;
        *in_ms = one_ms < *in_ms ? one_ms : *in_ms; // meanwhile nobody takes what comes
    }
    if (!event->is_throttled)
        count(engine, COUNTER_FLOW(flow, REASON_THROTTLED), 1);
    event->is_throttled = 1;
    return 0;
}

// Tokens of all its flows; or none.
static int pay(struct engine *engine, const struct message *message, int64_t *in_ms)
{
    const struct system_unikernel *is = receiver_of(engine, message)->is;
    const struct output *outputs = message->event->outputs;
    for (uint16_t i = 0; i < is->output_count; i++)
        if (outputs[i].count != 0 && !is_payable(engine, message, is->outputs[i], &outputs[i], in_ms))
            return 0;
    for (uint16_t i = 0; i < is->output_count; i++) {
        if (outputs[i].count == 0)
            continue;
        uint64_t *claim = claim_of(engine, message, is->outputs[i]);
        tokens_take(engine, is->outputs[i], message->connection, outputs[i].count, outputs[i].payload_bytes);
        if (claim != NULL && *claim == message->order)
            *claim = 0;
    }
    return 1;
}

// Tokens and keys. REASON_ENTERED: not now.
static enum reason prepare(struct engine *engine, struct message *message, int64_t *in_ms)
{
    struct event *event = message->event;
    if (!event->is_paid && !pay(engine, message, in_ms))
        return REASON_ENTERED;
    event->is_paid = 1;
    enum reason reason = event->is_held ? REASON_DONE : keys_hold(engine, message);
    event->is_held = reason == REASON_DONE;
    event->is_waiting = reason == REASON_ENTERED;
    return reason;
}

void message_proceed(struct engine *engine, struct message *message)
{
    if (message->event != NULL && message->reason == REASON_DONE) {
        int64_t in_ms = ROUTER_TOKEN_MS;
        enum reason reason = prepare(engine, message, &in_ms);
        if (reason == REASON_ENTERED) {
            wait(engine, message, in_ms);
            return;
        }
        if (reason != REASON_DONE) {
            fail(engine, message, reason);
            return;
        }
    }
    if (!is_durable(engine, message)) {
        message_committed(engine, message, COMMIT_OK);
        return;
    }
    message->state = MESSAGE_COMMITTING;
    enum status status = commit_send(engine, message);
    if (status == STATUS_TOO_LARGE) {
        keys_settle(engine, message->event, 0);
        fail(engine, message, refuse(message, REASON_BUDGET, "effects of one event", "", receiver_of(engine, message)->is->line));
    } else if (status != STATUS_OK) {
        wait(engine, message, ROUTER_RETRY_MS);
    }
}

void message_end(struct engine *engine, struct message *message, enum reason reason)
{
    message->reason = (uint8_t)reason;
    message_proceed(engine, message);
}

static void retry(struct engine *engine, struct message *message, int is_settled)
{
    const struct event *event = message->event;
    int is_for_key = event != NULL && event->is_paid && !event->is_held; // one that may be free now
    if (message->due_ms > engine->now_ms && !(is_settled && is_for_key)) {
        wake(engine, message->due_ms);
        return;
    }
    list_remove(message);
    message_proceed(engine, message);
}

void messages_retry(struct engine *engine)
{
    struct message *last = engine->waiting.previous, *message = &engine->waiting, *next = message->next;
    int is_settled = engine->is_settled;
    engine->is_settled = 0;
    while (message != last) { // what has to wait again stands behind the last
        message = next;
        next = message->next;
        retry(engine, message, is_settled);
    }
}

// Back to its place in the queue, without what its event made; unless it was often there, or its
// instance cannot run an event twice.
static void again(struct engine *engine, struct message *message, uint16_t *tries, uint16_t most,
                  enum reason reason)
{
    char times[32];
    if (message->connection != NULL || *tries >= most) {
        snprintf(times, sizeof times, "%u times", *tries);
        fail(engine, message, refuse(message, reason, times, "", 0));
        return;
    }
    ++*tries;
    if (reason == REASON_ATTEMPTS)
        count(engine, COUNTER_FLOW(message->send.flow, REASON_REDELIVERED), 1);
    event_leave(engine, message);
    message_requeue(engine, message);
}

// The receipt that the store made of the message's end.
static void receipt_enter(struct engine *engine, const struct message *message)
{
    struct sending sending;
    struct builtin_receipt receipt;
    uint16_t flow = receipt_flow(engine, message);
    if (flow != SYSTEM_NONE)
        flow_change(engine, flow, 1, (int64_t)receipt_make(engine, message, &sending, &receipt));
}

// The effects of an event that ended well, or of which the store has taken its part.
static void take(struct engine *engine, struct message *message)
{
    int is_stored = is_durable(engine, message);
    struct commit_counter *counters = engine->counters;
    size_t used = counters_of(engine, message, counters);
    for (size_t i = 0; i < used; i++)
        if (is_stored)
            page_add(&engine->page->counters[counters[i].index], counters[i].value);
        else
            count(engine, counters[i].index, counters[i].value);
    if (is_stored) // one that promises a receipt
        receipt_enter(engine, message);
    engine->flows[message->send.flow].is_in_step |= message->is_brought;
    if (message->event == NULL || message->reason != REASON_DONE)
        return;
    const struct receiver *receiver = receiver_of(engine, message);
    if (message->event->receipts != 0)
        engine->flows[receiver->receipts].promised += message->event->receipts;
    for (uint16_t i = 0; i < receiver->is->output_count; i++) {
        uint16_t flow = receiver->is->outputs[i];
        const struct output *output = &message->event->outputs[i];
        if (output->count != 0 && engine->flows[flow].is_durable)
            flow_change(engine, flow, (int64_t)output->count * engine->system->flows[flow].receiver_count, output->bytes);
    }
    keys_report(engine, message);
    effects_release(engine, message);
}

void message_committed(struct engine *engine, struct message *message, uint32_t result)
{
    int has_effects = message->event != NULL && message->reason == REASON_DONE;
    if (result == COMMIT_EARLY && !brought_is_orphan(engine, message))
        result = COMMIT_NOT_NOW;
    if (has_effects && result != COMMIT_NOT_NOW)
        keys_settle(engine, message->event, result == COMMIT_OK);
    if (has_effects)
        commit_settled(engine, message, result == COMMIT_OK);
    if (has_effects && result == COMMIT_CONFLICT) {
        again(engine, message, &message->conflicts, ROUTER_CONFLICTS_MAX, REASON_CONFLICT);
    } else if (has_effects && result == COMMIT_REFUSED) {
        fail(engine, message, refuse(message, REASON_NAMESPACE, "is full", "", 0));
    } else if (result != COMMIT_OK && result != COMMIT_DUPLICATE && result != COMMIT_EARLY) {
        wait(engine, message, ROUTER_RETRY_MS);
    } else {
        if (result == COMMIT_OK)
            take(engine, message);
        else if (message->is_brought) // the store has had it, or cannot take it
            message->reason = result == COMMIT_DUPLICATE ? REASON_DONE : REASON_LOST;
        message_finish(engine, message);
    }
}

static void settled(struct engine *engine, struct message *message)
{
    engine->settling -= message->is_settling;
    message->is_settling = 0;
}

void message_lost(struct engine *engine, struct message *message)
{
    settled(engine, message);
    if (message->connection == NULL) {
        uint16_t most = is_courier(engine, message->send.receiver) ? UINT16_MAX : ROUTER_ATTEMPTS_MAX;
        again(engine, message, &message->attempt, most, REASON_ATTEMPTS);
        return;
    }
    message->connection->has_failed = 1;
    connection_end(engine, message->connection, 1);
    event_leave(engine, message);
    message_end(engine, message, REASON_CONNECTION);
}

void event_judge(struct engine *engine, struct message *message)
{
    enum reason reason = message->event->failure;
    message->state = MESSAGE_COMMITTING; // in hand: other messages of its connection may end on the way, its turn is over
    if (message->connection != NULL && message->connection->has_failed) {
        message_lost(engine, message); // what it came from did not happen
        return;
    }
    if (reason == REASON_DONE)
        reason = judge(engine, message);
    if (reason != REASON_DONE)
        condemn(engine, message, reason);
    message->state = MESSAGE_WAITING;
    list_insert(&engine->judged, message);
}

void judged_proceed(struct engine *engine)
{
    while (engine->judged.next != &engine->judged) {
        struct message *message = engine->judged.next;
        list_remove(message);
        message_proceed(engine, message);
    }
}

// Outcomes that are the guest's doing and carry no effects.
static enum reason failure_of(struct engine *engine, struct message *message,
                              const struct link_effects *effects)
{
    const struct receiver *receiver = receiver_of(engine, message);
    struct event *event = message->event;
    if (message->reason != REASON_DONE) // judged while it was reading
        return message->reason;
    if (event->crash_bytes != 0) {
        crash_text(&event->crash, receiver->is->name, event->text, sizeof event->text);
        return effects->outcome == LINK_FAULT ? REASON_FAULT : REASON_DEADLINE;
    }
    if (effects->outcome == LINK_REFUSED && effects->code < receiver->is->refusal_count) {
        event->code = effects->code;
        return refuse(message, REASON_GUEST, receiver->is->refusals[effects->code], "", 0);
    }
    if (effects->outcome == LINK_REFUSED && message->send.receiver >= engine->system->unikernel_count)
        return refuse(message, REASON_SEAL, receiver->is->name, "does not open", 0); // no other host service refuses
    const char *what = effects->outcome == LINK_CONTRACT ? effects->text : "unknown refusal";
    snprintf(event->text, sizeof event->text, "envelope %s: %.*s", receiver->is->name,
             (int)sizeof effects->text - 1, what);
    return REASON_ENVELOPE;
}

enum status effects_receive(struct engine *engine, const struct packet *packet)
{
    struct message *message = message_with(engine, packet->index, packet->handle);
    const struct link_effects *effects = (const void *)packet->bytes;
    if (message == NULL)
        return STATUS_MALFORMED;
    struct event *event = message->event;
    int is_crash = effects->outcome == LINK_FAULT || effects->outcome == LINK_DEADLINE;
    uint32_t crash_bytes = is_crash ? sizeof event->crash : 0;
    if (effects->outcome > LINK_LOST || effects->record_bytes > ABI_OUTPUT_BYTES ||
        packet->size != sizeof *effects + crash_bytes + effects->record_bytes)
        return STATUS_MALFORMED;
    const uint8_t *crash = packet->bytes + sizeof *effects, *records = crash + crash_bytes;
    check(engine->receivers[packet->index].with_receiver > 0);
    engine->receivers[packet->index].with_receiver--;
    settled(engine, message);
    if (effects->outcome == LINK_LOST) {
        message_lost(engine, message);
        return STATUS_OK;
    }
    if (is_crash) {
        fault_note(engine, message);
        memcpy(&event->crash, crash, crash_bytes);
    }
    event->crash_bytes = crash_bytes;
    event->failure = REASON_DONE;
    if (effects->outcome != LINK_ENDED || message->reason != REASON_DONE) {
        event->failure = (uint8_t)failure_of(engine, message, effects);
    } else {
        event->record_bytes = effects->record_bytes;
        memcpy(event->records, records, effects->record_bytes);
    }
    if (message->connection != NULL && message->connection->first != message)
        message->state = MESSAGE_ENDED;
    else
        event_judge(engine, message);
    return STATUS_OK;
}
