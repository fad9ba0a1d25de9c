// SPDX-License-Identifier: ISC
// What is counted of them in memory (store->state.dead) is what the table holds, at every moment.
#include "store/dead_letters.h"

#include "core/check.h"
#include "core/json_line.h"
#include "store/audit_rows.h"
#include "store/names.h"
#include "store/outbox.h"
#include "store/spool.h"

#include <string.h>

static unsigned share_of(int flow) { return flow >= 0 ? (unsigned)flow : SYSTEM_FLOWS_MAX; }

static int is_over(const struct store *store, unsigned share)
{
    uint64_t shares = store->system->flow_count + 1;
    const struct spooled *dead = &store->state.dead[share];
    return dead->count > DEAD_LETTERS_MAX / shares || dead->bytes > DEAD_LETTERS_BYTES / shares;
}

static void change(struct store *store, unsigned share, int is_added, uint64_t bytes)
{
    struct spooled *dead = &store->state.dead[share];
    dead->count += is_added ? 1 : UINT64_MAX; // wraps: - 1
    dead->bytes += is_added ? bytes : 0 - bytes;
    store->state.dead_letters += is_added ? 1 : UINT64_MAX;
}

static enum status delete_row(struct store *store, int64_t id)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_DEAD_DELETE);
    bind_integer(statement, 1, id);
    enum status status = store_step(store, statement); // gives what it deleted
    if (status != STATUS_OK)
        return status;
    change(store, share_of(names_flow(store, sqlite3_column_int64(statement, 0))), 0,
           DEAD_LETTER_ROW_BYTES + (uint64_t)sqlite3_column_int64(statement, 1));
    return store_run(store, statement);
}

static enum status audit_dropped(struct store *store, unsigned share, uint64_t count, int64_t last)
{
    char text[192];
    struct json_line line;
    if (count == 0)
        return STATUS_OK;
    json_begin(&line, text, sizeof text);
    json_string(&line, "kind", "dead_letter_dropped");
    if (share < store->system->flow_count)
        json_string(&line, "flow", store->system->flows[share].name);
    json_unsigned(&line, "count", count);
    json_integer(&line, "last_id", last);
    json_string(&line, "why", "oldest of too many of its flow");
    return audit_rows_add(store, text, json_end(&line));
}

enum status dead_letter_next(struct store *store, unsigned flow, int64_t after, int64_t *id)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_DEAD_NEXT);
    bind_integer(statement, 1, store->flow_ids[flow]);
    bind_integer(statement, 2, after);
    enum status status = store_step(store, statement);
    if (status == STATUS_OK)
        *id = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status;
}

// Drops the oldest of a flow until it is within its share.
static enum status keep_share(struct store *store, unsigned flow)
{
    enum status status = STATUS_OK;
    uint64_t count = 0;
    int64_t id = 0;
    for (; status == STATUS_OK && is_over(store, flow); count++) {
        status = dead_letter_next(store, flow, 0, &id);
        check(status != STATUS_ABSENT);
        if (status == STATUS_OK)
            status = delete_row(store, id);
    }
    return status == STATUS_OK ? audit_dropped(store, flow, count, id) : status;
}

// Counts all, and drops the oldest of what has no flow any more: a row that was passed may be deleted.
static enum status walk_all(struct store *store, int is_counting, uint64_t *dropped, int64_t *last)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_DEAD_ALL);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        unsigned share = share_of(names_flow(store, sqlite3_column_int64(row, 1)));
        if (is_counting) {
            change(store, share, 1, DEAD_LETTER_ROW_BYTES + (uint64_t)sqlite3_column_int64(row, 2));
            continue;
        }
        if (!is_over(store, SYSTEM_FLOWS_MAX))
            break;
        if (share != SYSTEM_FLOWS_MAX)
            continue;
        *last = sqlite3_column_int64(row, 0);
        ++*dropped;
        status = delete_row(store, *last);
        if (status != STATUS_OK)
            break;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

enum status dead_letters_load(struct store *store)
{
    store->state.dead_letters = 0;
    memset(store->state.dead, 0, sizeof store->state.dead);
    return walk_all(store, 1, NULL, NULL);
}

enum status dead_letters_trim(struct store *store)
{
    uint64_t dropped = 0;
    int64_t last = 0;
    enum status status = store_begin(store);
    if (status != STATUS_OK)
        return status;
    status = walk_all(store, 0, &dropped, &last);
    if (status == STATUS_OK)
        status = audit_dropped(store, SYSTEM_FLOWS_MAX, dropped, last);
    for (unsigned i = 0; i < store->system->flow_count && status == STATUS_OK; i++)
        status = keep_share(store, i);
    if (status == STATUS_OK)
        return store_commit(store);
    store_rollback(store);
    return status;
}

// Without what would have been allowed it always fits.
static size_t audit_record(const struct store *store, int64_t id, const struct audit_facts *facts, const char *allowed,
                           char record[AUDIT_RECORD_BYTES_MAX])
{
    const struct commit_dead *dead = facts->dead;
    const struct system_view *system = store->system;
    struct json_line line;
    json_begin(&line, record, AUDIT_RECORD_BYTES_MAX);
    json_string(&line, "kind", "dead_letter");
    json_integer(&line, "id", id);
    json_string(&line, "reason", reason_text(dead->reason));
    if (dead->unikernel < system_places(system))
        json_string(&line, "unikernel", system_place_name(system, dead->unikernel));
    if (dead->flow < system->flow_count)
        json_string(&line, "flow", system->flows[dead->flow].name);
    json_unsigned(&line, "number", facts->header->number);
    if (dead->principal != 0 && dead->principal <= system->principal_count)
        json_string(&line, "principal", system->principals[dead->principal - 1].name);
    // Six characters for a byte at worst: what a text may be here fits.
    json_text(&line, "text", facts->text, dead->text_bytes < 100 ? dead->text_bytes : 100);
    if (allowed[0] != 0)
        json_string(&line, "allowed", allowed);
    return json_end(&line);
}

static enum status audit(struct store *store, int64_t id, const struct audit_facts *facts, const struct refusal *refusal)
{
    char record[AUDIT_RECORD_BYTES_MAX], allowed[REFUSAL_TEXT_BYTES] = "";
    if (facts->dead->refusal_bytes != 0)
        refusal_text(store->system, refusal, facts->dead->reason, 0, allowed);
    size_t length = audit_record(store, id, facts, allowed, record);
    if (length == 0)
        length = audit_record(store, id, facts, "", record);
    return audit_rows_add(store, record, length);
}

// Why it failed, and of a refusal what came and what would have been taken.
static size_t explain(const struct store *store, const struct audit_facts *facts, const struct refusal *refusal,
                      char text[COMMIT_TEXT_BYTES_MAX + REFUSAL_TEXT_BYTES + 2])
{
    size_t length = facts->dead->text_bytes;
    memcpy(text, facts->text, length);
    if (facts->dead->refusal_bytes == 0)
        return length;
    refusal_text(store->system, refusal, facts->dead->reason, 1, text + length + 2);
    if (text[length + 2] == 0)
        return length;
    memcpy(text + length, ": ", 2);
    return length + strlen(text + length);
}

enum status dead_letter_add(struct store *store, const struct audit_facts *facts, const struct refusal *refusal,
                            const uint8_t *payload)
{
    const struct commit_header *commit = facts->header;
    const struct commit_dead *dead = facts->dead;
    char text[COMMIT_TEXT_BYTES_MAX + REFUSAL_TEXT_BYTES + 2];
    size_t text_bytes = explain(store, facts, refusal, text);
    sqlite3_stmt *statement = store_statement(store, STATEMENT_DEAD_ADD);
    bind_integer(statement, 1, commit->time_ms);
    bind_integer(statement, 2, dead->reason);
    bind_integer(statement, 3, dead->unikernel < system_places(store->system)
                                   ? store->place_ids[dead->unikernel]
                                   : 0);
    bind_integer(statement, 4,
                 dead->flow < store->system->flow_count ? store->flow_ids[dead->flow] : 0);
    bind_integer(statement, 5, (int64_t)commit->number);
    bind_integer(statement, 6, commit->attempt);
    bind_integer(statement, 7, names_principal_id(store, dead->principal));
    bind_bytes(statement, 8, text, text_bytes);
    bind_bytes(statement, 9, payload, dead->payload_bytes);
    enum status status = store_run(store, statement);
    if (status != STATUS_OK)
        return status;
    int64_t id = sqlite3_last_insert_rowid(store->db);
    unsigned share = share_of(dead->flow < store->system->flow_count ? dead->flow : -1);
    change(store, share, 1, DEAD_LETTER_ROW_BYTES + text_bytes + dead->payload_bytes);
    status = audit(store, id, facts, refusal);
    return status == STATUS_OK && share != SYSTEM_FLOWS_MAX ? keep_share(store, share) : status;
}

enum status dead_letter_drop(struct store *store, int64_t id)
{
    return delete_row(store, id);
}

// May the payload enter that flow again, and to whom? bit i of *receivers: place i.
static enum status find_receivers(const struct store *store, int flow, int place,
                                  const uint8_t *payload, size_t size, uint64_t *receivers,
                                  const char **why)
{
    *why = "its flow is not in this version of the system";
    if (flow < 0)
        return STATUS_DENIED;
    const struct system_flow *entry = &store->system->flows[flow];
    *why = "its flow is volatile: only messages of durable flows can be resubmitted";
    if (!entry->is_durable)
        return STATUS_DENIED;
    *why = "its flow is a request or a reply: whoever asked is gone";
    if (entry->kind != SYSTEM_PLAIN)
        return STATUS_DENIED;
    *why = "its payload was not kept (dead_letters: without-payload)";
    if (size == 0)
        return STATUS_DENIED;
    *why = "its payload does not fit the flow's schema (any more)";
    uint16_t field;
    if (schema_check(&store->system->schemas[entry->schema], payload, size, &field) != REASON_DONE)
        return STATUS_DENIED;
    uint64_t all = 0;
    for (unsigned i = 0; i < entry->receiver_count; i++) // of a durable flow: all have a place
        all |= 1ull << system_place(store->system, &entry->receivers[i]);
    // It failed at one receiver; the others have had theirs.
    if (place >= 0 && (all >> place & 1) != 0)
        all = 1ull << place;
    *receivers = all;
    return STATUS_OK;
}

enum status dead_letter_resubmit(struct store *store, int64_t id, int64_t now_ms, unsigned *flow_out,
                                 struct spooled *added, const char **why)
{
    // Aligned for schema_check; the row is gone when the outbox statement runs.
    _Alignas(8) uint8_t payload[ABI_PAYLOAD_BYTES_MAX];
    uint8_t key[ABI_KEY_BYTES_MAX * 16];
    size_t size;
    sqlite3_stmt *row = store_statement(store, STATEMENT_DEAD_GET);
    bind_integer(row, 1, id);
    enum status status = store_step(store, row);
    if (status != STATUS_OK)
        return status;
    const uint8_t *bytes = column_bytes(row, 9, &size);
    int place = names_place(store, sqlite3_column_int64(row, 3));
    int flow = names_flow(store, sqlite3_column_int64(row, 4));
    uint32_t principal = names_principal(store, sqlite3_column_int64(row, 7));
    uint64_t receivers = 0;
    int is_too_large = size > sizeof payload;
    if (!is_too_large)
        memcpy(payload, bytes, size);
    sqlite3_reset(row);
    if (is_too_large) {
        *why = "its payload is larger than a message";
        return STATUS_DENIED;
    }
    status = find_receivers(store, flow, place, payload, size, &receivers, why);
    if (status != STATUS_OK)
        return status;
    const struct system_flow *entry = &store->system->flows[flow];
    struct commit_send send = {.flow = (uint16_t)flow,
                               .payload_bytes = (uint32_t)size,
                               .principal = (uint16_t)principal};
    if (entry->key_field != SYSTEM_NONE)
        send.key_bytes =
            (uint16_t)schema_key(&store->system->schemas[entry->schema], &entry->key_field, 1,
                                 payload, size, key, sizeof key);
    *added = (struct spooled){(uint64_t)__builtin_popcountll(receivers), 0, 0};
    added->bytes = added->count * commit_row_bytes(send.key_bytes, 0, size);
    // What failed once does not push out what is fresh.
    *why = entry->is_newest_kept ? "its flow is full, and nothing newer gives way to it" : "its flow is full";
    if (!spool_has_room(store, (unsigned)flow, *added, 0))
        return STATUS_TOO_LARGE;
    for (unsigned i = 0; i < system_places(store->system) && status == STATUS_OK; i++) {
        if ((receivers >> i & 1) == 0)
            continue;
        int64_t new_id;
        send.receiver = (uint16_t)i;
        status = outbox_add(store, &send, outbox_number(store, (unsigned)flow), now_ms, now_ms, key, NULL, payload, &new_id);
    }
    *flow_out = (unsigned)flow;
    return status == STATUS_OK ? delete_row(store, id) : status;
}
