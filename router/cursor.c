// SPDX-License-Identifier: ISC
// Replay cursors: the highest sequence seen on each (flow, key), in one table that never grows.
//
// A cursor rises when the event that raises it has committed or was released. Until then the event
// holds it, and another event with the same key waits. An entry that is neither known nor held does
// not exist. Each flow has at most keys_max entries: a new key beyond that is refused, so nobody can
// push another's cursor out.
#include "router/state.h"

#include "core/check.h"

#include <string.h>

// Where the entry is linked in: NULL stands there if there is none.
static struct key_entry **find(struct engine *engine, uint16_t flow, const uint8_t *key, size_t key_bytes)
{
    uint32_t hash = key_hash(key, key_bytes) ^ flow * 2654435761u;
    struct key_entry **link = &engine->key_heads[(hash ^ hash >> 15) & engine->key_mask];
    while (*link != NULL && ((*link)->flow != flow || (*link)->key_bytes != key_bytes ||
                             memcmp((*link)->key, key, key_bytes) != 0))
        link = &(*link)->next;
    return link;
}

// NULL: no room for a new key.
static struct key_entry *find_or_add(struct engine *engine, uint16_t flow, const uint8_t *key,
                                     size_t key_bytes)
{
    struct key_entry **link = find(engine, flow, key, key_bytes), *entry;
    if (*link != NULL || engine->flows[flow].keys >= engine->system->flows[flow].keys_max)
        return *link;
    entry = slots_take(&engine->keys);
    check(entry != NULL); // there are as many as all flows may have
    *entry = (struct key_entry){.flow = flow, .key_bytes = (uint16_t)key_bytes};
    memcpy(entry->key, key, key_bytes);
    engine->flows[flow].keys++;
    *link = entry;
    return entry;
}

static void remove_entry(struct engine *engine, struct key_entry *entry)
{
    struct key_entry **link = find(engine, entry->flow, entry->key, entry->key_bytes);
    *link = entry->next;
    engine->flows[entry->flow].keys--;
    slots_give(&engine->keys, entry);
}

void cursor_load(struct engine *engine, uint16_t flow, const uint8_t *key, size_t key_bytes,
                 uint64_t sequence)
{
    struct key_entry *entry = find_or_add(engine, flow, key, key_bytes);
    if (entry == NULL || (entry->is_known && entry->sequence >= sequence))
        return;
    entry->is_known = 1;
    entry->sequence = sequence;
}

static enum reason hold(struct engine *engine, struct message *message, const struct sending *sending)
{
    const struct system_flow *flow = &engine->system->flows[sending->send.flow];
    const struct schema *schema = &engine->system->schemas[flow->schema];
    // Sequences are unsigned; a negative one of a signed field counts as a very high one.
    uint64_t sequence = (uint64_t)schema_value(schema, flow->sequence_field, sending->payload,
                                               sending->send.payload_bytes);
    struct key_entry *entry = find_or_add(engine, sending->send.flow, sending->key, sending->send.key_bytes);
    if (entry == NULL)
        return refuse(message, REASON_KEY_TABLE, flow->name, "");
    if (entry->holder != NULL && entry->holder != message)
        return REASON_ENTERED;
    if (entry->holder != NULL ? sequence <= entry->held_sequence
                              : entry->is_known && sequence <= entry->sequence)
        return refuse(message, REASON_REPLAY, flow->name, schema->fields[flow->sequence_field].name);
    if (entry->holder == NULL) {
        entry->held_next = message->event->held;
        message->event->held = entry;
    }
    entry->holder = message;
    entry->held_sequence = sequence;
    return REASON_DONE;
}

enum reason cursors_hold(struct engine *engine, struct message *message)
{
    struct guest_record record;
    for (size_t at = 0; effect_next(message->event, ABI_SEND, &at, &record);) {
        struct sending sending;
        if (engine->system->flows[effect_flow(engine, message, &record)].sequence_field == SYSTEM_NONE)
            continue;
        sending_make(engine, message, &record, 0, &sending);
        enum reason reason = hold(engine, message, &sending);
        if (reason == REASON_DONE)
            continue;
        cursors_settle(engine, message->event, 0);
        return reason;
    }
    return REASON_DONE;
}

void cursors_settle(struct engine *engine, struct event *event, int is_taken)
{
    for (; event->held != NULL; event->held = event->held->held_next) {
        struct key_entry *entry = event->held;
        entry->holder = NULL;
        entry->is_known = entry->is_known || is_taken;
        if (is_taken)
            entry->sequence = entry->held_sequence;
        else if (!entry->is_known)
            remove_entry(engine, entry);
    }
}
