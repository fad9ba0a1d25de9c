// SPDX-License-Identifier: ISC
// The parser of guest records. `bytes` is private memory, 8-byte aligned.
#include "tender/records.h"

#include <stdio.h>
#include <string.h>

// Bytes [used, padded) behind a variable part are zero.
static int is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

// Two variable parts behind a struct of `fixed` bytes fill the record exactly, padding zero.
static int parts_fit(const uint8_t *record, size_t size, size_t fixed, size_t first, size_t second)
{
    if (size != fixed + ABI_ALIGN8(first) + ABI_ALIGN8(second))
        return 0;
    const uint8_t *behind = record + fixed + ABI_ALIGN8(first);
    return is_zero(record + fixed + first, ABI_ALIGN8(first) - first) &&
           is_zero(behind + second, ABI_ALIGN8(second) - second);
}

static const char *judge_read(const uint8_t *bytes, size_t size)
{
    struct abi_read read;
    if (size < sizeof read)
        return "READ is too short";
    memcpy(&read, bytes, sizeof read);
    if (read.op < ABI_READ_GET || read.op > ABI_READ_INDEX)
        return "READ of an unknown kind";
    if (read.limit < 1 || read.limit > ABI_RANGE_ITEMS_MAX ||
        (read.op == ABI_READ_GET && read.limit != 1))
        return "READ with a limit out of range";
    if (read.from_bytes > ABI_KEY_BYTES_MAX || read.end_bytes > ABI_KEY_BYTES_MAX)
        return "READ with a key that is too long";
    if (read.zero[0] != 0 || read.zero[1] != 0 || read.zero[2] != 0 ||
        !parts_fit(bytes, size, sizeof read, read.from_bytes, read.end_bytes))
        return "READ with a wrong size or padding";
    return NULL;
}

static const char *judge_send(const uint8_t *bytes, size_t size)
{
    struct abi_send send;
    if (size < sizeof send)
        return "SEND is too short";
    memcpy(&send, bytes, sizeof send);
    if ((send.flags & ~(unsigned)ABI_SEND_REPLY) != 0)
        return "SEND with unknown flags";
    if (send.context_bytes > ABI_CONTEXT_BYTES_MAX)
        return "SEND with a context that is too long";
    if (send.payload_bytes > ABI_PAYLOAD_BYTES_MAX)
        return "SEND with a payload that is too long";
    if (!parts_fit(bytes, size, sizeof send, send.context_bytes, send.payload_bytes))
        return "SEND with a wrong size or padding";
    return NULL;
}

static const char *judge_write(const uint8_t *bytes, size_t size)
{
    struct abi_write record;
    if (size < sizeof record)
        return "WRITE is too short";
    memcpy(&record, bytes, sizeof record);
    if (record.op != ABI_WRITE_PUT && record.op != ABI_WRITE_DELETE)
        return "WRITE of an unknown kind";
    if (record.key_bytes > ABI_KEY_BYTES_MAX)
        return "WRITE with a key that is too long";
    if (record.value_bytes > ABI_PAYLOAD_BYTES_MAX ||
        (record.op == ABI_WRITE_DELETE && record.value_bytes != 0))
        return "WRITE with a value that is too long";
    if (record.zero != 0 ||
        !parts_fit(bytes, size, sizeof record, record.key_bytes, record.value_bytes))
        return "WRITE with a wrong size or padding";
    return NULL;
}

static const char *judge_log(const uint8_t *bytes, size_t size, uint32_t refusal_count)
{
    struct abi_log log;
    if (size < sizeof log)
        return "LOG is too short";
    memcpy(&log, bytes, sizeof log);
    if (log.level > ABI_LOG_REFUSAL)
        return "LOG of an unknown level";
    if (log.level == ABI_LOG_REFUSAL ? log.code >= refusal_count : log.code != 0)
        return "LOG with a code out of range";
    if (log.text_bytes > ABI_LOG_BYTES_MAX)
        return "LOG that is too long";
    if (!parts_fit(bytes, size, sizeof log, log.text_bytes, 0))
        return "LOG with a wrong size or padding";
    return NULL;
}

static const char *judge_end(const uint8_t *bytes, size_t size, uint32_t refusal_count,
                             struct records_verdict *verdict)
{
    struct abi_end end;
    if (size != sizeof end)
        return "END with a wrong size";
    memcpy(&end, bytes, sizeof end);
    if (end.zero != 0 || end.verdict > ABI_END_REFUSED)
        return "END with an unknown verdict";
    if (end.verdict == ABI_END_REFUSED ? end.code >= refusal_count : end.code != 0)
        return "END with a code out of range";
    verdict->kind = end.verdict == ABI_END_REFUSED ? RECORDS_REFUSED : RECORDS_DONE;
    verdict->code = end.code;
    return NULL;
}

// Header of the record at `at`, or 0 bytes if what is left cannot hold it.
static struct abi_record header_at(const uint8_t *bytes, size_t size, size_t at)
{
    struct abi_record record = {0};
    if (size - at < sizeof record)
        return (struct abi_record){0};
    memcpy(&record, bytes + at, sizeof record);
    if (record.size < sizeof record || record.size % 8 != 0 || record.size > size - at ||
        record.zero != 0)
        return (struct abi_record){0};
    return record;
}

enum status records_judge(const uint8_t *bytes, size_t size, uint32_t refusal_count,
                          struct records_verdict *verdict)
{
    struct records_verdict made = {.kind = RECORDS_READ};
    unsigned reads = 0;
    int has_end = 0;
    for (size_t at = 0; at < size && made.why == NULL;) {
        struct abi_record record = header_at(bytes, size, at);
        const uint8_t *here = bytes + at;
        if (record.size == 0)
            made.why = "record with a wrong size";
        else if (has_end)
            made.why = "record behind END";
        else if (record.kind == ABI_READ) {
            made.why = judge_read(here, record.size);
            reads++;
        } else if (record.kind == ABI_SEND)
            made.why = judge_send(here, record.size);
        else if (record.kind == ABI_WRITE)
            made.why = judge_write(here, record.size);
        else if (record.kind == ABI_LOG)
            made.why = judge_log(here, record.size, refusal_count);
        else if (record.kind == ABI_END) {
            made.why = judge_end(here, record.size, refusal_count, &made);
            has_end = 1;
        } else
            made.why = "record of an unknown kind";
        at += record.size;
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
        struct abi_record record = header_at(bytes, size, at);
        if (record.size == 0)
            break;
        if (record.kind == ABI_LOG && judge_log(bytes + at, record.size, UINT16_MAX) == NULL) {
            struct abi_log log;
            memcpy(&log, bytes + at, sizeof log);
            escape(last_log, ABI_LOG_BYTES_MAX, bytes + at + sizeof log, log.text_bytes);
            memmove(bytes + kept, bytes + at, record.size);
            kept += record.size;
        }
        at += record.size;
    }
    return kept;
}
