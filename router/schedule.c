// SPDX-License-Identifier: ISC
// Which message becomes an event, and when: a free instance, no event of its key or connection, and the worst
// case of its effects reserved at every receiver.
//
// The reservation needs no table. For each flow load = waiting + reserved, where reserved is the sum
// over the events in flight of what they may send at most. A reply's room comes with its request:
// the load of a reply flow includes the load of its request flow, and who answers need not ask. An
// event's own input does not count against what it sends on the same flow: it ends with the event. Where messages to
// itself fill the flow, one event at a time starts with what room there is, and judge.c keeps it to that: only
// such events make room. A connection's messages to itself have room of their own, and judge.c keeps the instance to it. A flow that
// would refuse the event's principal needs no room: so what one device fills holds back no other.
//
// A fault costs a unikernel more than an event does, so each sender has a ration of them in each unikernel
// (proto/status_page.h). While it is used up his messages end at once, as dead letters: they do not wait,
// for they would fill what others need, too. What was in flight with the last fault comes on top, and is paid back.
#include "router/state.h"

#include "core/check.h"
#include "core/schema_version.h"

#include <string.h>

// More than a full bucket may be taken at once from a full one: the rest is debt.
int bucket_has(const struct engine *engine, struct bucket *bucket, uint32_t per_second, uint32_t burst, uint32_t wanted)
{
    int64_t full = (int64_t)burst * 1000;
    int64_t passed = engine->now_ms - bucket->at_ms;
    if (passed > 3600 * 1000)
        passed = 3600 * 1000; // keeps the product in range
    bucket->tokens = bucket->at_ms == 0 ? full : bucket->tokens + passed * per_second;
    if (bucket->tokens > full)
        bucket->tokens = full;
    bucket->at_ms = engine->now_ms;
    return bucket->tokens >= (int64_t)(wanted < burst ? wanted : burst) * 1000;
}

static struct bucket *bucket_of(struct engine *engine, uint16_t flow, const struct connection *connection, int is_bytes)
{
    const struct system_flow *is = &engine->system->flows[flow];
    struct flow_state *state = &engine->flows[flow];
    int is_each = is_bytes ? is->is_bytes_per_connection : is->is_rate_per_connection;
    return is_each && connection != NULL ? connection_buckets(engine, connection) + state->bucket_columns[is_bytes]
                                         : &state->buckets[is_bytes];
}

int tokens_left(struct engine *engine, uint16_t flow, const struct connection *connection, uint32_t messages,
                uint32_t bytes)
{
    const struct system_flow *is = &engine->system->flows[flow];
    return bucket_has(engine, bucket_of(engine, flow, connection, 0), is->rate_per_second, is->rate_burst, messages) &&
           (is->bytes_per_second == 0 ||
            bucket_has(engine, bucket_of(engine, flow, connection, 1), is->bytes_per_second, is->bytes_burst, bytes));
}

void tokens_take(struct engine *engine, uint16_t flow, const struct connection *connection, uint32_t messages,
                 uint32_t bytes)
{
    bucket_of(engine, flow, connection, 0)->tokens -= (int64_t)messages * 1000;
    if (engine->system->flows[flow].bytes_per_second != 0)
        bucket_of(engine, flow, connection, 1)->tokens -= (int64_t)bytes * 1000;
}

// Who stands behind the effects of the event that this message becomes. An instance of a connection speaks
// for who is at its other end, whatever it is told: a broadcast lends it nobody's name.
static uint32_t principal_of(const struct message *message)
{
    return message->connection != NULL ? message->connection->principal : message->send.principal;
}

uint32_t event_sender(const struct message *message)
{
    int is_own = message->parent == NULL && message->event != NULL;
    return is_own ? message->event->principal : message->send.principal;
}

// Whom a fault of the event that this message becomes is put down to: the principal behind it, else the
// unikernel or service that sent it. NULL: to nobody. An instance of a connection costs that connection alone,
// and who opens the next one is not known.
static int64_t *faults_of(const struct engine *engine, const struct message *message)
{
    const struct system_flow *flow = &engine->system->flows[message->send.flow];
    uint32_t sender = message->send.principal - 1; // of nobody: wraps
    if (message->send.receiver >= engine->system->unikernel_count ||
        receiver_of(engine, message)->is->lifetime == LIFETIME_CONNECTION)
        return NULL;
    if (sender >= SYSTEM_PRINCIPALS_MAX)
        sender = SYSTEM_PRINCIPALS_MAX +
                 (flow->sender_kind == SYSTEM_RECEIPTS ? flow->receivers[0].index : flow->sender) +
                 (flow->sender_kind == SYSTEM_SERVICE   ? SYSTEM_UNIKERNELS_MAX
                  : flow->sender_kind == SYSTEM_COURIER ? SYSTEM_UNIKERNELS_MAX + SYSTEM_SERVICES_MAX
                                                        : 0);
    return &engine->page->faults_ms[message->send.receiver][sender];
}

void fault_note(struct engine *engine, const struct message *message)
{
    int64_t *faults_ms = faults_of(engine, message);
    if (faults_ms == NULL)
        return;
    int64_t from_ms = *faults_ms > engine->now_ms ? *faults_ms : engine->now_ms;
    __atomic_store_n(faults_ms, from_ms + FAULT_FORGOTTEN_MS, __ATOMIC_RELAXED);
}

static int is_rationed(const struct engine *engine, const struct message *message)
{
    const int64_t *faults_ms = faults_of(engine, message);
    return faults_ms != NULL && fault_ration_ms(*faults_ms, engine->now_ms) != 0;
}

static uint64_t load_of(const struct engine *engine, uint32_t flow, const struct message *input)
{
    const struct flow_state *state = &engine->flows[flow];
    uint64_t load = state->waiting + state->promised + state->reserved;
    return flow == input->send.flow && !input->is_brought && load > 0 ? load - 1 : load;
}

int has_room_of_own(const struct engine *engine, uint16_t flow, const struct message *message, uint32_t sends)
{
    const struct flow_state *state = &engine->flows[flow];
    return load_of(engine, flow, message) + sends <= state->limit + state->need; // need: what it has reserved itself
}

static int has_room_on(const struct engine *engine, uint16_t flow, const struct message *message)
{
    const struct system_flow *definition = &engine->system->flows[flow];
    const struct flow_state *state = &engine->flows[flow];
    const struct connection *connection = message->connection;
    if (definition->receivers[0].kind == SYSTEM_GATEWAY)
        return connection->output_bytes + connection->in_flight == 0 ||
               connection->output_bytes +
                       (connection->in_flight + 1) * (uint64_t)definition->count_max * LINK_INPUT_BYTES_MAX <=
                   engine->system->gateways[connection->gateway].output_bytes_max;
    if (state->need == 0)
        return 1;
    if (state->is_self && flow == message->send.flow && state->reserved == 0)
        return 1; // to wait would be to wait for itself
    uint64_t load = load_of(engine, flow, message) + state->need;
    if (state->is_durable && state->bytes + (state->reserved / state->need + 1) * state->bytes_need > state->bytes_limit)
        return 0;
    return load <= state->limit &&
           (definition->kind != SYSTEM_REQUEST ||
            load_of(engine, definition->pair, message) + load <= engine->flows[definition->pair].limit);
}

// Does the event that this message becomes, or is, need room on that output? What is brought enters its own flow alone.
static int needs_room(const struct engine *engine, const struct message *message, uint16_t flow, uint32_t principal)
{
    return (!message->is_brought || flow == message->send.flow) &&
           is_principal_allowed(&engine->system->flows[flow], principal);
}

static int has_room(const struct engine *engine, const struct receiver *receiver,
                    const struct message *message)
{
    uint32_t principal = principal_of(message);
    for (uint32_t i = 0; i < receiver->fills_count; i++)
        if (needs_room(engine, message, receiver->fills[i], principal) && !has_room_on(engine, receiver->fills[i], message))
            return 0;
    return 1;
}

static struct receiver *reserve(struct engine *engine, struct message *message, int is_taken)
{
    struct receiver *receiver = receiver_of(engine, message);
    for (uint32_t i = 0; i < receiver->fills_count; i++) {
        if (!needs_room(engine, message, receiver->fills[i], message->event->principal))
            continue;
        struct flow_state *state = &engine->flows[receiver->fills[i]];
        check(is_taken || state->reserved >= state->need);
        state->reserved += is_taken ? state->need : 0 - state->need;
    }
    engine->idle -= is_taken && receiver->in_flight == 0;
    receiver->in_flight = is_taken ? receiver->in_flight + 1 : receiver->in_flight - 1;
    engine->idle += !is_taken && receiver->in_flight == 0;
    if (message->connection != NULL)
        (is_taken ? connection_start : connection_leave)(message->connection, message);
    else if (message->bucket != ROUTER_BUCKETS)
        receiver->busy[message->bucket] = (uint8_t)(receiver->busy[message->bucket] + (is_taken ? 1 : -1));
    page_set(&engine->page->in_flight, engine->page->in_flight + (is_taken ? 1 : UINT64_MAX)); // wraps: - 1
    return receiver;
}

void event_leave(struct engine *engine, struct message *message)
{
    struct event *event = message->event;
    reserve(engine, message, 0);
    message->event = NULL;
    slots_give(&engine->events, event);
}

// Whatever others hold, there is a slot left for the first event of each receiver.
static int is_free(const struct engine *engine, const struct receiver *receiver)
{
    return receiver->is_attached && receiver->with_receiver < receiver->capacity &&
           receiver->in_flight < receiver->capacity + ROUTER_PIPELINE &&
           engine->page->in_flight + (receiver->in_flight != 0 ? engine->idle : 0) < engine->events.count;
}

// The payload as its receiver is shown it: the first *kept bytes, then less than 8 zeros. An older version of the
// flow's schema gets a part; what waits, what is tried again and what becomes a dead letter is whole.
static uint32_t payload_shown(const struct engine *engine, const struct message *message, size_t *kept)
{
    const struct system_flow *flow = &engine->system->flows[message->send.flow];
    const struct schema *schemas = engine->system->schemas;
    *kept = message->send.payload_bytes;
    for (size_t i = 0; i < flow->receiver_count; i++) {
        const struct system_receiver *to = &flow->receivers[i];
        if (to->older_schema != 0 && to->kind == SYSTEM_UNIKERNEL && to->index == message->send.receiver)
            return (uint32_t)schema_cut(&schemas[flow->schema], &schemas[to->older_schema - 1], message->body,
                                        message->send.payload_bytes, kept);
    }
    return message->send.payload_bytes;
}

static void start(struct engine *engine, struct message *message)
{
    struct event *event = message->event = slots_take(&engine->events);
    check(event != NULL); // is_free()
    memset(event, 0, offsetof(struct event, text));
    event->text[0] = 0;
    event->principal = principal_of(message);
    struct receiver *receiver = reserve(engine, message, 1);
    if (message->is_brought) {
        brought_start(engine, message);
        return;
    }
    receiver->with_receiver++;
    engine->settling += message->is_settling = message->is_kept;
    message->state = MESSAGE_STARTED;
    if (message->connection != NULL && !message->connection->has_instance) {
        message->connection->has_instance = 1;
        receiver->instances++;
    }
    // A request's context is its asker's alone, that of a message with a receipt its sender's.
    int is_hidden = engine->system->flows[message->send.flow].kind == SYSTEM_REQUEST ||
                    (message->send.flags & COMMIT_RECEIPT) != 0;
    size_t kept;
    struct link_deliver deliver = {
        .header = {.kind = LINK_DELIVER, .handle = message->handle},
        .record = {.kind = ABI_EVENT},
        .number = message->number,
        .time_ms = message->time_ms,
        .connection = message->connection != NULL                    ? connection_id(engine, message->connection)
                      : is_courier(engine, message->send.receiver) ? engine->identity
                                                                   : 0,
        .flow = message->port,
        .attempt = message->attempt,
        .principal = event_sender(message),
        .context_bytes = is_hidden ? 0 : message->send.context_bytes,
        .payload_bytes = payload_shown(engine, message, &kept)};
    uint32_t context_size = ABI_ALIGN8(deliver.context_bytes);
    uint32_t payload_size = ABI_ALIGN8(deliver.payload_bytes);
    deliver.header.size = (uint32_t)sizeof deliver + context_size + payload_size;
    deliver.record.size = deliver.header.size - (uint32_t)offsetof(struct link_deliver, record);
    static const uint8_t zero[8]; // behind a context its slot still holds bytes of earlier messages
    struct channel_part parts[5] = {{&deliver, sizeof deliver},
                                    {message->body + ABI_ALIGN8(message->send.payload_bytes), deliver.context_bytes},
                                    {zero, context_size - deliver.context_bytes},
                                    {message->body, kept},
                                    {zero, payload_size - kept}};
    (void)engine->io.send(engine->io.context, ENGINE_RECEIVER, message->send.receiver, parts, 5);
}

static int has_joined(const struct connection *connection, const struct message *broadcast)
{
    return connection->state == CONNECTION_OPEN && !connection->is_shut &&
           connection->receiver == broadcast->send.receiver && (connection->joined >> broadcast->port & 1) != 0;
}

// A broadcast becomes one copy for each connection that joined, when there is room for all of them.
static int broadcast_expand(struct engine *engine, struct receiver *receiver, struct message *parent)
{
    uint32_t copies = 0;
    for (uint32_t i = 0; i < engine->connection_used; i++)
        copies += (uint32_t)has_joined(&engine->connections[i], parent);
    if (receiver->copies != 0 && receiver->copies + copies > receiver->copies_max)
        return 0;
    receiver->copies += parent->copies = copies;
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        const struct connection *connection = &engine->connections[i];
        if (has_joined(connection, parent))
            message_enqueue(engine, message_copy(engine, parent, connection_id(engine, connection)));
    }
    return 1;
}

// Tokens for what comes from outside are taken at its start, for what is sent at the end of its event.
static int is_input_paid(struct engine *engine, struct message *message)
{
    const struct commit_send *send = &message->send;
    if ((!message->is_input && !message->is_brought) || message->is_last || message->attempt != 1)
        return 1;
    if (tokens_left(engine, send->flow, message->connection, 1, send->payload_bytes)) {
        tokens_take(engine, send->flow, message->connection, 1, send->payload_bytes);
        return 1;
    }
    if (!message->is_throttled)
        count(engine, COUNTER_FLOW(message->send.flow, REASON_THROTTLED), 1);
    message->is_throttled = 1;
    wake(engine, engine->now_ms + ROUTER_TOKEN_MS);
    return 0;
}

// What others sent a connection holds room that they need. If it has to wait for room itself, all could wait for one another
// for ever, round a circle of flows; so the connection is ended after a while (connections_check).
static void hold_up(const struct engine *engine, const struct message *message)
{
    struct connection *connection = message->connection;
    if (connection != NULL && !message->is_input && !engine->flows[message->send.flow].is_own && connection->held_ms == 0)
        connection->held_ms = engine->now_ms;
}

static int is_busy(struct engine *engine, const struct receiver *receiver, const struct message *message)
{
    if (message->connection != NULL)
        return message->connection->in_flight >= receiver->batch;
    return message->bucket != ROUTER_BUCKETS && receiver->busy[message->bucket] != 0 &&
           !(message->is_brought && brought_is_next(engine, message));
}

// A tender that dies takes all events with it along, and nobody knows which of them killed it. On its last attempt a
// message is alone there: then it is that one. No message kills one of the host's own.
static int is_last_attempt(const struct engine *engine, const struct message *message)
{
    return message->connection == NULL && message->attempt == ROUTER_ATTEMPTS_MAX &&
           message->send.receiver < engine->system->unikernel_count;
}

// Order is kept within a connection, and of others within a flow: the later ones wait behind the first
// that must.
static void queue_start(struct engine *engine, struct receiver *receiver)
{
    struct message *head = &receiver->queue, *next;
    engine->pass++;
    for (struct message *message = head->next; message != head; message = next) {
        struct connection *connection = message->connection;
        struct flow_state *flow = &engine->flows[message->send.flow];
        uint64_t *blocked = connection != NULL ? &connection->blocked : &flow->blocked;
        next = message->next;
        if (!is_free(engine, receiver) || (receiver->is_alone && receiver->with_receiver != 0))
            return;
        if (message->due_ms > engine->now_ms) {
            wake(engine, message->due_ms);
            continue;
        }
        int is_late = message->end_ms != 0 && message->end_ms <= engine->wall_ms;
        if (is_late || is_rationed(engine, message)) {
            message_dequeue(engine, message);
            message_end(engine, message, is_late ? late_reason(engine, message) : REASON_RATIONED);
            if (connection != NULL)
                next = head->next; // what else waited for it ended with it
            continue;
        }
        if (*blocked == engine->pass)
            hold_up(engine, message);
        if (is_busy(engine, receiver, message) || *blocked == engine->pass)
            continue;
        if (connection != NULL && !connection->has_instance && receiver->instances >= receiver->instances_max)
            continue; // until an instance of one that ended is gone
        if (is_broadcast(engine, message)) {
            // What its copies bring about has no COMMIT to wait for.
            if ((message->is_kept && !message->is_stored) || !broadcast_expand(engine, receiver, message)) {
                *blocked = engine->pass;
                continue;
            }
            next = message->next; // perhaps its first copy
            message_dequeue(engine, message);
            message->state = MESSAGE_PARENT;
            message->reason = REASON_CONNECTION;
            if (message->copies == 0)
                message_end(engine, message, REASON_NO_SUBSCRIBER);
            continue;
        }
        if (!has_room(engine, receiver, message) || !is_input_paid(engine, message)) {
            hold_up(engine, message);
            *blocked = engine->pass;
            continue;
        }
        if (is_last_attempt(engine, message) && receiver->with_receiver != 0)
            return;
        receiver->is_alone = is_last_attempt(engine, message) != 0;
        message_dequeue(engine, message);
        start(engine, message);
    }
}

void engine_schedule(struct engine *engine)
{
    do {
        judged_proceed(engine);
        for (uint32_t i = 0; i < engine->receiver_count && engine->is_ready; i++)
            queue_start(engine, &engine->receivers[i]);
    } while (engine->judged.next != &engine->judged); // what couriers brought
}
