// SPDX-License-Identifier: ISC
// The inspector: one verdict on all effects of an event, before any of them changes anything.
//
// Layers, for each record: its form (core/guest_record.h), the flow and how often, who stands behind the event,
// the schema of the final bytes, and for writes the namespace and the key that the value must give.
// Flow state and rates come after the verdict (keys.c, schedule.c).
// The next check of a SEND is one more function in judge_send, of a whole event one more call in judge.
#include "router/state.h"

#include "core/check.h"
#include "proto/builtin.h"

#include <stdio.h>
#include <string.h>

enum reason refuse(struct message *message, enum reason reason, const char *what, const char *detail, uint32_t line)
{
    char where[40] = "";
    if (line != 0)
        snprintf(where, sizeof where, " (system.yaml:%u)", line);
    snprintf(message->event->text, sizeof message->event->text, "%s %s%s%s%s", reason_text(reason), what,
             detail[0] != 0 ? "." : "", detail, where);
    return reason;
}

void refuse_value(struct event *event, uint16_t flow, uint16_t schema, const uint8_t *bytes, uint32_t size)
{
    event->refused = bytes;
    event->refusal = (struct commit_refusal){.schema = schema, .flow = flow, .check = SYSTEM_NONE, .message_bytes = size};
}

static enum reason judge_value(const struct engine *engine, struct message *message, uint16_t index, uint16_t flow,
                               const char *name, uint32_t line, const uint8_t *bytes, uint32_t size)
{
    const struct schema *schema = &engine->system->schemas[index];
    uint16_t field = UINT16_MAX;
    enum reason reason = schema_judge(schema, &engine->plans[index], bytes, size, &field);
    if (reason == REASON_DONE)
        return REASON_DONE;
    refuse_value(message->event, flow, index, bytes, size);
    return refuse(message, reason, name,
                  field < schema->header->field_count ? schema->fields[field].name : "", line);
}

static enum reason judge_subscription(const struct engine *engine, struct message *message,
                                      const struct system_flow *flow, const struct guest_record *record)
{
    const struct receiver *receiver = receiver_of(engine, message);
    struct builtin_subscription wanted;
    memcpy(&wanted, record->second, sizeof wanted);
    if (wanted.port >= receiver->is->input_count || receiver->is->inputs[wanted.port] == SYSTEM_NONE ||
        !engine->system->flows[receiver->is->inputs[wanted.port]].is_broadcast)
        return refuse(message, REASON_FLOW, flow->name, "port", flow->line);
    return REASON_DONE;
}

// What a flow may carry besides its payload.
static int is_envelope_good(const struct system_flow *flow, int is_self, int takes_receipts, const struct abi_send *send)
{
    int has_receipt = (send->flags & ABI_SEND_RECEIPT) != 0;
    int is_context_allowed = flow->kind == SYSTEM_REQUEST || (is_self && flow->kind == SYSTEM_PLAIN) || has_receipt;
    if (has_receipt && (!takes_receipts || flow->kind != SYSTEM_PLAIN || !system_has_receipts(flow)))
        return 0;
    return ((send->flags & ABI_SEND_REPLY) == 0 || flow->kind == SYSTEM_REPLY) &&
           (send->delay_ms == 0 || is_self) && (send->context_bytes == 0 || is_context_allowed);
}

// Messages to itself that this event may add. To wait for room would be to wait for what only the
// instance can end, so more of them is its own failure.
static uint32_t own_room(const struct engine *engine, const struct message *message)
{
    check(message->connection != NULL);
    return receiver_of(engine, message)->own_max + engine->flows[message->send.flow].is_own -
           message->connection->own;
}

static enum reason judge_send(struct engine *engine, struct message *message,
                              const struct guest_record *record)
{
    const struct receiver *receiver = receiver_of(engine, message);
    const struct abi_send *send = &record->send;
    struct event *event = message->event;
    if (send->flow >= receiver->is->output_count || receiver->is->outputs[send->flow] == SYSTEM_NONE)
        return refuse(message, REASON_FLOW, "no such output", "", receiver->is->line);
    uint16_t index = receiver->is->outputs[send->flow];
    const struct system_flow *flow = &engine->system->flows[index];
    if (flow->kind == SYSTEM_REPLY && engine->system->flows[message->send.flow].pair != index)
        return refuse(message, REASON_FLOW, flow->name, "", flow->line); // an answer to that question only
    if (!is_envelope_good(flow, engine->flows[index].is_self, receiver->receipts != SYSTEM_NONE, send))
        return refuse(message, REASON_ENVELOPE, flow->name, "", flow->line);
    event->is_durable |= engine->flows[index].is_durable;
    struct output *output = &event->outputs[send->flow];
    if (++output->count > (flow->kind == SYSTEM_REPLY ? 1 : flow->count_max))
        return refuse(message, REASON_BUDGET, flow->name, "", flow->line);
    output->payload_bytes += send->payload_bytes;
    event->sent_count += flow->receiver_count;
    if (receiver->is->fan_out != 0 && event->sent_count > receiver->is->fan_out)
        return refuse(message, REASON_BUDGET, receiver->is->name, "fan_out", receiver->is->line);
    if (engine->flows[index].is_own && ++event->own_count > own_room(engine, message))
        return refuse(message, REASON_BUDGET, flow->name, "timers of one connection", flow->line);
    if (!is_principal_allowed(flow, event->principal))
        return refuse(message, REASON_PRINCIPAL, flow->name, "", flow->line);
    if (engine->flows[index].is_self && !engine->flows[index].is_own &&
        !has_room_of_own(engine, index, message, output->count))
        return refuse(message, REASON_BUDGET, flow->name, "is full of its own", flow->line);
    if ((send->flags & ABI_SEND_RECEIPT) != 0 || (flow->kind == SYSTEM_REQUEST && system_has_receipts(flow)))
        event->receipts += flow->receiver_count;
    if (event->receipts != 0 && !has_room_of_own(engine, receiver->receipts, message, event->receipts))
        return refuse(message, REASON_BUDGET, flow->name, "receipts", flow->line);
    enum reason reason = judge_value(engine, message, flow->schema, index, flow->name, flow->line, record->second,
                                     send->payload_bytes);
    if (reason != REASON_DONE)
        return reason;
    keys_expect(engine, index, record->second, send->payload_bytes);
    if (flow->receivers[0].kind == SYSTEM_SUBSCRIPTION)
        return judge_subscription(engine, message, flow, record);
    return REASON_DONE;
}

uint16_t namespace_of(const struct engine *engine, const struct message *message, uint16_t index)
{
    const struct system_unikernel *unikernel = receiver_of(engine, message)->is;
    return index < unikernel->namespace_count ? unikernel->namespaces[index] : SYSTEM_NONE;
}

static enum reason judge_write(struct engine *engine, struct message *message,
                               const struct guest_record *record)
{
    const struct abi_write *write = &record->write;
    uint16_t index = namespace_of(engine, message, write->namespace_index);
    if (index == SYSTEM_NONE)
        return refuse(message, REASON_NAMESPACE, "no such namespace", "", 0);
    const struct system_namespace *space = &engine->system->namespaces[index];
    const struct schema *schema = &engine->system->schemas[space->schema];
    if ((space->writers >> message->send.receiver & 1) == 0)
        return refuse(message, REASON_NAMESPACE, space->name, "", space->line);
    message->event->is_durable = 1;
    if (++message->event->write_count > receiver_of(engine, message)->is->writes_max)
        return refuse(message, REASON_BUDGET, space->name, "", space->line);
    if (write->op == ABI_WRITE_DELETE)
        return REASON_DONE;
    enum reason reason = judge_value(engine, message, space->schema, SYSTEM_NONE, space->name, space->line,
                                     record->second, write->value_bytes);
    if (reason != REASON_DONE)
        return reason;
    uint8_t key[ABI_KEY_BYTES_MAX];
    size_t key_bytes = schema_key(schema, space->key_fields, space->key_count, record->second,
                                  write->value_bytes, key, sizeof key);
    if (key_bytes != write->key_bytes || memcmp(key, record->first, key_bytes) != 0)
        return refuse(message, REASON_NAMESPACE, space->name, "key", space->line);
    if (space->index_count != 0 &&
        schema_key(schema, space->index_fields, space->index_count, record->second, write->value_bytes,
                   key, sizeof key) == 0)
        return refuse(message, REASON_NAMESPACE, space->name, "index", space->line);
    return REASON_DONE;
}

enum reason judge(struct engine *engine, struct message *message)
{
    struct event *event = message->event;
    for (uint16_t i = 0; i < receiver_of(engine, message)->is->output_count; i++)
        event->outputs[i] = (struct output){0};
    event->sent_ms = engine->wall_ms;
    event->sent_count = 0;
    event->write_count = event->own_count = event->is_durable = event->has_logs = 0;
    event->receipts = 0;
    enum reason reason = REASON_DONE;
    if (message->end_ms != 0 && message->end_ms <= engine->wall_ms && late_reason(engine, message) == REASON_LATE)
        return refuse(message, REASON_LATE, engine->system->flows[message->send.flow].name, "deadline", 0);
    for (size_t at = 0; reason == REASON_DONE;) {
        struct guest_record record;
        const char *why = guest_record_next(event->records, event->record_bytes, &at,
                                            receiver_of(engine, message)->is->refusal_count, &record);
        if (why != NULL)
            return refuse(message, REASON_ENVELOPE, why, "", 0);
        event->has_logs |= record.kind == ABI_LOG;
        if (record.kind == ABI_SEND)
            reason = judge_send(engine, message, &record);
        else if (record.kind == ABI_WRITE)
            reason = judge_write(engine, message, &record);
        else if (record.kind == ABI_READ) // were served
            reason = refuse(message, REASON_ENVELOPE, "read among effects", "", 0);
        else if (record.kind == ABI_END) // is the last record, and says DONE
            return at == event->record_bytes && record.end.verdict == ABI_END_DONE
                       ? REASON_DONE
                       : refuse(message, REASON_ENVELOPE, "end", "", 0);
    }
    return reason;
}
