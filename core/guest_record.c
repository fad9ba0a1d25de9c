// SPDX-License-Identifier: ISC
// The one parser of guest records: the tender asks it what a guest published, the router what a tender sent.
#include "core/guest_record.h"

#include "core/zero.h"

#include <string.h>

static int is_read_good(const struct abi_read *read)
{
    int is_get = read->op == ABI_READ_GET;
    return read->op >= ABI_READ_GET && read->op <= ABI_READ_INDEX && read->limit >= 1 &&
           read->limit <= ABI_RANGE_ITEMS_MAX && read->from_bytes <= ABI_KEY_BYTES_MAX &&
           read->end_bytes <= ABI_KEY_BYTES_MAX && is_zero(read->zero, 0, sizeof read->zero) &&
           (!is_get || read->limit == 1);
}

static int is_write_good(const struct abi_write *write)
{
    uint32_t value_most = write->op == ABI_WRITE_PUT ? ABI_PAYLOAD_BYTES_MAX : 0;
    return (write->op == ABI_WRITE_PUT || write->op == ABI_WRITE_DELETE) && write->zero == 0 &&
           write->key_bytes != 0 && write->key_bytes <= ABI_KEY_BYTES_MAX && write->value_bytes <= value_most;
}

// Sizes of the variable parts, and whether every field is within its range.
static const char *judge_fields(const struct guest_record *record, uint32_t refusal_count, size_t parts[2])
{
    const struct abi_send *send = &record->send;
    const struct abi_log *log = &record->log;
    const struct abi_end *end = &record->end;
    parts[0] = parts[1] = 0;
    switch (record->kind) {
    case ABI_READ:
        parts[0] = record->read.from_bytes;
        parts[1] = record->read.end_bytes;
        return is_read_good(&record->read) ? NULL : "READ with a kind, limit or key out of range";
    case ABI_SEND:
        parts[0] = send->context_bytes;
        parts[1] = send->payload_bytes;
        return (send->flags & ~(unsigned)ABI_SEND_REPLY) == 0 && parts[0] <= ABI_CONTEXT_BYTES_MAX &&
                       parts[1] <= ABI_PAYLOAD_BYTES_MAX
                   ? NULL
                   : "SEND with flags, a context or a payload out of range";
    case ABI_WRITE:
        parts[0] = record->write.key_bytes;
        parts[1] = record->write.value_bytes;
        return is_write_good(&record->write) ? NULL : "WRITE with a kind, key or value out of range";
    case ABI_LOG:
        parts[0] = log->text_bytes;
        return log->level <= ABI_LOG_REFUSAL && log->text_bytes <= ABI_LOG_BYTES_MAX &&
                       (log->level == ABI_LOG_REFUSAL ? log->code < refusal_count : log->code == 0)
                   ? NULL
                   : "LOG with a level, code or text out of range";
    default: // END
        return end->zero == 0 && end->verdict <= ABI_END_REFUSED &&
                       (end->verdict == ABI_END_REFUSED ? end->code < refusal_count : end->code == 0)
                   ? NULL
                   : "END with a verdict or code out of range";
    }
}

const char *guest_record_next(const uint8_t *bytes, size_t size, size_t *at, uint32_t refusal_count,
                              struct guest_record *record)
{
    static const size_t fixed_sizes[] = {[ABI_READ] = sizeof(struct abi_read),
                                         [ABI_SEND] = sizeof(struct abi_send),
                                         [ABI_WRITE] = sizeof(struct abi_write),
                                         [ABI_LOG] = sizeof(struct abi_log),
                                         [ABI_END] = sizeof(struct abi_end)};
    struct abi_record header;
    size_t parts[2];
    if (size - *at < sizeof header)
        return "record with a wrong size";
    memcpy(&header, bytes + *at, sizeof header);
    size_t fixed = header.kind < sizeof fixed_sizes / sizeof fixed_sizes[0] ? fixed_sizes[header.kind] : 0;
    if (header.size < sizeof header || header.size % 8 != 0 || header.size > size - *at || header.zero != 0)
        return "record with a wrong size";
    const uint8_t *start = bytes + *at;
    *at += header.size;
    if (fixed == 0)
        return "record of an unknown kind";
    if (header.size < fixed)
        return "record that is too short";
    record->kind = header.kind;
    memcpy(&record->read, start, fixed); // each member of the union begins it
    const char *why = judge_fields(record, refusal_count, parts);
    if (why != NULL)
        return why;
    record->first = start + fixed;
    record->second = record->first + ABI_ALIGN8(parts[0]);
    if (header.size != fixed + ABI_ALIGN8(parts[0]) + ABI_ALIGN8(parts[1]))
        return "record that its parts do not fill";
    if (!is_zero(record->first, parts[0], ABI_ALIGN8(parts[0])) ||
        !is_zero(record->second, parts[1], ABI_ALIGN8(parts[1])))
        return "record with padding that is not zero";
    return NULL;
}
