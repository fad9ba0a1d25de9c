// SPDX-License-Identifier: ISC
// COMMIT packets (proto/commit.h): whole events, ends of durable messages, and counters.
//
// A COMMIT is built from the event's own records each time it is offered, so nothing but the event
// is kept while the store cannot take it. What no COMMIT of an event carries is counted at once, and
// once a second all of it goes to the store as one COMMIT without an event: so the store's sums
// always fit together.
#include "router/state.h"

#include "core/check.h"
#include "proto/builtin.h"

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
    if (writer->is_over || padded > COMMIT_BYTES_MAX - writer->size) {
        writer->is_over = 1;
        return;
    }
    memcpy(writer->bytes + writer->size, bytes, size);
    memset(writer->bytes + writer->size + size, 0, padded - size);
    writer->size += padded;
}

// Does its end leave a dead letter?
static int is_dead(const struct message *message)
{
    return message->reason == REASON_RATIONED || (message->event != NULL && message->reason != REASON_DONE);
}

int is_durable(const struct engine *engine, const struct message *message)
{
    return message->is_durable || is_dead(message) || (message->event != NULL && message->event->is_durable) ||
           receipt_flow(engine, message) != SYSTEM_NONE;
}

static uint16_t put_writes(struct engine *engine, struct writer *writer, const struct message *message)
{
    struct guest_record record;
    for (size_t at = 0; effect_next(message->event, ABI_WRITE, &at, &record);) {
        const struct abi_write *write = &record.write;
        uint16_t index = namespace_of(engine, message, write->namespace_index);
        const struct system_namespace *space = &engine->system->namespaces[index];
        uint8_t index_key[ABI_KEY_BYTES_MAX];
        size_t index_bytes = 0;
        if (write->op == ABI_WRITE_PUT && space->index_count != 0)
            index_bytes = schema_key(&engine->system->schemas[space->schema], space->index_fields,
                                     space->index_count, record.second, write->value_bytes, index_key,
                                     sizeof index_key);
        struct commit_write entry = {.namespace_index = index,
                                     .op = write->op,
                                     .key_bytes = (uint16_t)write->key_bytes,
                                     .index_bytes = (uint16_t)index_bytes,
                                     .value_bytes = write->value_bytes};
        put(writer, &entry, sizeof entry);
        put(writer, record.first, write->key_bytes);
        put(writer, index_key, index_bytes);
        put(writer, record.second, write->value_bytes);
    }
    return message->event->write_count;
}

static uint16_t put_sends(struct engine *engine, struct writer *writer, const struct message *message)
{
    struct guest_record record;
    uint16_t entries = 0;
    for (uint16_t i = 0; i < receiver_of(engine, message)->is->output_count; i++)
        message->event->outputs[i].bytes = 0;
    for (size_t at = 0; effect_next(message->event, ABI_SEND, &at, &record);) {
        uint16_t flow = effect_flow(engine, message, &record);
        uint32_t copies = engine->flows[flow].is_durable ? engine->system->flows[flow].receiver_count : 0;
        for (uint32_t i = 0; i < copies; i++) {
            struct sending to;
            sending_make(engine, message, &record, i, &to);
            if (record.send.delay_ms != 0)
                to.send.due_ms = engine->wall_ms + record.send.delay_ms;
            to.send.flags |= message->event->is_keeping ? COMMIT_KEPT : 0;
            put(writer, &to.send, sizeof to.send);
            put(writer, to.key, to.send.key_bytes);
            put(writer, to.context, to.send.context_bytes);
            put(writer, to.payload, to.send.payload_bytes);
            message->event->outputs[record.send.flow].bytes +=
                (uint32_t)commit_row_bytes(to.send.key_bytes, to.send.context_bytes, to.send.payload_bytes);
            entries++;
        }
    }
    return entries;
}

// May all durable messages that the event sends be kept? None may overtake one that lies in the store alone.
static int may_keep(const struct engine *engine, const struct message *message)
{
    const struct event *event = message->event;
    const struct system_unikernel *is = receiver_of(engine, message)->is;
    struct guest_record record;
    if (!event->is_durable || event->write_count != 0 || event->seen_count != 0 || message->is_brought)
        return 0;
    for (uint16_t i = 0; i < is->output_count; i++) {
        if (event->outputs[i].count == 0) // perhaps no flow
            continue;
        const struct flow_state *state = &engine->flows[is->outputs[i]];
        if (state->is_durable &&
            (!state->is_keepable || state->stored != 0 || state->kept + event->outputs[i].count > ROUTER_KEPT))
            return 0;
    }
    for (size_t at = 0; effect_next(event, ABI_SEND, &at, &record);)
        if (engine->flows[effect_flow(engine, message, &record)].is_durable &&
            (record.send.delay_ms != 0 || (record.send.flags & ABI_SEND_RECEIPT) != 0))
            return 0;
    return 1;
}

// Returns how many messages it is about.
static uint64_t stored_change(struct engine *engine, const struct message *message, int sign)
{
    const struct system_unikernel *is = receiver_of(engine, message)->is;
    uint64_t all = 0;
    for (uint16_t i = 0; i < is->output_count; i++) {
        uint64_t count = message->event->outputs[i].count;
        if (count == 0) // perhaps no flow
            continue;
        struct flow_state *state = &engine->flows[is->outputs[i]];
        if (!state->is_keepable)
            continue;
        check(sign > 0 || state->stored >= count);
        state->stored += sign > 0 ? count : 0 - count;
        all += count;
    }
    message->event->is_stored = sign > 0;
    return all;
}

// The COMMIT is on its way: what it sends goes to its receivers at once, or lies in the store until it comes from there.
static void offered(struct engine *engine, const struct message *message)
{
    struct event *event = message->event;
    struct message **last = &event->kept;
    struct guest_record record;
    struct sending to;
    if (!event->is_keeping)
        engine->number += stored_change(engine, message, 1) * COMMIT_NUMBER_STEP;
    for (size_t at = 0; event->is_keeping && effect_next(event, ABI_SEND, &at, &record);) {
        struct flow_state *state = &engine->flows[effect_flow(engine, message, &record)];
        if (!state->is_durable)
            continue;
        sending_make(engine, message, &record, 0, &to);
        struct message *kept = *last = message_new(engine, &to);
        kept->is_durable = kept->is_kept = 1;
        state->kept++;
        last = &kept->sibling;
    }
    for (struct message *kept = event->kept; kept != NULL; kept = kept->sibling)
        message_enqueue(engine, kept);
}

void commit_settled(struct engine *engine, const struct message *message, int is_done)
{
    for (struct message *kept = message->event->kept; is_done && kept != NULL; kept = kept->sibling)
        kept->is_stored = 1;
    if (!is_done && message->event->is_stored)
        (void)stored_change(engine, message, -1);
}

// What waits in the store has its state there, too.
static uint16_t put_states(struct engine *engine, struct writer *writer, const struct event *event)
{
    uint16_t entries = 0;
    for (const struct held *held = event->held; held != NULL; held = held->next) {
        uint8_t key[SYSTEM_KEY_BYTES_MAX];
        if (!engine->flows[held->flow].is_durable)
            continue;
        struct commit_state entry = {.flow = held->flow,
                                     .key_bytes = (uint16_t)keys_name(engine, held, key),
                                     .part_bytes = (uint32_t)keys_pack(engine, held, engine->parts)};
        put(writer, &entry, sizeof entry);
        put(writer, key, entry.key_bytes);
        put(writer, engine->parts, entry.part_bytes);
        entries++;
    }
    return entries;
}

// Without parts: the store forgets them.
static uint16_t put_spent(const struct engine *engine, struct writer *writer)
{
    for (uint32_t i = 0; i < engine->spent_count; i++) {
        uint8_t key[SYSTEM_KEY_BYTES_MAX];
        struct held held = {.entry = engine->spent[i], .flow = (uint16_t)engine->spent_flow};
        struct commit_state entry = {.flow = held.flow, .key_bytes = (uint16_t)keys_name(engine, &held, key)};
        put(writer, &entry, sizeof entry);
        put(writer, key, entry.key_bytes);
    }
    return (uint16_t)engine->spent_count;
}

static uint16_t put_receipt(struct engine *engine, struct writer *writer, const struct message *message)
{
    struct builtin_receipt receipt;
    struct sending to;
    if (receipt_flow(engine, message) == SYSTEM_NONE)
        return 0;
    (void)receipt_make(engine, message, &to, &receipt);
    put(writer, &to.send, sizeof to.send);
    put(writer, to.context, to.send.context_bytes);
    put(writer, to.payload, to.send.payload_bytes);
    return 1;
}

static size_t add(struct commit_counter *counters, size_t used, uint32_t index, uint64_t value)
{
    check(used < ROUTER_COUNTERS_PER_EVENT);
    counters[used] = (struct commit_counter){.index = index, .value = value};
    return value != 0 ? used + 1 : used;
}

size_t counters_of(const struct engine *engine, const struct message *message, struct commit_counter *counters)
{
    uint16_t index = message->send.receiver;
    const struct receiver *receiver = &engine->receivers[index];
    const struct event *event = message->event;
    // A broadcast is counted once, when all its copies have ended; what is brought enters when it is taken, or refused.
    uint64_t is_counted = message->parent == NULL && (!message->is_brought || message->reason != REASON_DONE);
    size_t used = add(counters, 0, COUNTER_FLOW(message->send.flow, message->reason), is_counted);
    used = add(counters, used, COUNTER_FLOW(message->send.flow, REASON_ENTERED), is_counted & message->is_brought);
    uint16_t receipts = receipt_flow(engine, message);
    if (receipts != SYSTEM_NONE)
        used = add(counters, used, COUNTER_FLOW(receipts, REASON_ENTERED), 1);
    if (message->reason == REASON_GUEST)
        return add(counters, used, COUNTER_REFUSAL(index, event->code), 1);
    if (event == NULL || message->reason != REASON_DONE)
        return used;
    for (uint16_t i = 0; i < receiver->is->output_count; i++) {
        if (event->outputs[i].count == 0)
            continue;
        uint16_t flow = receiver->is->outputs[i];
        used = add(counters, used, COUNTER_FLOW(flow, REASON_ENTERED),
                   (uint64_t)event->outputs[i].count * engine->system->flows[flow].receiver_count);
        used = add(counters, used, COUNTER_FLOW(flow, REASON_OBSERVED), event->outputs[i].observed);
    }
    if (!event->has_logs)
        return used;
    uint64_t refusals[MANIFEST_REFUSALS_MAX] = {0};
    struct guest_record record;
    for (size_t at = 0; effect_next(event, ABI_LOG, &at, &record);)
        refusals[record.log.code] += record.log.level == ABI_LOG_REFUSAL;
    for (uint16_t i = 0; i < receiver->is->refusal_count; i++)
        used = add(counters, used, COUNTER_REFUSAL(index, i), refusals[i]);
    return used;
}

static void put_dead(struct engine *engine, struct writer *writer, const struct message *message)
{
    const struct event *event = message->event;
    int is_place = message->send.receiver < system_places(engine->system);
    const char *text = event != NULL ? event->text : "rationed: messages of this sender made it fault too often";
    int is_kept = engine->system->flows[message->send.flow].is_payload_kept;
    struct commit_dead dead = {.reason = message->reason,
                               .unikernel = is_place ? message->send.receiver : SYSTEM_NONE,
                               .flow = message->send.flow,
                               .text_bytes = (uint16_t)strnlen(text, COMMIT_TEXT_BYTES_MAX),
                               .payload_bytes = is_kept ? message->send.payload_bytes : 0,
                               .principal = event_sender(message),
                               .crash_bytes = event != NULL ? event->crash_bytes : 0};
    struct commit_refusal refusal = {0};
    if (event != NULL && event->refused != NULL) {
        refusal = event->refusal;
        refusal.message_bytes = is_kept ? refusal.message_bytes : 0;
        dead.refusal_bytes = sizeof refusal;
    }
    put(writer, &dead, sizeof dead);
    put(writer, text, dead.text_bytes);
    if (event != NULL)
        put(writer, &event->crash, dead.crash_bytes);
    put(writer, &refusal, dead.refusal_bytes);
    if (dead.refusal_bytes != 0) {
        put(writer, event->refusal_state, refusal.state_bytes);
        put(writer, event->refused, refusal.message_bytes);
    }
    put(writer, message->body, dead.payload_bytes);
}

static enum status offer(struct engine *engine, struct writer *writer, struct commit_header *header)
{
    if (writer->is_over)
        return STATUS_TOO_LARGE;
    header->packet.size = (uint32_t)writer->size;
    header->packet.kind = COMMIT_COMMIT;
    header->time_ms = engine->wall_ms;
    memcpy(writer->bytes, header, sizeof *header);
    struct channel_part part = {writer->bytes, writer->size};
    return engine->io.send(engine->io.context, ENGINE_STORE, 0, &part, 1);
}

enum status commit_send(struct engine *engine, struct message *message)
{
    struct event *event = message->event;
    int has_effects = event != NULL && message->reason == REASON_DONE;
    uint16_t receiver = message->send.receiver;
    const uint8_t *source = message->body + ABI_ALIGN8(message->send.payload_bytes); // of a message that was brought
    struct writer writer = {engine->scratch, sizeof(struct commit_header), 0};
    struct commit_header header = {
        .packet.handle = message->handle,
        .consume = message->is_kept ? message->number : message->row,
        .number = message->number,
        .is_kept = message->is_kept,
        .unikernel = receiver < system_places(engine->system) ? receiver : SYSTEM_NONE,
        .flow = message->send.flow,
        .attempt = message->attempt,
        .reason = message->reason};
    if (has_effects) {
        if (event->kept == NULL) {
            event->is_keeping = may_keep(engine, message) != 0;
            event->first = engine->epoch << 40 | (engine->number + COMMIT_NUMBER_STEP);
        }
        header.first = event->first;
        put(&writer, event->seen, event->seen_bytes);
        header.read_count = (uint16_t)event->seen_count;
        header.write_count = put_writes(engine, &writer, message);
        header.send_count = put_sends(engine, &writer, message);
    }
    header.send_count = (uint16_t)(header.send_count + put_receipt(engine, &writer, message));
    if (has_effects)
        header.state_count = put_states(engine, &writer, event);
    struct commit_counter counters[ROUTER_COUNTERS_PER_EVENT];
    header.counter_count = (uint16_t)counters_of(engine, message, counters);
    put(&writer, counters, header.counter_count * sizeof counters[0]);
    header.dead_count = (uint16_t)is_dead(message);
    if (header.dead_count != 0)
        put_dead(engine, &writer, message);
    header.source_count = message->is_brought;
    if (message->is_brought)
        put(&writer, source, sizeof(struct link_source));
    enum status status = offer(engine, &writer, &header);
    if (has_effects && event->kept == NULL && status == STATUS_OK)
        offered(engine, message);
    return status;
}

void counters_flush(struct engine *engine)
{
    if ((engine->is_flushing && !engine->is_flush_refused) ||
        (spent_find(engine) == 0 && !engine->is_flushing && !engine->is_dirty))
        return;
    if (!engine->is_flushing) {
        memcpy(engine->flushing, engine->fresh, sizeof engine->flushing);
        memset(engine->fresh, 0, sizeof engine->fresh);
        engine->is_dirty = 0;
        engine->is_flushing = 1;
    }
    struct writer writer = {engine->scratch, sizeof(struct commit_header), 0};
    struct commit_header header = {.unikernel = SYSTEM_NONE, .flow = SYSTEM_NONE};
    header.state_count = put_spent(engine, &writer);
    for (uint32_t i = 0; i < COUNTERS_MAX; i++) {
        struct commit_counter counter = {.index = i, .value = engine->flushing[i]};
        if (counter.value == 0)
            continue;
        put(&writer, &counter, sizeof counter);
        header.counter_count++;
    }
    engine->is_flush_refused = offer(engine, &writer, &header) != STATUS_OK;
}

void counters_flushed(struct engine *engine, uint32_t result)
{
    if (result == COMMIT_OK)
        spent_remove(engine);
    engine->is_flush_refused = result == COMMIT_NOT_NOW; // offered again with the next flush
    engine->is_flushing = engine->is_flush_refused;
}

void engine_end(struct engine *engine)
{
    if (!engine->is_ready)
        return;
    judged_proceed(engine);
    if (!engine->is_flush_refused)
        engine->is_flushing = 0; // its answer will not be waited for
    counters_flush(engine);
}

// What was volatile and in flight when the last epoch ended is lost; say so.
void counters_reconcile(struct engine *engine)
{
    for (uint32_t flow = 0; flow < engine->system->flow_count; flow++) {
        const uint64_t *counters = &engine->page->counters[COUNTER_FLOW(flow, 0)];
        uint64_t here = engine->flows[flow].waiting;
        for (uint32_t reason = 0; reason < REASON_COUNT; reason++)
            here += reason_is_end(reason) ? counters[reason] : 0;
        if (counters[REASON_ENTERED] > here)
            count(engine, COUNTER_FLOW(flow, REASON_LOST), counters[REASON_ENTERED] - here);
        else if (counters[REASON_ENTERED] < here)
            count(engine, COUNTER_FLOW(flow, REASON_ENTERED), here - counters[REASON_ENTERED]);
    }
}
