// SPDX-License-Identifier: ISC
// Replay cursors: the highest sequence seen on each (flow, key), in one table that never grows.
//
// A cursor rises when the event that raises it has committed or was released. Until then the event
// holds it, and another event with the same key waits. An entry that is neither known nor held does
// not exist. Each flow has at most keys_max entries: a new key beyond that is refused, so nobody can
// push another's cursor out.
#include "router/state.h"

#include "core/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status key_table_create(struct key_table *table, uint32_t capacity)
{
    uint32_t heads = 64;
    while (heads < capacity)
        heads *= 2;
    *table = (struct key_table){.entries = calloc(capacity + 1u, sizeof *table->entries),
                                .heads = calloc(heads, sizeof *table->heads), // index + 1; 0: none
                                .capacity = capacity,
                                .head_mask = heads - 1,
                                .free_head = ROUTER_NONE};
    return table->entries != NULL && table->heads != NULL ? STATUS_OK : STATUS_SYSTEM;
}

void key_table_destroy(struct key_table *table)
{
    free(table->entries);
    free(table->heads);
}

static uint32_t *head_of(struct key_table *table, uint16_t flow, const uint8_t *key, size_t key_bytes)
{
    uint32_t hash = 2166136261u ^ flow;
    for (size_t i = 0; i < key_bytes; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return &table->heads[(hash ^ hash >> 15) & table->head_mask];
}

static struct key_entry *entry_find(struct key_table *table, uint16_t flow, const uint8_t *key,
                                    size_t key_bytes)
{
    for (uint32_t i = *head_of(table, flow, key, key_bytes); i != 0; i = table->entries[i - 1].next) {
        struct key_entry *entry = &table->entries[i - 1];
        if (entry->flow == flow && entry->key_bytes == key_bytes &&
            memcmp(entry->key, key, key_bytes) == 0)
            return entry;
    }
    return NULL;
}

static struct key_entry *entry_add(struct engine *engine, uint16_t flow, const uint8_t *key,
                                   size_t key_bytes)
{
    struct key_table *table = &engine->keys;
    uint32_t *head = head_of(table, flow, key, key_bytes);
    const struct system_flow *definition = &engine->system->flows[flow];
    if (engine->flows[flow].keys >= (definition->key_field == SYSTEM_NONE ? 1 : definition->keys_max))
        return NULL;
    uint32_t index = table->free_head;
    if (index != ROUTER_NONE)
        table->free_head = table->entries[index].next;
    else if (table->used < table->capacity)
        index = table->used++;
    else
        return NULL;
    struct key_entry *entry = &table->entries[index];
    *entry = (struct key_entry){
        .next = *head, .holder = ROUTER_NONE, .flow = flow, .key_bytes = (uint16_t)key_bytes};
    memcpy(entry->key, key, key_bytes);
    *head = index + 1;
    engine->flows[flow].keys++;
    return entry;
}

static void entry_remove(struct engine *engine, struct key_entry *entry)
{
    struct key_table *table = &engine->keys;
    uint32_t index = (uint32_t)(entry - table->entries);
    uint32_t *link = head_of(table, entry->flow, entry->key, entry->key_bytes);
    while (*link != index + 1) {
        check(*link != 0);
        link = &table->entries[*link - 1].next;
    }
    *link = entry->next;
    engine->flows[entry->flow].keys--;
    entry->next = table->free_head;
    table->free_head = index;
}

void cursor_load(struct engine *engine, uint16_t flow, const uint8_t *key, size_t key_bytes, uint64_t sequence)
{
    if (key_bytes > ROUTER_KEY_BYTES_MAX)
        return;
    struct key_entry *entry = entry_find(&engine->keys, flow, key, key_bytes);
    if (entry == NULL)
        entry = entry_add(engine, flow, key, key_bytes);
    if (entry == NULL || (entry->is_known && entry->sequence >= sequence))
        return;
    entry->is_known = 1;
    entry->sequence = sequence;
}

// The next send whose flow has a sequence; NULL at the end.
static const struct system_flow *sequenced_next(const struct engine *engine, const struct event *event,
                                                size_t *at, struct effect *effect, uint16_t *flow)
{
    while (*at < event->record_bytes &&
           effect_next(event->records, event->record_bytes, at, effect) == STATUS_OK) {
        if (effect->kind != ABI_SEND)
            continue;
        *flow = engine->receivers[event->receiver].outputs[effect->send.flow];
        if (engine->system->flows[*flow].sequence_field != SYSTEM_NONE)
            return &engine->system->flows[*flow];
    }
    return NULL;
}

static enum reason cursor_hold(struct engine *engine, struct event *event, const struct system_flow *flow,
                               uint16_t index, const struct effect *effect)
{
    uint8_t key[ROUTER_KEY_BYTES_MAX];
    size_t key_bytes;
    uint32_t size = effect->send.payload_bytes;
    (void)key_of(engine, index, effect->second, size, key, &key_bytes);
    // Sequences are unsigned; a negative one of a signed field counts as a very high one.
    uint64_t sequence = (uint64_t)schema_value(&engine->system->schemas[flow->schema],
                                               flow->sequence_field, effect->second, size);
    struct key_entry *entry = entry_find(&engine->keys, index, key, key_bytes);
    uint32_t self = event_index(engine, event);
    if (entry != NULL && entry->holder != ROUTER_NONE && entry->holder != self)
        return REASON_ENTERED;
    if (entry == NULL)
        entry = entry_add(engine, index, key, key_bytes);
    if (entry == NULL) {
        snprintf(event->text, sizeof event->text, "key-table %s", flow->name);
        return REASON_KEY_TABLE;
    }
    int is_mine = entry->holder == self;
    if ((is_mine && sequence <= entry->held_sequence) ||
        (!is_mine && entry->is_known && sequence <= entry->sequence)) {
        snprintf(event->text, sizeof event->text, "replay %s.%s", flow->name,
                 engine->system->schemas[flow->schema].fields[flow->sequence_field].name);
        return REASON_REPLAY;
    }
    entry->holder = self;
    entry->held_sequence = sequence;
    return REASON_DONE;
}

enum reason cursors_hold(struct engine *engine, struct event *event)
{
    size_t at = 0;
    struct effect effect;
    uint16_t index;
    const struct system_flow *flow;
    while ((flow = sequenced_next(engine, event, &at, &effect, &index)) != NULL) {
        enum reason reason = cursor_hold(engine, event, flow, index, &effect);
        if (reason == REASON_DONE)
            continue;
        cursors_settle(engine, event, 0);
        return reason;
    }
    return REASON_DONE;
}

void cursors_settle(struct engine *engine, struct event *event, int is_taken)
{
    size_t at = 0;
    struct effect effect;
    uint16_t index;
    uint32_t self = event_index(engine, event);
    const struct system_flow *flow;
    while ((flow = sequenced_next(engine, event, &at, &effect, &index)) != NULL) {
        uint8_t key[ROUTER_KEY_BYTES_MAX];
        size_t key_bytes;
        (void)key_of(engine, index, effect.second, effect.send.payload_bytes, key, &key_bytes);
        struct key_entry *entry = entry_find(&engine->keys, index, key, key_bytes);
        if (entry == NULL || entry->holder != self)
            continue;
        entry->holder = ROUTER_NONE;
        if (is_taken) {
            entry->is_known = 1;
            entry->sequence = entry->held_sequence;
        } else if (!entry->is_known) {
            entry_remove(engine, entry);
        }
    }
}
