// SPDX-License-Identifier: ISC
// What the SENDs of a judged event are in the system's terms, and the release of what does not wait in
// the store.
#include "router/state.h"

#include "proto/builtin.h"

#include <string.h>

int effect_next(const struct event *event, uint16_t kind, size_t *at, struct guest_record *record)
{
    struct abi_record header;
    for (; *at < event->record_bytes; *at += header.size) {
        memcpy(&header, event->records + *at, sizeof header); // judged: it is there
        if (header.kind != kind)
            continue;
        guest_record_open(event->records + *at, kind, record);
        *at += header.size;
        return 1;
    }
    return 0;
}

void sending_make(struct engine *engine, const struct message *message, const struct guest_record *record,
                  uint32_t turn, struct sending *sending)
{
    uint16_t index = effect_flow(engine, message, record);
    const struct system_flow *flow = &engine->system->flows[index];
    const struct schema *schema = &engine->system->schemas[flow->schema];
    const struct system_receiver *to = &flow->receivers[turn];
    sending->send = (struct commit_send){
        .flow = index,
        .receiver = system_place(engine->system, to),
        .context_bytes = (uint16_t)record->send.context_bytes,
        .payload_bytes = record->send.payload_bytes,
        .principal = (uint16_t)message->event->principal};
    sending->context = record->first;
    sending->payload = record->second;
    if (flow->kind == SYSTEM_REPLY) { // to the connection that asked, with the context of the question
        sending->send.context_bytes = message->send.context_bytes;
        sending->context = message->body + ABI_ALIGN8(message->send.payload_bytes);
    }
    if ((record->send.flags & ABI_SEND_RECEIPT) != 0 || (flow->kind == SYSTEM_REQUEST && flow->live_ms != 0))
        sending->send.flags = COMMIT_RECEIPT;
    // Besides replies, a question, a message to itself and one with a receipt keep the connection whose instance sends it.
    if (flow->kind != SYSTEM_PLAIN || sending->send.receiver == message->send.receiver || sending->send.flags != 0)
        sending->send.connection = message->send.connection;
    if (flow->key_field != SYSTEM_NONE)
        sending->send.key_bytes =
            (uint16_t)schema_key(schema, &flow->key_field, 1, record->second, record->send.payload_bytes,
                                 sending->key, sizeof sending->key);
}

// Is it a request that its event answered?
static int is_answered(const struct engine *engine, const struct message *message)
{
    const struct system_flow *flow = &engine->system->flows[message->send.flow];
    const struct receiver *receiver = receiver_of(engine, message);
    if (flow->kind != SYSTEM_REQUEST || message->event == NULL || message->reason != REASON_DONE)
        return 0;
    for (uint16_t i = 0; i < receiver->is->output_count; i++)
        if (receiver->is->outputs[i] == flow->pair)
            return message->event->outputs[i].count != 0;
    return 0;
}

uint16_t receipt_flow(const struct engine *engine, const struct message *message)
{
    int is_due = (message->send.flags & COMMIT_RECEIPT) != 0 && message->parent == NULL && !is_answered(engine, message);
    return is_due ? engine->receivers[engine->system->flows[message->send.flow].sender].receipts : SYSTEM_NONE;
}

uint64_t receipt_make(const struct engine *engine, const struct message *message, struct sending *sending,
                      struct builtin_receipt *receipt)
{
    const struct system_flow *flow = &engine->system->flows[message->send.flow];
    *receipt = (struct builtin_receipt){.output = flow->sender_port,
                                        .reason = message->reason,
                                        .is_taken = message->reason == REASON_DONE};
    *sending = (struct sending){.send = {.flow = receipt_flow(engine, message),
                                         .receiver = flow->sender,
                                         .context_bytes = message->send.context_bytes,
                                         .payload_bytes = sizeof *receipt,
                                         .principal = message->send.principal,
                                         .connection = message->send.connection},
                                .context = message->body + ABI_ALIGN8(message->send.payload_bytes),
                                .payload = (const uint8_t *)receipt};
    return commit_row_bytes(0, sending->send.context_bytes, sending->send.payload_bytes);
}

static void send_release(struct engine *engine, struct message *message, const struct guest_record *record)
{
    uint16_t index = effect_flow(engine, message, record);
    struct flow_state *state = &engine->flows[index];
    if (!state->is_durable && !state->is_queued)
        connection_output(engine, index, message->connection, record->second);
    for (uint32_t i = 0; i < engine->system->flows[index].receiver_count && state->is_queued; i++) {
        sending_make(engine, message, record, i, &engine->sending);
        struct message *sent = message_new(engine, &engine->sending);
        if (record->send.delay_ms != 0)
            sent->due_ms = engine->now_ms + record->send.delay_ms;
        message_enqueue(engine, sent);
    }
}

void effects_release(struct engine *engine, struct message *message)
{
    const char(*refusals)[SYSTEM_NAME_BYTES] = receiver_of(engine, message)->is->refusals;
    struct guest_record record;
    for (size_t at = 0; effect_next(message->event, ABI_SEND, &at, &record);)
        send_release(engine, message, &record);
    for (size_t at = 0; message->event->has_logs && effect_next(message->event, ABI_LOG, &at, &record);)
        journal(engine, message->send.receiver, record.log.level,
                record.log.level == ABI_LOG_REFUSAL ? refusals[record.log.code] : "", record.first,
                record.log.text_bytes);
}
