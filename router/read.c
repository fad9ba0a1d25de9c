// SPDX-License-Identifier: ISC
// The store's answers to a guest: may it read there, and what did it see.
//
// Each READ is remembered with the version that its answer carried; the commit validates them. A
// READ that breaks the contract dooms its event at once: the store is not asked, the guest gets an
// empty answer, and whatever it ends with is a dead letter.
#include "router/state.h"

#include <stdio.h>
#include <string.h>

static enum reason doom(struct event *event, enum reason reason, const char *what)
{
    event->is_dead = 1;
    event->reason = (uint16_t)reason;
    snprintf(event->text, sizeof event->text, "%s %s", reason_text(reason), what);
    return reason;
}

// Checks one READ and writes it, in the system's terms, to *out.
static enum reason read_take(struct engine *engine, struct event *event, const uint8_t *record, size_t room,
                             uint8_t *out, uint32_t *record_bytes)
{
    struct abi_read read;
    if (room < sizeof read)
        return doom(event, REASON_ENVELOPE, "read");
    memcpy(&read, record, sizeof read);
    int is_get = read.op == ABI_READ_GET;
    size_t wanted = sizeof read + ABI_ALIGN8((uint32_t)read.from_bytes) + ABI_ALIGN8((uint32_t)read.end_bytes);
    if (read.record.kind != ABI_READ || read.record.zero != 0 || read.record.size != wanted || wanted > room ||
        read.op < ABI_READ_GET || read.op > ABI_READ_INDEX || read.from_bytes > ABI_KEY_BYTES_MAX ||
        read.end_bytes > ABI_KEY_BYTES_MAX || read.limit == 0 || read.limit > ABI_RANGE_ITEMS_MAX ||
        (is_get && (read.limit != 1 || read.end_bytes != 0 || read.from_bytes == 0)))
        return doom(event, REASON_ENVELOPE, "read");
    if (event->receiver >= engine->system->unikernel_count)
        return doom(event, REASON_NAMESPACE, "service");
    const struct system_unikernel *unikernel = &engine->system->unikernels[event->receiver];
    if (read.namespace_index >= unikernel->namespace_count ||
        unikernel->namespaces[read.namespace_index] == SYSTEM_NONE)
        return doom(event, REASON_NAMESPACE, "no such namespace");
    uint16_t index = unikernel->namespaces[read.namespace_index];
    const struct system_namespace *space = &engine->system->namespaces[index];
    if ((space->readers >> event->receiver & 1) == 0 || (read.op == ABI_READ_INDEX && space->index_count == 0))
        return doom(event, REASON_NAMESPACE, space->name);
    if (event->read_count >= ROUTER_READS_MAX)
        return doom(event, REASON_BUDGET, "reads of one event");
    struct event_read *kept = &event->reads[event->read_count++];
    *kept = (struct event_read){.namespace_index = index, .op = read.op};
    kept->key_bytes = read.from_bytes;
    memcpy(kept->key, record + sizeof read, read.from_bytes);
    memcpy(out, record, wanted);
    ((struct abi_read *)(void *)out)->namespace_index = index;
    *record_bytes = (uint32_t)wanted;
    return REASON_DONE;
}

static void answer_send(struct engine *engine, struct event *event, const void *answer, size_t size)
{
    struct link_header header = {.size = (uint32_t)(sizeof header + size),
                                 .kind = LINK_ANSWER,
                                 .handle = event_handle(engine, event)};
    struct engine_part parts[2] = {{&header, sizeof header}, {answer, size}};
    (void)engine->io.send(engine->io.context, ENGINE_RECEIVER, event->receiver, parts, 2);
}

enum status reads_receive(struct engine *engine, struct event *event, const uint8_t *bytes, size_t size)
{
    size_t at = sizeof(struct link_header);
    size_t used = sizeof(struct commit_packet);
    uint32_t reads = 0;
    if (event->state != EVENT_STARTED || size == at || size > LINK_BYTES_MAX)
        return STATUS_MALFORMED;
    if (!event->is_dead && ++event->waits > ABI_WAITS_PER_EVENT_MAX)
        (void)doom(event, REASON_BUDGET, "waits of one event");
    while (at < size && !event->is_dead) {
        uint32_t record_bytes = 0;
        if (++reads > ABI_READS_PER_WAIT_MAX)
            (void)doom(event, REASON_BUDGET, "reads of one wait");
        else if (read_take(engine, event, bytes + at, size - at, engine->scratch + used, &record_bytes) ==
                 REASON_DONE) {
            at += record_bytes;
            used += record_bytes;
        }
    }
    if (event->is_dead) {
        struct abi_answer empty = {.record = {.size = sizeof empty, .kind = ABI_ANSWER}};
        answer_send(engine, event, &empty, sizeof empty);
        return STATUS_OK;
    }
    struct commit_packet packet = {
        .size = (uint32_t)used, .kind = COMMIT_READ, .handle = event_handle(engine, event)};
    memcpy(engine->scratch, &packet, sizeof packet);
    struct engine_part part = {engine->scratch, used};
    event->state = EVENT_READING;
    (void)engine->io.send(engine->io.context, ENGINE_STORE, 0, &part, 1);
    return STATUS_OK;
}

enum status answer_receive(struct engine *engine, const uint8_t *bytes, size_t size)
{
    struct commit_packet packet;
    struct abi_answer answer;
    size_t at = sizeof packet + sizeof answer;
    if (size < at || size > sizeof packet + ABI_INPUT_BYTES)
        return STATUS_MALFORMED;
    memcpy(&packet, bytes, sizeof packet);
    memcpy(&answer, bytes + sizeof packet, sizeof answer);
    if (answer.record.kind != ABI_ANSWER || answer.record.size != size - sizeof packet)
        return STATUS_MALFORMED;
    struct event *event = event_find(engine, packet.handle);
    if (event == NULL || event->state != EVENT_READING)
        return STATUS_OK; // it ended meanwhile
    uint32_t items = 0;
    while (items < answer.item_count && event->read_done < event->read_count) {
        struct abi_item item;
        if (size - at < sizeof item)
            return STATUS_MALFORMED;
        memcpy(&item, bytes + at, sizeof item);
        size_t wanted = sizeof item + ABI_ALIGN8((size_t)item.key_bytes) + ABI_ALIGN8((size_t)item.value_bytes);
        if (wanted > size - at)
            return STATUS_MALFORMED;
        at += wanted;
        items++;
        struct event_read *read = &event->reads[event->read_done];
        if (read->op != ABI_READ_GET && item.status != ABI_ITEM_END)
            continue; // a range is validated by the version that its END carries
        read->version = item.status == ABI_ITEM_ABSENT ? 0 : item.version;
        event->read_done++;
    }
    if (items != answer.item_count || at != size)
        return STATUS_MALFORMED;
    event->read_count = event->read_done; // what did not fit into the answer was not seen
    event->state = EVENT_STARTED;
    answer_send(engine, event, bytes + sizeof packet, size - sizeof packet);
    return STATUS_OK;
}
