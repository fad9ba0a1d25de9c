// SPDX-License-Identifier: ISC
// Lines of the host log: everything a guest wrote is escaped, and rationed.
#include "router/state.h"

#include "core/json_line.h"

#include <stdio.h>
#include <string.h>

#define JOURNAL_PER_SECOND 200u
#define JOURNAL_BURST 1000u

static void line(struct engine *engine, const char *name, const char *level, const char *text, size_t size)
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

void journal(struct engine *engine, uint32_t index, uint32_t level, const char *refusal, const void *text,
             size_t size)
{
    static const char *const levels[] = {"debug", "info", "warning", "error", "refusal"};
    struct receiver *receiver = &engine->receivers[index];
    if (!bucket_has(engine, &receiver->log_bucket, JOURNAL_PER_SECOND, JOURNAL_BURST, 1)) {
        receiver->log_dropped++;
        return;
    }
    receiver->log_bucket.tokens -= 1000;
    char words[SYSTEM_NAME_BYTES + 2 + ABI_LOG_BYTES_MAX];
    int length = snprintf(words, sizeof words, "%s%s", refusal, refusal[0] != 0 && size != 0 ? ": " : "");
    memcpy(words + length, text, size);
    line(engine, receiver->is->name, levels[level], words, (size_t)length + size);
}

void journal_tick(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct receiver *receiver = &engine->receivers[i];
        char text[64];
        if (receiver->log_dropped == 0)
            continue;
        int size = snprintf(text, sizeof text, "%llu lines dropped",
                            (unsigned long long)receiver->log_dropped);
        receiver->log_dropped = 0;
        line(engine, receiver->is->name, "warning", text, (size_t)size);
    }
}
