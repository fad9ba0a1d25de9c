// SPDX-License-Identifier: ISC
// Connections of gateways: from OPEN to the moment when neither side has anything of them.
//
//   FREE -> OPEN -> CLOSING -> CLOSED -> FREE
//
// OPEN ends by the guest (is_closed), by SHUT's event, by a failure, by slowness, or with a link. What
// waits for the connection ends with it. CLOSING lasts while messages of it are in flight, CLOSED until the
// tender said GONE. Identities hold epoch and generation: a late reply never meets another connection.
#include "router/state.h"

#include "core/check.h"
#include "proto/builtin.h"

#include <string.h>

uint64_t connection_id(const struct engine *engine, const struct connection *connection)
{
    return (engine->epoch & 0xffffff) << 40 | (uint64_t)(connection->generation & 0xffffff) << 16 |
           (uint64_t)(connection - engine->connections);
}

struct bucket *connection_buckets(const struct engine *engine, const struct connection *connection)
{
    return engine->connection_buckets + (size_t)(connection - engine->connections) * engine->bucket_columns;
}

struct connection *connection_find(struct engine *engine, uint64_t id)
{
    uint32_t index = (uint32_t)(id & 0xffff);
    if (index >= engine->connection_used || engine->connections[index].state == CONNECTION_FREE ||
        connection_id(engine, &engine->connections[index]) != id)
        return NULL;
    return &engine->connections[index];
}

// Where that connection of a gateway most likely is: its handles end in a slot of its own (gateway/gateway.c).
static uint32_t place_of(const struct engine *engine, uint32_t gateway, uint64_t handle)
{
    uint32_t first = engine->gateway_first[gateway], place = first + (uint32_t)(handle & 0xffff);
    return place < engine->gateway_first[gateway + 1] ? place : first;
}

static struct connection *by_handle(struct engine *engine, uint32_t gateway, uint64_t handle)
{
    uint32_t end = engine->gateway_first[gateway + 1], place = place_of(engine, gateway, handle);
    if (place < end && engine->connections[place].state == CONNECTION_OPEN &&
        engine->connections[place].handle == handle)
        return &engine->connections[place];
    for (uint32_t i = engine->gateway_first[gateway]; i < end && i < engine->connection_used; i++)
        if (engine->connections[i].state == CONNECTION_OPEN && engine->connections[i].handle == handle)
            return &engine->connections[i];
    return NULL;
}

// One wire/1 message: bytes of the connection, or the word that it ended.
static void wire_enqueue(struct engine *engine, const struct connection *connection, const uint8_t *bytes,
                         size_t size, int is_last)
{
    uint16_t flow = engine->system->gateways[connection->gateway].input_flow;
    struct builtin_wire wire = {.is_closed = is_last != 0, .size = (uint16_t)size};
    uint8_t payload[ABI_ALIGN8(sizeof wire + LINK_INPUT_BYTES_MAX)] = {0};
    memcpy(payload, &wire, sizeof wire);
    memcpy(payload + sizeof wire, bytes, size);
    struct sending sending = {.send = {.flow = flow,
                                       .receiver = connection->receiver,
                                       .payload_bytes = (uint32_t)ABI_ALIGN8(sizeof wire + size),
                                       .connection = connection_id(engine, connection)},
                              .context = payload, // none
                              .payload = payload};
    struct message *message = message_new(engine, &sending);
    message->is_input = 1;
    message->is_last = is_last != 0;
    count(engine, COUNTER_FLOW(flow, REASON_ENTERED), 1);
    message_enqueue(engine, message);
}

enum status open_receive(struct engine *engine, const struct packet *packet)
{
    const struct system_gateway *gateway = &engine->system->gateways[packet->index];
    uint32_t end = engine->gateway_first[packet->index + 1], i = engine->gateway_first[packet->index];
    if (by_handle(engine, packet->index, packet->handle) != NULL)
        return STATUS_MALFORMED;
    uint32_t place = place_of(engine, packet->index, packet->handle);
    if (place < end && engine->connections[place].state == CONNECTION_FREE)
        i = place;
    while (i < end && engine->connections[i].state != CONNECTION_FREE)
        i++;
    if (i == end || engine->gateway_open[packet->index] >= gateway->connections_max) {
        tell(engine, ENGINE_GATEWAY, packet->index, LINK_END, packet->handle, NULL, 0);
        return STATUS_OK;
    }
    if (i >= engine->connection_used)
        engine->connection_used = i + 1;
    struct connection *connection = &engine->connections[i];
    *connection = (struct connection){.handle = packet->handle,
                                      .generation = connection->generation + 1,
                                      .gateway = (uint16_t)packet->index,
                                      .receiver = gateway->unikernel,
                                      .state = CONNECTION_OPEN};
    memset(connection_buckets(engine, connection), 0, engine->bucket_columns * sizeof(struct bucket));
    engine->gateway_open[packet->index]++;
    page_set(&engine->page->connections, engine->page->connections + 1);
    return STATUS_OK;
}

// INPUT or SHUT.
enum status input_receive(struct engine *engine, const struct packet *packet)
{
    struct connection *connection = by_handle(engine, packet->index, packet->handle);
    int is_shut = packet->kind == LINK_SHUT;
    if (connection == NULL)
        return STATUS_OK; // END crossed with what the gateway said of that connection
    if (connection->is_shut || (connection->is_input_owed && !is_shut))
        return STATUS_MALFORMED;
    connection->is_shut = is_shut != 0;
    connection->is_input_owed |= !is_shut;
    wire_enqueue(engine, connection, packet->body, packet->body_bytes, is_shut);
    return STATUS_OK;
}

enum status drained_receive(struct engine *engine, const struct packet *packet)
{
    struct connection *connection = by_handle(engine, packet->index, packet->handle);
    uint64_t drained;
    memcpy(&drained, packet->body, sizeof drained);
    if (connection == NULL)
        return STATUS_OK;
    if (drained > connection->output_bytes)
        return STATUS_MALFORMED;
    connection->output_bytes -= drained;
    connection->progress_ms = engine->now_ms;
    return STATUS_OK;
}

static void instance_gone(struct engine *engine, struct connection *connection)
{
    engine->receivers[connection->receiver].instances -= connection->has_instance;
    connection->has_instance = 0;
}

enum status gone_receive(struct engine *engine, const struct packet *packet)
{
    struct connection *connection = connection_find(engine, packet->handle);
    if (connection == NULL || connection->receiver != packet->index)
        return STATUS_OK;
    instance_gone(engine, connection);
    connection_end(engine, connection, 1);
    return STATUS_OK;
}

void connection_start(struct connection *connection, struct message *message)
{
    message->following = NULL;
    connection->held_ms = 0;
    if (connection->in_flight++ == 0)
        connection->first = message;
    else
        connection->last->following = message;
    connection->last = message;
}

void connection_leave(struct connection *connection, struct message *message)
{
    struct message *before = NULL, *at = connection->first;
    for (; at != message; at = at->following) // mostly the first
        before = at;
    if (before == NULL)
        connection->first = message->following;
    else
        before->following = message->following;
    if (connection->last == message)
        connection->last = before;
    connection->in_flight--;
}

// A message of the connection is over.
void connection_release(struct engine *engine, struct connection *connection, const struct message *message)
{
    connection->messages--;
    connection->own -= engine->flows[message->send.flow].is_own;
    connection->has_failed |= message->reason != REASON_DONE;
    if (message->reason != REASON_DONE || message->is_last || connection->state != CONNECTION_OPEN) {
        connection_end(engine, connection, 1);
    } else if (message->is_input) {
        connection->is_input_owed = 0;
        tell(engine, ENGINE_GATEWAY, connection->gateway, LINK_TAKEN, connection->handle, NULL, 0);
    }
    if (connection->in_flight != 0 && connection->first->state == MESSAGE_ENDED)
        event_judge(engine, connection->first); // no deeper than events of a connection in flight
}

// A message that ends in the router itself: bytes for the outside, or a subscription.
void connection_output(struct engine *engine, uint16_t flow, struct connection *connection,
                       const uint8_t *payload)
{
    const struct system_receiver *receiver = &engine->system->flows[flow].receivers[0];
    struct builtin_wire wire;
    struct builtin_subscription wanted;
    check(connection != NULL); // system_check(): only a connection's unikernel sends there
    int is_open = connection->state == CONNECTION_OPEN &&
                  (receiver->kind != SYSTEM_GATEWAY || receiver->index == connection->gateway);
    count(engine, COUNTER_FLOW(flow, is_open ? REASON_DONE : REASON_CONNECTION), 1);
    if (!is_open)
        return;
    if (receiver->kind == SYSTEM_SUBSCRIPTION) {
        memcpy(&wanted, payload, sizeof wanted);
        uint32_t port = UINT32_C(1) << wanted.port;
        connection->joined = wanted.is_joined ? connection->joined | port : connection->joined & ~port;
        return;
    }
    memcpy(&wire, payload, sizeof wire);
    if (wire.size != 0) {
        if (connection->output_bytes == 0)
            connection->progress_ms = engine->now_ms;
        connection->output_bytes += wire.size;
        tell(engine, ENGINE_GATEWAY, connection->gateway, LINK_OUTPUT, connection->handle,
             payload + sizeof wire, wire.size);
    }
    if (wire.is_closed)
        connection_end(engine, connection, 1);
}

// What a connection still has when it is no longer open: messages in flight, then its instance, then nothing.
static void settle(struct engine *engine, struct connection *connection)
{
    if (connection->messages != 0)
        return;
    if (!connection->has_instance || !engine->receivers[connection->receiver].is_attached) {
        connection->state = CONNECTION_FREE;
        instance_gone(engine, connection); // with its tender
    } else if (connection->state == CONNECTION_CLOSING) {
        connection->state = CONNECTION_CLOSED;
        tell(engine, ENGINE_RECEIVER, connection->receiver, LINK_CLOSE, connection_id(engine, connection),
             NULL, 0);
    }
}

void connection_end(struct engine *engine, struct connection *connection, int tell_gateway)
{
    if (connection->state == CONNECTION_OPEN) {
        connection->state = CONNECTION_CLOSING;
        engine->gateway_open[connection->gateway]--;
        page_set(&engine->page->connections, engine->page->connections - 1);
        if (tell_gateway)
            tell(engine, ENGINE_GATEWAY, connection->gateway, LINK_END, connection->handle, NULL, 0);
        queue_end(engine, connection);
    }
    settle(engine, connection);
}

void connections_check(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        struct connection *connection = &engine->connections[i];
        int is_slow = connection->output_bytes != 0;
        if (connection->state != CONNECTION_OPEN || (!is_slow && connection->held_ms == 0))
            continue;
        int64_t since_ms = is_slow ? connection->progress_ms : connection->held_ms;
        if (connection->held_ms != 0 && connection->held_ms < since_ms)
            since_ms = connection->held_ms;
        int64_t end_ms = since_ms + engine->system->gateways[connection->gateway].slow_ms;
        wake(engine, end_ms + 1);
        if (engine->now_ms > end_ms)
            connection_end(engine, connection, 1);
    }
}

void connections_close(struct engine *engine, enum engine_peer peer, uint32_t index)
{
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        struct connection *connection = &engine->connections[i];
        int is_meant = peer == ENGINE_GATEWAY ? connection->gateway == index
                                              : connection->receiver == index && connection->has_instance;
        if (connection->state == CONNECTION_FREE || !is_meant)
            continue;
        if (peer == ENGINE_RECEIVER)
            instance_gone(engine, connection);
        connection_end(engine, connection, peer != ENGINE_GATEWAY);
    }
}
