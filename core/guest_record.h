// SPDX-License-Identifier: ISC
// The form of one guest record (abi/abi.h): sizes, ranges, zero padding. Pure; works on a private copy.
//
// What a record means (is the flow allowed, does the message fit its schema) is the router's to judge.
#ifndef CRENEL_CORE_GUEST_RECORD_H
#define CRENEL_CORE_GUEST_RECORD_H

#include "abi/abi.h"

#include <stddef.h>

struct guest_record {
    uint16_t kind;
    union {
        struct abi_read read;
        struct abi_send send;
        struct abi_write write;
        struct abi_log log;
        struct abi_end end;
    };
    const uint8_t *first, *second; // the variable parts: context and payload, key and value, from and end, text
};

// The variable parts have sizes that the struct names, and lie inside bytes[from .. to).
/*@ logic integer fixed_of(struct guest_record *r) =
        r->kind == ABI_LOG || r->kind == ABI_END ? 16 : 24;
    logic integer first_of(struct guest_record *r) =
        r->kind == ABI_READ ? r->read.from_bytes : r->kind == ABI_SEND ? r->send.context_bytes :
        r->kind == ABI_WRITE ? r->write.key_bytes : r->kind == ABI_LOG ? r->log.text_bytes : 0;
    logic integer second_of(struct guest_record *r) =
        r->kind == ABI_READ ? r->read.end_bytes : r->kind == ABI_SEND ? r->send.payload_bytes :
        r->kind == ABI_WRITE ? r->write.value_bytes : 0;
    predicate record_is_known(struct guest_record *r) = ABI_READ <= r->kind <= ABI_END;
    logic integer aligned8(integer n) = (n + 7) / 8 * 8;
    predicate record_is_inside(struct guest_record *r, uint8_t *bytes, integer from, integer to) =
        r->first == bytes + (from + fixed_of(r)) && r->second == r->first + aligned8(first_of(r)) &&
        from + fixed_of(r) + aligned8(first_of(r)) + aligned8(second_of(r)) == to;
    predicate record_refuses_below(struct guest_record *r, integer refusal_count) =
        r->kind == ABI_END && r->end.verdict == ABI_END_REFUSED ==> r->end.code < refusal_count;
*/

// Takes the record at *at. A refusal that it names is below refusal_count. NULL: it is well formed; else the rule that
// it breaks (static text). *at moves behind the record whenever its size can be believed.
/*@ requires *at <= size <= 0x1000000 && (size > 0 ==> \valid_read(bytes + (0 .. size - 1)));
    requires \valid(at) && \valid(record) && \separated(at, record);
    assigns *at, *record;
    ensures \old(*at) <= *at <= size;
    ensures \result == \null ==> \old(*at) + 8 <= *at;
    ensures \result == \null ==> record_is_known(record) && record_refuses_below(record, refusal_count);
    ensures \result == \null ==> record_is_inside(record, bytes, \old(*at), *at); */
const char *guest_record_next(const uint8_t *bytes, size_t size, size_t *at, uint32_t refusal_count,
                              struct guest_record *record);

// The same of a record that was taken before, and has not changed since: not judged again.
/*@ requires ABI_READ <= kind <= ABI_END && \valid(record);
    requires \valid_read(bytes + (0 .. (kind == ABI_LOG || kind == ABI_END ? 15 : 23)));
    assigns *record;
    ensures record->kind == kind && record->first == bytes + fixed_of(record);
    ensures record->second == record->first + aligned8(first_of(record)); */
void guest_record_open(const uint8_t *bytes, uint16_t kind, struct guest_record *record);

#endif
