// SPDX-License-Identifier: ISC
// Lines of the host log and texts for people: everything a guest wrote is escaped, and rationed.
#include "router/state.h"

#include "core/crash.h"
#include "core/json_line.h"

#include <stdio.h>
#include <string.h>

#define JOURNAL_PER_SECOND 200
#define JOURNAL_BURST 1000

static void line(struct engine *engine, const char *name, const char *level, const void *text, size_t size)
{
    char out[6 * (SYSTEM_NAME_BYTES + 2 + ABI_LOG_BYTES_MAX) + 256];
    struct json_line json;
    json_begin(&json, out, sizeof out - 1);
    json_integer(&json, "time_ms", engine->wall_ms);
    json_string(&json, "unikernel", name);
    json_string(&json, "level", level);
    json_text(&json, "text", text, size);
    size_t length = json_end(&json);
    if (length == 0)
        return;
    out[length] = '\n';
    engine->io.log(engine->io.context, out, length + 1);
}

void journal(struct engine *engine, uint32_t index, uint32_t level, const uint8_t *text, size_t size)
{
    static const char *const levels[] = {"debug", "info", "warning", "error", "refusal"};
    struct receiver *receiver = &engine->receivers[index];
    struct bucket *bucket = &receiver->log_bucket;
    int64_t passed = engine->now_ms - bucket->at_ms;
    int64_t tokens = bucket->tokens + (passed < 60000 ? passed : 60000) * JOURNAL_PER_SECOND;
    bucket->tokens = tokens < JOURNAL_BURST * 1000 ? tokens : JOURNAL_BURST * 1000;
    bucket->at_ms = engine->now_ms;
    if (bucket->tokens < 1000) {
        receiver->log_dropped++;
        engine->is_journal_due = 1;
        return;
    }
    bucket->tokens -= 1000;
    line(engine, receiver->name, levels[level], text, size);
}

void journal_refusal(struct engine *engine, uint32_t index, uint32_t code, const uint8_t *text, size_t size)
{
    char words[SYSTEM_NAME_BYTES + 2 + ABI_LOG_BYTES_MAX];
    const struct system_unikernel *unikernel = &engine->system->unikernels[index]; // only they log
    int length = snprintf(words, sizeof words, "%s%s%.*s", unikernel->refusals[code], size != 0 ? ": " : "",
                          (int)size, (const char *)text);
    journal(engine, index, ABI_LOG_REFUSAL, (const uint8_t *)words, (size_t)length);
}

void journal_tick(struct engine *engine)
{
    engine->is_journal_due = 0;
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct receiver *receiver = &engine->receivers[i];
        if (receiver->log_dropped == 0)
            continue;
        char text[64];
        int size = snprintf(text, sizeof text, "%llu lines dropped", (unsigned long long)receiver->log_dropped);
        receiver->log_dropped = 0;
        line(engine, receiver->name, "warning", text, (size_t)size);
    }
}

// Without the guest's own words the record always fits.
static size_t crash_record(const struct engine *engine, struct event *event, const char *kind,
                           const struct link_effects *effects, const struct link_crash *crash, int has_words)
{
    const struct message *input = &engine->messages[event->message];
    struct json_line json;
    json_begin(&json, event->audit, sizeof event->audit);
    json_string(&json, "kind", "fault");
    json_integer(&json, "time_ms", engine->wall_ms);
    json_string(&json, "unikernel", engine->receivers[event->receiver].name);
    json_string(&json, "reason", kind);
    json_string(&json, "flow", engine->system->flows[input->flow].name);
    json_unsigned(&json, "number", input->number);
    if (has_words)
        json_string(&json, "text", effects->outcome == LINK_CONTRACT ? effects->text : event->text);
    if (crash != NULL) {
        json_unsigned(&json, "address", crash->address);
        json_unsigned(&json, "instruction", crash->instruction);
        json_hex(&json, "build", crash->build_id, sizeof crash->build_id);
        if (has_words)
            json_text(&json, "last_log", crash->last_log, strnlen(crash->last_log, sizeof crash->last_log));
    }
    return json_end(&json);
}

void text_crash(const struct engine *engine, struct event *event, const struct link_effects *effects,
                const struct link_crash *crash)
{
    const char *kind = effects->outcome == LINK_FAULT      ? "fault"
                       : effects->outcome == LINK_DEADLINE ? "deadline"
                                                           : "contract";
    if (crash != NULL)
        crash_text(crash, engine->receivers[event->receiver].name, event->text, sizeof event->text);
    if (crash_record(engine, event, kind, effects, crash, 1) == 0)
        (void)crash_record(engine, event, kind, effects, crash, 0);
}
