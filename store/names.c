// SPDX-License-Identifier: ISC
// Names, their ids, and the refusal to read old bytes under a new meaning.
#include "store/names.h"

#include "core/check.h"
#include "host/system_file.h"
#include "store/dead_letters.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static int index_of(const int64_t *ids, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return (int)i;
    return -1;
}

int names_flow(const struct store *store, int64_t id)
{
    return index_of(store->flow_ids, store->system->flow_count, id);
}

int names_place(const struct store *store, int64_t id)
{
    return index_of(store->place_ids, system_places(store->system), id);
}

int64_t names_principal_id(const struct store *store, uint32_t principal)
{
    return principal != 0 && principal <= store->system->principal_count
               ? store->principal_ids[principal - 1]
               : 0;
}

uint32_t names_principal(const struct store *store, int64_t id)
{
    return (uint32_t)(index_of(store->principal_ids, store->system->principal_count, id) + 1);
}

struct name {
    int64_t id;
    uint64_t version;
    int is_changed; // the digest was another one
};

// Finds or adds the name; a changed digest is only reported.
static enum status intern(struct store *store, enum name_kind kind, const char *text,
                          const uint8_t digest[32], struct name *name)
{
    sqlite3_stmt *find = store_statement(store, STATEMENT_NAME_FIND);
    bind_integer(find, 1, kind);
    check(sqlite3_bind_text(find, 2, text, -1, SQLITE_STATIC) == SQLITE_OK);
    enum status status = store_step(store, find);
    if (status == STATUS_OK) {
        size_t size;
        const uint8_t *old = column_bytes(find, 1, &size);
        name->id = sqlite3_column_int64(find, 0);
        name->is_changed = size != 32 || memcmp(old, digest, 32) != 0;
        name->version = (uint64_t)sqlite3_column_int64(find, 2);
        sqlite3_reset(find);
        return STATUS_OK;
    }
    if (status != STATUS_ABSENT)
        return status;
    sqlite3_stmt *add = store_statement(store, STATEMENT_NAME_ADD);
    bind_integer(add, 1, kind);
    check(sqlite3_bind_text(add, 2, text, -1, SQLITE_STATIC) == SQLITE_OK);
    bind_bytes(add, 3, digest, 32);
    status = store_run(store, add);
    *name = (struct name){.id = sqlite3_last_insert_rowid(store->db)};
    return status;
}

static enum status set_meaning(struct store *store, int64_t id, const uint8_t digest[32], uint64_t version)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_NAME_DIGEST);
    bind_bytes(statement, 1, digest, 32);
    bind_integer(statement, 2, (int64_t)version);
    bind_integer(statement, 3, id);
    return store_run(store, statement);
}

static enum status load_namespace(struct store *store, size_t i)
{
    const struct system_namespace *space = &store->system->namespaces[i];
    uint8_t digest[32];
    struct name name;
    system_namespace_digest(store->system, i, digest);
    enum status status = intern(store, NAME_NAMESPACE, space->name, digest, &name);
    if (status != STATUS_OK)
        return status;
    sqlite3_stmt *count = store_statement(store, STATEMENT_RECORD_COUNT);
    bind_integer(count, 1, name.id);
    status = store_step(store, count);
    if (status != STATUS_OK)
        return status;
    store->state.records[i] = (uint64_t)sqlite3_column_int64(count, 0);
    sqlite3_reset(count);
    store->namespace_ids[i] = name.id;
    store->state.versions[i] = name.version;
    if (name.is_changed && store->state.records[i] != 0) {
        snprintf(store->error, sizeof store->error,
                 "namespace %s holds records (%llu) of another schema, key or index than this system's "
                 "(%s); mend: give the changed namespace a new name, or start the system that wrote them",
                 space->name, (unsigned long long)store->state.records[i],
                 store->system->schemas[space->schema].header->name);
        return STATUS_CONFLICT;
    }
    return STATUS_OK;
}

// Every waiting message must still be what it was, and have its flow and its receiver.
static enum status check_waiting(struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_OUTBOX_FLOWS);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        size_t digest_bytes;
        struct system_waiting waiting = {.flow = names_flow(store, sqlite3_column_int64(row, 0)),
                                         .place = names_place(store, sqlite3_column_int64(row, 1)),
                                         .digest = column_bytes(row, 6, &digest_bytes),
                                         .form = (uint64_t)sqlite3_column_int64(row, 7),
                                         .receipts = (uint64_t)sqlite3_column_int64(row, 5)};
        const char *why = digest_bytes == 32 ? system_misfit(store->system, &waiting) : "is damaged";
        if (why == NULL)
            continue;
        snprintf(store->error, sizeof store->error,
                 "%lld messages wait on flow %s for %s, but the flow %s; mend: start the system that "
                 "wrote them until they are done (crenel ps), or give the changed flow a new name",
                 (long long)sqlite3_column_int64(row, 2), (const char *)sqlite3_column_text(row, 3),
                 (const char *)sqlite3_column_text(row, 4), why);
        sqlite3_reset(row);
        return STATUS_CONFLICT;
    }
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

enum status names_noted(struct store *store, enum name_kind kind, const char *name, uint8_t bytes[32])
{
    sqlite3_stmt *find = store_statement(store, STATEMENT_NAME_FIND);
    bind_integer(find, 1, kind);
    check(sqlite3_bind_text(find, 2, name, -1, SQLITE_STATIC) == SQLITE_OK);
    enum status status = store_step(store, find);
    if (status != STATUS_OK)
        return status;
    size_t size;
    const uint8_t *noted = column_bytes(find, 1, &size);
    memset(bytes, 0, 32);
    memcpy(bytes, noted, size < 32 ? size : 32);
    sqlite3_reset(find);
    return STATUS_OK;
}

enum status names_note(struct store *store, enum name_kind kind, const char *name, const uint8_t bytes[32])
{
    struct name found;
    enum status status = intern(store, kind, name, bytes, &found);
    return status == STATUS_OK && found.is_changed ? set_meaning(store, found.id, bytes, 0) : status;
}

// The first start draws the store's identity.
static enum status load_identity(struct store *store)
{
    uint8_t drawn[32];
    struct name name;
    randombytes_buf(drawn, sizeof drawn);
    enum status status = intern(store, NAME_STORE, "store", drawn, &name);
    if (status == STATUS_OK)
        status = names_noted(store, NAME_STORE, "store", drawn);
    memcpy(&store->identity, drawn, sizeof store->identity);
    return status == STATUS_ABSENT ? STATUS_SYSTEM : status;
}

static enum status load_places(struct store *store)
{
    static const uint8_t no_digest[32];
    const struct system_view *system = store->system;
    size_t unikernels = system->unikernel_count, services = unikernels + system->service_count;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < system_places(system) && status == STATUS_OK; i++) {
        enum name_kind kind = i < unikernels ? NAME_UNIKERNEL : i < services ? NAME_SERVICE : NAME_COURIER;
        struct name name;
        status = intern(store, kind, system_place_name(system, i), no_digest, &name);
        store->place_ids[i] = name.id;
    }
    return status;
}

static enum status load_flows(struct store *store)
{
    const struct system_view *system = store->system;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < system->flow_count && status == STATUS_OK; i++) {
        struct name name;
        status = intern(store, NAME_FLOW, system->flows[i].name, system->schemas[system->flows[i].schema].header->digest, &name);
        store->flow_ids[i] = name.id;
    }
    return status == STATUS_OK ? check_waiting(store) : status;
}

static enum status confirm_all(struct store *store)
{
    const struct system_view *system = store->system;
    struct name name;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < system->namespace_count && status == STATUS_OK; i++) {
        uint8_t digest[32];
        system_namespace_digest(system, i, digest);
        status = intern(store, NAME_NAMESPACE, system->namespaces[i].name, digest, &name);
        if (status == STATUS_OK && name.is_changed)
            status = set_meaning(store, name.id, digest, name.version);
    }
    for (size_t i = 0; i < system->flow_count && status == STATUS_OK; i++) {
        const uint8_t *digest = system->schemas[system->flows[i].schema].header->digest;
        uint64_t form = system_flow_form(system, i);
        status = intern(store, NAME_FLOW, system->flows[i].name, digest, &name);
        if (status == STATUS_OK && (name.is_changed || name.version != form))
            status = set_meaning(store, name.id, digest, form);
    }
    return status;
}

enum status names_confirm(struct store *store)
{
    enum status status = store_begin(store);
    if (status != STATUS_OK)
        return status;
    status = confirm_all(store);
    if (status == STATUS_OK)
        return store_commit(store);
    store_rollback(store);
    return status;
}

static enum status load_all(struct store *store)
{
    static const uint8_t no_digest[32];
    const struct system_view *system = store->system;
    struct name name;
    enum status status = load_identity(store);
    for (size_t i = 0; i < system->namespace_count && status == STATUS_OK; i++)
        status = load_namespace(store, i);
    if (status == STATUS_OK)
        status = load_places(store);
    for (size_t i = 0; i < system->principal_count && status == STATUS_OK; i++) {
        status = intern(store, NAME_PRINCIPAL, system->principals[i].name, no_digest, &name);
        store->principal_ids[i] = name.id;
    }
    return status == STATUS_OK ? load_flows(store) : status;
}

enum status names_load(struct store *store)
{
    enum status status = store_begin(store);
    if (status != STATUS_OK)
        return status;
    status = load_all(store);
    if (status == STATUS_OK)
        status = dead_letters_load(store);
    if (status == STATUS_OK)
        return store_commit(store);
    store_rollback(store);
    return status;
}
