// SPDX-License-Identifier: ISC
// The outbox.
#include "store/outbox.h"

#include "core/check.h"
#include "store/names.h"

#include <string.h>

enum status outbox_add(struct store *store, const struct commit_send *send, int64_t time_ms,
                       int64_t now_ms, const uint8_t *key, const uint8_t *context,
                       const uint8_t *payload, int64_t *id)
{
    int64_t due_ms = send->due_ms;
    if (due_ms > 0 && due_ms < now_ms)
        due_ms = now_ms;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_ADD);
    bind_integer(statement, 1, store->flow_ids[send->flow]);
    bind_integer(statement, 2, store->unikernel_ids[send->receiver]);
    bind_integer(statement, 3, due_ms > 0 ? due_ms : 0);
    bind_integer(statement, 4, time_ms);
    bind_integer(statement, 5, names_principal_id(store, send->principal));
    bind_integer(statement, 6, (int64_t)send->connection);
    bind_bytes(statement, 7, key, send->key_bytes);
    bind_bytes(statement, 8, context, send->context_bytes);
    bind_bytes(statement, 9, payload, send->payload_bytes);
    enum status status = store_run(store, statement);
    if (status == STATUS_OK) {
        *id = sqlite3_last_insert_rowid(store->db);
        store->receivers_changed |= 1u << send->receiver;
    }
    return status;
}

enum status outbox_exists(struct store *store, uint64_t id)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_EXISTS);
    bind_integer(statement, 1, (int64_t)id);
    enum status status = store_step(store, statement);
    sqlite3_reset(statement);
    return status;
}

enum status outbox_consume(struct store *store, uint64_t id)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_DELETE);
    bind_integer(statement, 1, (int64_t)id);
    enum status status = store_run(store, statement);
    return status == STATUS_OK && sqlite3_changes(store->db) == 0 ? STATUS_ABSENT : status;
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
        .time_ms = sqlite3_column_int64(row, 3),
        .send = {.flow = (uint16_t)flow,
                 .receiver = (uint16_t)receiver,
                 .key_bytes = (uint16_t)key_bytes,
                 .context_bytes = (uint16_t)context_bytes,
                 .payload_bytes = (uint32_t)payload_bytes,
                 .principal = names_principal(store, sqlite3_column_int64(row, 4)),
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

// Pushes what is immediate, or what is due, of one queue. STATUS_OK: credit used up; STATUS_ABSENT: nothing left.
static enum status push_rows(struct outbox_queue *queue, struct store *store, struct channel *router,
                             unsigned receiver, unsigned flow, int is_timers, int64_t now_ms)
{
    int64_t *id = is_timers ? &queue->due_id : &queue->id;
    sqlite3_stmt *row = store_statement(store, is_timers ? STATEMENT_OUTBOX_DUE : STATEMENT_OUTBOX_NOW);
    bind_integer(row, 1, store->unikernel_ids[receiver]);
    bind_integer(row, 2, *id);
    bind_integer(row, 3, queue->credit);
    if (is_timers) {
        bind_integer(row, 4, queue->due_ms);
        bind_integer(row, 5, now_ms);
    }
    bind_integer(row, 6, store->flow_ids[flow]);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
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
    bind_integer(row, 1, store->unikernel_ids[receiver]);
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
            system_input_port(&store->system->flows[flow], (uint16_t)receiver) == SYSTEM_NONE)
            continue;
        if (queue->credit == 0) {
            *is_waiting = 1;
            continue;
        }
        enum status status = push_rows(queue, store, router, receiver, flow, 1, now_ms);
        if (status == STATUS_ABSENT)
            status = push_rows(queue, store, router, receiver, flow, 0, now_ms);
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
    for (unsigned i = 0; i < store->system->unikernel_count; i++) {
        int is_waiting = 0;
        if ((store->receivers_changed >> i & 1) == 0)
            continue;
        enum status status = push_receiver(push, store, router, i, now_ms, &is_waiting, next_due_ms);
        if (status != STATUS_OK)
            return status;
        if (!is_waiting)
            store->receivers_changed &= ~(1u << i);
    }
    return STATUS_OK;
}
