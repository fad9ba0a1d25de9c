// SPDX-License-Identifier: ISC
// Message slots, their lists, and the one way in which a message enters and leaves.
#include "router/state.h"

#include "core/check.h"
#include "proto/builtin.h"

#include <string.h>

void count(struct engine *engine, uint32_t index, uint64_t value)
{
    check(index < COUNTERS_MAX);
    page_add(&engine->page->counters[index], value);
    engine->fresh[index] += value;
    engine->is_dirty = 1;
}

void flow_change(struct engine *engine, uint16_t flow, int64_t messages, int64_t bytes)
{
    struct flow_state *state = &engine->flows[flow];
    check(messages >= 0 || state->waiting >= (uint64_t)-messages);
    check(bytes >= 0 || state->bytes >= (uint64_t)-bytes);
    state->waiting += (uint64_t)messages;
    state->bytes += (uint64_t)bytes;
    if (state->is_durable)
        page_set(&engine->page->spooled[flow], state->waiting);
}

// What it takes in the store.
static int64_t row_bytes(const struct message *message)
{
    const struct commit_send *send = &message->send;
    return message->is_durable
               ? (int64_t)commit_row_bytes(send->key_bytes, send->context_bytes, send->payload_bytes)
               : 0;
}

static struct message *slot_take(struct engine *engine)
{
    struct message *message = slots_take(&engine->messages);
    check(message != NULL);
    size_t index = (size_t)(message - message_at(engine, 0));
    *message = (struct message){
        .body = engine->bodies + index * ROUTER_BODY_BYTES,
        .handle = ((message->handle >> 32) + 1) << 32 | index,
        .order = ++engine->order,
        .attempt = 1,
        .reason = REASON_DONE};
    return message;
}

struct message *message_new(struct engine *engine, const struct sending *sending)
{
    const struct commit_send *send = &sending->send;
    const struct system_flow *flow = &engine->system->flows[send->flow];
    struct message *message = slot_take(engine);
    message->send = *send;
    message->number = engine->epoch << 40 | (engine->number += COMMIT_NUMBER_STEP);
    message->time_ms = engine->wall_ms;
    message->bucket = ROUTER_BUCKETS;
    int is_unikernel = send->receiver < engine->system->unikernel_count;
    message->port = is_unikernel ? system_port(engine->system, flow, send->receiver) : send->flow;
    // The host's own take each flow in order. A courier has many of it at once; a service that seals or signs has one, so that
    // serials leave in order, whatever the one before it has to wait for.
    int is_service = !is_unikernel && send->receiver < system_places(engine->system) && !is_courier(engine, send->receiver);
    if (is_service && flow->kind == SYSTEM_PLAIN)
        message->bucket = send->flow;
    if (flow->key_field != SYSTEM_NONE && is_unikernel)
        message->bucket = (uint16_t)(key_hash(engine, sending->key, send->key_bytes) % ROUTER_BUCKETS);
    memcpy(message->body, sending->payload, send->payload_bytes);
    if (send->context_bytes != 0)
        memcpy(message->body + ABI_ALIGN8(send->payload_bytes), sending->context, send->context_bytes);
    return message;
}

struct message *message_copy(struct engine *engine, struct message *parent, uint64_t connection)
{
    struct message *copy = slot_take(engine);
    uint64_t handle = copy->handle, order = copy->order;
    *copy = *parent;
    copy->handle = handle;
    copy->order = order;
    copy->parent = parent;
    copy->is_durable = copy->is_kept = 0; // the parent is what the store knows
    copy->row = 0;
    copy->end_ms = 0;
    copy->send.connection = connection;
    return copy;
}

struct message *message_find(struct engine *engine, uint64_t handle)
{
    struct message *message = message_at(engine, (uint32_t)handle);
    int is_there = (uint32_t)handle < engine->messages.used && message->state != MESSAGE_FREE &&
                   message->handle == handle;
    return is_there ? message : NULL;
}

struct message *message_with(struct engine *engine, uint32_t receiver, uint64_t handle)
{
    struct message *message = message_find(engine, handle);
    int is_there = message != NULL && message->send.receiver == receiver &&
                   (message->state == MESSAGE_STARTED || message->state == MESSAGE_READING);
    return is_there ? message : NULL;
}

static void queue_insert(struct engine *engine, struct message *before, struct message *message)
{
    list_insert(before, message);
    message->state = MESSAGE_QUEUED;
    receiver_of(engine, message)->queued += message->due_ms == 0;
    if (message->end_ms != 0 && message->end_ms < engine->end_ms)
        engine->end_ms = message->end_ms;
}

void message_dequeue(struct engine *engine, struct message *message)
{
    list_remove(message);
    receiver_of(engine, message)->queued -= message->due_ms == 0;
}

// A reply of the password service tells the router too who speaks on that connection.
static void principal_note(const struct engine *engine, const struct message *message)
{
    const struct system_flow *flow = &engine->system->flows[message->send.flow];
    struct builtin_password_reply reply;
    if (flow->sender_kind != SYSTEM_SERVICE || flow->kind != SYSTEM_REPLY)
        return;
    memcpy(&reply, message->body, sizeof reply);
    int is_known = reply.is_accepted && reply.principal <= engine->system->principal_count;
    message->connection->principal = is_known ? reply.principal : 0;
}

// A copy of a broadcast and whatever else a connection's instance takes is bound to the connection until it ends.
static int bind(struct engine *engine, struct message *message)
{
    struct connection *connection = connection_find(engine, message->send.connection);
    if (connection == NULL || connection->state != CONNECTION_OPEN ||
        connection->receiver != message->send.receiver || (connection->is_shut && !message->is_input))
        return 0;
    message->connection = connection;
    connection->messages++;
    connection->own += engine->flows[message->send.flow].is_own;
    principal_note(engine, message);
    return 1;
}

void message_enqueue(struct engine *engine, struct message *message)
{
    struct receiver *receiver = receiver_of(engine, message);
    uint64_t live_ms = engine->system->flows[message->send.flow].live_ms;
    if (live_ms != 0 && message->parent == NULL && !message->is_brought)
        message->end_ms = message->time_ms + (int64_t)live_ms;
    if (!message->is_durable && message->parent == NULL && !message->is_brought)
        flow_change(engine, message->send.flow, 1, 0);
    int is_connection = receiver->is->lifetime == LIFETIME_CONNECTION;
    if (is_connection && !is_broadcast(engine, message) && !bind(engine, message))
        message_end(engine, message, REASON_CONNECTION);
    else
        queue_insert(engine, &receiver->queue, message);
}

void message_requeue(struct engine *engine, struct message *message)
{
    struct message *head = &receiver_of(engine, message)->queue;
    struct message *younger = head->next;
    while (younger != head && younger->order < message->order)
        younger = younger->next;
    message->reason = REASON_DONE;
    message->due_ms = 0;
    message->handle += UINT64_C(1) << 32; // an answer to what was tried is none to the next attempt
    queue_insert(engine, younger, message);
}

void queue_end(struct engine *engine, const struct connection *connection)
{
    struct message *head = &engine->receivers[connection->receiver].queue, *next;
    for (struct message *message = head->next; message != head; message = next) {
        next = message->next;
        if (message->connection != connection)
            continue;
        message_dequeue(engine, message);
        message_end(engine, message, REASON_CONNECTION);
    }
}

enum reason late_reason(const struct engine *engine, const struct message *message)
{
    return engine->system->flows[message->send.flow].kind == SYSTEM_REQUEST ? REASON_LATE : REASON_EXPIRED;
}

// Looks at every queue when the first may be too late, so not at every tick.
void queues_expire(struct engine *engine)
{
    if (engine->wall_ms < engine->end_ms) {
        if (engine->end_ms != INT64_MAX)
            wake(engine, engine->now_ms + (engine->end_ms - engine->wall_ms));
        return;
    }
    int64_t least_ms = INT64_MAX;
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct message *head = &engine->receivers[i].queue, *next;
        for (struct message *message = head->next; message != head; message = next) {
            next = message->next;
            if (message->end_ms == 0)
                continue;
            if (message->end_ms > engine->wall_ms) {
                least_ms = message->end_ms < least_ms ? message->end_ms : least_ms;
                continue;
            }
            int is_bound = message->connection != NULL;
            message_dequeue(engine, message);
            message_end(engine, message, late_reason(engine, message));
            if (is_bound)
                next = head->next; // what else waited for its connection ended with it
        }
    }
    engine->end_ms = least_ms < engine->wall_ms + ROUTER_END_MS ? engine->wall_ms + ROUTER_END_MS : least_ms;
    if (least_ms != INT64_MAX)
        wake(engine, engine->now_ms + (engine->end_ms - engine->wall_ms));
}

static void copy_finish(struct engine *engine, struct message *copy)
{
    struct message *parent = copy->parent;
    check(parent->state == MESSAGE_PARENT && parent->copies > 0);
    // A guest's failure outweighs all; one good copy outweighs connections that ended.
    int is_failure = copy->reason != REASON_DONE && copy->reason != REASON_CONNECTION;
    if (is_failure || (copy->reason == REASON_DONE && parent->reason == REASON_CONNECTION))
        parent->reason = copy->reason;
    receiver_of(engine, copy)->copies--;
    if (--parent->copies == 0)
        message_end(engine, parent, parent->reason);
}

void message_finish(struct engine *engine, struct message *message)
{
    struct connection *connection = message->connection;
    if (message->event != NULL)
        event_leave(engine, message);
    if (message->parent != NULL)
        copy_finish(engine, message);
    else if (message->is_brought)
        brought_finish(engine, message);
    else
        flow_change(engine, message->send.flow, -1, -row_bytes(message));
    engine->flows[message->send.flow].kept -= message->is_kept;
    if (message->parent == NULL && (message->send.flags & COMMIT_RECEIPT) != 0) {
        uint16_t sender = engine->system->flows[message->send.flow].sender;
        engine->flows[engine->receivers[sender].receipts].promised--;
    }
    message->state = MESSAGE_FREE;
    slots_give(&engine->messages, message);
    if (connection != NULL)
        connection_release(engine, connection, message);
}
