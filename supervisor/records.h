// SPDX-License-Identifier: ISC
// The supervisor's own audit records: a queue on a link to the audit process.
//
// The audit process says with its first ACK which sequence it has; until then records wait without one.
// Records stay in the queue until they are acknowledged, so a restart of audit loses none. When the queue
// is full, new ones are counted, and one record with that count ("gap") follows when there is room again:
// nothing in the system ever waits for its own record.
#ifndef CRENEL_SUPERVISOR_RECORDS_H
#define CRENEL_SUPERVISOR_RECORDS_H

#include "core/status.h"
#include "host/loop.h"
#include "proto/commit.h"

#include <stddef.h>

#define RECORDS_MAX 256u
#define RECORD_TEXT_MAX 600u

struct record {
    uint16_t length;
    char text[RECORD_TEXT_MAX];
};

struct records {
    int fd; // -1: audit is not there
    struct loop *loop;
    void (*settled)(void *context); // nothing is left to acknowledge
    void *context;
    struct loop_watch watch;
    uint64_t acknowledged; // highest sequence that audit has
    int is_acknowledged;   // audit told it at least once
    uint64_t sent;         // highest sequence sent on this link
    size_t head, count;    // ring; the record at head has sequence acknowledged + 1
    uint64_t lost;
    struct record ring[RECORDS_MAX];
};

void records_init(struct records *records, struct loop *loop, void (*settled)(void *context), void *context);
// Takes fd: a new link to a new audit process. What was not acknowledged is sent again on it.
void records_attach(struct records *records, int fd);
void records_detach(struct records *records);
// Queues one record: {"time_ms":…,"source":"supervisor","what":WHAT, then the members that `format` makes}.
// What format makes is JSON text: strings in it come from checked names, numbers, or record_escape.
void records_add(struct records *records, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline int records_are_settled(const struct records *r) { return r->count == 0; }

// Text as the inside of a JSON string, cut to capacity.
void record_escape(const char *text, char *out, size_t capacity);

#endif
