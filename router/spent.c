// SPDX-License-Identifier: ISC
// Keys that leave: a state by which no verdict goes any more (flow_state_is_spent) gives its place to another key.
//
// Once a second a part of a table that is nearly full is looked through. States of durable flows are forgotten in the store
// first, with the COMMIT of the counters, and here when that is done: as long as nobody has used the key since.
#include "router/state.h"

#include <string.h>

#define LOOKED_MAX 4096u // entries of a table at once

static int is_leaving(const struct engine *engine, uint16_t flow, const struct key_entry *entry)
{
    struct flow_clock clock = {engine->now_ms, engine->wall_ms, engine->wall_ms};
    // One that is free has no state, and a pointer of its own.
    return flow_state_is_spent(engine->system, &engine->system->flows[flow], entry->state, &clock) && entry->held == NULL;
}

static void look_through(struct engine *engine, uint16_t flow, struct key_table *table)
{
    for (uint32_t i = 0; i < LOOKED_MAX && i < table->entries.used && engine->spent_count < ROUTER_SPENT_MAX; i++) {
        table->next = (table->next + 1) % table->entries.used;
        struct key_entry *entry = (void *)(table->entries.bytes + table->next * table->entries.slot_bytes);
        if (!is_leaving(engine, flow, entry))
            continue;
        if (engine->flows[flow].is_durable)
            engine->spent[engine->spent_count++] = entry;
        else
            key_remove(engine, table, entry);
    }
}

uint32_t spent_find(struct engine *engine)
{
    engine->spent_count = 0;
    for (size_t i = 0; i < engine->system->flow_count; i++) {
        engine->spent_flow = (engine->spent_flow + 1) % (uint32_t)engine->system->flow_count;
        struct key_table *table = &engine->flows[engine->spent_flow].keys;
        if (table->words == 0 || table->is_direct || table->count <= table->entries.count - table->entries.count / 4)
            continue;
        look_through(engine, (uint16_t)engine->spent_flow, table);
        break;
    }
    return engine->spent_count;
}

void spent_remove(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->spent_count; i++)
        if (is_leaving(engine, (uint16_t)engine->spent_flow, engine->spent[i]))
            key_remove(engine, &engine->flows[engine->spent_flow].keys, engine->spent[i]);
    engine->spent_count = 0;
}
