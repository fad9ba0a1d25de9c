// SPDX-License-Identifier: ISC
// Within a queue (a receiver and a flow) messages end in order of their ids, from the first that is not with the
// router. Only plain messages and requests do (system_check.c), so none of them is a timer.
#include "store/spool.h"

#include "core/check.h"
#include "core/json_line.h"
#include "proto/builtin.h"
#include "store/audit_rows.h"
#include "store/counters.h"
#include "store/names.h"
#include "store/outbox.h"

#include <string.h>

enum status spool_load(struct store *store)
{
    struct spooled waiting[SYSTEM_FLOWS_MAX] = {{0, 0, 0}};
    sqlite3_stmt *row = store_statement(store, STATEMENT_OUTBOX_SPOOL);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        int flow = names_flow(store, sqlite3_column_int64(row, 0));
        check(flow >= 0); // names_load refused anything else
        uint64_t count = (uint64_t)sqlite3_column_int64(row, 1);
        waiting[flow] = (struct spooled){count, count * COMMIT_ROW_BYTES + (uint64_t)sqlite3_column_int64(row, 2),
                                         (uint64_t)sqlite3_column_int64(row, 3)};
    }
    if (status != STATUS_ABSENT)
        return status;
    for (size_t i = 0; i < store->system->flow_count; i++) {
        store->state.spool[i] = waiting[i];
        store->page->spooled[i] = waiting[i].count;
        store->page->spooled_bytes[i] = waiting[i].bytes;
    }
    return STATUS_OK;
}

int spool_makes_receipts(const struct store *store, unsigned flow)
{
    const struct system_flow *definition = &store->system->flows[flow];
    return system_has_receipts(definition) && system_receipts(store->system, definition->sender) != SYSTEM_NONE;
}

uint64_t spool_promised(const struct store *store, unsigned receipts)
{
    const struct system_flow *flows = store->system->flows;
    uint64_t promised = 0;
    for (size_t i = 0; flows[receipts].sender_kind == SYSTEM_RECEIPTS && i < store->system->flow_count; i++)
        if (system_has_receipts(&flows[i]) && flows[i].sender == flows[receipts].receivers[0].index)
            promised += store->state.spool[i].receipts;
    return promised;
}

int spool_has_room(const struct store *store, unsigned flow, struct spooled added, int can_displace)
{
    const struct system_flow *definition = &store->system->flows[flow];
    struct spooled stays = store->state.spool[flow];
    if (definition->is_newest_kept && can_displace)
        stays = store->push != NULL ? store->push->taken[flow] : (struct spooled){0, 0, 0};
    return stays.count + added.count <= definition->cap && stays.bytes + added.bytes <= definition->bytes_max;
}

struct first { // of a queue: the oldest that is not with the router
    int64_t id; // 0: none
    int64_t time_ms;
    struct outbox_row row;
    struct commit_send receipt; // that it promises
    uint8_t context[ABI_CONTEXT_BYTES_MAX];
};

static enum status first_get(struct store *store, unsigned flow, unsigned receiver, struct first *first)
{
    int64_t after = store->push != NULL ? store->push->queues[receiver][flow].id : 0;
    sqlite3_stmt *row = store_statement(store, STATEMENT_OUTBOX_FIRST);
    bind_integer(row, 1, store->place_ids[receiver]);
    bind_integer(row, 2, store->flow_ids[flow]);
    bind_integer(row, 3, after);
    enum status status = store_step(store, row);
    *first = (struct first){0};
    if (status == STATUS_OK) {
        size_t context_bytes;
        const uint8_t *context = column_bytes(row, 6, &context_bytes);
        check(context_bytes <= sizeof first->context);
        first->id = sqlite3_column_int64(row, 0);
        first->time_ms = sqlite3_column_int64(row, 1);
        first->row = (struct outbox_row){(int)flow, COMMIT_ROW_BYTES + (uint64_t)sqlite3_column_int64(row, 2),
                                         sqlite3_column_int(row, 3) != 0};
        first->receipt = (struct commit_send){
            .payload_bytes = sizeof(struct builtin_receipt),
            .context_bytes = (uint16_t)context_bytes,
            .principal = (uint16_t)names_principal(store, sqlite3_column_int64(row, 4)),
            .connection = (uint64_t)sqlite3_column_int64(row, 5)};
        memcpy(first->context, context, context_bytes);
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

// The receipt that it promised. names_load() let in no message whose sender takes none.
static enum status receipt_add(struct store *store, const struct first *first, enum reason reason, int64_t now_ms)
{
    unsigned flow = (unsigned)first->row.flow;
    const struct system_flow *definition = &store->system->flows[flow];
    struct builtin_receipt receipt = {.output = definition->sender_port, .reason = (uint16_t)reason};
    struct commit_send send = first->receipt;
    int64_t id;
    if (!first->row.has_receipt)
        return STATUS_OK;
    send.flow = system_receipts(store->system, definition->sender);
    send.receiver = definition->sender;
    store->state.left[flow].receipts++;
    store->state.left_receipt_bytes[flow] += commit_row_bytes(0, send.context_bytes, send.payload_bytes);
    return outbox_add(store, &send, 0, now_ms, now_ms, NULL, first->context, (const uint8_t *)&receipt, &id);
}

static enum status end(struct store *store, const struct first *first, enum reason reason, int64_t now_ms)
{
    unsigned flow = (unsigned)first->row.flow;
    struct spooled *left = &store->state.left[flow];
    check(left->count == 0 || store->state.left_reason[flow] == reason);
    enum status status = receipt_add(store, first, reason, now_ms);
    if (status != STATUS_OK)
        return status;
    left->count++;
    left->bytes += first->row.bytes;
    store->state.left_reason[flow] = (uint16_t)reason;
    store->state.has_left = 1;
    return outbox_delete(store, (uint64_t)first->id, &first->row);
}

static enum status displace(struct store *store, unsigned flow, int64_t now_ms)
{
    const struct system_flow *definition = &store->system->flows[flow];
    struct first oldest = {0};
    for (unsigned i = 0; i < definition->receiver_count; i++) {
        struct first first;
        enum status status = first_get(store, flow, system_place(store->system, &definition->receivers[i]), &first);
        if (status != STATUS_OK)
            return status;
        if (first.id != 0 && (oldest.id == 0 || first.id < oldest.id))
            oldest = first;
    }
    check(oldest.id != 0); // spool_has_room() said so
    return end(store, &oldest, REASON_DISPLACED, now_ms);
}

enum status spool_make_room(struct store *store, int64_t now_ms)
{
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < store->system->flow_count; i++) {
        const struct system_flow *definition = &store->system->flows[i];
        const struct spooled *waiting = &store->state.spool[i];
        while (definition->is_newest_kept && status == STATUS_OK &&
               (waiting->count > definition->cap || waiting->bytes > definition->bytes_max))
            status = displace(store, i, now_ms);
    }
    return status;
}

// Ends at most `most` of one queue; with 0 it only looks. *is_late: one more is too late.
static enum status queue_expire(struct store *store, unsigned flow, unsigned receiver, int64_t now_ms, unsigned most,
                                int *is_late)
{
    const struct system_flow *definition = &store->system->flows[flow];
    for (unsigned i = 0;; i++) {
        struct first first;
        enum status status = first_get(store, flow, receiver, &first);
        *is_late = status == STATUS_OK && first.id != 0 &&
                   now_ms - first.time_ms >= (int64_t)definition->live_ms;
        if (!*is_late || i == most)
            return status;
        status = end(store, &first, definition->kind == SYSTEM_REQUEST ? REASON_LATE : REASON_EXPIRED, now_ms);
        if (status != STATUS_OK)
            return status;
    }
}

static enum status expire(struct store *store, int64_t now_ms, unsigned most, int *is_more)
{
    enum status status = STATUS_OK;
    *is_more = 0;
    for (unsigned i = 0; i < store->system->flow_count; i++) {
        const struct system_flow *definition = &store->system->flows[i];
        int is_meant = definition->is_durable && definition->live_ms != 0;
        for (unsigned j = 0; is_meant && j < definition->receiver_count && status == STATUS_OK; j++) {
            int is_late = 0;
            status = queue_expire(store, i, system_place(store->system, &definition->receivers[j]), now_ms, most, &is_late);
            *is_more |= is_late;
        }
    }
    return status;
}

int spool_is_late(struct store *store, int64_t now_ms)
{
    int is_late;
    return expire(store, now_ms, 0, &is_late) == STATUS_OK && is_late;
}

enum status spool_expire(struct store *store, int64_t now_ms, int *is_more)
{
    return expire(store, now_ms, SPOOL_EXPIRE_MAX, is_more);
}

enum status spool_settle(struct store *store)
{
    enum status status = STATUS_OK;
    for (unsigned i = 0; store->state.has_left && i < store->system->flow_count && status == STATUS_OK; i++) {
        const struct spooled *left = &store->state.left[i];
        uint32_t reason = store->state.left_reason[i];
        char text[192];
        struct json_line line;
        if (left->count == 0)
            continue;
        json_begin(&line, text, sizeof text);
        json_string(&line, "kind", "left_out");
        json_string(&line, "flow", store->system->flows[i].name);
        json_string(&line, "reason", reason_text(reason));
        json_unsigned(&line, "count", left->count);
        counter_add(store, COUNTER_FLOW(i, reason), left->count);
        if (left->receipts != 0)
            counter_add(store, COUNTER_FLOW(system_receipts(store->system, store->system->flows[i].sender),
                                            REASON_ENTERED), left->receipts);
        status = audit_rows_add(store, text, json_end(&line));
    }
    return status;
}
