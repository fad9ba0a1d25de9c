// SPDX-License-Identifier: ISC
// The store's database: one SQLite file, one connection that reads, writes and checkpoints.
//
// Tables (all STRICT; ids of names are stable over versions of the system file, its indices are not):
//   names        id, kind (enum name_kind), name, digest of what the name meant, version of a namespace, or a flow's form
//   records      namespace, key -> version, index_key (NULL: none), value
//   outbox       id -> one durable message for one receiver; due_ms > 0: a timer; receipt: somebody waits for its end; number: what
//                the router or outbox_number() gave it, or 0
//   journal      id -> what one transaction added to, and took from, the messages that the router keeps (store/kept.h)
//   states       flow, key -> what the checks of the flow remember of the key (proto/commit.h: struct commit_part)
//   arrivals     flow, peer -> stream and last sequence of what another node sent
//   counters     scope (0 flow, 1 refusals of a unikernel), id, code -> value
//   dead_letters id -> a message whose event failed
//   audit        sequence -> text of an audit record that the audit log has not acknowledged
// user_version is DATABASE_FORMAT. WAL, synchronous=FULL, exclusive lock: no other process opens it.
#ifndef CRENEL_STORE_DATABASE_H
#define CRENEL_STORE_DATABASE_H

#include "core/system.h"
#include "proto/commit.h"
#include "proto/status_page.h"

#include <sqlite3.h>

#define DATABASE_FORMAT 4 // 2 and 3 are brought up to it
#define DATABASE_FILE "store.db"
#define AUDIT_PENDING_BYTES 65536u

enum statement {
    STATEMENT_BEGIN, STATEMENT_COMMIT, STATEMENT_ROLLBACK,
    STATEMENT_NAME_FIND, STATEMENT_NAME_ADD, STATEMENT_NAME_DIGEST, STATEMENT_NAME_VERSION,
    STATEMENT_RECORD_GET, STATEMENT_RECORD_VERSION, STATEMENT_RECORD_RANGE, STATEMENT_RECORD_INDEX,
    STATEMENT_RECORD_PUT, STATEMENT_RECORD_DELETE, STATEMENT_RECORD_COUNT,
    STATEMENT_OUTBOX_ADD, STATEMENT_OUTBOX_GET, STATEMENT_OUTBOX_DELETE, STATEMENT_OUTBOX_NOW, STATEMENT_OUTBOX_DUE,
    STATEMENT_OUTBOX_FIRST, STATEMENT_OUTBOX_END,
    STATEMENT_JOURNAL_ADD, STATEMENT_JOURNAL_GET, STATEMENT_JOURNAL_ALL, STATEMENT_JOURNAL_DELETE, STATEMENT_JOURNAL_BOUNDS,
    STATEMENT_OUTBOX_NEXT_DUE, STATEMENT_OUTBOX_MOVE, STATEMENT_OUTBOX_SPOOL, STATEMENT_OUTBOX_FLOWS, STATEMENT_HELD,
    STATEMENT_STATE_SET, STATEMENT_STATE_ALL, STATEMENT_STATE_NEXT, STATEMENT_STATE_DELETE, STATEMENT_ARRIVAL_GET, STATEMENT_ARRIVAL_SET,
    STATEMENT_COUNTER_ADD, STATEMENT_COUNTER_ALL,
    STATEMENT_DEAD_ADD, STATEMENT_DEAD_LIST, STATEMENT_DEAD_GET, STATEMENT_DEAD_DELETE,
    STATEMENT_DEAD_NEXT, STATEMENT_DEAD_ALL,
    STATEMENT_AUDIT_ADD, STATEMENT_AUDIT_NEXT, STATEMENT_AUDIT_DELETE, STATEMENT_AUDIT_BOUNDS,
    STATEMENT_COUNT
};

struct spooled { // messages of one flow, and the bytes that they take (COMMIT_ROW_BYTES)
    uint64_t count, bytes;
    uint64_t receipts; // that they promise
};

// What a transaction changes in memory; put back when it is rolled back.
struct store_state {
    struct spooled spool[SYSTEM_FLOWS_MAX]; // waits in the outbox
    struct spooled left[SYSTEM_FLOWS_MAX];  // ended here, and the router does not know yet
    uint64_t left_receipt_bytes[SYSTEM_FLOWS_MAX]; // of the receipts that they made
    uint16_t left_reason[SYSTEM_FLOWS_MAX];
    int has_left;
    uint64_t versions[SYSTEM_NAMESPACES_MAX]; // of a namespace: rises with every write in it
    uint64_t records[SYSTEM_NAMESPACES_MAX];
    struct spooled dead[SYSTEM_FLOWS_MAX + 1]; // dead letters; last: of flows that are not in this system
    uint64_t dead_letters;
    int64_t outbox_last;         // highest id given to a durable message
    uint64_t numbered;           // highest number
    uint64_t audit_last;         // highest sequence given to an audit row
    uint64_t namespaces_changed; // bit i: versions[i] is not yet in its row
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    const struct system_view *system;
    struct store_page *page;
    // Index in the system file -> id in the table names.
    int64_t namespace_ids[SYSTEM_NAMESPACES_MAX], flow_ids[SYSTEM_FLOWS_MAX],
        place_ids[SYSTEM_PLACES_MAX], principal_ids[SYSTEM_PRINCIPALS_MAX];
    struct store_state state, saved;
    int is_in_transaction;
    int is_on_trial; // this version of the system may yet give way to the one before: nothing is changed
    uint64_t identity; // that no other store has
    int is_clock_known;     // store/clock.h
    int64_t clock_ahead_ms; // of the time since the boot
    uint64_t receivers_changed; // bit i: the outbox may hold something new for place i
    struct kept *kept; // owned, as are
    struct audit_events *events;
    const struct outbox_push *push; // what is with the router (store/outbox.h), or NULL: nothing
    uint64_t audit_acknowledged, audit_deleted; // sequences
    uint64_t added[COUNTERS_MAX]; // to counters, by the open transaction (store/counters.h)
    uint16_t added_indices[COUNTERS_MAX];
    uint32_t added_count;
    // Audit records that have no transaction of their own: written with the next one, kept until it commits.
    uint8_t pending[AUDIT_PENDING_BYTES];
    size_t pending_bytes;
    uint64_t pending_dropped;
    char error[320]; // why store_open failed, and the mend
};

// Opens or creates the database at `path` (used as it is: relative to the working directory) for that
// system, which outlives it. Fails closed; store->error then says why and the mend.
enum status store_open(struct store *store, const char *path, const struct system_view *system,
                       struct store_page *page) MUST_USE;
void store_close(struct store *store);

// The version of the system is not on trial: what is stored may be changed, and is brought to its bounds. STATUS_FULL: not
// now, and nothing else either.
enum status store_confirm(struct store *store) MUST_USE;

// One write transaction. STATUS_FULL: not now (disk full, busy, on trial); nothing was done, reads still work.
// STATUS_SYSTEM: the database cannot be trusted to go on: end the process.
enum status store_begin(struct store *store) MUST_USE;
enum status store_commit(struct store *store) MUST_USE; // on failure rolled back
void store_rollback(struct store *store);

// A statement, reset and without bindings.
sqlite3_stmt *store_statement(struct store *store, enum statement which);
// One step: STATUS_OK: a row; STATUS_ABSENT: no (more) row; STATUS_FULL, STATUS_SYSTEM as above. The
// statement is reset unless it gave a row.
enum status store_step(struct store *store, sqlite3_stmt *statement) MUST_USE;
// For statements without rows: STATUS_OK when done.
enum status store_run(struct store *store, sqlite3_stmt *statement) MUST_USE;

void bind_integer(sqlite3_stmt *statement, int column, int64_t value);
void bind_bytes(sqlite3_stmt *statement, int column, const void *bytes, size_t size);
// Bytes of a column; valid until the next step or reset. Never NULL.
const uint8_t *column_bytes(sqlite3_stmt *statement, int column, size_t *size);

#endif
