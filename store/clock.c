// SPDX-License-Identifier: ISC
// Kept beside the names (NAME_CLOCK): identity of the boot, then how far the host's clock was ahead of the time since it.
#include "store/clock.h"

#include "core/json_line.h"
#include "store/audit_rows.h"
#include "store/names.h"

#include <stdio.h>
#include <string.h>

static enum status note(struct store *store, uint64_t boot, int64_t ahead_ms)
{
    uint8_t bytes[32] = {0};
    memcpy(bytes, &boot, sizeof boot);
    memcpy(bytes + 8, &ahead_ms, sizeof ahead_ms);
    return names_note(store, NAME_CLOCK, "clock", bytes);
}

static enum status load(struct store *store, uint64_t boot, int64_t ahead_ms)
{
    uint8_t bytes[32];
    uint64_t old_boot = 0;
    enum status status = names_noted(store, NAME_CLOCK, "clock", bytes);
    if (status == STATUS_OK)
        memcpy(&old_boot, bytes, sizeof old_boot);
    else if (status != STATUS_ABSENT)
        return status;
    store->clock_ahead_ms = ahead_ms;
    store->is_clock_known = 1;
    if (old_boot == boot && boot != 0) {
        memcpy(&store->clock_ahead_ms, bytes + 8, sizeof store->clock_ahead_ms);
        return STATUS_OK;
    }
    status = store_begin(store);
    if (status == STATUS_OK) {
        status = note(store, boot, ahead_ms);
        if (status == STATUS_OK)
            status = store_commit(store);
        else
            store_rollback(store);
    }
    return status == STATUS_FULL ? STATUS_OK : status; // a start of the store takes the clock as it is
}

static enum status move_rows(struct store *store, int64_t before_ms, int64_t wall_ms)
{
    char text[96];
    struct json_line line;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_OUTBOX_MOVE);
    bind_integer(statement, 1, wall_ms - before_ms);
    bind_integer(statement, 2, before_ms + CLOCK_SET_MS);
    bind_integer(statement, 3, wall_ms + 1); // behind the marks of what was pushed
    enum status status = store_run(store, statement);
    if (status != STATUS_OK)
        return status;
    json_begin(&line, text, sizeof text);
    json_string(&line, "kind", "clock_set");
    json_integer(&line, "by_ms", wall_ms - before_ms);
    return audit_rows_add(store, text, json_end(&line));
}

// What was pushed has marks in the time of its rows.
static void move_marks(struct router_link *link, int64_t by_ms)
{
    for (size_t i = 0; i < SYSTEM_PLACES_MAX; i++)
        for (size_t j = 0; j < SYSTEM_FLOWS_MAX; j++)
            if (link->push.queues[i][j].due_id != 0)
                link->push.queues[i][j].due_ms += by_ms;
}

enum status clock_follow(struct store *store, struct router_link *link, const struct clock_reading *now,
                         int64_t *wall_ms)
{
    int64_t ahead_ms = now->wall_ms - now->boot_ms;
    *wall_ms = now->wall_ms;
    if (store->is_on_trial)
        return STATUS_OK;
    enum status status = store->is_clock_known ? STATUS_OK : load(store, now->boot, ahead_ms);
    int64_t by_ms = ahead_ms - store->clock_ahead_ms;
    if (status != STATUS_OK || (by_ms <= CLOCK_SET_MS && by_ms >= -CLOCK_SET_MS))
        return status;
    status = store_begin(store);
    if (status == STATUS_OK) {
        status = move_rows(store, now->wall_ms - by_ms, now->wall_ms);
        if (status == STATUS_OK)
            status = note(store, now->boot, ahead_ms);
        if (status == STATUS_OK)
            status = store_commit(store);
        else
            store_rollback(store);
    }
    if (status == STATUS_FULL) {
        *wall_ms = now->wall_ms - by_ms;
        return STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    fprintf(stderr, "crenel-store: the host's clock was set by %lld ms: what waits was moved with it\n", (long long)by_ms);
    store->clock_ahead_ms = ahead_ms;
    store->receivers_changed = UINT64_MAX; // next timers are due at another time
    move_marks(link, by_ms);
    link->now_ms = now->wall_ms;
    return STATUS_OK;
}
