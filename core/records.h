// SPDX-License-Identifier: ISC
// What a guest published in one wait: order and number of records; the form of each is core/guest_record.h's.
#ifndef CRENEL_CORE_RECORDS_H
#define CRENEL_CORE_RECORDS_H

#include "abi/abi.h"
#include "core/status.h"

#include <stddef.h>

enum records_kind {
    RECORDS_READ,    // at least one READ, no END: the guest waits for an ANSWER
    RECORDS_DONE,    // ends in END with verdict DONE
    RECORDS_REFUSED, // ends in END with verdict REFUSED
};

struct records_verdict {
    enum records_kind kind;
    uint16_t code;     // REFUSED: index into the manifest's refusals
    const char *why;   // when malformed: which rule the guest broke (static)
    size_t bytes;      // judged: up to the first END, and with it; behind it come records of the next event
};

// Judges what was published for one event, up to its END or all. STATUS_MALFORMED: verdict->why says how.
/*@ requires size > 0 ==> \valid_read(bytes + (0 .. size - 1));
    requires size <= ABI_OUTPUT_BYTES && \valid(verdict);
    assigns *verdict;
    ensures \result == STATUS_OK <==> verdict->why == \null;
    ensures verdict->bytes <= size && (\result == STATUS_OK ==> verdict->bytes >= 8);
    ensures \result == STATUS_OK && verdict->kind == RECORDS_REFUSED ==> verdict->code < refusal_count; */
enum status records_judge(const uint8_t *bytes, size_t size, uint32_t refusal_count,
                          struct records_verdict *verdict) MUST_USE;

// Splits judged records in place: READs are copied to `reads` (room for `size`), the others move up.
// Returns how many bytes of others remain; *read_bytes is the size of the READs.
/*@ requires size > 0 ==> \valid(bytes + (0 .. size - 1)) && \valid(reads + (0 .. size - 1));
    requires size <= ABI_OUTPUT_BYTES && \valid(read_bytes);
    requires \separated(bytes + (0 .. size - 1), reads + (0 .. size - 1));
    assigns bytes[0 .. size - 1], reads[0 .. size - 1], *read_bytes;
    ensures \result + *read_bytes <= size; */
size_t records_split(uint8_t *bytes, size_t size, uint8_t *reads, size_t *read_bytes);

// Collects the well-formed LOG records of an output region that may hold anything, in place; returns
// their bytes. The last one's text goes to last_log, escaped, zero-terminated ("" if there is none).
/*@ requires size > 0 ==> \valid(bytes + (0 .. size - 1));
    requires size <= ABI_OUTPUT_BYTES && \valid(last_log + (0 .. ABI_LOG_BYTES_MAX - 1));
    requires \separated(bytes + (0 .. size - 1), last_log + (0 .. ABI_LOG_BYTES_MAX - 1));
    assigns bytes[0 .. size - 1], last_log[0 .. ABI_LOG_BYTES_MAX - 1];
    ensures \result <= size; */
size_t records_salvage(uint8_t *bytes, size_t size, char last_log[ABI_LOG_BYTES_MAX]);

#endif
