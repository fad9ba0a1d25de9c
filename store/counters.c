// SPDX-License-Identifier: ISC
// A transaction of many commits adds to the same few counters again and again: to write each time took a fifth of it.
#include "store/counters.h"

#include "core/check.h"

#define FLOW_COUNTERS (SYSTEM_FLOWS_MAX * REASON_COUNT)
_Static_assert(COUNTERS_MAX <= UINT16_MAX + 1u, "added_indices");

int counter_is_valid(const struct store *store, uint32_t index)
{
    return index < FLOW_COUNTERS ? index / REASON_COUNT < store->system->flow_count
                                 : (index - FLOW_COUNTERS) / 16 < store->system->unikernel_count;
}

void counter_add(struct store *store, uint32_t index, uint64_t value)
{
    check(store->is_in_transaction && counter_is_valid(store, index));
    if (store->added[index] == 0 && value != 0)
        store->added_indices[store->added_count++] = (uint16_t)index;
    store->added[index] += value;
}

enum status counters_settle(struct store *store)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < store->added_count && status == STATUS_OK; i++) {
        uint32_t index = store->added_indices[i];
        int is_flow = index < FLOW_COUNTERS;
        uint32_t owner = is_flow ? index / REASON_COUNT : (index - FLOW_COUNTERS) / 16;
        sqlite3_stmt *statement = store_statement(store, STATEMENT_COUNTER_ADD);
        bind_integer(statement, 1, !is_flow);
        bind_integer(statement, 2, is_flow ? store->flow_ids[owner] : store->place_ids[owner]);
        bind_integer(statement, 3, is_flow ? index % REASON_COUNT : (index - FLOW_COUNTERS) % 16);
        bind_integer(statement, 4, (int64_t)store->added[index]);
        status = store_run(store, statement);
    }
    counters_drop(store);
    return status;
}

void counters_drop(struct store *store)
{
    while (store->added_count != 0)
        store->added[store->added_indices[--store->added_count]] = 0;
}
