// SPDX-License-Identifier: ISC
// Opening SQLite, its statements, transactions, and what an error of it means.
#include "store/database.h"

#include "core/check.h"
#include "store/audit_events.h"
#include "store/audit_rows.h"
#include "store/counters.h"
#include "store/dead_letters.h"
#include "store/kept.h"
#include "store/names.h"
#include "store/spool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char schema_sql[] =
    "CREATE TABLE names(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL,"
    " digest BLOB NOT NULL, version INTEGER NOT NULL, UNIQUE(kind, name)) STRICT;"
    "CREATE TABLE records(namespace INTEGER NOT NULL, key BLOB NOT NULL, version INTEGER NOT NULL,"
    " index_key BLOB, value BLOB NOT NULL, PRIMARY KEY(namespace, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX records_index ON records(namespace, index_key) WHERE index_key IS NOT NULL;"
    "CREATE TABLE outbox(id INTEGER PRIMARY KEY AUTOINCREMENT, flow INTEGER NOT NULL,"
    " receiver INTEGER NOT NULL, due_ms INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
    " principal INTEGER NOT NULL, connection INTEGER NOT NULL,"
    " key BLOB NOT NULL, context BLOB NOT NULL,"
    " payload BLOB NOT NULL) STRICT;"
    "CREATE INDEX outbox_now ON outbox(receiver, flow, id) WHERE due_ms = 0;"
    "CREATE INDEX outbox_due ON outbox(receiver, flow, due_ms, id) WHERE due_ms > 0;"
    "CREATE TABLE cursors(flow INTEGER NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,"
    " PRIMARY KEY(flow, key)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE counters(scope INTEGER NOT NULL, id INTEGER NOT NULL, code INTEGER NOT NULL,"
    " value INTEGER NOT NULL, PRIMARY KEY(scope, id, code)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE dead_letters(id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL,"
    " reason INTEGER NOT NULL, unikernel INTEGER NOT NULL, flow INTEGER NOT NULL,"
    " number INTEGER NOT NULL, attempt INTEGER NOT NULL, principal INTEGER NOT NULL,"
    " text BLOB NOT NULL, payload BLOB NOT NULL) STRICT;"
    "CREATE TABLE audit(sequence INTEGER PRIMARY KEY AUTOINCREMENT, text BLOB NOT NULL) STRICT;";

// From format 2, which is what schema_sql makes.
static const char format_3_sql[] =
    "ALTER TABLE outbox ADD COLUMN receipt INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE states(flow INTEGER NOT NULL, key BLOB NOT NULL, state BLOB NOT NULL,"
    " PRIMARY KEY(flow, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX dead_letters_flow ON dead_letters(flow, id);"
    "CREATE TABLE arrivals(flow INTEGER NOT NULL, peer TEXT NOT NULL, stream INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, PRIMARY KEY(flow, peer)) STRICT, WITHOUT ROWID;";

static const char format_4_sql[] =
    "ALTER TABLE outbox ADD COLUMN number INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX outbox_number ON outbox(number) WHERE number > 0;"
    "CREATE TABLE journal(id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;";

static const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_NAME_FIND] = "SELECT id, digest, version FROM names WHERE kind = ? AND name = ?",
    [STATEMENT_NAME_ADD] = "INSERT INTO names(kind, name, digest, version) VALUES(?, ?, ?, 0)",
    [STATEMENT_NAME_DIGEST] = "UPDATE names SET digest = ?, version = ? WHERE id = ?",
    [STATEMENT_NAME_VERSION] = "UPDATE names SET version = ? WHERE id = ?",
    [STATEMENT_RECORD_GET] = "SELECT key, version, value FROM records WHERE namespace = ? AND key = ?",
    [STATEMENT_RECORD_VERSION] = "SELECT version FROM records WHERE namespace = ? AND key = ?",
    // ?4 is 1 when there is an end.
    [STATEMENT_RECORD_RANGE] = "SELECT key, version, value FROM records WHERE namespace = ?1 "
                               "AND key >= ?2 AND (?4 = 0 OR key < ?3) ORDER BY key LIMIT ?5",
    [STATEMENT_RECORD_INDEX] =
        "SELECT key, version, value FROM records WHERE namespace = ?1 AND index_key IS NOT NULL "
        "AND index_key >= ?2 AND (?4 = 0 OR index_key < ?3) ORDER BY index_key, key LIMIT ?5 OFFSET ?6",
    [STATEMENT_RECORD_PUT] =
        "INSERT INTO records(namespace, key, version, index_key, value) VALUES(?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT(namespace, key) DO UPDATE SET version = ?3, index_key = ?4, value = ?5",
    [STATEMENT_RECORD_DELETE] = "DELETE FROM records WHERE namespace = ? AND key = ?",
    [STATEMENT_RECORD_COUNT] = "SELECT count(*) FROM records WHERE namespace = ?",
    [STATEMENT_OUTBOX_ADD] =
        "INSERT INTO outbox(flow, receiver, due_ms, time_ms, principal, connection,"
        " key, context, payload, receipt, id, number) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_OUTBOX_GET] =
        "SELECT flow, length(key) + length(context) + length(payload), receipt FROM outbox WHERE id = ?",
    [STATEMENT_OUTBOX_DELETE] = "DELETE FROM outbox WHERE id = ?",
    [STATEMENT_OUTBOX_NOW] =
        "SELECT id, flow, due_ms, time_ms, principal, connection, key, context,"
        " payload, receipt, number FROM outbox WHERE receiver = ?1 AND flow = ?6 AND due_ms = 0 AND id > ?2 ORDER BY id LIMIT ?3",
    [STATEMENT_OUTBOX_END] = "DELETE FROM outbox WHERE number = ? AND number > 0",
    [STATEMENT_JOURNAL_ADD] = "INSERT INTO journal(id, body) VALUES(?, ?)",
    [STATEMENT_JOURNAL_GET] = "SELECT body FROM journal WHERE id = ?",
    [STATEMENT_JOURNAL_ALL] = "SELECT body FROM journal ORDER BY id",
    [STATEMENT_JOURNAL_DELETE] = "DELETE FROM journal WHERE id < ?",
    [STATEMENT_JOURNAL_BOUNDS] =
        "SELECT coalesce((SELECT min(id) FROM journal), 0), coalesce((SELECT max(id) + 1 FROM journal), 0),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)",
    [STATEMENT_OUTBOX_FIRST] =
        "SELECT id, time_ms, length(key) + length(context) + length(payload), receipt, principal, connection, context"
        " FROM outbox WHERE receiver = ?1 AND flow = ?2 AND due_ms = 0 AND id > ?3 ORDER BY id LIMIT 1",
    [STATEMENT_OUTBOX_DUE] =
        "SELECT id, flow, due_ms, time_ms, principal, connection, key, context,"
        " payload, receipt, number FROM outbox WHERE receiver = ?1 AND flow = ?6 AND due_ms > 0 AND (due_ms, id) > (?4, ?2)"
        " AND due_ms <= ?5 ORDER BY due_ms, id LIMIT ?3",
    [STATEMENT_OUTBOX_NEXT_DUE] =
        "SELECT due_ms FROM outbox WHERE receiver = ?1 AND flow = ?4 AND due_ms > 0 AND (due_ms, id) > (?2, ?3)"
        " ORDER BY due_ms, id LIMIT 1",
    // By ?1, but for what is of a time behind ?2, of which a timer is due at ?3 at least.
    [STATEMENT_OUTBOX_MOVE] =
        "UPDATE outbox SET time_ms = time_ms + iif(time_ms <= ?2, ?1, 0), due_ms = iif(due_ms = 0, 0,"
        " iif(time_ms <= ?2, max(due_ms + ?1, 1), max(due_ms, ?3)))",
    [STATEMENT_OUTBOX_SPOOL] =
        "SELECT flow, count(*), sum(length(key) + length(context) + length(payload)), sum(receipt)"
        " FROM outbox GROUP BY flow",
    [STATEMENT_OUTBOX_FLOWS] =
        "SELECT o.flow, o.receiver, count(*), f.name, r.name, sum(o.receipt), f.digest, f.version FROM outbox o"
        " JOIN names f ON f.id = o.flow JOIN names r ON r.id = o.receiver GROUP BY o.flow, o.receiver",
    [STATEMENT_HELD] =
        "SELECT f.name, r.name, count(*), f.digest, sum(o.receipt), f.version FROM outbox o JOIN names f ON f.id = o.flow"
        " JOIN names r ON r.id = o.receiver GROUP BY o.flow, o.receiver"
        " UNION ALL SELECT n.name, NULL, count(*), n.digest, 0, 0 FROM records c JOIN names n ON n.id = c.namespace"
        " GROUP BY c.namespace",
    [STATEMENT_STATE_SET] = "INSERT INTO states(flow, key, state) VALUES(?1, ?2, ?3) ON CONFLICT(flow, key)"
                            " DO UPDATE SET state = ?3",
    [STATEMENT_STATE_ALL] = "SELECT flow, key, state FROM states",
    [STATEMENT_STATE_NEXT] =
        "SELECT key, state FROM states WHERE flow = ?1 AND (?3 = 0 OR key > ?2) ORDER BY key LIMIT 1",
    [STATEMENT_STATE_DELETE] = "DELETE FROM states WHERE flow = ? AND key = ?",
    [STATEMENT_ARRIVAL_GET] = "SELECT stream, sequence FROM arrivals WHERE flow = ? AND peer = ?",
    [STATEMENT_ARRIVAL_SET] =
        "INSERT INTO arrivals(flow, peer, stream, sequence) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(flow, peer)"
        " DO UPDATE SET stream = ?3, sequence = ?4",
    [STATEMENT_COUNTER_ADD] =
        "INSERT INTO counters(scope, id, code, value) VALUES(?1, ?2, ?3, ?4)"
        " ON CONFLICT(scope, id, code) DO UPDATE SET value = value + ?4",
    [STATEMENT_COUNTER_ALL] = "SELECT scope, id, code, value FROM counters",
    [STATEMENT_DEAD_ADD] =
        "INSERT INTO dead_letters(time_ms, reason, unikernel, flow, number, attempt, principal, text,"
        " payload) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_DEAD_LIST] =
        "SELECT id, time_ms, reason, unikernel, flow, number, attempt, principal, text,"
        " length(payload) FROM dead_letters WHERE id > ?1 AND (?3 = 0 OR flow = ?3) ORDER BY id LIMIT ?2",
    [STATEMENT_DEAD_GET] =
        "SELECT id, time_ms, reason, unikernel, flow, number, attempt, principal, text, payload"
        " FROM dead_letters WHERE id = ?",
    [STATEMENT_DEAD_DELETE] =
        "DELETE FROM dead_letters WHERE id = ? RETURNING flow, length(text) + length(payload)",
    [STATEMENT_DEAD_NEXT] = "SELECT id FROM dead_letters WHERE flow = ? AND id > ? ORDER BY id LIMIT 1",
    [STATEMENT_DEAD_ALL] = "SELECT id, flow, length(text) + length(payload) FROM dead_letters ORDER BY id",
    [STATEMENT_AUDIT_ADD] = "INSERT INTO audit(text) VALUES(?)",
    [STATEMENT_AUDIT_NEXT] = "SELECT sequence, text FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
    [STATEMENT_AUDIT_DELETE] = "DELETE FROM audit WHERE sequence <= ?",
    // The highest sequence ever given survives the deletion of its row.
    [STATEMENT_AUDIT_BOUNDS] =
        "SELECT coalesce((SELECT min(sequence) FROM audit), 0),"
        " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0)",
};

// Paths are used as they come: the folder is the working directory, its own path may be out of reach.
static int path_as_it_is(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static const char *register_vfs(void)
{
    static sqlite3_vfs vfs;
    if (vfs.zName == NULL) {
        (void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
        const sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
        check(unix_vfs != NULL);
        vfs = *unix_vfs;
        vfs.zName = "crenel";
        vfs.pNext = NULL;
        vfs.xFullPathname = path_as_it_is;
        check(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
    }
    return vfs.zName;
}

static enum status classify(struct store *store, int code)
{
    int primary = code & 0xff, cause = sqlite3_system_errno(store->db);
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_NOMEM)
        return STATUS_FULL;
    if (primary == SQLITE_FULL ||
        (primary == SQLITE_IOERR && code != SQLITE_IOERR_FSYNC && code != SQLITE_IOERR_DIR_FSYNC &&
         (cause == ENOSPC || cause == EDQUOT))) {
        if (store->page->is_full == 0)
            fprintf(stderr, "crenel-store: no room on the disk: nothing is committed or acknowledged until there is; "
                            "what was is kept\n");
        store->page->is_full = 1;
        return STATUS_FULL;
    }
    snprintf(store->error, sizeof store->error, "SQLite: %s (%d)", sqlite3_errmsg(store->db), code);
    return STATUS_SYSTEM;
}

sqlite3_stmt *store_statement(struct store *store, enum statement which)
{
    sqlite3_stmt *statement = store->statements[which];
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return statement;
}

enum status store_step(struct store *store, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        return STATUS_OK;
    enum status status =
        code == SQLITE_DONE ? STATUS_ABSENT : classify(store, sqlite3_extended_errcode(store->db));
    sqlite3_reset(statement);
    return status;
}

enum status store_run(struct store *store, sqlite3_stmt *statement)
{
    enum status status = store_step(store, statement);
    check(status != STATUS_OK); // it has no rows
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

void bind_integer(sqlite3_stmt *statement, int column, int64_t value)
{
    check(sqlite3_bind_int64(statement, column, value) == SQLITE_OK);
}

void bind_bytes(sqlite3_stmt *statement, int column, const void *bytes, size_t size)
{
    // An empty blob, not NULL, also when there are no bytes to point at.
    check(sqlite3_bind_blob64(statement, column, size != 0 ? bytes : "", size, SQLITE_STATIC) ==
          SQLITE_OK);
}

const uint8_t *column_bytes(sqlite3_stmt *statement, int column, size_t *size)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    *size = (size_t)sqlite3_column_bytes(statement, column);
    return bytes != NULL ? bytes : (const uint8_t *)"";
}

enum status store_begin(struct store *store)
{
    check(!store->is_in_transaction);
    if (store->is_on_trial)
        return STATUS_FULL;
    enum status status = store_run(store, store_statement(store, STATEMENT_BEGIN));
    if (status != STATUS_OK)
        return status;
    store->saved = store->state;
    store->is_in_transaction = 1;
    return STATUS_OK;
}

void store_rollback(struct store *store)
{
    check(store->is_in_transaction);
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_reset(store->statements[i]);
    // A full disk makes SQLite roll back by itself.
    if (!sqlite3_get_autocommit(store->db))
        (void)sqlite3_step(store_statement(store, STATEMENT_ROLLBACK));
    sqlite3_reset(store->statements[STATEMENT_ROLLBACK]);
    check(sqlite3_get_autocommit(store->db));
    counters_drop(store);
    kept_settled(store, 0);
    audit_events_drop(store);
    store->state = store->saved;
    store->is_in_transaction = 0;
}

static enum status write_versions(struct store *store)
{
    for (size_t i = 0; i < store->system->namespace_count; i++) {
        if ((store->state.namespaces_changed >> i & 1) == 0)
            continue;
        sqlite3_stmt *statement = store_statement(store, STATEMENT_NAME_VERSION);
        bind_integer(statement, 1, (int64_t)store->state.versions[i]);
        bind_integer(statement, 2, store->namespace_ids[i]);
        enum status status = store_run(store, statement);
        if (status != STATUS_OK)
            return status;
    }
    store->state.namespaces_changed = 0;
    return STATUS_OK;
}

enum status store_commit(struct store *store)
{
    check(store->is_in_transaction);
    enum status status = write_versions(store);
    if (status == STATUS_OK)
        status = spool_settle(store);
    if (status == STATUS_OK)
        status = audit_events_settle(store);
    if (status == STATUS_OK)
        status = audit_rows_settle(store);
    if (status == STATUS_OK)
        status = counters_settle(store);
    if (status == STATUS_OK)
        status = kept_settle(store);
    if (status == STATUS_OK)
        status = store_run(store, store_statement(store, STATEMENT_COMMIT));
    if (status != STATUS_OK) {
        store_rollback(store);
        return status;
    }
    store->is_in_transaction = 0;
    kept_settled(store, 1);
    audit_rows_settled(store);
    store->page->transactions++;
    if (store->page->is_full != 0)
        fprintf(stderr, "crenel-store: there is room again\n");
    store->page->is_full = 0;
    store->page->dead_letters = store->state.dead_letters;
    for (size_t i = 0; i < store->system->flow_count; i++) {
        store->page->spooled[i] = store->state.spool[i].count;
        store->page->spooled_bytes[i] = store->state.spool[i].bytes;
    }
    store->page->audit_waiting = store->state.audit_last - store->audit_acknowledged;
    return STATUS_OK;
}

static int execute(struct store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int64_t format_of(struct store *store)
{
    sqlite3_stmt *statement = NULL;
    int64_t format = -1;
    if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        format = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return format;
}

// The highest sequences of format 2 are states of keys in format 3.
static int take_cursors(struct store *store)
{
    sqlite3_stmt *from = NULL, *to = NULL;
    int code = sqlite3_prepare_v2(store->db, "SELECT flow, key, sequence FROM cursors", -1, &from, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(store->db, "INSERT INTO states(flow, key, state) VALUES(?, ?, ?)", -1, &to, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(from)) == SQLITE_ROW) {
        struct {
            struct commit_part part;
            int64_t sequence;
        } state = {{COMMIT_PART_SEQUENCE, sizeof state.sequence}, sqlite3_column_int64(from, 2)};
        size_t key_bytes;
        const uint8_t *key = column_bytes(from, 1, &key_bytes);
        bind_integer(to, 1, sqlite3_column_int64(from, 0));
        bind_bytes(to, 2, key, key_bytes);
        bind_bytes(to, 3, &state, sizeof state);
        code = sqlite3_step(to) == SQLITE_DONE ? sqlite3_reset(to) : SQLITE_ERROR;
    }
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    return code == SQLITE_DONE && execute(store, "DROP TABLE cursors;");
}

static enum status prepare(struct store *store)
{
    char sql[64];
    if (!execute(store, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;"
                        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                        "PRAGMA cache_size = -2048; PRAGMA journal_size_limit = 8388608;"
                        "PRAGMA temp_store = MEMORY;"))
        return STATUS_SYSTEM;
    int64_t format = format_of(store);
    if (format == 0 || format == 2 || format == 3) {
        snprintf(sql, sizeof sql, "PRAGMA user_version = %d; COMMIT;", DATABASE_FORMAT);
        if (!execute(store, "BEGIN IMMEDIATE;") || (format == 0 && !execute(store, schema_sql)) ||
            (format != 3 && (!execute(store, format_3_sql) || !take_cursors(store))) || !execute(store, format_4_sql) ||
            !execute(store, sql))
            return STATUS_SYSTEM;
    } else if (format != DATABASE_FORMAT) {
        snprintf(store->error, sizeof store->error,
                 "%s has format %lld, this program speaks %d; mend: start the version of Crenel that "
                 "wrote it",
                 DATABASE_FILE, (long long)format, DATABASE_FORMAT);
        return STATUS_VERSION;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->statements[i], NULL) != SQLITE_OK)
            return STATUS_SYSTEM;
    return STATUS_OK;
}

enum status store_open(struct store *store, const char *path, const struct system_view *system,
                       struct store_page *page)
{
    memset(store, 0, sizeof *store);
    store->system = system;
    store->page = page;
    const char *vfs = register_vfs();
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW;
    enum status status = STATUS_SYSTEM;
    if (sqlite3_open_v2(path, &store->db, flags, vfs) == SQLITE_OK) {
        sqlite3_extended_result_codes(store->db, 1);
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
        status = prepare(store);
    }
    if (status == STATUS_OK)
        status = audit_events_open(store);
    if (status == STATUS_OK)
        status = kept_open(store);
    if (status == STATUS_OK)
        status = names_load(store);
    if (status == STATUS_OK)
        status = audit_rows_load(store);
    if (status == STATUS_OK)
        status = spool_load(store);
    if (status == STATUS_OK)
        return STATUS_OK;
    if (store->error[0] == '\0')
        snprintf(store->error, sizeof store->error, "%s cannot be opened: %s", DATABASE_FILE,
                 sqlite3_errmsg(store->db));
    store_close(store);
    return status;
}

enum status store_confirm(struct store *store)
{
    store->is_on_trial = 0;
    enum status status = names_confirm(store);
    if (status == STATUS_OK)
        status = dead_letters_trim(store);
    store->is_on_trial = status != STATUS_OK;
    return status;
}

void store_close(struct store *store)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    memset(store->statements, 0, sizeof store->statements);
    kept_close(store);
    audit_events_close(store);
    sqlite3_close(store->db);
    store->db = NULL;
}
