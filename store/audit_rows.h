// SPDX-License-Identifier: ISC
// Audit records of the store and the router: rows written in the transaction of what they tell, then
// fed to the audit process, deleted once it has acknowledged them.
#ifndef CRENEL_STORE_AUDIT_ROWS_H
#define CRENEL_STORE_AUDIT_ROWS_H

#include "host/channel.h"
#include "store/database.h"

#define AUDIT_ROWS_MAX 100000u // waiting; beyond it a system with on_audit_failure: stop commits nothing
// Sent and not acknowledged. The log acknowledges about five times a second, so this bounds the commits per
// second that it can follow: 10,000.
#define AUDIT_WINDOW 2048u

enum status audit_rows_load(struct store *store) MUST_USE;

// A row in the open transaction. Text is one JSON object, at most AUDIT_RECORD_BYTES_MAX.
enum status audit_rows_add(struct store *store, const char *text, size_t length) MUST_USE;

// A record without a transaction of its own: kept in memory, written with the next transaction. When the
// memory is full it is counted, and the count becomes a record.
void audit_rows_queue(struct store *store, const char *text, size_t length);
int audit_rows_has_work(const struct store *store); // something that a transaction would write or delete

// At the end of a transaction: write what is queued, delete what is acknowledged. settled() once it committed.
enum status audit_rows_settle(struct store *store) MUST_USE;
void audit_rows_settled(struct store *store);

// More than AUDIT_ROWS_MAX wait and the system says stop.
int audit_rows_are_stuck(const struct store *store);

struct audit_feed {
    struct channel channel; // fd -1: none; with a buffer, never blocks
    uint64_t sent;          // highest sequence sent on it
    int is_greeted;         // the audit process has said where to continue
    uint8_t packet[AUDIT_PACKET_BYTES];
};

// Sends what the window and the buffer take. STATUS_CLOSED: the link is gone.
enum status audit_feed_push(struct audit_feed *feed, struct store *store) MUST_USE;
// Takes all ACKs that have arrived.
enum status audit_feed_take(struct audit_feed *feed, struct store *store) MUST_USE;

#endif
