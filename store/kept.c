// SPDX-License-Identifier: ISC
// Kept messages. Invariants: a message that waits lies in the body of exactly one entry, or in the open transaction's; an entry
// leaves after all that stand before it, so what ends a message is there as long as what added it.
//
// One that waits long (a slow receiver) would hold all entries behind it. So when the journal is much longer than what waits in
// it, the first entry's messages are copied to the open transaction's.
#include "store/kept.h"

#include "core/check.h"
#include "store/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BUCKETS 4096u    // a power of 2: numbers follow one another
#define KEPT_ENTRIES 4096u    // of the journal, a power of 2
#define KEPT_SLACK (4u << 20) // bytes that the journal may hold beside twice what waits
#define KEPT_ADDED_MOST (4 * COMMIT_BYTES_MAX) // by one COMMIT: an item has a longer head than a send

enum kept_kind { KEPT_ADD = 1, KEPT_END = 2 };

struct kept_item { // END: the first 16 bytes
    uint32_t size; // a multiple of 8
    uint32_t kind;
    uint64_t number;
    int64_t id, time_ms;
    int64_t flow, receiver, principal; // ids of names
    uint64_t connection;
    uint64_t from; // copied from that entry, 0: new
    uint32_t key_bytes, context_bytes, payload_bytes, zero; // these follow, each padded to 8
};
#define KEPT_END_BYTES 16u

struct kept_message {
    struct kept_message *next; // in its bucket, or free
    uint64_t number, entry;    // entry: of the journal
    uint32_t item_bytes;
    uint8_t is_ended; // by the open transaction
    struct outbox_row row;
};

struct kept {
    struct kept_message *messages, *buckets[KEPT_BUCKETS], *free;
    uint64_t first, next; // entries of the journal that are there: from first to next - 1; next is the open transaction's
    struct {
        uint64_t bytes;
        uint32_t waiting;
    } entries[KEPT_ENTRIES];
    uint64_t bytes, waiting_bytes; // of all entries; of the items that wait
    uint32_t waiting, counts[SYSTEM_FLOWS_MAX];
    uint32_t ended; // of those that wait, by the open transaction
    uint64_t left; // by the open transaction, when it is done: entries before it
    int is_written; // the open transaction's entry
    size_t body_bytes;
    _Alignas(8) uint8_t body[KEPT_BODY_BYTES];
};

static struct kept_message **find(struct kept *kept, uint64_t number)
{
    struct kept_message **at = &kept->buckets[number % KEPT_BUCKETS];
    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static void insert(struct kept *kept, const struct kept_message *message)
{
    struct kept_message *slot = kept->free, **bucket = &kept->buckets[message->number % KEPT_BUCKETS];
    check(slot != NULL);
    kept->free = slot->next;
    *slot = *message;
    slot->next = *bucket;
    *bucket = slot;
    kept->waiting++;
    kept->counts[message->row.flow]++;
    kept->waiting_bytes += message->item_bytes;
    kept->entries[message->entry % KEPT_ENTRIES].waiting++;
}

static void leave(struct kept *kept, struct kept_message **at)
{
    struct kept_message *message = *at;
    *at = message->next;
    kept->waiting--;
    kept->counts[message->row.flow]--;
    kept->waiting_bytes -= message->item_bytes;
    kept->entries[message->entry % KEPT_ENTRIES].waiting--;
    message->next = kept->free;
    kept->free = message;
}

enum status kept_get(const struct store *store, uint64_t number, struct outbox_row *row)
{
    const struct kept_message *message = *find(store->kept, number);
    if (message == NULL || message->is_ended)
        return STATUS_ABSENT;
    *row = message->row;
    return STATUS_OK;
}

uint64_t kept_count(const struct store *store, unsigned flow) { return store->kept->counts[flow]; }

int kept_has_room(const struct store *store)
{
    return store->kept->body_bytes <= KEPT_BODY_BYTES - KEPT_ADDED_MOST && store->kept->next - store->kept->first < KEPT_ENTRIES - 1;
}

static void put(struct kept *kept, const void *bytes, size_t size)
{
    size_t padded = ABI_ALIGN8(size);
    check(padded <= KEPT_BODY_BYTES - kept->body_bytes);
    memcpy(kept->body + kept->body_bytes, bytes, size);
    memset(kept->body + kept->body_bytes + size, 0, padded - size);
    kept->body_bytes += padded;
}

enum status kept_add(struct store *store, const struct commit_send *send, uint64_t number, int64_t time_ms, const uint8_t *key,
                     const uint8_t *context, const uint8_t *payload, int64_t *id)
{
    struct kept *kept = store->kept;
    if (*find(kept, number) != NULL || kept->counts[send->flow] >= 2 * COMMIT_KEPT_MAX) // some may have ended just now
        return STATUS_CONFLICT;
    struct kept_item item = {.kind = KEPT_ADD,
                             .number = number,
                             .id = *id = ++store->state.outbox_last,
                             .time_ms = time_ms,
                             .flow = store->flow_ids[send->flow],
                             .receiver = store->place_ids[send->receiver],
                             .principal = names_principal_id(store, send->principal),
                             .connection = send->connection,
                             .key_bytes = send->key_bytes,
                             .context_bytes = send->context_bytes,
                             .payload_bytes = send->payload_bytes};
    item.size = (uint32_t)(sizeof item + ABI_ALIGN8((size_t)item.key_bytes) + ABI_ALIGN8((size_t)item.context_bytes) +
                           ABI_ALIGN8((size_t)item.payload_bytes));
    put(kept, &item, sizeof item);
    put(kept, key, item.key_bytes);
    put(kept, context, item.context_bytes);
    put(kept, payload, item.payload_bytes);
    struct outbox_row row = {(int)send->flow, commit_row_bytes(item.key_bytes, item.context_bytes, item.payload_bytes), 0};
    insert(kept, &(struct kept_message){.number = number, .entry = kept->next, .item_bytes = item.size, .row = row});
    store->state.spool[send->flow].count++;
    store->state.spool[send->flow].bytes += row.bytes;
    return STATUS_OK;
}

void kept_end(struct store *store, uint64_t number)
{
    struct kept *kept = store->kept;
    struct kept_message *message = *find(kept, number);
    struct kept_item item = {.size = KEPT_END_BYTES, .kind = KEPT_END, .number = number};
    check(message != NULL && !message->is_ended);
    put(kept, &item, KEPT_END_BYTES);
    message->is_ended = 1;
    kept->ended++;
    store->state.spool[message->row.flow].count--;
    store->state.spool[message->row.flow].bytes -= message->row.bytes;
}

// The next item of a body; 0: no more. A body that is not made of items: *at is no longer its size.
static int next_item(const uint8_t *body, size_t size, size_t *at, struct kept_item *item)
{
    *item = (struct kept_item){0};
    if (size - *at < KEPT_END_BYTES)
        return 0;
    memcpy(item, body + *at, KEPT_END_BYTES);
    if (item->kind == KEPT_ADD && size - *at >= sizeof *item) {
        memcpy(item, body + *at, sizeof *item);
        if (item->size != sizeof *item + ABI_ALIGN8((uint64_t)item->key_bytes) + ABI_ALIGN8((uint64_t)item->context_bytes) +
                              ABI_ALIGN8((uint64_t)item->payload_bytes))
            return 0;
    } else if (item->kind != KEPT_END || item->size != KEPT_END_BYTES) {
        return 0;
    }
    if (item->size > size - *at)
        return 0;
    *at += item->size;
    return 1;
}

// Copies what waits in the first entry to the open transaction's, if it has room for that.
static enum status move_first(struct store *store)
{
    struct kept *kept = store->kept;
    struct kept_item item;
    sqlite3_stmt *row = store_statement(store, STATEMENT_JOURNAL_GET);
    bind_integer(row, 1, (int64_t)kept->first);
    enum status status = store_step(store, row);
    if (status != STATUS_OK)
        return status == STATUS_ABSENT ? STATUS_SYSTEM : status;
    size_t size, at = 0;
    const uint8_t *body = column_bytes(row, 0, &size);
    while (size <= KEPT_BODY_BYTES - kept->body_bytes && next_item(body, size, &at, &item)) {
        struct kept_message *message = *find(kept, item.number);
        if (item.kind != KEPT_ADD || message == NULL || message->is_ended || message->entry != kept->first)
            continue;
        item.from = kept->first;
        size_t head_at = kept->body_bytes;
        put(kept, body + at - item.size, item.size);
        memcpy(kept->body + head_at, &item, sizeof item);
        kept->entries[message->entry % KEPT_ENTRIES].waiting--;
        kept->entries[kept->next % KEPT_ENTRIES].waiting++;
        message->entry = kept->next;
    }
    sqlite3_reset(row);
    return STATUS_OK;
}

static enum status forget_before(struct store *store, uint64_t entry)
{
    struct kept *kept = store->kept;
    kept->left = entry;
    if (entry == kept->first)
        return STATUS_OK;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_JOURNAL_DELETE);
    bind_integer(statement, 1, (int64_t)entry);
    return store_run(store, statement);
}

enum status kept_settle(struct store *store)
{
    struct kept *kept = store->kept;
    kept->left = kept->first;
    kept->is_written = 0;
    if (kept->body_bytes == 0)
        return STATUS_OK;
    if (kept->waiting == kept->ended)
        return forget_before(store, kept->next);
    enum status status = STATUS_OK;
    if (kept->first != kept->next && (kept->bytes > 2 * kept->waiting_bytes + KEPT_SLACK ||
                                      kept->next - kept->first > KEPT_ENTRIES / 2))
        status = move_first(store);
    if (status != STATUS_OK)
        return status;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_JOURNAL_ADD);
    bind_integer(statement, 1, (int64_t)kept->next);
    bind_bytes(statement, 2, kept->body, kept->body_bytes);
    status = store_run(store, statement);
    if (status != STATUS_OK)
        return status;
    kept->is_written = 1;
    uint64_t entry = kept->first; // what ends in this transaction leaves with one of the next
    while (entry != kept->next && kept->entries[entry % KEPT_ENTRIES].waiting == 0)
        entry++;
    return forget_before(store, entry);
}

void kept_settled(struct store *store, int is_done)
{
    struct kept *kept = store->kept;
    struct kept_item item;
    for (size_t at = 0; next_item(kept->body, kept->body_bytes, &at, &item);) {
        struct kept_message **message = find(kept, item.number);
        if (item.kind == KEPT_END && is_done) {
            leave(kept, message);
        } else if (item.kind == KEPT_END) {
            if (*message != NULL) // it was not added by this transaction, too
                (*message)->is_ended = 0;
        } else if (!is_done && item.from == 0) {
            leave(kept, message);
        } else if (!is_done) {
            (*message)->entry = item.from;
            kept->entries[item.from % KEPT_ENTRIES].waiting++;
            kept->entries[kept->next % KEPT_ENTRIES].waiting--;
        }
    }
    size_t body_bytes = kept->body_bytes;
    kept->body_bytes = kept->ended = 0;
    if (!is_done || body_bytes == 0)
        return;
    if (kept->is_written) {
        kept->entries[kept->next++ % KEPT_ENTRIES].bytes = body_bytes;
        kept->bytes += body_bytes;
    }
    for (; kept->first != kept->left; kept->first++)
        kept->bytes -= kept->entries[kept->first % KEPT_ENTRIES].bytes;
    check(kept->entries[kept->next % KEPT_ENTRIES].waiting == 0);
}

static enum status restore_item(struct store *store, const struct kept_item *item, const uint8_t *parts)
{
    const uint8_t *context = parts + ABI_ALIGN8((size_t)item->key_bytes);
    struct outbox_entry entry = {.id = item->id,
                                 .flow = item->flow,
                                 .receiver = item->receiver,
                                 .time_ms = item->time_ms,
                                 .principal = item->principal,
                                 .connection = item->connection,
                                 .number = item->number,
                                 .key_bytes = item->key_bytes,
                                 .context_bytes = item->context_bytes,
                                 .payload_bytes = item->payload_bytes,
                                 .key = parts,
                                 .context = context,
                                 .payload = context + ABI_ALIGN8((size_t)item->context_bytes)};
    return outbox_insert(store, &entry);
}

// Entries in their order: what waits becomes rows, and rows of what ended leave. An item that was copied has its row already.
static enum status restore(struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_JOURNAL_ALL);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        struct kept_item item;
        size_t size, at = 0;
        const uint8_t *body = column_bytes(row, 0, &size);
        while (status == STATUS_OK && next_item(body, size, &at, &item)) {
            sqlite3_stmt *end = store_statement(store, STATEMENT_OUTBOX_END);
            bind_integer(end, 1, (int64_t)item.number);
            if (item.kind == KEPT_END)
                status = store_run(store, end);
            else if (item.from == 0 || item.from < store->kept->first)
                status = restore_item(store, &item, body + at - item.size + sizeof item);
        }
        if (status == STATUS_OK && at != size)
            status = STATUS_MALFORMED;
        if (status != STATUS_OK)
            break;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

static enum status bounds(struct store *store, uint64_t *first, uint64_t *next)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_JOURNAL_BOUNDS);
    enum status status = store_step(store, row);
    if (status == STATUS_OK) {
        *first = (uint64_t)sqlite3_column_int64(row, 0);
        *next = (uint64_t)sqlite3_column_int64(row, 1);
        store->state.outbox_last = sqlite3_column_int64(row, 2);
    }
    sqlite3_reset(row);
    return status;
}

static enum status empty(struct store *store)
{
    enum status status = store_run(store, store_statement(store, STATEMENT_BEGIN));
    if (status == STATUS_OK)
        status = restore(store);
    sqlite3_stmt *statement = store_statement(store, STATEMENT_JOURNAL_DELETE);
    bind_integer(statement, 1, INT64_MAX);
    if (status == STATUS_OK)
        status = store_run(store, statement);
    if (status == STATUS_OK)
        status = store_run(store, store_statement(store, STATEMENT_COMMIT));
    return status; // what failed is rolled back when the database is closed
}

enum status kept_open(struct store *store)
{
    size_t slots = 1;
    uint64_t first, next;
    for (size_t i = 0; i < store->system->flow_count; i++)
        slots += system_flow_is_keepable(&store->system->flows[i]) ? 2 * COMMIT_KEPT_MAX : 0;
    struct kept *kept = store->kept = calloc(1, sizeof *kept);
    if (kept == NULL || (kept->messages = calloc(slots, sizeof *kept->messages)) == NULL)
        return STATUS_SYSTEM;
    for (size_t i = 0; i < slots; i++) {
        kept->messages[i].next = kept->free;
        kept->free = &kept->messages[i];
    }
    enum status status = bounds(store, &first, &next);
    kept->first = first;
    if (status == STATUS_OK && first != next)
        status = empty(store);
    if (status == STATUS_MALFORMED)
        snprintf(store->error, sizeof store->error,
                 "the journal of %s is damaged; mend: put back a copy of the folder, or keep it as evidence and start with none",
                 DATABASE_FILE);
    if (status == STATUS_OK)
        status = bounds(store, &first, &next); // ids of rows that came back
    kept->first = kept->next = 1;
    return status;
}

void kept_close(struct store *store)
{
    if (store->kept != NULL)
        free(store->kept->messages);
    free(store->kept);
    store->kept = NULL;
}
