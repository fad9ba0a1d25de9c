// SPDX-License-Identifier: ISC
// What a guest may publish in one wait. `bytes` is private memory, 8-byte aligned.
#include "core/records.h"

#include "core/guest_record.h"

#include <string.h>

enum status records_judge(const uint8_t *bytes, size_t size, uint32_t refusal_count,
                          struct records_verdict *verdict)
{
    struct records_verdict made = {.kind = RECORDS_READ};
    unsigned reads = 0;
    int has_end = 0;
    /*@ loop invariant made.bytes <= size && reads <= made.bytes;
        loop invariant reads > 0 || has_end != 0 ==> made.bytes >= 8;
        loop invariant made.why == \null && made.kind == RECORDS_REFUSED ==> made.code < refusal_count;
        loop assigns made, reads, has_end;
        loop variant size - made.bytes; */
    while (made.bytes < size && made.why == NULL && !has_end) {
        struct guest_record record;
        made.why = guest_record_next(bytes, size, &made.bytes, refusal_count, &record);
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
    /*@ loop invariant at <= size && kept + read <= at;
        loop assigns at, kept, read, bytes[0 .. size - 1], reads[0 .. size - 1];
        loop variant size - at; */
    for (size_t at = 0; at < size;) {
        struct guest_record record;
        size_t begin = at;
        if (guest_record_next(bytes, size, &at, UINT16_MAX + 1u, &record) != NULL)
            break; // never of records that were judged
        if (record.kind == ABI_READ) {
            memcpy(reads + read, bytes + begin, at - begin);
            read += at - begin;
        } else {
            memmove(bytes + kept, bytes + begin, at - begin);
            kept += at - begin;
        }
    }
    *read_bytes = read;
    return kept;
}

//@ requires value < 16; assigns \nothing; ensures '0' <= \result <= 'f';
static char hex_digit(unsigned value)
{
    return (char)(value < 10 ? '0' + value : 'a' + value - 10);
}

/*@ requires 4 < capacity <= 4096 && \valid(to + (0 .. capacity - 1));
    requires size > 0 ==> \valid_read(text + (0 .. size - 1));
    requires \separated(to + (0 .. capacity - 1), text + (0 .. size - 1));
    assigns to[0 .. capacity - 1];
    ensures \exists integer end; 0 <= end < capacity && to[end] == 0 &&
        \forall integer i; 0 <= i < end ==> 0x20 <= to[i] < 0x7f; */
static void escape(char *to, size_t capacity, const uint8_t *text, size_t size)
{
    size_t used = 0;
    /*@ loop invariant i <= size && used < capacity;
        loop invariant \forall integer j; 0 <= j < used ==> 0x20 <= to[j] < 0x7f;
        loop assigns i, used, to[0 .. capacity - 1];
        loop variant size - i; */
    for (size_t i = 0; i < size; i++) {
        int is_plain = text[i] >= 0x20 && text[i] < 0x7f && text[i] != '\\';
        if (used + (is_plain ? 1 : 4) >= capacity)
            break;
        if (is_plain) {
            to[used++] = (char)text[i];
        } else {
            to[used++] = '\\';
            to[used++] = 'x';
            to[used++] = hex_digit(text[i] / 16);
            to[used++] = hex_digit(text[i] % 16);
        }
    }
    to[used] = 0;
}

size_t records_salvage(uint8_t *bytes, size_t size, char last_log[ABI_LOG_BYTES_MAX])
{
    size_t kept = 0;
    last_log[0] = 0;
    /*@ loop invariant at <= size && kept <= at;
        loop assigns at, kept, bytes[0 .. size - 1], last_log[0 .. ABI_LOG_BYTES_MAX - 1];
        loop variant size - at; */
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
