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

struct connection *connection_find(struct engine *engine, uint64_t id)
{
    uint32_t index = (uint32_t)(id & 0xffff);
    if (index >= engine->connection_used || engine->connections[index].state == CONNECTION_FREE ||
        connection_id(engine, &engine->connections[index]) != id)
        return NULL;
    return &engine->connections[index];
}

static struct connection *by_handle(struct engine *engine, uint32_t gateway, uint64_t handle)
{
    uint32_t end = engine->gateway_first[gateway + 1];
    for (uint32_t i = engine->gateway_first[gateway]; i < end && i < engine->connection_used; i++)
        if (engine->connections[i].state == CONNECTION_OPEN && engine->connections[i].handle == handle)
            return &engine->connections[i];
    return NULL;
}

static void connection_open(struct engine *engine, uint16_t gateway, uint64_t handle)
{
    const struct system_gateway *definition = &engine->system->gateways[gateway];
    uint32_t end = engine->gateway_first[gateway + 1];
    uint32_t i = engine->gateway_first[gateway];
    while (i < end && engine->connections[i].state != CONNECTION_FREE)
        i++;
    if (i == end || engine->gateway_open[gateway] >= definition->connections_max) {
        tell(engine, ENGINE_GATEWAY, gateway, LINK_END, handle, NULL, 0);
        return;
    }
    if (i >= engine->connection_used)
        engine->connection_used = i + 1;
    struct connection *connection = &engine->connections[i];
    *connection = (struct connection){.handle = handle,
                                      .generation = connection->generation + 1,
                                      .gateway = gateway,
                                      .receiver = definition->unikernel,
                                      .state = CONNECTION_OPEN};
    memset(&engine->connection_buckets[(size_t)i * engine->bucket_columns], 0,
           engine->bucket_columns * sizeof engine->connection_buckets[0]);
    engine->gateway_open[gateway]++;
    page_set(&engine->page->connections, engine->page->connections + 1);
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

static enum status connection_receive(struct engine *engine, struct connection *connection, uint16_t kind,
                                      const uint8_t *bytes, size_t size)
{
    if (kind == LINK_DRAINED) {
        uint64_t drained;
        memcpy(&drained, bytes, sizeof drained);
        if (drained > connection->output_bytes)
            return STATUS_MALFORMED;
        connection->output_bytes -= drained;
        connection->progress_ms = engine->now_ms;
        return STATUS_OK;
    }
    if (kind == LINK_OPEN || connection->is_shut || (kind == LINK_INPUT && connection->is_input_owed))
        return STATUS_MALFORMED;
    connection->is_shut = kind == LINK_SHUT;
    connection->is_input_owed |= kind == LINK_INPUT;
    wire_enqueue(engine, connection, bytes, size, kind == LINK_SHUT);
    return STATUS_OK;
}

enum status gateway_receive(struct engine *engine, uint32_t gateway, const uint8_t *bytes, size_t size)
{
    struct link_header header;
    memcpy(&header, bytes, sizeof header);
    struct connection *connection = by_handle(engine, gateway, header.handle);
    if (connection != NULL)
        return connection_receive(engine, connection, header.kind, bytes + sizeof header, size - sizeof header);
    if (header.kind == LINK_OPEN)
        connection_open(engine, (uint16_t)gateway, header.handle);
    return STATUS_OK; // END crossed with what the gateway said of that connection
}

enum status gone_receive(struct engine *engine, uint32_t receiver, const uint8_t *bytes, size_t size)
{
    (void)size;
    struct link_header header;
    memcpy(&header, bytes, sizeof header);
    struct connection *connection = connection_find(engine, header.handle);
    if (connection == NULL || connection->receiver != receiver)
        return STATUS_OK;
    connection->has_instance = 0;
    connection_end(engine, connection, 1);
    return STATUS_OK;
}

// A message of the connection is over.
void connection_release(struct engine *engine, struct connection *connection, const struct message *message)
{
    connection->messages--;
    connection->own -= engine->flows[message->send.flow].is_own;
    if (message->reason != REASON_DONE || message->is_last || connection->state != CONNECTION_OPEN) {
        connection_end(engine, connection, 1);
    } else if (message->is_input) {
        connection->is_input_owed = 0;
        tell(engine, ENGINE_GATEWAY, connection->gateway, LINK_TAKEN, connection->handle, NULL, 0);
    }
}

// A message that ends in the router itself: bytes for the outside, or a subscription.
void connection_output(struct engine *engine, uint16_t flow, struct connection *connection, const uint8_t *payload)
{
    const struct system_receiver *receiver = &engine->system->flows[flow].receivers[0];
    struct builtin_wire wire;
    struct builtin_subscription wanted;
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
        tell(engine, ENGINE_GATEWAY, connection->gateway, LINK_OUTPUT, connection->handle, payload + sizeof wire,
             wire.size);
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
    } else if (connection->state == CONNECTION_CLOSING) {
        connection->state = CONNECTION_CLOSED;
        tell(engine, ENGINE_RECEIVER, connection->receiver, LINK_CLOSE, connection_id(engine, connection), NULL, 0);
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
        if (connection->state != CONNECTION_OPEN || connection->output_bytes == 0)
            continue;
        int64_t end_ms = connection->progress_ms + engine->system->gateways[connection->gateway].slow_ms;
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
        connection->has_instance &= peer == ENGINE_GATEWAY;
        connection_end(engine, connection, peer != ENGINE_GATEWAY);
    }
}
