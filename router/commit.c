// SPDX-License-Identifier: ISC
// COMMIT packets (proto/commit.h): whole events, ends of durable messages, and counters.
//
// A COMMIT is built from the event's own records each time it is offered, so nothing but the event
// is kept while the store cannot take it.
#include "router/state.h"

#include "core/check.h"
#include "core/json_line.h"

#include <string.h>

struct writer {
    uint8_t *bytes;
    size_t size;
    int is_over;
};

// Appends bytes and pads with zero to a multiple of 8.
static void put(struct writer *writer, const void *bytes, size_t size)
{
    size_t padded = ABI_ALIGN8(size);
    if (writer->is_over || size > COMMIT_BYTES_MAX || padded > COMMIT_BYTES_MAX - writer->size) {
        writer->is_over = 1;
        return;
    }
    if (size != 0)
        memcpy(writer->bytes + writer->size, bytes, size);
    memset(writer->bytes + writer->size + size, 0, padded - size);
    writer->size += padded;
}

static uint16_t flow_of(const struct engine *engine, const struct event *event, const struct effect *send)
{
    return engine->receivers[event->receiver].outputs[send->send.flow];
}

int event_is_durable(const struct engine *engine, const struct event *event)
{
    if (event->is_dead || event->write_count != 0 || engine->messages[event->message].is_durable)
        return 1;
    const struct receiver *receiver = &engine->receivers[event->receiver];
    for (uint16_t i = 0; i < receiver->output_count; i++)
        if (event->counts[i] != 0 && engine->flows[receiver->outputs[i]].is_durable)
            return 1;
    return 0;
}

void address_of(struct engine *engine, const struct event *event, uint16_t index, const struct effect *effect,
                uint32_t turn, struct address *address)
{
    const struct system_flow *flow = &engine->system->flows[index];
    const struct message *input = &engine->messages[event->message];
    if (flow->kind == SYSTEM_REPLY) {
        *address = (struct address){.receiver = (uint16_t)(input->asker - 1),
                                    .port = input->asker_flow,
                                    .connection = input->connection,
                                    .context = message_context(engine, event->message),
                                    .context_bytes = input->context_bytes};
        return;
    }
    const struct system_receiver *receiver = &flow->receivers[turn];
    int is_service = receiver->kind == SYSTEM_SERVICE;
    *address = (struct address){
        .receiver = (uint16_t)(receiver->index + (is_service ? engine->system->unikernel_count : 0)),
        .port = is_service ? 0 : receiver->port,
        .context = effect->first,
        .context_bytes = effect->send.context_bytes};
    uint64_t own = engine->receivers[event->receiver].is_connection ? input->connection : 0;
    if (flow->kind == SYSTEM_REQUEST) {
        address->connection = own;
        address->asker = (uint16_t)(event->receiver + 1);
        address->asker_flow = system_input_port(&engine->system->flows[flow->pair], event->receiver);
    } else if (address->receiver == event->receiver) {
        address->connection = own; // a timer of that connection
    }
}

static uint16_t put_reads(struct writer *writer, const struct event *event)
{
    for (uint16_t i = 0; i < event->read_done; i++) {
        const struct event_read *read = &event->reads[i];
        uint16_t key_bytes = read->op == ABI_READ_GET ? read->key_bytes : 0;
        struct commit_read entry = {.namespace_index = read->namespace_index,
                                    .op = read->op,
                                    .from_bytes = key_bytes,
                                    .version = read->version};
        put(writer, &entry, sizeof entry);
        put(writer, read->key, key_bytes);
    }
    return event->read_done;
}

static void put_write(struct engine *engine, struct writer *writer, const struct event *event,
                      const struct effect *effect)
{
    const struct abi_write *write = &effect->write;
    uint16_t index = engine->system->unikernels[event->receiver].namespaces[write->namespace_index];
    const struct system_namespace *space = &engine->system->namespaces[index];
    uint8_t index_key[ABI_KEY_BYTES_MAX];
    size_t index_bytes = 0;
    if (write->op == ABI_WRITE_PUT && space->index_count != 0)
        index_bytes = schema_key(&engine->system->schemas[space->schema], space->index_fields,
                                 space->index_count, effect->second, write->value_bytes, index_key,
                                 sizeof index_key);
    struct commit_write entry = {.namespace_index = index,
                                 .op = write->op,
                                 .key_bytes = (uint16_t)write->key_bytes,
                                 .index_bytes = (uint16_t)index_bytes,
                                 .value_bytes = write->value_bytes};
    put(writer, &entry, sizeof entry);
    put(writer, effect->first, write->key_bytes);
    put(writer, index_key, index_bytes);
    put(writer, effect->second, write->value_bytes);
}

static uint16_t put_send(struct engine *engine, struct writer *writer, const struct event *event,
                         const struct effect *effect)
{
    uint16_t flow = flow_of(engine, event, effect);
    uint32_t size = effect->send.payload_bytes;
    uint8_t key[ROUTER_KEY_BYTES_MAX];
    size_t key_bytes;
    (void)key_of(engine, flow, effect->second, size, key, &key_bytes);
    for (uint32_t i = 0; i < engine->flows[flow].fan_out; i++) {
        struct address to;
        address_of(engine, event, flow, effect, i, &to);
        uint32_t delay_ms = effect->send.delay_ms;
        struct commit_send entry = {.flow = flow,
                                    .receiver = to.receiver,
                                    .key_bytes = (uint16_t)key_bytes,
                                    .context_bytes = (uint16_t)to.context_bytes,
                                    .payload_bytes = size,
                                    .principal = event->principal,
                                    .due_ms = delay_ms != 0 ? engine->wall_ms + delay_ms : 0,
                                    .connection = to.connection,
                                    .asker = to.asker,
                                    .asker_flow = to.asker_flow};
        put(writer, &entry, sizeof entry);
        put(writer, key, key_bytes);
        put(writer, to.context, to.context_bytes);
        put(writer, effect->second, size);
    }
    return engine->flows[flow].fan_out;
}

static uint16_t put_cursor(struct engine *engine, struct writer *writer, const struct event *event,
                           const struct effect *effect)
{
    uint16_t flow = flow_of(engine, event, effect);
    const struct system_flow *definition = &engine->system->flows[flow];
    if (definition->sequence_field == SYSTEM_NONE)
        return 0;
    uint8_t key[ROUTER_KEY_BYTES_MAX];
    size_t key_bytes;
    uint32_t size = effect->send.payload_bytes;
    (void)key_of(engine, flow, effect->second, size, key, &key_bytes);
    struct commit_cursor entry = {
        .flow = flow,
        .key_bytes = (uint16_t)key_bytes,
        .sequence = (uint64_t)schema_value(&engine->system->schemas[definition->schema],
                                           definition->sequence_field, effect->second, size)};
    put(writer, &entry, sizeof entry);
    put(writer, key, key_bytes);
    return 1;
}

// One walk over the event's records for each kind of section; returns the entries written.
enum section { SECTION_WRITES, SECTION_SENDS, SECTION_CURSORS };
static uint16_t put_section(struct engine *engine, struct writer *writer, const struct event *event,
                            enum section section)
{
    uint32_t entries = 0;
    size_t at = 0;
    struct effect effect;
    while (at < event->record_bytes &&
           effect_next(event->records, event->record_bytes, &at, &effect) == STATUS_OK) {
        if (section == SECTION_WRITES && effect.kind == ABI_WRITE) {
            put_write(engine, writer, event, &effect);
            entries++;
        }
        if (effect.kind != ABI_SEND)
            continue;
        if (section == SECTION_SENDS && engine->flows[flow_of(engine, event, &effect)].is_durable)
            entries += put_send(engine, writer, event, &effect);
        else if (section == SECTION_CURSORS)
            entries += put_cursor(engine, writer, event, &effect);
    }
    if (entries > UINT16_MAX)
        writer->is_over = 1;
    return (uint16_t)entries;
}

static size_t add_counter(struct commit_counter *counters, size_t used, uint32_t index, uint64_t value)
{
    check(used < ROUTER_COUNTERS_PER_EVENT);
    counters[used] = (struct commit_counter){.index = index, .value = value};
    return used + 1;
}

// What the store counts for this event: its durable flows and its refusals.
size_t event_counters(const struct engine *engine, const struct event *event, struct commit_counter *counters)
{
    const struct message *input = &engine->messages[event->message];
    const struct receiver *receiver = &engine->receivers[event->receiver];
    size_t used = 0;
    if (input->is_durable)
        used = add_counter(counters, used,
                           COUNTER_FLOW(input->flow, event->is_dead ? event->reason : REASON_DONE), 1);
    if (event->is_dead) {
        if (event->reason == REASON_GUEST && event->receiver < engine->system->unikernel_count)
            used = add_counter(counters, used, COUNTER_REFUSAL(event->receiver, event->code), 1);
        return used;
    }
    for (uint16_t i = 0; i < receiver->output_count; i++)
        if (event->counts[i] != 0 && engine->flows[receiver->outputs[i]].is_durable)
            used = add_counter(counters, used, COUNTER_FLOW(receiver->outputs[i], REASON_ENTERED),
                               (uint64_t)event->counts[i] * engine->flows[receiver->outputs[i]].fan_out);
    uint64_t refusals[MANIFEST_REFUSALS_MAX] = {0};
    size_t at = 0;
    struct effect effect;
    while (at < event->record_bytes &&
           effect_next(event->records, event->record_bytes, &at, &effect) == STATUS_OK)
        if (effect.kind == ABI_LOG && effect.log.level == ABI_LOG_REFUSAL)
            refusals[effect.log.code]++;
    for (uint16_t i = 0; i < MANIFEST_REFUSALS_MAX; i++)
        if (refusals[i] != 0)
            used = add_counter(counters, used, COUNTER_REFUSAL(event->receiver, i), refusals[i]);
    return used;
}

static void put_dead(struct engine *engine, struct writer *writer, const struct event *event)
{
    const struct message *input = &engine->messages[event->message];
    int is_kept = engine->system->flows[input->flow].is_payload_kept;
    struct commit_dead dead = {.reason = event->reason,
                               .unikernel = event->receiver,
                               .flow = input->flow,
                               .text_bytes = (uint16_t)strnlen(event->text, sizeof event->text),
                               .payload_bytes = is_kept ? input->payload_bytes : 0,
                               .principal = event_sender(engine, event)};
    put(writer, &dead, sizeof dead);
    put(writer, event->text, dead.text_bytes);
    put(writer, message_body(engine, event->message), dead.payload_bytes);
}

static enum status commit_send(struct engine *engine, struct writer *writer, struct commit_header *header)
{
    if (writer->is_over)
        return STATUS_TOO_LARGE;
    header->packet.size = (uint32_t)writer->size;
    header->packet.kind = COMMIT_COMMIT;
    header->time_ms = engine->wall_ms;
    memcpy(writer->bytes, header, sizeof *header);
    struct engine_part part = {writer->bytes, writer->size};
    return engine->io.send(engine->io.context, ENGINE_STORE, 0, &part, 1);
}

enum status commit_event(struct engine *engine, struct event *event)
{
    const struct message *input = &engine->messages[event->message];
    struct writer writer = {engine->scratch, sizeof(struct commit_header), 0};
    struct commit_header header = {
        .packet.handle = event_handle(engine, event),
        .consume = input->is_durable ? input->number : 0,
        .number = input->number,
        .unikernel = event->receiver < engine->system->unikernel_count ? event->receiver : SYSTEM_NONE,
        .flow = input->flow,
        .attempt = input->attempt};
    if (!event->is_dead) {
        header.read_count = put_reads(&writer, event);
        header.write_count = put_section(engine, &writer, event, SECTION_WRITES);
        header.send_count = put_section(engine, &writer, event, SECTION_SENDS);
        header.cursor_count = put_section(engine, &writer, event, SECTION_CURSORS);
    }
    struct commit_counter counters[ROUTER_COUNTERS_PER_EVENT];
    header.counter_count = (uint16_t)event_counters(engine, event, counters);
    put(&writer, counters, header.counter_count * sizeof counters[0]);
    if (event->is_dead) {
        header.dead_count = 1;
        put_dead(engine, &writer, event);
        header.audit_bytes = (uint16_t)strnlen(event->audit, sizeof event->audit);
        put(&writer, event->audit, header.audit_bytes);
    }
    return commit_send(engine, &writer, &header);
}

enum status commit_message(struct engine *engine, uint32_t index)
{
    const struct message *message = &engine->messages[index];
    struct writer writer = {engine->scratch, sizeof(struct commit_header), 0};
    struct commit_header header = {.packet.handle = HANDLE(HANDLE_MESSAGE, 0, index),
                                   .consume = message->number,
                                   .number = message->number,
                                   .unikernel = message->receiver,
                                   .flow = message->flow,
                                   .attempt = message->attempt,
                                   .counter_count = 1};
    struct commit_counter counter = {.index = COUNTER_FLOW(message->flow, message->outcome), .value = 1};
    put(&writer, &counter, sizeof counter);
    return commit_send(engine, &writer, &header);
}

// All of engine->flushing as one COMMIT without an event, so that the store's sums always fit together.
static void flush_offer(struct engine *engine)
{
    struct writer writer = {engine->scratch, sizeof(struct commit_header), 0};
    struct commit_header header = {.packet.handle = HANDLE(HANDLE_FLUSH, 0, 0),
                                   .unikernel = SYSTEM_NONE,
                                   .flow = SYSTEM_NONE};
    uint64_t entered = 0, done = 0, ended = 0;
    for (uint32_t i = 0; i < COUNTERS_MAX; i++) {
        if (engine->flushing[i] == 0)
            continue;
        struct commit_counter counter = {.index = i, .value = engine->flushing[i]};
        put(&writer, &counter, sizeof counter);
        header.counter_count++;
        uint32_t reason = i % REASON_COUNT;
        if (i >= COUNTER_REFUSAL(0, 0) || reason > REASON_LOST)
            continue;
        *(reason == REASON_ENTERED ? &entered : reason == REASON_DONE ? &done : &ended) += counter.value;
    }
    char audit[256];
    struct json_line json;
    json_begin(&json, audit, sizeof audit);
    json_string(&json, "kind", "interval"); // of what is volatile
    json_integer(&json, "time_ms", engine->wall_ms);
    json_unsigned(&json, "entered", entered);
    json_unsigned(&json, "done", done);
    json_unsigned(&json, "failed", ended);
    header.audit_bytes = (uint16_t)json_end(&json);
    put(&writer, audit, header.audit_bytes);
    engine->is_refused_flush = commit_send(engine, &writer, &header) != STATUS_OK;
}

void counters_flush(struct engine *engine)
{
    if (engine->is_flushing) {
        if (engine->is_refused_flush)
            flush_offer(engine);
        return;
    }
    if (!engine->is_dirty)
        return;
    memcpy(engine->flushing, engine->fresh, sizeof engine->flushing);
    memset(engine->fresh, 0, sizeof engine->fresh);
    engine->is_dirty = 0;
    engine->is_flushing = 1;
    flush_offer(engine);
}

void counters_flushed(struct engine *engine, uint32_t result)
{
    if (!engine->is_flushing)
        return;
    engine->is_refused_flush = result == COMMIT_NOT_NOW; // offered again with the next tick
    engine->is_flushing = engine->is_refused_flush;
}

// What was volatile and in flight when the last epoch ended is lost; say so.
void counters_reconcile(struct engine *engine)
{
    for (uint32_t flow = 0; flow < engine->system->flow_count; flow++) {
        const uint64_t *counters = &engine->page->counters[COUNTER_FLOW(flow, 0)];
        uint64_t ended = 0;
        for (uint32_t reason = REASON_DONE; reason <= REASON_LOST; reason++)
            ended += counters[reason];
        uint64_t here = ended + engine->flows[flow].waiting;
        if (counters[REASON_ENTERED] > here)
            count(engine, COUNTER_FLOW(flow, REASON_LOST), counters[REASON_ENTERED] - here);
        else if (counters[REASON_ENTERED] < here)
            count(engine, COUNTER_FLOW(flow, REASON_ENTERED), here - counters[REASON_ENTERED]);
    }
}
