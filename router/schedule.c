// SPDX-License-Identifier: ISC
// Which message becomes an event, and when: a free instance, no event of its key, and the worst
// case of its effects reserved at every receiver.
//
// The reservation needs no table. For each flow load = waiting + reserved, where reserved is the sum
// over the events in flight of what they may send at most. A reply's room comes with its request:
// the load of a reply flow includes the load of its request flow, and who answers need not ask. An
// event's own input does not count against what it sends on the same flow: it ends with the event. A
// connection's messages to itself have room of its own, and judge.c keeps the instance to it. A flow that
// would refuse the event's principal needs no room: so what one device fills holds back no other.
#include "router/state.h"

#include "core/check.h"

#include <string.h>

static int64_t tokens_now(const struct engine *engine, const struct system_flow *flow,
                          struct bucket *bucket)
{
    int64_t full = (int64_t)flow->rate_burst * 1000;
    int64_t passed = engine->now_ms - bucket->at_ms;
    if (passed > 3600 * 1000)
        passed = 3600 * 1000; // keeps the product in range
    bucket->tokens = bucket->at_ms == 0 ? full : bucket->tokens + passed * flow->rate_per_second;
    if (bucket->tokens > full)
        bucket->tokens = full;
    bucket->at_ms = engine->now_ms;
    return bucket->tokens;
}

// More than a full bucket may be taken at once from a full one: the rest is debt.
int tokens_take(struct engine *engine, uint16_t flow, uint64_t connection, uint32_t wanted, int is_trial)
{
    const struct system_flow *definition = &engine->system->flows[flow];
    struct bucket *bucket = &engine->flows[flow].bucket;
    const struct connection *found = connection != 0 ? connection_find(engine, connection) : NULL;
    if (definition->is_rate_per_connection && found != NULL)
        bucket = &engine->connection_buckets[(size_t)(found - engine->connections) * engine->bucket_columns +
                                             (size_t)engine->flows[flow].connection_bucket];
    int64_t tokens = tokens_now(engine, definition, bucket);
    uint32_t needed = wanted < definition->rate_burst ? wanted : definition->rate_burst;
    if (tokens < (int64_t)needed * 1000)
        return 0;
    if (!is_trial)
        bucket->tokens -= (int64_t)wanted * 1000;
    return 1;
}

static uint64_t load_of(const struct engine *engine, uint32_t flow, uint16_t input)
{
    const struct flow_state *state = &engine->flows[flow];
    uint64_t load = state->waiting + state->reserved;
    return flow == input && load > 0 ? load - 1 : load;
}

// Who stands behind the effects of the event that this message becomes. An instance of a connection speaks
// for who is at its other end, whatever it is told: a broadcast lends it nobody's name.
static uint32_t principal_of(const struct message *message, const struct connection *connection)
{
    return connection != NULL ? connection->principal : message->principal;
}

uint32_t event_sender(const struct engine *engine, const struct event *event)
{
    const struct message *message = &engine->messages[event->message];
    return message->parent != ROUTER_NONE ? message->principal : event->principal;
}

static int has_room(const struct engine *engine, const struct receiver *receiver,
                    const struct message *message, const struct connection *connection)
{
    uint32_t principal = principal_of(message, connection);
    for (uint16_t i = 0; i < receiver->output_count; i++) {
        uint16_t flow = receiver->outputs[i];
        if (flow == SYSTEM_NONE)
            continue;
        const struct system_flow *definition = &engine->system->flows[flow];
        const struct flow_state *state = &engine->flows[flow];
        uint64_t need = (uint64_t)definition->count_max * state->fan_out;
        if (!is_principal_allowed(definition, principal))
            continue;
        if (definition->receiver_count != 0 && definition->receivers[0].kind == SYSTEM_GATEWAY) {
            if (connection != NULL && connection->output_bytes != 0 &&
                connection->output_bytes + need * LINK_INPUT_BYTES_MAX >
                    engine->system->gateways[connection->gateway].output_bytes_max)
                return 0;
            continue;
        }
        if (definition->kind == SYSTEM_REPLY || !(state->is_durable || state->is_queued) || state->is_own)
            continue;
        uint64_t load = load_of(engine, flow, message->flow);
        if (load + need > state->limit)
            return 0;
        if (definition->kind == SYSTEM_REQUEST &&
            load_of(engine, definition->pair, message->flow) + load + need >
                engine->flows[definition->pair].limit)
            return 0;
    }
    return 1;
}

static void reserve(struct engine *engine, const struct receiver *receiver, uint32_t principal, int is_taken)
{
    for (uint16_t i = 0; i < receiver->output_count; i++) {
        uint16_t flow = receiver->outputs[i];
        if (flow == SYSTEM_NONE || engine->system->flows[flow].kind == SYSTEM_REPLY ||
            !is_principal_allowed(&engine->system->flows[flow], principal))
            continue;
        uint64_t need = (uint64_t)engine->system->flows[flow].count_max * engine->flows[flow].fan_out;
        check(is_taken || engine->flows[flow].reserved >= need);
        engine->flows[flow].reserved += is_taken ? need : 0 - need;
    }
}

void event_unreserve(struct engine *engine, const struct event *event)
{
    reserve(engine, &engine->receivers[event->receiver], event->principal, 0);
}

uint32_t event_index(const struct engine *engine, const struct event *event)
{
    return (uint32_t)(event - engine->events);
}

uint64_t event_handle(const struct engine *engine, const struct event *event)
{
    return HANDLE(HANDLE_EVENT, event->generation, event_index(engine, event));
}

struct event *event_find(struct engine *engine, uint64_t handle)
{
    uint32_t index = (uint32_t)(handle & 0xffffff);
    if (index >= engine->event_used || engine->events[index].state == EVENT_FREE ||
        event_handle(engine, &engine->events[index]) != handle)
        return NULL;
    return &engine->events[index];
}

static struct event *event_new(struct engine *engine)
{
    uint32_t index = engine->event_free;
    if (index != ROUTER_NONE)
        engine->event_free = engine->events[index].next;
    else if (engine->event_used < engine->event_count)
        index = engine->event_used++;
    else
        return NULL;
    struct event *event = &engine->events[index];
    uint32_t generation = event->generation + 1;
    memset(event, 0, offsetof(struct event, text)); // the large parts stay untouched
    event->generation = generation;
    event->next = ROUTER_NONE;
    event->text[0] = event->audit[0] = 0;
    return event;
}

static int is_free(const struct engine *engine, const struct receiver *receiver)
{
    return receiver->is_attached && receiver->with_receiver < receiver->capacity &&
           receiver->in_flight < receiver->capacity + ROUTER_PIPELINE &&
           (engine->event_free != ROUTER_NONE || engine->event_used < engine->event_count);
}

static void start(struct engine *engine, uint32_t index, struct connection *connection)
{
    struct message *message = &engine->messages[index];
    struct receiver *receiver = &engine->receivers[message->receiver];
    struct event *event = event_new(engine);
    check(event != NULL);
    message->state = MESSAGE_STARTED;
    event->state = EVENT_STARTED;
    event->message = index;
    event->receiver = message->receiver;
    event->principal = principal_of(message, connection);
    if (connection != NULL)
        connection->is_busy = connection->has_instance = 1;
    else if (message->has_key)
        receiver->busy[message->key % ROUTER_BUCKETS] = 1;
    reserve(engine, receiver, event->principal, 1);
    receiver->with_receiver++;
    receiver->in_flight++;
    page_set(&engine->page->in_flight, engine->page->in_flight + 1);
    // A request's context is its asker's alone.
    int is_request = engine->system->flows[message->flow].kind == SYSTEM_REQUEST;
    uint32_t context_bytes = is_request ? 0 : message->context_bytes;
    struct link_deliver deliver = {
        .header = {.kind = LINK_DELIVER, .handle = event_handle(engine, event)},
        .number = message->number,
        .time_ms = message->time_ms,
        .connection = connection != NULL ? connection_id(engine, connection) : 0,
        .flow = message->port,
        .attempt = message->attempt,
        .principal = event_sender(engine, event),
        .context_bytes = context_bytes,
        .payload_bytes = message->payload_bytes};
    uint32_t context_size = ABI_ALIGN8(context_bytes);
    deliver.header.size = (uint32_t)sizeof deliver + context_size + message->payload_bytes;
    static const uint8_t zero[8]; // behind a context its slot still holds bytes of earlier messages
    struct engine_part parts[4] = {{&deliver, sizeof deliver},
                                   {message_context(engine, index), context_bytes},
                                   {zero, context_size - context_bytes},
                                   {message_body(engine, index), message->payload_bytes}};
    (void)engine->io.send(engine->io.context, ENGINE_RECEIVER, event->receiver, parts, 4);
}

// A broadcast becomes one copy for each connection that joined, when there is room for all of them.
static void broadcasts_expand(struct engine *engine, struct receiver *receiver)
{
    while (receiver->queue.head != ROUTER_NONE) {
        uint32_t index = receiver->queue.head;
        struct message *parent = &engine->messages[index];
        uint32_t copies = 0;
        for (uint32_t i = 0; i < engine->connection_used; i++) {
            const struct connection *c = &engine->connections[i];
            copies += c->state == CONNECTION_OPEN && !c->is_shut && c->receiver == parent->receiver &&
                      (c->joined >> parent->port & 1) != 0;
        }
        if (copies != 0 && receiver->copies != 0 && receiver->copies + copies > receiver->copies_max)
            return;
        list_remove(engine, &receiver->queue, index);
        if (copies == 0) {
            message_end(engine, index, REASON_NO_SUBSCRIBER);
            continue;
        }
        parent->state = MESSAGE_PARENT;
        parent->copies = copies;
        parent->outcome = REASON_CONNECTION;
        receiver->copies += copies;
        for (uint32_t i = 0; i < engine->connection_used; i++) {
            const struct connection *c = &engine->connections[i];
            if (c->state != CONNECTION_OPEN || c->is_shut || c->receiver != parent->receiver ||
                (c->joined >> parent->port & 1) == 0)
                continue;
            uint32_t copy = message_new(engine);
            uint64_t order = engine->messages[copy].order;
            engine->messages[copy] = *parent;
            engine->messages[copy].order = order;
            engine->messages[copy].parent = index;
            engine->messages[copy].is_durable = 0; // the parent is what the store knows
            engine->messages[copy].connection = connection_id(engine, c);
            message_enqueue(engine, copy);
        }
    }
}

static void connection_start(struct engine *engine, struct receiver *receiver,
                             struct connection *connection)
{
    uint32_t index = connection->queue.head;
    struct message *message = &engine->messages[index];
    if (!has_room(engine, receiver, message, connection))
        return;
    if (message->is_input && !message->is_last && message->attempt == 1 &&
        !tokens_take(engine, message->flow, message->connection, 1, 0)) {
        if (!message->is_throttled)
            count(engine, COUNTER_FLOW(message->flow, REASON_THROTTLED), 1);
        message->is_throttled = 1;
        engine->is_token_wanted = 1;
        return;
    }
    list_remove(engine, &connection->queue, index);
    start(engine, index, connection);
}

static void connections_start(struct engine *engine, uint32_t index)
{
    struct receiver *receiver = &engine->receivers[index];
    uint32_t first = receiver->turn;
    for (uint32_t n = 0; n < engine->connection_used && is_free(engine, receiver); n++) {
        struct connection *connection = &engine->connections[(first + n) % engine->connection_used];
        if (connection->state != CONNECTION_OPEN || connection->receiver != index ||
            connection->is_busy || connection->queue.head == ROUTER_NONE)
            continue;
        connection_start(engine, receiver, connection);
        receiver->turn = (first + n + 1) % engine->connection_used;
    }
}

static void queue_start(struct engine *engine, struct receiver *receiver)
{
    uint8_t is_blocked[SYSTEM_FLOWS_MAX] = {0}; // the later ones of a flow wait too, so order within it is kept
    uint32_t next;
    for (uint32_t i = receiver->queue.head; i != ROUTER_NONE && is_free(engine, receiver); i = next) {
        struct message *message = &engine->messages[i];
        next = message->next;
        if ((message->has_key && receiver->busy[message->key % ROUTER_BUCKETS]) || is_blocked[message->flow])
            continue;
        if (!has_room(engine, receiver, message, NULL)) {
            is_blocked[message->flow] = 1;
            continue;
        }
        list_remove(engine, &receiver->queue, i);
        start(engine, i, NULL);
    }
}

static void credit(struct engine *engine, uint32_t index)
{
    struct receiver *receiver = &engine->receivers[index];
    if (!receiver->is_credited || !receiver->is_credit_due)
        return;
    receiver->is_credit_due = 0;
    for (uint32_t i = 0; i < engine->system->flow_count; i++) {
        if (receiver->credit[i].due < ROUTER_CREDIT_STEP)
            continue;
        struct commit_credit record = {
            .packet = {.size = sizeof record, .kind = COMMIT_CREDIT},
            .receiver = (uint16_t)index,
            .flow = (uint16_t)i,
            .count = receiver->credit[i].due};
        struct engine_part part = {&record, sizeof record};
        if (engine->io.send(engine->io.context, ENGINE_STORE, 0, &part, 1) == STATUS_OK)
            receiver->credit[i].due = 0;
        else
            receiver->is_credit_due = 1;
    }
}

void schedule(struct engine *engine)
{
    if (!engine->is_ready)
        return;
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct receiver *receiver = &engine->receivers[i];
        if (receiver->is_connection) {
            broadcasts_expand(engine, receiver);
            connections_start(engine, i);
        } else if (receiver->queue.head != ROUTER_NONE) {
            queue_start(engine, receiver);
        }
        credit(engine, i);
    }
}
