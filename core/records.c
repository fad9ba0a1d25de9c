// SPDX-License-Identifier: ISC
// What a guest may publish in one wait. `bytes` is private memory, 8-byte aligned.
#include "core/records.h"

#include "core/guest_record.h"

#include <stdio.h>
#include <string.h>

enum status records_judge(const uint8_t *bytes, size_t size, uint32_t refusal_count,
                          struct records_verdict *verdict)
{
    struct records_verdict made = {.kind = RECORDS_READ};
    unsigned reads = 0;
    int has_end = 0;
    for (size_t at = 0; at < size && made.why == NULL;) {
        struct guest_record record;
        made.why = has_end ? "record behind END" : guest_record_next(bytes, size, &at, refusal_count, &record);
        if (made.why != NULL)
            break;
        reads += record.kind == ABI_READ;
        has_end = record.kind == ABI_END;
        if (!has_end)
            continue;
        made.kind = record.end.verdict == ABI_END_REFUSED ? RECORDS_REFUSED : RECORDS_DONE;
        made.code = record.end.code;
    }
    if (made.why == NULL && reads > ABI_READS_PER_WAIT_MAX)
        made.why = "too many READs in one wait";
    if (made.why == NULL && has_end && reads != 0)
        made.why = "READ together with END";
    if (made.why == NULL && !has_end && reads == 0)
        made.why = "wait without READ or END";
    *verdict = made;
    return made.why == NULL ? STATUS_OK : STATUS_MALFORMED;
}

size_t records_split(uint8_t *bytes, size_t size, uint8_t *reads, size_t *read_bytes)
{
    size_t kept = 0, read = 0;
    for (size_t at = 0; at < size;) {
        struct abi_record record;
        memcpy(&record, bytes + at, sizeof record);
        if (record.kind == ABI_READ) {
            memcpy(reads + read, bytes + at, record.size);
            read += record.size;
        } else {
            memmove(bytes + kept, bytes + at, record.size);
            kept += record.size;
        }
        at += record.size;
    }
    *read_bytes = read;
    return kept;
}

static void escape(char *to, size_t capacity, const uint8_t *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        int is_plain = text[i] >= 0x20 && text[i] < 0x7f && text[i] != '\\';
        if (used + (is_plain ? 1 : 4) >= capacity)
            break;
        if (is_plain)
            to[used++] = (char)text[i];
        else
            used += (size_t)snprintf(to + used, capacity - used, "\\x%02x", text[i]);
    }
    to[used] = 0;
}

size_t records_salvage(uint8_t *bytes, size_t size, char last_log[ABI_LOG_BYTES_MAX])
{
    size_t kept = 0;
    last_log[0] = 0;
    for (size_t at = 0; at < size;) {
        struct guest_record record;
        size_t begin = at;
        const char *why = guest_record_next(bytes, size, &at, UINT16_MAX + 1u, &record);
        if (at == begin)
            break;
        if (why != NULL || record.kind != ABI_LOG)
            continue;
        escape(last_log, ABI_LOG_BYTES_MAX, record.first, record.log.text_bytes);
        memmove(bytes + kept, bytes + begin, at - begin);
        kept += at - begin;
    }
    return kept;
}
