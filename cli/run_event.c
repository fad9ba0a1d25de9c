// SPDX-License-Identifier: ISC
// Judging as the router does (router/judge.c), as far as one unikernel alone can be judged: its own
// manifest's limits, schemas, namespaces and keys. The form of the records is checked again: a tender that was
// taken over by its guest may send anything.
#include "cli/run_event.h"

#include "cli/message_json.h"
#include "core/crash.h"
#include "core/records.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verdict {
    enum reason reason;
    char where[96];
};

static void print_json(cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        puts(text);
    fflush(stdout);
    free(text);
    cJSON_Delete(object);
}

static cJSON *line_begin(cJSON **inner, const char *name)
{
    cJSON *line = cJSON_CreateObject();
    *inner = cJSON_AddObjectToObject(line, name);
    return line;
}

static void add_number(cJSON *object, const char *key, double value)
{
    (void)cJSON_AddNumberToObject(object, key, value);
}

static void add_text(cJSON *object, const char *key, const char *text)
{
    (void)cJSON_AddStringToObject(object, key, text);
}

static void add_bytes(cJSON *object, const char *key, const uint8_t *bytes, size_t size)
{
    char text[2 * ABI_LOG_BYTES_MAX + 2 * ABI_CONTEXT_BYTES_MAX + 1];
    int is_plain = 1;
    for (size_t i = 0; i < size; i++)
        is_plain = is_plain && bytes[i] >= 0x20 && bytes[i] < 0x7f;
    if (is_plain) {
        snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
        add_text(object, key, text);
        return;
    }
    for (size_t i = 0; i < size && 2 * i + 3 < sizeof text; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    cJSON *hex = cJSON_AddObjectToObject(object, key);
    add_text(hex, "hex", size == 0 ? "" : text);
}

void run_print_refused(const char *reason, const char *where, const char *what)
{
    cJSON *inner, *line = line_begin(&inner, "refused");
    add_text(inner, "reason", reason);
    if (where != NULL && where[0] != 0)
        add_text(inner, "where", where);
    if (what != NULL)
        add_text(inner, "what", what);
    print_json(line);
}

static void refuse(struct verdict *verdict, enum reason reason, const char *name, const char *detail)
{
    verdict->reason = reason;
    snprintf(verdict->where, sizeof verdict->where, "%s%s%s", name, detail[0] != 0 ? "." : "", detail);
}

static int is_valid(struct verdict *verdict, const struct schema *schema, const char *name,
                    const uint8_t *bytes, size_t size)
{
    uint16_t field = UINT16_MAX;
    enum reason reason = schema_check(schema, bytes, size, &field);
    if (reason == REASON_DONE)
        return 1;
    refuse(verdict, reason, name,
           field < schema->header->field_count ? schema->fields[field].name : "");
    return 0;
}

static void judge_send(const struct manifest *manifest, const uint8_t *bytes, unsigned counts[],
                       struct verdict *verdict)
{
    struct abi_send send;
    memcpy(&send, bytes, sizeof send);
    if (send.flow >= manifest->header->output_count) {
        refuse(verdict, REASON_FLOW, "no such output", "");
        return;
    }
    const struct manifest_flow *flow = &manifest->outputs[send.flow];
    const uint8_t *payload = bytes + sizeof send + ABI_ALIGN8((size_t)send.context_bytes);
    if (++counts[send.flow] > flow->count_max)
        refuse(verdict, REASON_BUDGET, flow->name, "");
    else
        (void)is_valid(verdict, &manifest->schemas[flow->schema], flow->name, payload,
                       send.payload_bytes);
}

static void judge_write(const struct manifest *manifest, const uint8_t *bytes, unsigned *writes,
                        struct verdict *verdict)
{
    struct abi_write write;
    uint8_t key[ABI_KEY_BYTES_MAX];
    memcpy(&write, bytes, sizeof write);
    if (write.namespace_index >= manifest->header->namespace_count) {
        refuse(verdict, REASON_NAMESPACE, "no such namespace", "");
        return;
    }
    const struct manifest_namespace *space = &manifest->namespaces[write.namespace_index];
    const struct schema *schema = &manifest->schemas[space->schema];
    const uint8_t *given = bytes + sizeof write;
    const uint8_t *value = given + ABI_ALIGN8((size_t)write.key_bytes);
    if ((space->access & 2) == 0)
        refuse(verdict, REASON_NAMESPACE, space->name, "");
    else if (++*writes > manifest->header->writes_max)
        refuse(verdict, REASON_BUDGET, space->name, "");
    else if (write.op == ABI_WRITE_PUT &&
             is_valid(verdict, schema, space->name, value, write.value_bytes) &&
             (schema_key(schema, space->key_fields, space->key_count, value, write.value_bytes, key,
                         sizeof key) != write.key_bytes ||
              memcmp(key, given, write.key_bytes) != 0))
        refuse(verdict, REASON_NAMESPACE, space->name, "key");
}

static void judge(const struct manifest *manifest, const uint8_t *records, size_t size,
                  struct verdict *verdict)
{
    unsigned counts[MANIFEST_FLOWS_MAX] = {0}, writes = 0;
    *verdict = (struct verdict){.reason = REASON_DONE};
    for (size_t at = 0; at < size && verdict->reason == REASON_DONE;) {
        struct abi_record record;
        memcpy(&record, records + at, sizeof record);
        if (record.kind == ABI_SEND)
            judge_send(manifest, records + at, counts, verdict);
        else if (record.kind == ABI_WRITE)
            judge_write(manifest, records + at, &writes, verdict);
        at += record.size;
    }
}

// A timer comes back on the input of the same name, else on the only one with its schema.
static int timer_input(const struct manifest *manifest, const struct manifest_flow *output)
{
    int found = -1;
    for (unsigned i = 0; i < manifest->header->input_count; i++) {
        const struct manifest_flow *input = &manifest->inputs[i];
        if (memcmp(input->schema_digest, output->schema_digest, SCHEMA_DIGEST_BYTES) != 0)
            continue;
        if (strcmp(input->name, output->name) == 0)
            return (int)i;
        found = found < 0 ? (int)i : -2;
    }
    return found;
}

static void add_timer(const struct manifest *manifest, const struct abi_send *send,
                      const uint8_t *bytes, struct run_timers *timers)
{
    int input = timer_input(manifest, &manifest->outputs[send->flow]);
    if (input < 0 || timers == NULL || timers->count == RUN_TIMERS_MAX)
        return;
    struct run_timer *timer = &timers->timers[timers->count++];
    *timer = (struct run_timer){.due_ms = timers->now_ms + send->delay_ms,
                                .order = timers->order++,
                                .connection = timers->connection,
                                .input = (uint16_t)input,
                                .context_bytes = send->context_bytes,
                                .payload_bytes = send->payload_bytes};
    memcpy(timer->bytes, bytes, ABI_ALIGN8((size_t)send->context_bytes) + send->payload_bytes);
}

static void take_send(const struct manifest *manifest, const uint8_t *bytes,
                      struct run_timers *timers)
{
    struct abi_send send;
    memcpy(&send, bytes, sizeof send);
    const struct manifest_flow *flow = &manifest->outputs[send.flow];
    const uint8_t *context = bytes + sizeof send;
    cJSON *line = cJSON_CreateObject();
    add_text(line, "flow", flow->name);
    (void)cJSON_AddItemToObject(
        line, "message",
        message_to_json(&manifest->schemas[flow->schema],
                        context + ABI_ALIGN8((size_t)send.context_bytes), send.payload_bytes));
    if (send.context_bytes != 0)
        add_bytes(line, "context", context, send.context_bytes);
    if ((send.flags & ABI_SEND_REPLY) != 0)
        (void)cJSON_AddTrueToObject(line, "reply");
    if ((send.flags & ABI_SEND_RECEIPT) != 0)
        (void)cJSON_AddTrueToObject(line, "receipt");
    if (send.delay_ms != 0) {
        add_number(line, "delay_ms", send.delay_ms);
        add_timer(manifest, &send, context, timers);
    }
    print_json(line);
}

static void take_write(const struct manifest *manifest, const uint8_t *bytes,
                       struct run_store *store)
{
    struct abi_write write;
    memcpy(&write, bytes, sizeof write);
    const struct manifest_namespace *space = &manifest->namespaces[write.namespace_index];
    const uint8_t *key = bytes + sizeof write;
    cJSON *inner, *line = line_begin(&inner, write.op == ABI_WRITE_PUT ? "write" : "delete");
    add_text(inner, "namespace", space->name);
    if (write.op == ABI_WRITE_PUT)
        (void)cJSON_AddItemToObject(
            inner, "record",
            message_to_json(&manifest->schemas[space->schema],
                            key + ABI_ALIGN8((size_t)write.key_bytes), write.value_bytes));
    else
        add_bytes(inner, "key", key, write.key_bytes);
    print_json(line);
    run_store_write(store, bytes);
}

static void print_log(const struct manifest *manifest, const uint8_t *bytes)
{
    static const char *const levels[] = {"debug", "info", "warning", "error", "refusal"};
    struct abi_log log;
    memcpy(&log, bytes, sizeof log);
    cJSON *inner, *line = line_begin(&inner, "log");
    add_text(inner, "level", log.level <= ABI_LOG_REFUSAL ? levels[log.level] : "?");
    if (log.level == ABI_LOG_REFUSAL && log.code < manifest->header->refusal_count)
        add_text(inner, "reason", manifest->refusals[log.code].name);
    add_bytes(inner, "text", bytes + sizeof log, log.text_bytes);
    print_json(line);
}

// LOG records are shown however the event ended; the rest only if it ended well.
static void take_records(const struct manifest *manifest, const uint8_t *records, size_t size,
                         int is_done, struct run_store *store, struct run_timers *timers)
{
    for (size_t at = 0; at < size;) {
        struct abi_record record;
        memcpy(&record, records + at, sizeof record);
        if (record.kind == ABI_LOG)
            print_log(manifest, records + at);
        else if (record.kind == ABI_SEND && is_done)
            take_send(manifest, records + at, timers);
        else if (record.kind == ABI_WRITE && is_done)
            take_write(manifest, records + at, store);
        at += record.size;
    }
}

static void print_crash(const char *name, const struct link_crash *crash)
{
    char text[32], words[CRASH_WORDS_BYTES];
    uint64_t instruction = crash_instruction(crash);
    cJSON *inner, *line = line_begin(&inner, name);
    const char *signal = sigabbrev_np((int)crash->signal);
    crash_words(crash, words);
    add_text(inner, "what", words);
    if (crash->signal != 0)
        add_text(inner, "signal", signal != NULL ? signal : "?");
    if (instruction != UINT64_MAX) {
        snprintf(text, sizeof text, "0x%llx", (unsigned long long)instruction);
        add_text(inner, "at", text);
    }
    cJSON *frames = cJSON_AddArrayToObject(inner, "frames");
    for (unsigned i = 0; i < crash->frame_count && i < LINK_FRAMES_MAX; i++) {
        // A return address may belong to the next function already; one less lies in the call.
        snprintf(text, sizeof text, "0x%x", crash->frames[i] - 1);
        (void)cJSON_AddItemToArray(frames, cJSON_CreateString(text));
    }
    for (unsigned i = 0; i < sizeof crash->build_id; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", crash->build_id[i]);
    add_text(inner, "build", text);
    size_t log_bytes = strnlen(crash->last_log, sizeof crash->last_log);
    if (log_bytes != 0)
        add_bytes(inner, "last_log", (const uint8_t *)crash->last_log, log_bytes);
    print_json(line);
}

static void print_text(const char *name, const char *key, const char *text)
{
    cJSON *inner, *line = line_begin(&inner, name);
    add_bytes(inner, key, (const uint8_t *)text, strlen(text));
    print_json(line);
}

// Of an event that ended, all records, in the form that a guest must keep; of any other one the logs that have it.
static int take_form(const struct manifest *manifest, const struct link_effects *effects, uint8_t *records,
                     size_t *size)
{
    struct records_verdict verdict;
    char last_log[ABI_LOG_BYTES_MAX];
    if (effects->outcome == LINK_ENDED)
        return records_judge(records, *size, manifest->header->refusal_count, &verdict) == STATUS_OK &&
               verdict.kind == RECORDS_DONE;
    *size = records_salvage(records, *size, last_log);
    return 1;
}

int run_event_take(const struct manifest *manifest, const uint8_t *packet, size_t size,
                   struct run_store *store, struct run_timers *timers)
{
    static uint8_t records[ABI_OUTPUT_BYTES];
    struct link_effects effects;
    struct link_crash crash = {0};
    memcpy(&effects, packet, sizeof effects);
    effects.text[sizeof effects.text - 1] = 0;
    int has_crash = effects.outcome == LINK_FAULT || effects.outcome == LINK_DEADLINE;
    size_t head = sizeof effects + (has_crash ? sizeof crash : 0);
    if (size < head || size - head != effects.record_bytes || effects.record_bytes > sizeof records) {
        print_text("contract", "what", "the tender sent effects of a wrong size");
        return 0;
    }
    size_t record_bytes = effects.record_bytes;
    memcpy(records, packet + head, record_bytes);
    if (!take_form(manifest, &effects, records, &record_bytes)) {
        print_text("contract", "what", "the tender sent records of a wrong form");
        return 0;
    }
    struct verdict verdict = {.reason = REASON_DONE};
    if (effects.outcome == LINK_ENDED)
        judge(manifest, records, record_bytes, &verdict);
    int is_done = effects.outcome == LINK_ENDED && verdict.reason == REASON_DONE;
    take_records(manifest, records, record_bytes, is_done, store, timers);
    if (has_crash) {
        memcpy(&crash, packet + sizeof effects, sizeof crash);
        print_crash(effects.outcome == LINK_FAULT ? "fault" : "deadline", &crash);
    } else if (effects.outcome == LINK_REFUSED) {
        run_print_refused(effects.code < manifest->header->refusal_count
                              ? manifest->refusals[effects.code].name
                              : "?",
                          NULL, "the unikernel refused its input");
    } else if (effects.outcome == LINK_CONTRACT) {
        print_text("contract", "what", effects.text);
    } else if (effects.outcome == LINK_LOST) {
        print_text("lost", "what", "the instance was killed from outside");
    } else if (verdict.reason != REASON_DONE) {
        run_print_refused(reason_text(verdict.reason), verdict.where,
                          "the effects break what the manifest declares");
    }
    return is_done;
}
