// SPDX-License-Identifier: ISC
// The store's answers to a guest: may it read there, and what did it see.
//
// The store says with each ANSWER what was seen; the event's COMMIT names it again, and the store validates it.
// A READ that breaks the contract dooms its event at once: the store is not asked, the guest gets an
// empty answer, and whatever it ends with is a dead letter.
#include "router/state.h"

#include <string.h>

// May this event read that? Then the record's namespace becomes the system's.
static enum reason judge_read(struct engine *engine, struct message *message, const struct guest_record *record,
                              uint8_t *bytes)
{
    const struct abi_read *read = &record->read;
    int is_get = read->op == ABI_READ_GET;
    if (record->kind != ABI_READ || (is_get && (read->from_bytes == 0 || read->end_bytes != 0)))
        return refuse(message, REASON_ENVELOPE, "read", "", 0);
    uint16_t index = namespace_of(engine, message, read->namespace_index);
    if (index == SYSTEM_NONE)
        return refuse(message, REASON_NAMESPACE, "no such namespace", "", 0);
    const struct system_namespace *space = &engine->system->namespaces[index];
    if ((space->readers >> message->send.receiver & 1) == 0 ||
        (read->op == ABI_READ_INDEX && space->index_count == 0))
        return refuse(message, REASON_NAMESPACE, space->name, "", 0);
    if (++message->event->reads > ROUTER_READS_MAX)
        return refuse(message, REASON_BUDGET, "reads of one event", "", 0);
    memcpy(bytes + offsetof(struct abi_read, namespace_index), &index, sizeof index);
    return REASON_DONE;
}

static enum reason judge_reads(struct engine *engine, struct message *message, uint8_t *bytes, size_t size)
{
    uint32_t reads = 0;
    enum reason reason = REASON_DONE;
    if (++message->event->waits > ABI_WAITS_PER_EVENT_MAX)
        return refuse(message, REASON_BUDGET, "waits of one event", "", 0);
    for (size_t at = 0, begin = 0; at < size && reason == REASON_DONE; begin = at) {
        struct guest_record record;
        const char *why = guest_record_next(bytes, size, &at, 0, &record);
        if (why != NULL)
            reason = refuse(message, REASON_ENVELOPE, why, "", 0);
        else if (++reads > ABI_READS_PER_WAIT_MAX)
            reason = refuse(message, REASON_BUDGET, "reads of one wait", "", 0);
        else
            reason = judge_read(engine, message, &record, bytes + begin);
    }
    return reason;
}

enum status reads_receive(struct engine *engine, const struct packet *packet)
{
    struct message *message = message_with(engine, packet->index, packet->handle);
    if (message == NULL || message->state != MESSAGE_STARTED)
        return STATUS_MALFORMED;
    memcpy(engine->scratch, packet->body, packet->body_bytes);
    if (message->reason == REASON_DONE)
        message->reason = (uint8_t)judge_reads(engine, message, engine->scratch, packet->body_bytes);
    if (message->reason == REASON_DONE) {
        message->state = MESSAGE_READING;
        tell(engine, ENGINE_STORE, 0, COMMIT_READ, message->handle, engine->scratch, packet->body_bytes);
        return STATUS_OK;
    }
    struct abi_answer empty = {.record = {.size = sizeof empty, .kind = ABI_ANSWER}};
    tell(engine, ENGINE_RECEIVER, packet->index, LINK_ANSWER, message->handle, &empty, sizeof empty);
    return STATUS_OK;
}

enum status answer_receive(struct engine *engine, const struct packet *packet)
{
    struct commit_answer head;
    memcpy(&head, packet->bytes, sizeof head);
    struct message *message = message_find(engine, packet->handle);
    if (message == NULL || message->state != MESSAGE_READING)
        return STATUS_OK; // it ended meanwhile
    struct event *event = message->event;
    const uint8_t *answer = packet->bytes + sizeof head;
    size_t behind = packet->size - sizeof head;
    if (head.answer_bytes > ABI_INPUT_BYTES || head.answer_bytes > behind ||
        behind - head.answer_bytes > sizeof event->seen - event->seen_bytes)
        return STATUS_MALFORMED;
    memcpy(event->seen + event->seen_bytes, answer + head.answer_bytes, behind - head.answer_bytes);
    event->seen_bytes += (uint32_t)(behind - head.answer_bytes);
    event->seen_count += head.read_count;
    message->state = MESSAGE_STARTED;
    tell(engine, ENGINE_RECEIVER, message->send.receiver, LINK_ANSWER, packet->handle, answer, head.answer_bytes);
    return STATUS_OK;
}
