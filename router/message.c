// SPDX-License-Identifier: ISC
// Message slots, their lists, and the one way in which a message ends.
#include "router/state.h"

#include "core/check.h"

#include <string.h>

void count_page(struct engine *engine, uint32_t index, uint64_t value)
{
    check(index < COUNTERS_MAX);
    page_set(&engine->page->counters[index], engine->page->counters[index] + value);
}

void count(struct engine *engine, uint32_t index, uint64_t value)
{
    count_page(engine, index, value);
    engine->fresh[index] += value;
    engine->is_dirty = 1;
}

uint32_t message_new(struct engine *engine)
{
    uint32_t index = engine->message_free;
    if (index != ROUTER_NONE) {
        engine->message_free = engine->messages[index].next;
    } else {
        check(engine->message_used < engine->message_count);
        index = engine->message_used++;
    }
    engine->messages[index] = (struct message){.next = ROUTER_NONE,
                                               .previous = ROUTER_NONE,
                                               .parent = ROUTER_NONE,
                                               .attempt = 1,
                                               .order = ++engine->order};
    return index;
}

void message_free(struct engine *engine, uint32_t index)
{
    engine->messages[index].state = MESSAGE_FREE;
    engine->messages[index].next = engine->message_free;
    engine->message_free = index;
}

uint8_t *message_body(struct engine *engine, uint32_t index)
{
    uint32_t parent = engine->messages[index].parent;
    return engine->bodies + (size_t)(parent != ROUTER_NONE ? parent : index) * ROUTER_BODY_BYTES;
}

uint8_t *message_context(struct engine *engine, uint32_t index)
{
    return message_body(engine, index) + ABI_ALIGN8(engine->messages[index].payload_bytes);
}

void list_append(struct engine *engine, struct list *list, uint32_t index)
{
    struct message *message = &engine->messages[index];
    message->next = ROUTER_NONE;
    message->previous = list->tail;
    if (list->tail != ROUTER_NONE)
        engine->messages[list->tail].next = index;
    else
        list->head = index;
    list->tail = index;
    list->count++;
}

void list_remove(struct engine *engine, struct list *list, uint32_t index)
{
    struct message *message = &engine->messages[index];
    if (message->previous != ROUTER_NONE)
        engine->messages[message->previous].next = message->next;
    else
        list->head = message->next;
    if (message->next != ROUTER_NONE)
        engine->messages[message->next].previous = message->previous;
    else
        list->tail = message->previous;
    check(list->count > 0);
    list->count--;
    message->next = message->previous = ROUTER_NONE;
}

uint32_t key_hash(const uint8_t *key, size_t key_bytes)
{
    uint32_t hash = 2166136261u; // FNV-1a
    for (size_t i = 0; i < key_bytes; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return hash;
}

uint32_t key_of(const struct engine *engine, uint16_t flow, const uint8_t *payload, size_t size,
                uint8_t *key, size_t *key_bytes)
{
    const struct system_flow *definition = &engine->system->flows[flow];
    *key_bytes = 0;
    if (definition->key_field == SYSTEM_NONE)
        return 0;
    uint16_t field = definition->key_field;
    *key_bytes = schema_key(&engine->system->schemas[definition->schema], &field, 1, payload, size,
                            key, ROUTER_KEY_BYTES_MAX);
    return key_hash(key, *key_bytes);
}

uint64_t message_connection(const struct engine *engine, const struct message *message)
{
    int is_request = engine->system->flows[message->flow].kind == SYSTEM_REQUEST;
    return engine->receivers[message->receiver].is_connection && !is_request ? message->connection : 0;
}

struct list *message_queue(struct engine *engine, const struct message *message)
{
    uint64_t id = message_connection(engine, message);
    struct connection *connection = id != 0 ? connection_find(engine, id) : NULL;
    return connection != NULL ? &connection->queue : &engine->receivers[message->receiver].queue;
}

// A reply of the password service tells the router too who speaks on that connection.
static void principal_note(struct engine *engine, uint32_t index, struct connection *connection)
{
    const struct message *message = &engine->messages[index];
    const struct system_flow *flow = &engine->system->flows[message->flow];
    if (flow->sender_kind != SYSTEM_SERVICE ||
        engine->system->services[flow->sender].kind != SYSTEM_SERVICE_PASSWORD)
        return;
    const struct schema *schema = &engine->system->schemas[flow->schema];
    int is_accepted = schema_field_index(schema, "is_accepted");
    int principal = schema_field_index(schema, "principal");
    if (is_accepted < 0 || principal < 0)
        return;
    const uint8_t *body = message_body(engine, index);
    int64_t who = schema_value(schema, (uint16_t)principal, body, message->payload_bytes);
    connection->principal = 0;
    if (schema_value(schema, (uint16_t)is_accepted, body, message->payload_bytes) == 1 && who > 0 &&
        who <= (int64_t)engine->system->principal_count)
        connection->principal = (uint32_t)who;
}

void message_enqueue(struct engine *engine, uint32_t index)
{
    struct message *message = &engine->messages[index];
    uint64_t id = message_connection(engine, message);
    message->state = MESSAGE_QUEUED;
    if (id == 0) {
        list_append(engine, &engine->receivers[message->receiver].queue, index);
        return;
    }
    struct connection *connection = connection_find(engine, id);
    if (connection == NULL || connection->state != CONNECTION_OPEN ||
        connection->receiver != message->receiver ||
        (connection->is_shut && !message->is_input)) {
        message_end(engine, index, REASON_CONNECTION);
        return;
    }
    if (message->parent == ROUTER_NONE)
        principal_note(engine, index, connection);
    list_append(engine, &connection->queue, index);
}

void message_requeue(struct engine *engine, uint32_t index)
{
    struct message *message = &engine->messages[index];
    struct list *list = message_queue(engine, message);
    message->state = MESSAGE_QUEUED;
    uint32_t after = list->head; // the first that is younger
    while (after != ROUTER_NONE && engine->messages[after].order < message->order)
        after = engine->messages[after].next;
    if (after == ROUTER_NONE) {
        list_append(engine, list, index);
        return;
    }
    struct message *younger = &engine->messages[after];
    message->next = after;
    message->previous = younger->previous;
    if (younger->previous != ROUTER_NONE)
        engine->messages[younger->previous].next = index;
    else
        list->head = index;
    younger->previous = index;
    list->count++;
}

static void copy_settle(struct engine *engine, uint32_t index, enum reason reason)
{
    struct message *copy = &engine->messages[index];
    uint32_t parent_index = copy->parent;
    struct message *parent = &engine->messages[parent_index];
    check(parent->state == MESSAGE_PARENT && parent->copies > 0);
    // A guest's failure outweighs all; one good copy outweighs connections that ended.
    int is_failure = reason != REASON_DONE && reason != REASON_CONNECTION;
    int was_failure = parent->outcome != REASON_DONE && parent->outcome != REASON_CONNECTION;
    if (is_failure || (reason == REASON_DONE && !was_failure))
        parent->outcome = (uint8_t)reason;
    check(engine->receivers[copy->receiver].copies > 0);
    engine->receivers[copy->receiver].copies--;
    message_free(engine, index);
    if (--parent->copies == 0)
        message_end(engine, parent_index, parent->outcome);
}

void message_settle(struct engine *engine, uint32_t index, enum reason reason)
{
    struct message *message = &engine->messages[index];
    if (message->parent != ROUTER_NONE) {
        copy_settle(engine, index, reason);
        return;
    }
    struct flow_state *flow = &engine->flows[message->flow];
    check(flow->waiting > 0);
    flow->waiting--;
    if (flow->is_own) { // a connection stays until all of these have ended
        struct connection *connection = connection_find(engine, message->connection);
        check(connection != NULL && connection->own > 0);
        connection->own--;
    }
    if (message->is_durable) {
        page_set(&engine->page->spooled[message->flow], flow->waiting);
        struct receiver *receiver = &engine->receivers[message->receiver];
        check(receiver->credit[message->flow].held > 0);
        receiver->credit[message->flow].held--;
        receiver->credit[message->flow].due++;
        receiver->is_credit_due = 1;
    } else {
        count(engine, COUNTER_FLOW(message->flow, reason), 1);
    }
    message_free(engine, index);
}

void message_end(struct engine *engine, uint32_t index, enum reason reason)
{
    struct message *message = &engine->messages[index];
    if (message->parent != ROUTER_NONE || !message->is_durable) {
        message_settle(engine, index, reason);
        return;
    }
    message->state = MESSAGE_ENDING;
    message->outcome = (uint8_t)reason;
    if (commit_message(engine, index) != STATUS_OK) {
        message->due_ms = engine->now_ms + ROUTER_RETRY_MS;
        list_append(engine, &engine->ending, index);
    }
}

void message_ended(struct engine *engine, uint32_t index, uint32_t result)
{
    if (index >= engine->message_used || engine->messages[index].state != MESSAGE_ENDING)
        return;
    struct message *message = &engine->messages[index];
    if (result == COMMIT_NOT_NOW) {
        message->due_ms = engine->now_ms + ROUTER_RETRY_MS;
        list_append(engine, &engine->ending, index);
        return;
    }
    if (result == COMMIT_OK)
        count_page(engine, COUNTER_FLOW(message->flow, message->outcome), 1);
    message_settle(engine, index, message->outcome);
}
