// SPDX-License-Identifier: ISC
// The outbox.
#include "store/outbox.h"

#include "core/check.h"
#include "store/names.h"

#include <string.h>

uint64_t outbox_number(struct store *store, unsigned flow)
{
    uint64_t last = store->state.numbered;
    if (!system_flow_is_keepable(&store->system->flows[flow]))
        return 0;
    return store->state.numbered = last % COMMIT_NUMBER_STEP == 0 ? last + 1 : last + COMMIT_NUMBER_STEP;
}

enum status outbox_insert(struct store *store, const struct outbox_entry *entry)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_ADD);
    bind_integer(statement, 1, entry->flow);
    bind_integer(statement, 2, entry->receiver);
    bind_integer(statement, 3, entry->due_ms);
    bind_integer(statement, 4, entry->time_ms);
    bind_integer(statement, 5, entry->principal);
    bind_integer(statement, 6, (int64_t)entry->connection);
    bind_bytes(statement, 7, entry->key, entry->key_bytes);
    bind_bytes(statement, 8, entry->context, entry->context_bytes);
    bind_bytes(statement, 9, entry->payload, entry->payload_bytes);
    bind_integer(statement, 10, entry->has_receipt);
    bind_integer(statement, 11, entry->id);
    bind_integer(statement, 12, (int64_t)entry->number);
    return store_run(store, statement);
}

enum status outbox_add(struct store *store, const struct commit_send *send, uint64_t number, int64_t time_ms,
                       int64_t now_ms, const uint8_t *key, const uint8_t *context,
                       const uint8_t *payload, int64_t *id)
{
    int64_t due_ms = send->due_ms;
    if (due_ms > 0 && due_ms < now_ms)
        due_ms = now_ms;
    struct outbox_entry entry = {.id = *id = ++store->state.outbox_last,
                                 .flow = store->flow_ids[send->flow],
                                 .receiver = store->place_ids[send->receiver],
                                 .due_ms = due_ms > 0 ? due_ms : 0,
                                 .time_ms = time_ms,
                                 .principal = names_principal_id(store, send->principal),
                                 .connection = send->connection,
                                 .number = number,
                                 .has_receipt = (send->flags & COMMIT_RECEIPT) != 0,
                                 .key_bytes = send->key_bytes,
                                 .context_bytes = send->context_bytes,
                                 .payload_bytes = send->payload_bytes,
                                 .key = key,
                                 .context = context,
                                 .payload = payload};
    enum status status = outbox_insert(store, &entry);
    if (status == STATUS_OK) {
        store->receivers_changed |= 1ull << send->receiver;
        store->state.spool[send->flow].count++;
        store->state.spool[send->flow].bytes +=
            commit_row_bytes(send->key_bytes, send->context_bytes, send->payload_bytes);
        store->state.spool[send->flow].receipts += (send->flags & COMMIT_RECEIPT) != 0;
    }
    return status;
}

enum status outbox_get(struct store *store, uint64_t id, struct outbox_row *out)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_OUTBOX_GET);
    bind_integer(row, 1, (int64_t)id);
    enum status status = store_step(store, row);
    if (status == STATUS_OK)
        *out = (struct outbox_row){names_flow(store, sqlite3_column_int64(row, 0)),
                                   COMMIT_ROW_BYTES + (uint64_t)sqlite3_column_int64(row, 1),
                                   sqlite3_column_int(row, 2) != 0};
    sqlite3_reset(row);
    return status;
}

enum status outbox_delete(struct store *store, uint64_t id, const struct outbox_row *row)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_DELETE);
    bind_integer(statement, 1, (int64_t)id);
    enum status status = store_run(store, statement);
    check(status != STATUS_OK || sqlite3_changes(store->db) == 1);
    if (status == STATUS_OK && row->flow >= 0) {
        store->state.spool[row->flow].count--;
        store->state.spool[row->flow].bytes -= row->bytes;
        store->state.spool[row->flow].receipts -= row->has_receipt != 0;
    }
    return status;
}

static enum status send_row(struct store *store, struct channel *router, unsigned receiver,
                            sqlite3_stmt *row)
{
    static const uint8_t zero[8];
    size_t key_bytes, context_bytes, payload_bytes;
    const uint8_t *key = column_bytes(row, 6, &key_bytes);
    const uint8_t *context = column_bytes(row, 7, &context_bytes);
    const uint8_t *payload = column_bytes(row, 8, &payload_bytes);
    int flow = names_flow(store, sqlite3_column_int64(row, 1));
    check(flow >= 0); // names_load refused anything else
    struct commit_outbox outbox = {
        .packet = {.kind = COMMIT_OUTBOX, .handle = (uint64_t)sqlite3_column_int64(row, 0)},
        .number = (uint64_t)sqlite3_column_int64(row, sqlite3_column_int64(row, 10) != 0 ? 10 : 0),
        .time_ms = sqlite3_column_int64(row, 3),
        .send = {.flow = (uint16_t)flow,
                 .receiver = (uint16_t)receiver,
                 .key_bytes = (uint16_t)key_bytes,
                 .context_bytes = (uint16_t)context_bytes,
                 .payload_bytes = (uint32_t)payload_bytes,
                 .principal = (uint16_t)names_principal(store, sqlite3_column_int64(row, 4)),
                 .flags = sqlite3_column_int(row, 9) != 0 ? COMMIT_RECEIPT : 0,
                 .due_ms = sqlite3_column_int64(row, 2),
                 .connection = (uint64_t)sqlite3_column_int64(row, 5)}};
    const struct channel_part parts[] = {
        {&outbox, sizeof outbox},
        {key, key_bytes},         {zero, ABI_ALIGN8(key_bytes) - key_bytes},
        {context, context_bytes}, {zero, ABI_ALIGN8(context_bytes) - context_bytes},
        {payload, payload_bytes}, {zero, ABI_ALIGN8(payload_bytes) - payload_bytes}};
    size_t count = sizeof parts / sizeof parts[0], size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].size;
    outbox.packet.size = (uint32_t)size;
    return channel_send_parts(router, parts, count);
}

// Counts the row as with the router, if it may be: where the newest is kept, room that can be made stays behind.
static int may_leave(struct outbox_push *push, const struct store *store, unsigned flow, sqlite3_stmt *row)
{
    const struct system_flow *definition = &store->system->flows[flow];
    struct spooled *taken = &push->taken[flow];
    uint64_t need = system_flow_need(definition);
    uint64_t need_bytes = need * system_row_bytes(&store->system->schemas[definition->schema]);
    uint64_t bytes = commit_row_bytes((uint64_t)sqlite3_column_bytes(row, 6), (uint64_t)sqlite3_column_bytes(row, 7),
                                      (uint64_t)sqlite3_column_bytes(row, 8));
    if (!definition->is_newest_kept)
        return 1;
    if (taken->count + 1 + need > definition->cap || taken->bytes + bytes + need_bytes > definition->bytes_max)
        return 0;
    taken->count++;
    taken->bytes += bytes;
    return 1;
}

// Pushes what is immediate, or what is due, of one queue. STATUS_OK: no more can go now; STATUS_ABSENT: nothing left.
static enum status push_rows(struct outbox_push *push, struct store *store, struct channel *router,
                             unsigned receiver, unsigned flow, int is_timers, int64_t now_ms)
{
    struct outbox_queue *queue = &push->queues[receiver][flow];
    int64_t *id = is_timers ? &queue->due_id : &queue->id;
    sqlite3_stmt *row = store_statement(store, is_timers ? STATEMENT_OUTBOX_DUE : STATEMENT_OUTBOX_NOW);
    bind_integer(row, 1, store->place_ids[receiver]);
    bind_integer(row, 2, *id);
    bind_integer(row, 3, queue->credit);
    if (is_timers) {
        bind_integer(row, 4, queue->due_ms);
        bind_integer(row, 5, now_ms);
    }
    bind_integer(row, 6, store->flow_ids[flow]);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        if (!may_leave(push, store, flow, row))
            break;
        status = send_row(store, router, receiver, row);
        if (status != STATUS_OK)
            break;
        check(queue->credit > 0);
        *id = sqlite3_column_int64(row, 0);
        if (is_timers)
            queue->due_ms = sqlite3_column_int64(row, 2);
        queue->credit--;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT && queue->credit == 0 ? STATUS_OK : status;
}

static enum status next_due(const struct outbox_queue *queue, struct store *store, unsigned receiver,
                            unsigned flow, int64_t *due_ms)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_OUTBOX_NEXT_DUE);
    bind_integer(row, 1, store->place_ids[receiver]);
    bind_integer(row, 2, queue->due_ms);
    bind_integer(row, 3, queue->due_id);
    bind_integer(row, 4, store->flow_ids[flow]);
    enum status status = store_step(store, row);
    if (status == STATUS_OK && sqlite3_column_int64(row, 0) < *due_ms)
        *due_ms = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

// All queues of one receiver. *is_waiting: something may be left that only waits for credit or time.
static enum status push_receiver(struct outbox_push *push, struct store *store, struct channel *router,
                                 unsigned receiver, int64_t now_ms, int *is_waiting,
                                 int64_t *next_due_ms)
{
    for (unsigned flow = 0; flow < store->system->flow_count; flow++) {
        struct outbox_queue *queue = &push->queues[receiver][flow];
        if (!store->system->flows[flow].is_durable ||
            system_port(store->system, &store->system->flows[flow], (uint16_t)receiver) == SYSTEM_NONE)
            continue;
        if (queue->credit == 0) {
            *is_waiting = 1;
            continue;
        }
        enum status status = push_rows(push, store, router, receiver, flow, 1, now_ms);
        if (status == STATUS_ABSENT)
            status = push_rows(push, store, router, receiver, flow, 0, now_ms);
        int64_t due_ms = INT64_MAX;
        if (status == STATUS_ABSENT)
            status = next_due(queue, store, receiver, flow, &due_ms);
        else if (status == STATUS_OK)
            *is_waiting = 1;
        if (status != STATUS_OK)
            return status;
        if (due_ms != INT64_MAX)
            *is_waiting = 1;
        if (due_ms < *next_due_ms)
            *next_due_ms = due_ms;
    }
    return STATUS_OK;
}

enum status outbox_push(struct outbox_push *push, struct store *store, struct channel *router,
                        int64_t now_ms, int64_t *next_due_ms)
{
    check(!store->is_in_transaction); // only committed messages leave
    *next_due_ms = INT64_MAX;
    for (unsigned i = 0; i < system_places(store->system); i++) {
        int is_waiting = 0;
        if ((store->receivers_changed >> i & 1) == 0)
            continue;
        enum status status = push_receiver(push, store, router, i, now_ms, &is_waiting, next_due_ms);
        if (status != STATUS_OK)
            return status;
        if (!is_waiting)
            store->receivers_changed &= ~(1ull << i);
    }
    return STATUS_OK;
}
