// SPDX-License-Identifier: ISC
// Connections of gateways: from OPEN to the moment when neither side has anything of them.
//
//   FREE -> OPEN -> CLOSING -> FREE
//
// OPEN ends by the guest (is_closed), by SHUT's event, by a failure, by slowness, or with a link. What
// waits for the connection ends with it. CLOSING lasts while its event is in flight and until the
// tender said GONE. Identities hold epoch and generation: a late reply never meets another connection.
#include "router/state.h"

#include "core/check.h"

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

static void gateway_send(struct engine *engine, const struct connection *connection, uint16_t kind,
                         const void *bytes, size_t size)
{
    struct link_header header = {
        .size = (uint32_t)(sizeof header + size), .kind = kind, .handle = connection->handle};
    struct engine_part parts[2] = {{&header, sizeof header}, {bytes, size}};
    (void)engine->io.send(engine->io.context, ENGINE_GATEWAY, connection->gateway, parts,
                          size != 0 ? 2 : 1);
}

static struct connection *by_handle(struct engine *engine, uint16_t gateway, uint64_t handle)
{
    uint32_t end = engine->gateway_first[gateway + 1];
    for (uint32_t i = engine->gateway_first[gateway]; i < end && i < engine->connection_used; i++)
        if (engine->connections[i].state == CONNECTION_OPEN && engine->connections[i].handle == handle)
            return &engine->connections[i];
    return NULL;
}

static enum status connection_open(struct engine *engine, uint16_t gateway, uint64_t handle)
{
    if (by_handle(engine, gateway, handle) != NULL)
        return STATUS_MALFORMED;
    const struct system_gateway *definition = &engine->system->gateways[gateway];
    uint32_t end = engine->gateway_first[gateway + 1];
    uint32_t i = engine->gateway_first[gateway];
    while (i < end && engine->connections[i].state != CONNECTION_FREE)
        i++;
    if (i == end || engine->gateway_open[gateway] >= definition->connections_max) {
        struct connection refused = {.handle = handle, .gateway = gateway};
        gateway_send(engine, &refused, LINK_END, NULL, 0);
        return STATUS_OK;
    }
    if (i >= engine->connection_used)
        engine->connection_used = i + 1;
    struct connection *connection = &engine->connections[i];
    *connection = (struct connection){.handle = handle,
                                      .generation = connection->generation + 1,
                                      .gateway = gateway,
                                      .receiver = definition->unikernel,
                                      .state = CONNECTION_OPEN,
                                      .queue = {ROUTER_NONE, ROUTER_NONE, 0}};
    if (engine->bucket_columns != 0)
        memset(&engine->connection_buckets[(size_t)i * engine->bucket_columns], 0,
               engine->bucket_columns * sizeof engine->connection_buckets[0]);
    engine->gateway_open[gateway]++;
    page_set(&engine->page->connections, engine->page->connections + 1);
    return STATUS_OK;
}

// One wire/1 message: bytes of the connection, or the word that it ended.
static void wire_enqueue(struct engine *engine, struct connection *connection, const uint8_t *bytes,
                         size_t size, int is_last)
{
    uint16_t flow = engine->system->gateways[connection->gateway].input_flow;
    const struct system_flow *definition = &engine->system->flows[flow];
    const struct schema *schema = &engine->system->schemas[definition->schema];
    uint32_t slot = message_new(engine);
    struct message *message = &engine->messages[slot];
    uint8_t *body = message_body(engine, slot);
    uint16_t at = schema->fields[schema_field_index(schema, "bytes")].offset;
    uint16_t length = (uint16_t)size;
    message->flow = flow;
    message->receiver = connection->receiver;
    message->port = system_input_port(definition, connection->receiver);
    message->connection = connection_id(engine, connection);
    message->number = engine->epoch << 40 | ++engine->number;
    message->time_ms = engine->wall_ms;
    message->is_input = 1;
    message->is_last = is_last != 0;
    message->payload_bytes = (uint32_t)ABI_ALIGN8(at + sizeof length + size);
    memset(body, 0, message->payload_bytes);
    body[schema->fields[schema_field_index(schema, "is_closed")].offset] = is_last != 0;
    memcpy(body + at, &length, sizeof length);
    if (size != 0)
        memcpy(body + at + sizeof length, bytes, size);
    count(engine, COUNTER_FLOW(flow, REASON_ENTERED), 1);
    engine->flows[flow].waiting++;
    message_enqueue(engine, slot);
}

enum status gateway_receive(struct engine *engine, uint16_t gateway, const uint8_t *bytes, size_t size)
{
    struct link_header header;
    struct link_drained drained;
    memcpy(&header, bytes, sizeof header);
    if (header.kind == LINK_OPEN)
        return connection_open(engine, gateway, header.handle);
    // END may have crossed with what the gateway said of that connection.
    struct connection *connection = by_handle(engine, gateway, header.handle);
    switch (header.kind) {
    case LINK_INPUT:
        size -= sizeof header;
        if (size == 0 || size > LINK_INPUT_BYTES_MAX)
            return STATUS_MALFORMED;
        if (connection == NULL)
            return STATUS_OK;
        if (connection->is_input_owed || connection->is_shut)
            return STATUS_MALFORMED;
        connection->is_input_owed = 1;
        wire_enqueue(engine, connection, bytes + sizeof header, size, 0);
        return STATUS_OK;
    case LINK_SHUT:
        if (connection == NULL)
            return STATUS_OK;
        if (connection->is_shut)
            return STATUS_MALFORMED;
        connection->is_shut = 1;
        wire_enqueue(engine, connection, NULL, 0, 1);
        return STATUS_OK;
    case LINK_DRAINED:
        if (size != sizeof drained)
            return STATUS_MALFORMED;
        memcpy(&drained, bytes, sizeof drained);
        if (connection == NULL)
            return STATUS_OK;
        if (drained.bytes > connection->output_bytes)
            return STATUS_MALFORMED;
        connection->output_bytes -= drained.bytes;
        connection->progress_ms = engine->now_ms;
        return STATUS_OK;
    default:
        return STATUS_MALFORMED;
    }
}

void connection_taken(struct engine *engine, struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || !connection->is_input_owed)
        return;
    connection->is_input_owed = 0;
    gateway_send(engine, connection, LINK_TAKEN, NULL, 0);
}

static void wire_output(struct engine *engine, struct connection *connection, const struct schema *schema,
                        const uint8_t *payload, size_t size)
{
    const uint8_t *bytes;
    size_t length = schema_bytes(schema, (uint16_t)schema_field_index(schema, "bytes"), payload, size, &bytes);
    if (length != 0) {
        if (connection->output_bytes == 0)
            connection->progress_ms = engine->now_ms;
        connection->output_bytes += length;
        gateway_send(engine, connection, LINK_OUTPUT, bytes, length);
    }
    if (schema_value(schema, (uint16_t)schema_field_index(schema, "is_closed"), payload, size) != 0)
        connection_end(engine, connection, 1);
}

static void subscribe(struct connection *connection, const struct schema *schema, const uint8_t *payload,
                      size_t size)
{
    int64_t port = schema_value(schema, (uint16_t)schema_field_index(schema, "port"), payload, size);
    int64_t is_joined = schema_value(schema, (uint16_t)schema_field_index(schema, "is_joined"), payload, size);
    check(port >= 0 && port < (int64_t)MANIFEST_FLOWS_MAX); // judged
    connection->joined = is_joined ? connection->joined | 1u << port : connection->joined & ~(1u << port);
}

void connection_output(struct engine *engine, uint16_t flow, uint64_t id, const uint8_t *payload, size_t size)
{
    const struct system_flow *definition = &engine->system->flows[flow];
    const struct system_receiver *receiver = &definition->receivers[0];
    const struct schema *schema = &engine->system->schemas[definition->schema];
    struct connection *connection = connection_find(engine, id);
    count(engine, COUNTER_FLOW(flow, REASON_ENTERED), 1);
    if (connection == NULL || connection->state != CONNECTION_OPEN ||
        (receiver->kind == SYSTEM_GATEWAY && receiver->index != connection->gateway)) {
        count(engine, COUNTER_FLOW(flow, REASON_CONNECTION), 1);
        return;
    }
    count(engine, COUNTER_FLOW(flow, REASON_DONE), 1);
    if (receiver->kind == SYSTEM_GATEWAY)
        wire_output(engine, connection, schema, payload, size);
    else
        subscribe(connection, schema, payload, size);
}

void connection_end(struct engine *engine, struct connection *connection, int tell_gateway)
{
    if (connection->state != CONNECTION_OPEN)
        return;
    connection->state = CONNECTION_CLOSING;
    connection->joined = 0;
    engine->gateway_open[connection->gateway]--;
    page_set(&engine->page->connections, engine->page->connections - 1);
    if (tell_gateway)
        gateway_send(engine, connection, LINK_END, NULL, 0);
    while (connection->queue.head != ROUTER_NONE) {
        uint32_t index = connection->queue.head;
        list_remove(engine, &connection->queue, index);
        message_end(engine, index, REASON_CONNECTION);
    }
    uint64_t id = connection_id(engine, connection);
    uint32_t next;
    for (uint32_t i = engine->delayed.head; i != ROUTER_NONE; i = next) {
        next = engine->messages[i].next;
        if (message_connection(engine, &engine->messages[i]) != id)
            continue;
        list_remove(engine, &engine->delayed, i);
        message_end(engine, i, REASON_CONNECTION);
    }
}

void connection_settle(struct engine *engine, struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSING || connection->is_busy)
        return;
    if (!engine->receivers[connection->receiver].is_attached)
        connection->has_instance = 0;
    if (!connection->has_instance) {
        connection->state = CONNECTION_FREE;
        return;
    }
    if (connection->is_close_sent)
        return;
    connection->is_close_sent = 1;
    struct link_header header = {
        .size = sizeof header, .kind = LINK_CLOSE, .handle = connection_id(engine, connection)};
    struct engine_part part = {&header, sizeof header};
    (void)engine->io.send(engine->io.context, ENGINE_RECEIVER, connection->receiver, &part, 1);
}

void connections_check(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        struct connection *connection = &engine->connections[i];
        if (connection->state != CONNECTION_OPEN || connection->output_bytes == 0 ||
            engine->now_ms - connection->progress_ms <=
                (int64_t)engine->system->gateways[connection->gateway].slow_ms)
            continue;
        connection_end(engine, connection, 1);
        connection_settle(engine, connection);
    }
}

void gateway_closed(struct engine *engine, uint16_t gateway)
{
    uint32_t end = engine->gateway_first[gateway + 1];
    for (uint32_t i = engine->gateway_first[gateway]; i < end && i < engine->connection_used; i++) {
        connection_end(engine, &engine->connections[i], 0);
        connection_settle(engine, &engine->connections[i]);
    }
}

void receiver_connections_end(struct engine *engine, uint32_t receiver)
{
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        struct connection *connection = &engine->connections[i];
        if (connection->state == CONNECTION_FREE || connection->receiver != receiver ||
            !connection->has_instance)
            continue;
        connection->has_instance = 0;
        connection_end(engine, connection, 1);
        connection_settle(engine, connection);
    }
}
