// SPDX-License-Identifier: ISC
// What a COMMIT leaves in the audit log: what it was, as text.
#ifndef CRENEL_STORE_AUDIT_TEXT_H
#define CRENEL_STORE_AUDIT_TEXT_H

#include "proto/commit.h"
#include "store/database.h"

// A COMMIT whose form was checked; the parts point into it.
struct audit_facts {
    const struct commit_header *header;
    const uint8_t *effects; // the sections of writes and sends, one behind the other
    size_t effect_bytes;
    const uint8_t *counters; // header->counter_count struct commit_counter
    const struct commit_dead *dead; // NULL: the event ended well
    const uint8_t *text; // of the dead letter
    const struct link_crash *crash; // or NULL
};

struct audit_sum { // events of one unikernel and flow that ended alike
    uint16_t unikernel, flow, attempt;
    const char *outcome;
    uint64_t number; // of the first
    const char *then; // JSON: a list of what to add to one's number for the next one's
    size_t then_bytes; // 0: it is one event
    uint64_t reads, writes, sends;
    uint8_t effects[32]; // SHA-256 over all writes and sends
};

size_t audit_text_commit(const struct system_view *system, const struct audit_sum *sum, char text[AUDIT_RECORD_BYTES_MAX]);

// Writes the record of one COMMIT; returns its length, at most AUDIT_RECORD_BYTES_MAX - 1.
size_t audit_text(const struct system_view *system, const struct audit_facts *facts,
                  char text[AUDIT_RECORD_BYTES_MAX]);

#endif
