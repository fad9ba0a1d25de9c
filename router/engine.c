// SPDX-License-Identifier: ISC
// The engine's dispatch of packets, and its clock.
#include "router/state.h"

#include <string.h>

#define HEADER sizeof(struct link_header) // on all links
_Static_assert(HEADER == sizeof(struct commit_packet), "one header on all links");

// What waits has the time that it was given, although the host's clock was set meanwhile. The store does the same with what
// it has; a message that is of a time to come is from before the boot, and stays as it is (store/clock.h).
static void clock_was_set(struct engine *engine, int64_t by_ms)
{
    int64_t before_ms = engine->wall_ms - by_ms;
    for (uint32_t i = 0; i < engine->messages.used; i++) {
        struct message *message = message_at(engine, i);
        if (message->state != MESSAGE_FREE && message->end_ms != 0 && message->time_ms <= before_ms + ROUTER_SET_MS) {
            message->end_ms += by_ms;
            message->time_ms += by_ms;
        }
    }
    engine->end_ms = engine->wall_ms; // look now
}

void engine_clock(struct engine *engine, int64_t now_ms, int64_t boot_ms, int64_t wall_ms)
{
    int64_t by_ms = (wall_ms - engine->wall_ms) - (boot_ms - engine->boot_ms);
    engine->now_ms = now_ms;
    engine->boot_ms = boot_ms;
    engine->wall_ms = wall_ms;
    if (by_ms > ROUTER_SET_MS || by_ms < -ROUTER_SET_MS)
        clock_was_set(engine, by_ms);
}

int engine_is_settling(const struct engine *engine) { return engine->settling != 0; }

int engine_is_ready(const struct engine *engine) { return engine->is_ready; }

void tell(struct engine *engine, enum engine_peer peer, uint32_t index, uint16_t kind, uint64_t handle,
          const void *bytes, size_t size)
{
    struct link_header header = {.size = (uint32_t)(sizeof header + size), .kind = kind, .handle = handle};
    struct channel_part parts[2] = {{&header, sizeof header}, {bytes, size}};
    (void)engine->io.send(engine->io.context, peer, index, parts, size != 0 ? 2 : 1);
}

// Do messages of that flow wait in the store for that receiver?
static int is_spooled_for(const struct engine *engine, uint32_t flow, uint32_t receiver)
{
    return flow < engine->system->flow_count && engine->flows[flow].is_durable &&
           system_port(engine->system, &engine->system->flows[flow], (uint16_t)receiver) != SYSTEM_NONE;
}

static enum status hello_receive(struct engine *engine, const struct packet *packet)
{
    struct receiver *receiver = &engine->receivers[packet->index];
    struct link_hello hello;
    memcpy(&hello, packet->bytes, sizeof hello);
    if (hello.version != LINK_VERSION)
        return STATUS_VERSION;
    if (hello.instances == 0 || hello.batch == 0 || hello.batch > LINK_BATCH_MAX || receiver->is_attached)
        return STATUS_MALFORMED;
    if (memcmp(hello.image_digest, receiver->is->image_digest, sizeof hello.image_digest) != 0)
        return STATUS_SIGNATURE; // not the image that the system names; a service has none
    uint32_t instances = hello.instances < receiver->is->instances_max ? hello.instances : receiver->is->instances_max;
    receiver->instances_max = instances < ROUTER_CAPACITY_MAX ? instances : ROUTER_CAPACITY_MAX;
    receiver->batch = hello.batch;
    receiver->capacity = router_capacity(receiver->instances_max, hello.batch);
    receiver->is_attached = 1;
    courier_attach(engine, packet->index);
    return STATUS_OK;
}

// May its messages promise receipts?
static int is_promising(const struct engine *engine, uint16_t flow)
{
    const struct system_flow *definition = &engine->system->flows[flow];
    return system_has_receipts(definition) && engine->receivers[definition->sender].receipts != SYSTEM_NONE;
}

static enum status outbox_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_outbox outbox;
    memcpy(&outbox, packet->bytes, sizeof outbox);
    const struct commit_send *send = &outbox.send;
    struct sending sending = {.send = *send};
    size_t context_at = sizeof outbox + ABI_ALIGN8((size_t)send->key_bytes);
    size_t payload_at = context_at + ABI_ALIGN8((size_t)send->context_bytes);
    if (!is_spooled_for(engine, send->flow, send->receiver) ||
        (send->flags != 0 && !is_promising(engine, send->flow)) ||
        send->payload_bytes > ABI_PAYLOAD_BYTES_MAX || send->context_bytes > ABI_CONTEXT_BYTES_MAX ||
        send->key_bytes > sizeof sending.key || packet->size != payload_at + ABI_ALIGN8(send->payload_bytes))
        return STATUS_MALFORMED;
    memcpy(sending.key, packet->bytes + sizeof outbox, send->key_bytes);
    sending.context = packet->bytes + context_at;
    sending.payload = packet->bytes + payload_at;
    struct message *message = message_new(engine, &sending);
    struct flow_state *state = &engine->flows[send->flow];
    state->stored -= state->stored != 0;
    message->is_durable = 1;
    message->row = packet->handle;
    message->number = outbox.number;
    message->time_ms = outbox.time_ms;
    message_enqueue(engine, message);
    return STATUS_OK;
}

static enum status done_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_done done;
    memcpy(&done, packet->bytes, sizeof done);
    struct message *message = message_find(engine, packet->handle);
    if (done.result > COMMIT_EARLY)
        return STATUS_MALFORMED;
    if (message != NULL && message->event != NULL && message->event->kept != NULL && done.result > COMMIT_OK &&
        done.result != COMMIT_NOT_NOW)
        return STATUS_MALFORMED; // nothing that such a COMMIT says can be wrong
    if (packet->handle == HANDLE_FLUSH)
        counters_flushed(engine, done.result);
    else if (message != NULL && message->state == MESSAGE_COMMITTING)
        message_committed(engine, message, done.result);
    return STATUS_OK;
}

static enum status ready_receive(struct engine *engine, const struct packet *packet)
{
    engine->identity = packet->handle;
    engine->is_ready = 1;
    counters_reconcile(engine);
    struct commit_credit credit = {0};
    for (credit.receiver = 0; credit.receiver < system_places(engine->system); credit.receiver++) {
        uint32_t flows = 0;
        for (uint32_t i = 0; i < engine->system->flow_count && is_courier(engine, credit.receiver); i++)
            flows += is_spooled_for(engine, i, credit.receiver) ? 1 : 0;
        // All of them find room at once: what waits for one peer of a courier holds up no other.
        credit.count = flows > ROUTER_CAPACITY_MAX / ROUTER_WINDOW ? ROUTER_CAPACITY_MAX / flows : ROUTER_WINDOW;
        for (credit.flow = 0; credit.flow < engine->system->flow_count; credit.flow++)
            if (is_spooled_for(engine, credit.flow, credit.receiver))
                tell(engine, ENGINE_STORE, 0, COMMIT_CREDIT, 0, (uint8_t *)&credit + HEADER,
                     sizeof credit - HEADER);
    }
    return STATUS_OK;
}

static enum status states_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_state state;
    for (size_t at = 0, parts_at; at < packet->body_bytes; at = parts_at + ABI_ALIGN8((size_t)state.part_bytes)) {
        if (packet->body_bytes - at < sizeof state)
            return STATUS_MALFORMED;
        memcpy(&state, packet->body + at, sizeof state);
        parts_at = at + sizeof state + ABI_ALIGN8((size_t)state.key_bytes);
        if (state.key_bytes > SYSTEM_KEY_BYTES_MAX || state.part_bytes > KEY_PARTS_BYTES ||
            parts_at + ABI_ALIGN8((size_t)state.part_bytes) > packet->body_bytes)
            return STATUS_MALFORMED;
        if (state.flow < engine->system->flow_count && engine->flows[state.flow].is_durable)
            keys_load(engine, state.flow, packet->body + at + sizeof state, state.key_bytes,
                      packet->body + parts_at, state.part_bytes);
    }
    return STATUS_OK;
}

// From zero at start; later what an operator put in again. The same holds for SPOOL.
static enum status counter_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_counter counter;
    memcpy(&counter, packet->body, sizeof counter);
    if (counter.index < COUNTERS_MAX)
        page_add(&engine->page->counters[counter.index], counter.value);
    return STATUS_OK;
}

static enum status spool_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_spool spool;
    memcpy(&spool, packet->bytes, sizeof spool);
    if (packet->handle < engine->system->flow_count && engine->flows[packet->handle].is_durable)
        flow_change(engine, (uint16_t)packet->handle, (int64_t)spool.waiting, (int64_t)spool.bytes);
    if (packet->handle < engine->system->flow_count && engine->flows[packet->handle].is_keepable)
        engine->flows[packet->handle].stored += spool.waiting;
    if (packet->handle < engine->system->flow_count)
        engine->flows[packet->handle].promised += spool.promised;
    return STATUS_OK;
}

// Ended in the store, which counted it.
static enum status left_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_left left;
    memcpy(&left, packet->bytes, sizeof left);
    if (packet->handle >= engine->system->flow_count || !engine->flows[packet->handle].is_durable ||
        left.reason >= REASON_COUNT || !reason_is_end(left.reason) ||
        left.count > engine->flows[packet->handle].waiting || left.bytes > engine->flows[packet->handle].bytes ||
        (left.receipts != 0 && !is_promising(engine, (uint16_t)packet->handle)))
        return STATUS_MALFORMED;
    uint16_t flow = (uint16_t)packet->handle;
    page_add(&engine->page->counters[COUNTER_FLOW(flow, left.reason)], left.count);
    flow_change(engine, flow, -(int64_t)left.count, -(int64_t)left.bytes);
    if (left.receipts != 0) {
        uint16_t receipts = engine->receivers[engine->system->flows[flow].sender].receipts;
        page_add(&engine->page->counters[COUNTER_FLOW(receipts, REASON_ENTERED)], left.receipts);
        flow_change(engine, receipts, (int64_t)left.receipts, (int64_t)left.receipt_bytes);
        engine->flows[receipts].promised -= left.receipts;
    }
    return STATUS_OK;
}

// Who may say what, and how long it may be. What comes most often stands first.
static const struct row {
    uint8_t peer, kind;
    uint32_t least, most;
    engine_take *take;
} rows[] = {
    {ENGINE_RECEIVER, LINK_EFFECTS, sizeof(struct link_effects), LINK_BYTES_MAX, effects_receive},
    {ENGINE_RECEIVER, LINK_HELLO, sizeof(struct link_hello), sizeof(struct link_hello), hello_receive},
    {ENGINE_RECEIVER, LINK_GONE, HEADER, HEADER, gone_receive},
    {ENGINE_RECEIVER, LINK_READ, HEADER + sizeof(struct abi_read), LINK_BYTES_MAX, reads_receive},
    {ENGINE_RECEIVER, LINK_BRING, sizeof(struct link_bring), LINK_BYTES_MAX, bring_receive},
    {ENGINE_GATEWAY, LINK_OPEN, HEADER, LINK_BYTES_MAX, open_receive},
    {ENGINE_GATEWAY, LINK_INPUT, HEADER + 1, HEADER + LINK_INPUT_BYTES_MAX, input_receive},
    {ENGINE_GATEWAY, LINK_SHUT, HEADER, HEADER, input_receive},
    {ENGINE_GATEWAY, LINK_DRAINED, sizeof(struct link_drained), sizeof(struct link_drained), drained_receive},
    {ENGINE_STORE, COMMIT_READY, HEADER, HEADER, ready_receive},
    {ENGINE_STORE, COMMIT_DONE, sizeof(struct commit_done), sizeof(struct commit_done), done_receive},
    {ENGINE_STORE, COMMIT_ANSWER, sizeof(struct commit_answer), COMMIT_BYTES_MAX, answer_receive},
    {ENGINE_STORE, COMMIT_OUTBOX, sizeof(struct commit_outbox), COMMIT_BYTES_MAX, outbox_receive},
    {ENGINE_STORE, COMMIT_STATE, HEADER + sizeof(struct commit_state), COMMIT_BYTES_MAX, states_receive},
    {ENGINE_STORE, COMMIT_COUNTER, HEADER + sizeof(struct commit_counter),
     HEADER + sizeof(struct commit_counter), counter_receive},
    {ENGINE_STORE, COMMIT_SPOOL, sizeof(struct commit_spool), sizeof(struct commit_spool), spool_receive},
    {ENGINE_STORE, COMMIT_LEFT, sizeof(struct commit_left), sizeof(struct commit_left), left_receive},
};

enum status engine_receive(struct engine *engine, enum engine_peer peer, uint32_t index,
                           const uint8_t *bytes, size_t size)
{
    struct link_header header;
    if (size < sizeof header)
        return STATUS_TRUNCATED;
    memcpy(&header, bytes, sizeof header);
    if (header.size != size || header.zero != 0)
        return STATUS_MALFORMED;
    const struct row *row = rows, *end = rows + sizeof rows / sizeof rows[0];
    while (row < end && (row->peer != peer || row->kind != header.kind))
        row++;
    if (row == end || size < row->least || size > row->most)
        return STATUS_MALFORMED;
    struct packet packet = {index, header.kind, header.handle, bytes, bytes + HEADER, size, size - HEADER};
    return row->take(engine, &packet);
}

void engine_attached(struct engine *engine, enum engine_peer peer, uint32_t index)
{
    struct commit_hello hello = {.version = COMMIT_VERSION, .epoch = engine->epoch};
    if (peer == ENGINE_STORE) // receivers say HELLO, gateways OPEN
        tell(engine, peer, index, COMMIT_HELLO, 0, (const uint8_t *)&hello + HEADER, sizeof hello - HEADER);
}

void engine_closed(struct engine *engine, enum engine_peer peer, uint32_t index)
{
    if (peer == ENGINE_RECEIVER) {
        engine->receivers[index].is_attached = 0;
        engine->receivers[index].with_receiver = 0;
        for (uint32_t i = 0; i < engine->messages.used; i++) {
            struct message *message = message_at(engine, i);
            if (message->send.receiver == index &&
                (message->state == MESSAGE_STARTED || message->state == MESSAGE_READING))
                message_lost(engine, message);
        }
        courier_close(engine, index);
    }
    connections_close(engine, peer, index);
    engine_schedule(engine);
}

int engine_tick(struct engine *engine)
{
    engine->wake_ms = INT64_MAX;
    messages_retry(engine);
    queues_expire(engine);
    engine_schedule(engine);
    connections_check(engine);
    if (engine->now_ms >= engine->flush_ms && engine->is_ready) {
        engine->flush_ms = engine->now_ms + ROUTER_FLUSH_MS;
        counters_flush(engine);
        journal_tick(engine);
    }
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        if (i < engine->system->unikernel_count)
            page_set(&engine->page->waiting[i], engine->receivers[i].queued);
        if (engine->receivers[i].log_dropped != 0 || engine->is_dirty || engine->is_flushing)
            wake(engine, engine->flush_ms);
    }
    int64_t in_ms = engine->wake_ms - engine->now_ms;
    return engine->wake_ms == INT64_MAX ? -1 : in_ms < 1 ? 1 : in_ms > 60000 ? 60000 : (int)in_ms;
}
