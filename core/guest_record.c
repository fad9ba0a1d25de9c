// SPDX-License-Identifier: ISC
// The one parser of guest records: the tender asks it what a guest published, the router what a tender sent.
#include "core/guest_record.h"

#include "core/zero.h"

#include <string.h>

// Each member of the union begins it. About what it holds then, nothing is assumed (docs/proofs.md).
/*@ requires \valid_read(bytes + (0 .. fixed - 1)) && (fixed == 16 || fixed == 24) && \valid(record);
    assigns *record \from bytes[0 .. fixed - 1];
    ensures record->kind == \old(record->kind); */
static void copy_fields(struct guest_record *record, const uint8_t *bytes, size_t fixed)
{
    memcpy(&record->read, bytes, 16);
    if (fixed == 24) // sizes that the compiler knows: no call
        memcpy((uint8_t *)&record->read + 16, bytes + 16, 8);
}

//@ requires \valid_read(bytes + (0 .. sizeof(struct abi_record) - 1)); assigns \result \from bytes[0 .. 7];
static struct abi_record copy_header(const uint8_t *bytes)
{
    struct abi_record header;
    memcpy(&header, bytes, sizeof header);
    return header;
}

/*@ requires \valid_read(read);
    assigns \nothing;
    ensures \result ==> read->from_bytes <= ABI_KEY_BYTES_MAX && read->end_bytes <= ABI_KEY_BYTES_MAX; */
static int is_read_good(const struct abi_read *read)
{
    int is_get = read->op == ABI_READ_GET;
    return read->op >= ABI_READ_GET && read->op <= ABI_READ_INDEX && read->limit >= 1 &&
           read->limit <= ABI_RANGE_ITEMS_MAX && read->from_bytes <= ABI_KEY_BYTES_MAX &&
           read->end_bytes <= ABI_KEY_BYTES_MAX && read->zero[0] == 0 && read->zero[1] == 0 &&
           read->zero[2] == 0 && (!is_get || read->limit == 1);
}

/*@ requires \valid_read(write);
    assigns \nothing;
    ensures \result ==> write->key_bytes <= ABI_KEY_BYTES_MAX && write->value_bytes <= ABI_PAYLOAD_BYTES_MAX; */
static int is_write_good(const struct abi_write *write)
{
    uint32_t value_most = write->op == ABI_WRITE_PUT ? ABI_PAYLOAD_BYTES_MAX : 0;
    return (write->op == ABI_WRITE_PUT || write->op == ABI_WRITE_DELETE) && write->zero == 0 &&
           write->key_bytes != 0 && write->key_bytes <= ABI_KEY_BYTES_MAX && write->value_bytes <= value_most;
}

struct parts { // sizes of the two variable parts
    size_t first, second;
};

/*@ requires \valid_read(record) && record_is_known(record);
    assigns \nothing;
    ensures \result.first == first_of(record) && \result.second == second_of(record); */
static struct parts parts_of(const struct guest_record *record)
{
    switch (record->kind) {
    case ABI_READ:
        return (struct parts){record->read.from_bytes, record->read.end_bytes};
    case ABI_SEND:
        return (struct parts){record->send.context_bytes, record->send.payload_bytes};
    case ABI_WRITE:
        return (struct parts){record->write.key_bytes, record->write.value_bytes};
    case ABI_LOG:
        return (struct parts){record->log.text_bytes, 0};
    default: // END
        return (struct parts){0, 0};
    }
}

/*@ assigns \nothing;
    ensures \result && is_refusal ==> code < refusal_count; */
static int is_code_good(int is_refusal, uint16_t code, uint32_t refusal_count)
{
    return is_refusal ? code < refusal_count : code == 0;
}

/*@ requires \valid_read(log);
    assigns \nothing;
    ensures \result ==> log->text_bytes <= ABI_LOG_BYTES_MAX; */
static int is_log_good(const struct abi_log *log, uint32_t refusal_count)
{
    return log->level <= ABI_LOG_REFUSAL && log->text_bytes <= ABI_LOG_BYTES_MAX &&
           is_code_good(log->level == ABI_LOG_REFUSAL, log->code, refusal_count);
}

/*@ requires \valid_read(end);
    assigns \nothing;
    ensures \result && end->verdict == ABI_END_REFUSED ==> end->code < refusal_count; */
static int is_end_good(const struct abi_end *end, uint32_t refusal_count)
{
    return end->zero == 0 && end->verdict <= ABI_END_REFUSED &&
           is_code_good(end->verdict == ABI_END_REFUSED, end->code, refusal_count);
}

// Whether every field is within its range: NULL or why not.
/*@ requires \valid_read(record) && record_is_known(record);
    assigns \nothing;
    ensures \result == \null ==> first_of(record) <= ABI_PAYLOAD_BYTES_MAX &&
        second_of(record) <= ABI_PAYLOAD_BYTES_MAX && record_refuses_below(record, refusal_count); */
static const char *judge_fields(const struct guest_record *record, uint32_t refusal_count)
{
    switch (record->kind) {
    case ABI_READ:
        return is_read_good(&record->read) ? NULL : "READ with a kind, limit or key out of range";
    case ABI_SEND:
        return (record->send.flags & ~(unsigned)(ABI_SEND_REPLY | ABI_SEND_RECEIPT)) == 0 &&
                       record->send.context_bytes <= ABI_CONTEXT_BYTES_MAX &&
                       record->send.payload_bytes <= ABI_PAYLOAD_BYTES_MAX
                   ? NULL
                   : "SEND with flags, a context or a payload out of range";
    case ABI_WRITE:
        return is_write_good(&record->write) ? NULL : "WRITE with a kind, key or value out of range";
    case ABI_LOG:
        return is_log_good(&record->log, refusal_count) ? NULL : "LOG with a level, code or text out of range";
    default:
        break;
    }
    return is_end_good(&record->end, refusal_count) ? NULL : "END with a verdict or code out of range";
}

// Of the struct of that kind of record, or 0.
/*@ assigns \nothing;
    ensures ABI_READ <= kind <= ABI_END ==> \result == (kind == ABI_LOG || kind == ABI_END ? 16 : 24);
    ensures !(ABI_READ <= kind <= ABI_END) ==> \result == 0; */
static size_t fixed_size(uint16_t kind)
{
    if (kind == ABI_LOG || kind == ABI_END)
        return 16;
    return kind >= ABI_READ && kind <= ABI_END ? 24 : 0;
}
_Static_assert(sizeof(struct abi_read) == 24 && sizeof(struct abi_send) == 24 && sizeof(struct abi_write) == 24 &&
                   sizeof(struct abi_log) == 16 && sizeof(struct abi_end) == 16, "fixed_size");

/*@ requires ABI_READ <= kind <= ABI_END && \valid(record) && (fixed == 16 <==> kind == ABI_LOG || kind == ABI_END);
    requires (fixed == 16 || fixed == 24) && \valid_read(bytes + (0 .. fixed - 1));
    assigns *record;
    ensures record->kind == kind && record->first == bytes + fixed_of(record);
    ensures record->second == record->first + aligned8(first_of(record));
    ensures \result.first == first_of(record) && \result.second == second_of(record); */
static inline struct parts split(const uint8_t *bytes, uint16_t kind, size_t fixed, struct guest_record *record)
{
    record->kind = kind;
    copy_fields(record, bytes, fixed);
    struct parts parts = parts_of(record);
    record->first = bytes + fixed;
    record->second = record->first + ABI_ALIGN8(parts.first);
    return parts;
}

void guest_record_open(const uint8_t *bytes, uint16_t kind, struct guest_record *record)
{
    (void)split(bytes, kind, fixed_size(kind), record);
}

const char *guest_record_next(const uint8_t *bytes, size_t size, size_t *at, uint32_t refusal_count,
                              struct guest_record *record)
{
    if (size - *at < sizeof(struct abi_record))
        return "record with a wrong size";
    struct abi_record header = copy_header(bytes + *at);
    size_t fixed = fixed_size(header.kind);
    if (header.size < sizeof header || header.size % 8 != 0 || header.size > size - *at || header.zero != 0)
        return "record with a wrong size";
    const uint8_t *start = bytes + *at;
    *at += header.size;
    if (fixed == 0)
        return "record of an unknown kind";
    //@ assert ABI_READ <= header.kind <= ABI_END && fixed == (header.kind == ABI_LOG || header.kind == ABI_END ? 16 : 24);
    if (header.size < fixed)
        return "record that is too short";
    struct parts parts = split(start, header.kind, fixed, record);
    const char *why = judge_fields(record, refusal_count);
    if (why != NULL)
        return why;
    if (header.size != fixed + ABI_ALIGN8(parts.first) + ABI_ALIGN8(parts.second))
        return "record that its parts do not fill";
    if (!is_zero(record->first, parts.first, ABI_ALIGN8(parts.first)) ||
        !is_zero(record->second, parts.second, ABI_ALIGN8(parts.second)))
        return "record with padding that is not zero";
    //@ assert fixed == fixed_of(record) && parts.first == first_of(record) && parts.second == second_of(record);
    //@ assert record_is_known(record) && record_refuses_below(record, refusal_count);
    //@ assert record->first == bytes + (\at(*at, Pre) + fixed_of(record));
    //@ assert record->second == record->first + aligned8(first_of(record));
    //@ assert \at(*at, Pre) + fixed_of(record) + aligned8(first_of(record)) + aligned8(second_of(record)) == *at;
    return NULL;
}
