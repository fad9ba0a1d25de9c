// SPDX-License-Identifier: ISC
// The one record that a COMMIT leaves in the audit log: what it was, as text.
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

// Writes the record; returns its length, at most AUDIT_RECORD_BYTES_MAX - 1.
size_t audit_text(const struct system_view *system, const struct audit_facts *facts,
                  char text[AUDIT_RECORD_BYTES_MAX]);

#endif
