// SPDX-License-Identifier: ISC
// The inspector: one verdict on all effects of an event, before any of them changes anything.
//
// Layers, for each record: its form (abi.h), the flow and how often, who stands behind the event, the
// schema of the final bytes, and for writes the namespace and the key that the value must give.
// Sequences and rates are flow state and come after the verdict (cursor.c, schedule.c).
#include "router/state.h"

#include "core/check.h"

#include <stdio.h>
#include <string.h>

static int is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

// Sizes of the struct and of the two variable parts behind it; 0: no such record.
static size_t effect_parts(struct effect *effect, const uint8_t *record, size_t room, size_t part[2])
{
    size_t fixed = 0;
    part[0] = part[1] = 0;
    switch (effect->kind) {
    case ABI_SEND:
        fixed = sizeof effect->send;
        break;
    case ABI_WRITE:
        fixed = sizeof effect->write;
        break;
    case ABI_LOG:
        fixed = sizeof effect->log;
        break;
    case ABI_END:
        fixed = sizeof effect->end;
        break;
    default:
        return 0;
    }
    if (room < fixed)
        return 0;
    memcpy(&effect->send, record, fixed); // every member of the union begins it
    if (effect->kind == ABI_SEND) {
        part[0] = effect->send.context_bytes;
        part[1] = effect->send.payload_bytes;
    } else if (effect->kind == ABI_WRITE) {
        part[0] = effect->write.key_bytes;
        part[1] = effect->write.value_bytes;
    } else if (effect->kind == ABI_LOG) {
        part[0] = effect->log.text_bytes;
    }
    return fixed;
}

enum status effect_next(const uint8_t *records, size_t size, size_t *at, struct effect *effect)
{
    struct abi_record record;
    do { // READs were served; they may still stand between the others
        if (size - *at < sizeof record)
            return STATUS_TRUNCATED;
        memcpy(&record, records + *at, sizeof record);
        if (record.size < sizeof record || record.size % 8 != 0 || record.size > size - *at ||
            record.zero != 0)
            return STATUS_MALFORMED;
        *at += record.size;
    } while (record.kind == ABI_READ && *at < size);
    const uint8_t *start = records + *at - record.size;
    size_t part[2];
    effect->kind = record.kind;
    size_t fixed = effect_parts(effect, start, record.size, part);
    if (fixed == 0 || part[0] > record.size || part[1] > record.size ||
        fixed + ABI_ALIGN8(part[0]) + ABI_ALIGN8(part[1]) != record.size)
        return STATUS_MALFORMED;
    effect->first = start + fixed;
    effect->second = effect->first + ABI_ALIGN8(part[0]);
    if (!is_zero(effect->first + part[0], ABI_ALIGN8(part[0]) - part[0]) ||
        !is_zero(effect->second + part[1], ABI_ALIGN8(part[1]) - part[1]))
        return STATUS_MALFORMED;
    return STATUS_OK;
}

static enum reason refuse(struct event *event, enum reason reason, const char *what, const char *detail)
{
    snprintf(event->text, sizeof event->text, "%s %s%s%s", reason_text(reason), what,
             detail[0] != 0 ? "." : "", detail);
    return reason;
}

static enum reason check_value(struct event *event, const struct schema *schema, const char *name,
                               const uint8_t *bytes, size_t size)
{
    uint16_t field = UINT16_MAX;
    enum reason reason = schema_check(schema, bytes, size, &field);
    if (reason == REASON_DONE)
        return REASON_DONE;
    return refuse(event, reason, name,
                  field < schema->header->field_count ? schema->fields[field].name : "");
}

int is_principal_allowed(const struct system_flow *flow, uint32_t principal)
{
    if (flow->is_open)
        return 1;
    return principal >= 1 && principal <= SYSTEM_PRINCIPALS_MAX &&
           (flow->principals >> (principal - 1) & 1) != 0;
}

// May this event say anything on that flow at all?
static int is_flow_allowed(const struct engine *engine, const struct event *event, uint16_t index)
{
    const struct system_flow *flow = &engine->system->flows[index];
    const struct message *input = &engine->messages[event->message];
    int is_connection = engine->receivers[event->receiver].is_connection;
    if (flow->kind == SYSTEM_REPLY) // only to who asked, and only an answer to that question
        return engine->system->flows[input->flow].kind == SYSTEM_REQUEST && input->asker != 0 &&
               engine->system->flows[input->flow].pair == index;
    if (flow->receiver_count == 0)
        return 0;
    if (flow->kind == SYSTEM_REQUEST && flow->receivers[0].kind == SYSTEM_UNIKERNEL &&
        engine->receivers[flow->receivers[0].index].is_connection)
        return 0;
    if (flow->receivers[0].kind == SYSTEM_GATEWAY || flow->receivers[0].kind == SYSTEM_SUBSCRIPTION)
        return is_connection && input->connection != 0;
    return 1;
}

static enum reason judge_subscription(const struct engine *engine, struct event *event,
                                      const struct system_flow *flow, const struct effect *effect)
{
    const struct schema *schema = &engine->system->schemas[flow->schema];
    const struct receiver *receiver = &engine->receivers[event->receiver];
    int port = schema_field_index(schema, "port");
    int is_joined = schema_field_index(schema, "is_joined");
    if (port < 0 || is_joined < 0)
        return refuse(event, REASON_FLOW, flow->name, "");
    int64_t wanted = schema_value(schema, (uint16_t)port, effect->second, effect->send.payload_bytes);
    if (wanted < 0 || wanted >= receiver->input_count || receiver->inputs[wanted] == SYSTEM_NONE ||
        !engine->system->flows[receiver->inputs[wanted]].is_broadcast)
        return refuse(event, REASON_FLOW, flow->name, "port");
    return REASON_DONE;
}

// Messages to itself that this event may add. To wait for room would be to wait for what only the
// instance can end, so more of them is its own failure.
static uint32_t own_room(struct engine *engine, const struct event *event)
{
    const struct message *input = &engine->messages[event->message];
    const struct connection *connection = connection_find(engine, input->connection);
    check(connection != NULL); // it stays while it has an event
    return engine->receivers[event->receiver].own_max + engine->flows[input->flow].is_own - connection->own;
}

static enum reason judge_send(struct engine *engine, struct event *event, const struct effect *effect)
{
    const struct receiver *receiver = &engine->receivers[event->receiver];
    const struct abi_send *send = &effect->send;
    if (send->flow >= receiver->output_count || receiver->outputs[send->flow] == SYSTEM_NONE)
        return refuse(event, REASON_FLOW, "no such output", "");
    uint16_t index = receiver->outputs[send->flow];
    const struct system_flow *flow = &engine->system->flows[index];
    if (!is_flow_allowed(engine, event, index))
        return refuse(event, REASON_FLOW, flow->name, "");
    int is_self = flow->sender_kind == SYSTEM_UNIKERNEL && flow->receiver_count == 1 &&
                  flow->receivers[0].kind == SYSTEM_UNIKERNEL && flow->receivers[0].index == flow->sender;
    int is_context_allowed = flow->kind == SYSTEM_REQUEST || (is_self && flow->kind == SYSTEM_PLAIN);
    if ((send->flags & ~ABI_SEND_REPLY) != 0 || send->context_bytes > ABI_CONTEXT_BYTES_MAX ||
        ((send->flags & ABI_SEND_REPLY) != 0 && flow->kind != SYSTEM_REPLY) ||
        (send->delay_ms != 0 && !is_self) || (send->context_bytes != 0 && !is_context_allowed))
        return refuse(event, REASON_ENVELOPE, flow->name, "");
    if (send->payload_bytes > ABI_PAYLOAD_BYTES_MAX)
        return refuse(event, REASON_LENGTH, flow->name, "");
    uint32_t most = flow->kind == SYSTEM_REPLY ? 1 : flow->count_max;
    if (event->counts[send->flow] >= most)
        return refuse(event, REASON_BUDGET, flow->name, "");
    event->counts[send->flow]++;
    if (engine->flows[index].is_own && ++event->own > own_room(engine, event))
        return refuse(event, REASON_BUDGET, flow->name, "timers of one connection");
    if (!is_principal_allowed(flow, event->principal))
        return refuse(event, REASON_PRINCIPAL, flow->name, "");
    enum reason reason = check_value(event, &engine->system->schemas[flow->schema], flow->name,
                                     effect->second, send->payload_bytes);
    if (reason != REASON_DONE)
        return reason;
    if (flow->key_field != SYSTEM_NONE) {
        uint8_t key[ROUTER_KEY_BYTES_MAX];
        size_t key_bytes;
        (void)key_of(engine, index, effect->second, send->payload_bytes, key, &key_bytes);
        const uint8_t *bytes;
        enum schema_type type =
            (enum schema_type)engine->system->schemas[flow->schema].fields[flow->key_field].type;
        int is_empty = (type == SCHEMA_STRING || type == SCHEMA_BYTES) &&
                       schema_bytes(&engine->system->schemas[flow->schema], flow->key_field,
                                    effect->second, send->payload_bytes, &bytes) == 0;
        if (key_bytes == 0 && !is_empty)
            return refuse(event, REASON_KEY_TABLE, flow->name, "key too long");
    }
    if (flow->kind != SYSTEM_REPLY && flow->receivers[0].kind == SYSTEM_SUBSCRIPTION)
        return judge_subscription(engine, event, flow, effect);
    return REASON_DONE;
}

static enum reason judge_write(struct engine *engine, struct event *event, const struct effect *effect)
{
    const struct abi_write *write = &effect->write;
    if (event->receiver >= engine->system->unikernel_count)
        return refuse(event, REASON_NAMESPACE, "service", "");
    const struct system_unikernel *unikernel = &engine->system->unikernels[event->receiver];
    if (write->namespace_index >= unikernel->namespace_count ||
        unikernel->namespaces[write->namespace_index] == SYSTEM_NONE)
        return refuse(event, REASON_NAMESPACE, "no such namespace", "");
    const struct system_namespace *space =
        &engine->system->namespaces[unikernel->namespaces[write->namespace_index]];
    if ((space->writers >> event->receiver & 1) == 0)
        return refuse(event, REASON_NAMESPACE, space->name, "");
    if (write->zero != 0 || write->key_bytes == 0 || write->key_bytes > ABI_KEY_BYTES_MAX ||
        (write->op != ABI_WRITE_PUT && write->op != ABI_WRITE_DELETE) ||
        (write->op == ABI_WRITE_DELETE && write->value_bytes != 0))
        return refuse(event, REASON_ENVELOPE, space->name, "");
    if (event->write_count >= unikernel->writes_max)
        return refuse(event, REASON_BUDGET, space->name, "");
    event->write_count++;
    if (write->op == ABI_WRITE_DELETE)
        return REASON_DONE;
    const struct schema *schema = &engine->system->schemas[space->schema];
    enum reason reason = check_value(event, schema, space->name, effect->second, write->value_bytes);
    if (reason != REASON_DONE)
        return reason;
    uint8_t key[ABI_KEY_BYTES_MAX];
    size_t key_bytes = schema_key(schema, space->key_fields, space->key_count, effect->second,
                                  write->value_bytes, key, sizeof key);
    if (key_bytes != write->key_bytes || memcmp(key, effect->first, key_bytes) != 0)
        return refuse(event, REASON_NAMESPACE, space->name, "key");
    if (space->index_count != 0 &&
        schema_key(schema, space->index_fields, space->index_count, effect->second, write->value_bytes,
                   key, sizeof key) == 0)
        return refuse(event, REASON_NAMESPACE, space->name, "index");
    return REASON_DONE;
}

static enum reason judge_log(const struct engine *engine, struct event *event, const struct effect *effect)
{
    const struct abi_log *log = &effect->log;
    uint32_t codes = 0;
    if (log->level == ABI_LOG_REFUSAL && event->receiver < engine->system->unikernel_count)
        codes = engine->system->unikernels[event->receiver].refusal_count;
    int is_code_good = log->level == ABI_LOG_REFUSAL ? log->code < codes : log->code == 0;
    if (log->level > ABI_LOG_REFUSAL || log->text_bytes > ABI_LOG_BYTES_MAX || !is_code_good)
        return refuse(event, REASON_ENVELOPE, "log record", "");
    return REASON_DONE;
}

enum reason judge(struct engine *engine, struct event *event)
{
    memset(event->counts, 0, sizeof event->counts);
    event->write_count = event->own = 0;
    size_t at = 0;
    for (;;) {
        struct effect effect;
        if (effect_next(event->records, event->record_bytes, &at, &effect) != STATUS_OK)
            return refuse(event, REASON_ENVELOPE, "record", "");
        enum reason reason = REASON_DONE;
        if (effect.kind == ABI_SEND)
            reason = judge_send(engine, event, &effect);
        else if (effect.kind == ABI_WRITE)
            reason = judge_write(engine, event, &effect);
        else if (effect.kind == ABI_LOG)
            reason = judge_log(engine, event, &effect);
        else // END is the last record, and says DONE
            return at == event->record_bytes && effect.end.verdict == ABI_END_DONE &&
                           effect.end.code == 0 && effect.end.zero == 0
                       ? REASON_DONE
                       : refuse(event, REASON_ENVELOPE, "end", "");
        if (reason != REASON_DONE)
            return reason;
    }
}
