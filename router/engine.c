// SPDX-License-Identifier: ISC
// The engine's dispatch of packets, and its clock.
#include "router/state.h"

#include <string.h>

void engine_clock(struct engine *engine, int64_t now_ms, int64_t wall_ms)
{
    engine->now_ms = now_ms;
    engine->wall_ms = wall_ms;
}

int engine_is_ready(const struct engine *engine) { return engine->is_ready; }

static enum status hello_receive(struct engine *engine, uint32_t index, const uint8_t *bytes, size_t size)
{
    struct receiver *receiver = &engine->receivers[index];
    struct link_hello hello;
    if (size != sizeof hello || receiver->is_attached)
        return STATUS_MALFORMED;
    memcpy(&hello, bytes, sizeof hello);
    if (hello.version != LINK_VERSION)
        return STATUS_VERSION;
    if (hello.capacity == 0)
        return STATUS_MALFORMED;
    if (index < engine->system->unikernel_count &&
        memcmp(hello.image_digest, engine->system->unikernels[index].image_digest, sizeof hello.image_digest) != 0)
        return STATUS_SIGNATURE; // not the image that the system names
    receiver->capacity = hello.capacity < receiver->capacity_max ? hello.capacity : receiver->capacity_max;
    receiver->is_attached = 1;
    for (uint32_t i = 0; i < engine->system->flow_count && !receiver->is_credited; i++)
        if (is_spooled_for(engine->system, i, index))
            receiver->credit[i].due = ROUTER_WINDOW;
    receiver->is_credited = receiver->is_credit_due = 1;
    return STATUS_OK;
}

static enum status receiver_receive(struct engine *engine, uint32_t index, const uint8_t *bytes, size_t size)
{
    struct link_header header;
    memcpy(&header, bytes, sizeof header);
    if (header.kind == LINK_HELLO)
        return hello_receive(engine, index, bytes, size);
    if (!engine->receivers[index].is_attached)
        return STATUS_MALFORMED;
    if (header.kind == LINK_GONE) {
        struct connection *connection = connection_find(engine, header.handle);
        if (connection != NULL && connection->receiver == index) {
            connection->has_instance = 0;
            connection_end(engine, connection, 1);
            connection_settle(engine, connection);
        }
        return STATUS_OK;
    }
    struct event *event = event_find(engine, header.handle);
    if (event == NULL || event->receiver != index ||
        (event->state != EVENT_STARTED && event->state != EVENT_READING))
        return STATUS_MALFORMED;
    if (header.kind == LINK_READ)
        return reads_receive(engine, event, bytes, size);
    return header.kind == LINK_EFFECTS ? effects_receive(engine, event, bytes, size) : STATUS_MALFORMED;
}

static enum status outbox_receive(struct engine *engine, const uint8_t *bytes, size_t size)
{
    struct commit_outbox outbox;
    if (size < sizeof outbox)
        return STATUS_TRUNCATED;
    memcpy(&outbox, bytes, sizeof outbox);
    const struct commit_send *send = &outbox.send;
    if (send->flow >= engine->system->flow_count || send->receiver >= engine->system->unikernel_count ||
        !engine->flows[send->flow].is_durable || send->payload_bytes > ABI_PAYLOAD_BYTES_MAX ||
        send->context_bytes > ABI_CONTEXT_BYTES_MAX || send->key_bytes > ROUTER_KEY_BYTES_MAX ||
        send->asker > engine->system->unikernel_count || send->asker_flow >= MANIFEST_FLOWS_MAX)
        return STATUS_MALFORMED;
    size_t key_at = sizeof outbox;
    size_t context_at = key_at + ABI_ALIGN8((size_t)send->key_bytes);
    size_t payload_at = context_at + ABI_ALIGN8((size_t)send->context_bytes);
    uint16_t port = system_input_port(&engine->system->flows[send->flow], send->receiver);
    struct receiver *receiver = &engine->receivers[send->receiver];
    if (port == SYSTEM_NONE || size != payload_at + ABI_ALIGN8(send->payload_bytes) ||
        receiver->credit[send->flow].held + receiver->credit[send->flow].due >= ROUTER_WINDOW ||
        !receiver->is_credited)
        return STATUS_MALFORMED;
    receiver->credit[send->flow].held++;
    uint32_t slot = message_new(engine);
    struct message *message = &engine->messages[slot];
    message->is_durable = 1;
    message->flow = send->flow;
    message->receiver = send->receiver;
    message->port = port;
    message->number = outbox.packet.handle;
    message->time_ms = outbox.time_ms;
    message->principal = send->principal;
    message->connection = send->connection;
    message->asker = send->asker;
    message->asker_flow = send->asker_flow;
    message->payload_bytes = send->payload_bytes;
    message->context_bytes = send->context_bytes;
    memcpy(message_body(engine, slot), bytes + payload_at, send->payload_bytes);
    memcpy(message_context(engine, slot), bytes + context_at, send->context_bytes);
    message->has_key = engine->system->flows[send->flow].key_field != SYSTEM_NONE;
    message->key = key_hash(bytes + key_at, send->key_bytes);
    message_enqueue(engine, slot);
    return STATUS_OK;
}

static enum status done_receive(struct engine *engine, const uint8_t *bytes, size_t size)
{
    struct commit_done done;
    if (size != sizeof done)
        return STATUS_MALFORMED;
    memcpy(&done, bytes, sizeof done);
    struct event *event;
    switch (done.packet.handle >> 56) {
    case HANDLE_EVENT:
        if ((event = event_find(engine, done.packet.handle)) != NULL)
            event_committed(engine, event, done.result);
        return STATUS_OK;
    case HANDLE_MESSAGE:
        message_ended(engine, (uint32_t)(done.packet.handle & 0xffffff), done.result);
        return STATUS_OK;
    case HANDLE_FLUSH:
        counters_flushed(engine, done.result);
        return STATUS_OK;
    default:
        return STATUS_MALFORMED;
    }
}

static enum status store_receive(struct engine *engine, const uint8_t *bytes, size_t size)
{
    struct commit_packet packet;
    struct commit_cursor cursor;
    struct commit_counter counter;
    struct commit_spool spool;
    memcpy(&packet, bytes, sizeof packet);
    const uint8_t *rest = bytes + sizeof packet;
    size_t rest_bytes = size - sizeof packet;
    switch (packet.kind) {
    case COMMIT_READY:
        counters_reconcile(engine);
        engine->is_ready = 1;
        return STATUS_OK;
    case COMMIT_DONE:
        return done_receive(engine, bytes, size);
    case COMMIT_ANSWER:
        return answer_receive(engine, bytes, size);
    case COMMIT_OUTBOX:
        return outbox_receive(engine, bytes, size);
    case COMMIT_CURSOR:
        if (engine->is_ready || rest_bytes < sizeof cursor)
            return STATUS_MALFORMED;
        memcpy(&cursor, rest, sizeof cursor);
        if (cursor.flow < engine->system->flow_count && rest_bytes >= sizeof cursor + cursor.key_bytes)
            cursor_load(engine, cursor.flow, rest + sizeof cursor, cursor.key_bytes, cursor.sequence);
        return STATUS_OK;
    case COMMIT_COUNTER:
        if (rest_bytes != sizeof counter)
            return STATUS_MALFORMED;
        memcpy(&counter, rest, sizeof counter);
        if (counter.index < COUNTERS_MAX) // from zero at start; later what an operator put in again
            count_page(engine, counter.index, counter.value);
        return STATUS_OK;
    case COMMIT_SPOOL:
        if (size != sizeof spool)
            return STATUS_MALFORMED;
        memcpy(&spool, bytes, sizeof spool);
        if (packet.handle < engine->system->flow_count && engine->flows[packet.handle].is_durable) {
            engine->flows[packet.handle].waiting += spool.waiting;
            page_set(&engine->page->spooled[packet.handle], engine->flows[packet.handle].waiting);
        }
        return STATUS_OK;
    default:
        return STATUS_MALFORMED;
    }
}

enum status engine_receive(struct engine *engine, enum engine_peer peer, uint32_t index,
                           const uint8_t *bytes, size_t size)
{
    struct link_header header; // begins like struct commit_packet
    if (size < sizeof header)
        return STATUS_TRUNCATED;
    memcpy(&header, bytes, sizeof header);
    if (header.size != size || header.zero != 0)
        return STATUS_MALFORMED;
    enum status status = STATUS_MALFORMED;
    if (peer == ENGINE_STORE)
        status = store_receive(engine, bytes, size);
    else if (peer == ENGINE_RECEIVER && index < engine->receiver_count)
        status = receiver_receive(engine, index, bytes, size);
    else if (peer == ENGINE_GATEWAY && index < engine->system->gateway_count)
        status = gateway_receive(engine, (uint16_t)index, bytes, size);
    schedule(engine);
    return status;
}

void engine_attached(struct engine *engine, enum engine_peer peer, uint32_t index)
{
    (void)index; // receivers say HELLO, gateways OPEN
    if (peer != ENGINE_STORE)
        return;
    struct commit_hello hello = {.packet = {.size = sizeof hello, .kind = COMMIT_HELLO},
                                 .version = COMMIT_VERSION,
                                 .epoch = engine->epoch};
    struct engine_part part = {&hello, sizeof hello};
    (void)engine->io.send(engine->io.context, ENGINE_STORE, 0, &part, 1);
}

void engine_closed(struct engine *engine, enum engine_peer peer, uint32_t index)
{
    if (peer == ENGINE_GATEWAY)
        gateway_closed(engine, (uint16_t)index);
    if (peer == ENGINE_RECEIVER) {
        struct receiver *receiver = &engine->receivers[index];
        receiver->is_attached = 0;
        receiver->with_receiver = 0;
        for (uint32_t i = 0; i < engine->event_used; i++) {
            struct event *event = &engine->events[i];
            if (event->receiver == index && (event->state == EVENT_STARTED || event->state == EVENT_READING)) {
                event->state = EVENT_WAITING;
                event_lost(engine, event);
            }
        }
        receiver_connections_end(engine, index);
    }
    schedule(engine);
}

static int sooner(int next, int64_t in_ms)
{
    int ms = in_ms < 1 ? 1 : in_ms > 60000 ? 60000 : (int)in_ms;
    return next < 0 || ms < next ? ms : next;
}

// Messages of a list that are due, or how long until the next one is.
static int list_due(struct engine *engine, struct list *list, int next)
{
    uint32_t after;
    for (uint32_t i = list->head; i != ROUTER_NONE; i = after) {
        struct message *message = &engine->messages[i];
        after = message->next;
        if (message->due_ms > engine->now_ms) {
            next = sooner(next, message->due_ms - engine->now_ms);
            continue;
        }
        list_remove(engine, list, i);
        if (list == &engine->delayed)
            message_enqueue(engine, i);
        else
            message_end(engine, i, message->outcome);
    }
    return next;
}

// Messages in the router for each unikernel.
static void page_waiting(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->system->unikernel_count; i++)
        page_set(&engine->page->waiting[i], engine->receivers[i].queue.count);
    for (uint32_t i = 0; i < engine->connection_used; i++) {
        const struct connection *connection = &engine->connections[i];
        uint64_t *waiting = &engine->page->waiting[connection->receiver];
        if (connection->state == CONNECTION_OPEN)
            page_set(waiting, *waiting + connection->queue.count);
    }
}

int engine_tick(struct engine *engine)
{
    int next = list_due(engine, &engine->delayed, -1);
    uint32_t retried = engine->ending.count;
    if (retried != 0)
        next = list_due(engine, &engine->ending, next);
    events_retry(engine);
    engine->is_token_wanted = 0;
    schedule(engine);
    connections_check(engine);
    if (engine->now_ms >= engine->flush_ms && engine->is_ready) {
        engine->flush_ms = engine->now_ms + ROUTER_FLUSH_MS;
        counters_flush(engine);
        journal_tick(engine);
    }
    page_waiting(engine);
    if (engine->is_dirty || engine->is_flushing || engine->is_journal_due)
        next = sooner(next, engine->flush_ms - engine->now_ms);
    if (engine->is_token_wanted)
        next = sooner(next, ROUTER_TOKEN_MS);
    for (uint32_t i = engine->waiting_head; i != ROUTER_NONE; i = engine->events[i].next)
        next = sooner(next, engine->events[i].retry_ms - engine->now_ms);
    for (uint32_t i = 0; i < engine->connection_used; i++)
        if (engine->connections[i].state == CONNECTION_OPEN && engine->connections[i].output_bytes != 0)
            return sooner(next, 250);
    return next;
}
