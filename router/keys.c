// SPDX-License-Identifier: ISC
// State of keys: what the checks of a flow (core/flow_check.h) remember of each key, in tables that never grow.
//
// A flow's table has keys_max entries, taken when the engine is made. Integer keys that all fit have a place each,
// others are hashed, and a key beyond the table is refused: so nobody can push another's state out. Of a table that is nearly
// full keys leave by whose state no verdict goes any more (spent.c).
//
// A state changes when the event whose messages change it has committed or was released. Until then the event
// *holds* the key: a copy is judged and changed, by each of its messages in turn, and another event with that key
// waits, and has it before one that comes later. Settling writes the copies back or forgets them. So a refusal, a
// conflict or a lost event leaves no trace, and what was refused once may be judged again. A hashed entry that no
// message was taken for does not exist.
//
// State of a durable flow goes to the store with the COMMIT that changes it, as parts that name themselves
// (struct commit_part), for a later version of the system may check other things: what it has no check
// for is left out, and what it checks anew begins anew.
#include "router/state.h"

#include "core/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key_link { // behind the state of a hashed entry
    struct key_entry *next;
    uint64_t key_bytes;
    uint8_t key[];
};

int keys_create(struct engine *engine, const struct system_flow *flow, struct key_table *table)
{
    uint32_t heads = 64;
    while (heads < flow->keys_max)
        heads *= 2;
    table->words = flow_state_words(engine->system, flow);
    table->is_direct = flow_keys_are_direct(engine->system, flow, &table->first) != 0;
    size_t bytes = sizeof(struct key_entry) + 8 * (size_t)table->words;
    if (!table->is_direct) {
        bytes += sizeof(struct key_link) + ABI_ALIGN8(flow_key_bytes(engine->system, flow));
        table->heads = calloc(heads, sizeof *table->heads);
        table->mask = heads - 1;
    }
    return slots_create(&table->entries, flow->keys_max, bytes, 1) && (table->is_direct || table->heads != NULL);
}

static struct key_link *link_of(const struct key_table *table, struct key_entry *entry)
{
    return (struct key_link *)(void *)&entry->state[table->words];
}

static struct key_entry *entry_at(const struct key_table *table, uint64_t index)
{
    return (struct key_entry *)(void *)(table->entries.bytes + index * table->entries.slot_bytes);
}

// The entry of engine->key, or NULL; *head: the list that it is or would be in.
static struct key_entry *find_hashed(const struct engine *engine, const struct key_table *table, size_t key_bytes,
                                     struct key_entry ***head)
{
    *head = &table->heads[key_hash(engine, engine->key, key_bytes) & table->mask];
    for (struct key_entry *entry = **head; entry != NULL; entry = link_of(table, entry)->next) {
        const struct key_link *link = link_of(table, entry);
        if (link->key_bytes == key_bytes && memcmp(link->key, engine->key, key_bytes) == 0)
            return entry;
    }
    return NULL;
}

// The same for the key of a message. Direct keys always have one.
static struct key_entry *find(struct engine *engine, const struct system_flow *flow, const struct key_table *table,
                              const uint8_t *message, size_t size, size_t *key_bytes, struct key_entry ***head)
{
    const struct schema *schema = &engine->system->schemas[flow->schema];
    if (flow->key_field == SYSTEM_NONE)
        return entry_at(table, 0);
    if (table->is_direct) {
        int64_t value = schema_value(schema, flow->key_field, message, size);
        return entry_at(table, flow_ordered(&schema->fields[flow->key_field], value) - table->first);
    }
    *key_bytes = schema_key(schema, &flow->key_field, 1, message, size, engine->key, sizeof engine->key);
    return find_hashed(engine, table, *key_bytes, head);
}

void keys_expect(struct engine *engine, uint16_t index, const uint8_t *message, size_t size)
{
    const struct system_flow *flow = &engine->system->flows[index];
    const struct key_table *table = &engine->flows[index].keys;
    if (table->words == 0)
        return;
    if (table->is_direct) {
        struct key_entry **head;
        size_t key_bytes;
        const uint8_t *entry = (const void *)find(engine, flow, table, message, size, &key_bytes, &head);
        for (size_t at = 0; at < table->entries.slot_bytes; at += 64)
            __builtin_prefetch(entry + at, 1);
        __builtin_prefetch(entry + table->entries.slot_bytes - 1, 1);
        return;
    }
    size_t key_bytes = schema_key(&engine->system->schemas[flow->schema], &flow->key_field, 1, message, size,
                                  engine->key, sizeof engine->key);
    __builtin_prefetch(&table->heads[key_hash(engine, engine->key, key_bytes) & table->mask]);
}

// The new entry of engine->key; there is room.
static struct key_entry *add(struct engine *engine, struct key_table *table, size_t key_bytes,
                             struct key_entry **head)
{
    struct key_entry *entry = slots_take(&table->entries);
    struct key_link *link = link_of(table, entry);
    table->count++;
    memset(entry, 0, sizeof *entry + 8 * (size_t)table->words);
    link->next = *head;
    link->key_bytes = key_bytes;
    memcpy(link->key, engine->key, key_bytes);
    return *head = entry;
}

void key_remove(const struct engine *engine, struct key_table *table, struct key_entry *entry)
{
    const struct key_link *link = link_of(table, entry);
    struct key_entry **at = &table->heads[key_hash(engine, link->key, link->key_bytes) & table->mask];
    while (*at != entry)
        at = &link_of(table, *at)->next;
    *at = link->next;
    table->count--;
    entry->state[0] = 0;
    slots_give(&table->entries, entry);
}

// ---- Verdicts ----

// The reason that a check refuses for, and the name of what it measures.
static enum reason reason_of(const struct engine *engine, const struct system_flow *flow, uint16_t index,
                             const char **name)
{
    static const uint8_t reasons[SYSTEM_CHECK_KINDS] = {
        [SYSTEM_CHECK_FRESH] = REASON_STALE,   [SYSTEM_CHECK_ORDER] = REASON_REPLAY,
        [SYSTEM_CHECK_STEP] = REASON_STEP,     [SYSTEM_CHECK_SLOPE] = REASON_SLOPE,
        [SYSTEM_CHECK_MACHINE] = REASON_STATE, [SYSTEM_CHECK_RATE] = REASON_RATE,
        [SYSTEM_CHECK_BYTES] = REASON_RATE};
    const struct system_check *check = &engine->system->checks[index];
    uint16_t field = check->field != SYSTEM_NONE ? check->field : flow->key_field;
    *name = field != SYSTEM_NONE ? engine->system->schemas[flow->schema].fields[field].name : "";
    if (check->kind == SYSTEM_CHECK_MACHINE)
        *name = engine->system->machines[check->machine].name;
    return (enum reason)reasons[check->kind];
}

// The flow only observes: what was measured and would have been refused is noted, and counted when the event's effects are
// taken, however often it is tried.
static void observe(const struct engine *engine, struct event *event, const struct system_flow *flow,
                    uint16_t output, uint16_t refused)
{
    for (uint16_t i = 0; i < flow->check_count; i++) {
        struct check_page *page = &engine->page->checks[flow->check_first + i];
        if (engine->measured[i] > page->peak)
            page_set(&page->peak, engine->measured[i]);
    }
    event->outputs[output].measured++;
    if (refused == SYSTEM_NONE)
        return;
    event->outputs[output].observed++;
    if (event->noted_count < ROUTER_NOTES)
        event->noted[event->noted_count++] = refused;
}

// A copy of that state, or of none, for the event to change.
static struct held *copy_take(struct engine *engine, struct event *event, uint16_t flow, const uint64_t *state)
{
    struct held *held = slots_take(&engine->held);
    check(held != NULL); // there are as many as all events may need
    *held = (struct held){.event = event, .flow = flow};
    size_t bytes = 8 * (size_t)engine->flows[flow].keys.words;
    if (state != NULL)
        memcpy(held->state, state, bytes);
    else
        memset(held->state, 0, bytes);
    return held;
}

// The check and the state (NULL: none yet) that a refusal is put into words by.
static void note_state(struct event *event, uint16_t check, const struct flow_clock *clock, const uint64_t *state,
                       size_t bytes)
{
    event->refusal.check = check;
    event->refusal.wall_ms = clock->wall_ms;
    event->refusal.sent_ms = clock->sent_ms;
    event->refusal.state_bytes = state != NULL ? (uint32_t)bytes : 0;
    if (state != NULL)
        memcpy(event->refusal_state, state, bytes);
}

// One message against the state of its key, which its event holds from then on.
static enum reason hold(struct engine *engine, struct message *message, const struct guest_record *record)
{
    struct event *event = message->event;
    uint16_t index = effect_flow(engine, message, record);
    const struct system_flow *flow = &engine->system->flows[index];
    struct key_table *table = &engine->flows[index].keys;
    struct key_entry *entry = NULL, **head = NULL;
    struct held *held = NULL;
    const uint64_t *before = NULL; // the message
    size_t size = record->send.payload_bytes, bytes = 8 * (size_t)table->words, key_bytes = 0;
    int is_new = 0;
    if (table->words != 0) {
        entry = find(engine, flow, table, record->second, size, &key_bytes, &head);
        held = entry != NULL ? entry->held : NULL;
        int is_anothers = held != NULL && held->event != event;
        if (is_anothers && !message->is_brought)
            held->is_wanted = 1;
        if ((is_anothers || (engine->is_settled && !event->is_waiting)) && !message->is_brought)
            return REASON_ENTERED;
        if (entry == NULL && !slots_left(&table->entries)) {
            if (!flow->is_observed) {
                refuse_value(event, index, flow->schema, record->second, record->send.payload_bytes);
                return refuse(message, REASON_KEY_TABLE, flow->name, "", flow->line);
            }
            event->outputs[record->send.flow].observed++;
            return REASON_DONE;
        }
        is_new = held == NULL || is_anothers;
        before = held != NULL ? held->state : entry != NULL ? entry->state : NULL;
        if (is_new)
            held = copy_take(engine, event, index, before);
        else
            before = memcpy(engine->state, before, bytes); // what it goes back to, or is refused by
    }
    struct flow_clock clock = {engine->now_ms, engine->wall_ms, event->sent_ms};
    uint16_t refused = flow_check(engine->system, flow, record->second, size, &clock,
                                  held != NULL ? held->state : NULL, flow->is_observed ? engine->measured : NULL);
    if (flow->is_observed)
        observe(engine, event, flow, record->send.flow, refused);
    if (refused != SYSTEM_NONE && is_new)
        slots_give(&engine->held, held);
    else if (refused != SYSTEM_NONE && held != NULL && flow->is_observed)
        memcpy(held->state, engine->state, bytes);
    if (refused != SYSTEM_NONE && !flow->is_observed) {
        const char *name;
        enum reason reason = reason_of(engine, flow, refused, &name);
        page_add(&engine->page->checks[refused].refused, 1);
        refuse_value(event, index, flow->schema, record->second, record->send.payload_bytes);
        note_state(event, refused, &clock, before, bytes);
        return refuse(message, reason, flow->name, name, engine->system->checks[refused].line);
    }
    if (refused != SYSTEM_NONE || !is_new)
        return REASON_DONE;
    held->entry = entry != NULL ? entry : add(engine, table, key_bytes, head);
    held->older = held->entry->held;
    if (held->older != NULL)
        held->older->newer = held;
    held->entry->held = held;
    held->next = event->held;
    event->held = held;
    return REASON_DONE;
}

enum reason keys_hold(struct engine *engine, struct message *message)
{
    struct event *event = message->event;
    struct guest_record record;
    for (uint16_t i = 0; i < receiver_of(engine, message)->is->output_count; i++)
        event->outputs[i].measured = event->outputs[i].observed = 0;
    event->noted_count = 0;
    for (size_t at = 0; effect_next(event, ABI_SEND, &at, &record);) {
        if (engine->system->flows[effect_flow(engine, message, &record)].check_count == 0)
            continue;
        enum reason reason = hold(engine, message, &record);
        if (reason == REASON_DONE)
            continue;
        keys_settle(engine, event, 0);
        return reason;
    }
    return REASON_DONE;
}

void keys_settle(struct engine *engine, struct event *event, int is_taken)
{
    struct held *held;
    while ((held = event->held) != NULL) {
        struct key_table *table = &engine->flows[held->flow].keys;
        struct key_entry *entry = held->entry;
        *(held->newer != NULL ? &held->newer->older : &entry->held) = held->older;
        if (held->older != NULL)
            held->older->newer = held->newer;
        if (is_taken)
            memcpy(entry->state, held->state, 8 * (size_t)table->words);
        else if (entry->state[0] == 0 && entry->held == NULL && !table->is_direct)
            key_remove(engine, table, entry);
        event->held = held->next;
        engine->is_settled |= held->is_wanted;
        slots_give(&engine->held, held);
    }
}

void keys_report(struct engine *engine, const struct message *message)
{
    const struct event *event = message->event;
    const struct system_unikernel *sender = receiver_of(engine, message)->is;
    for (uint16_t i = 0; i < sender->output_count; i++)
        if (event->outputs[i].count != 0 && event->outputs[i].measured != 0) {
            const struct system_flow *flow = &engine->system->flows[sender->outputs[i]];
            for (uint16_t j = 0; j < flow->check_count; j++)
                page_add(&engine->page->checks[flow->check_first + j].measured, event->outputs[i].measured);
        }
    for (uint16_t i = 0; i < event->noted_count; i++) {
        uint16_t index = event->noted[i];
        const struct system_flow *flow = engine->system->flows;
        while (index < flow->check_first || index >= flow->check_first + flow->check_count)
            flow++;
        const char *name;
        char text[160];
        enum reason reason = reason_of(engine, flow, index, &name);
        snprintf(text, sizeof text, "observed only: %s %s.%s (system.yaml:%u)", reason_text(reason), flow->name, name,
                 engine->system->checks[index].line);
        page_add(&engine->page->checks[index].refused, 1);
        journal(engine, message->send.receiver, ABI_LOG_WARNING, "", text, strlen(text));
    }
}

// ---- The store's form ----

// From a direct key as schema_key() writes it, read as a number, to its order among all (flow_ordered).
static uint64_t bias(const struct engine *engine, const struct system_flow *flow, size_t key_bytes)
{
    const struct schema *schema = &engine->system->schemas[flow->schema];
    uint64_t sign = flow_ordered(&schema->fields[flow->key_field], 0);
    return sign != 0 ? sign - (UINT64_C(1) << (8 * key_bytes - 1)) : 0;
}

size_t keys_name(const struct engine *engine, const struct held *held, uint8_t key[SYSTEM_KEY_BYTES_MAX])
{
    const struct system_flow *flow = &engine->system->flows[held->flow];
    const struct key_table *table = &engine->flows[held->flow].keys;
    if (!table->is_direct) {
        const struct key_link *link = link_of(table, held->entry);
        memcpy(key, link->key, link->key_bytes);
        return link->key_bytes;
    }
    size_t size = flow_key_bytes(engine->system, flow);
    size_t at = (size_t)((const uint8_t *)held->entry - table->entries.bytes) / table->entries.slot_bytes;
    uint64_t number = size != 0 ? table->first + at - bias(engine, flow, size) : 0;
    for (size_t i = 0; i < size; i++)
        key[i] = (uint8_t)(number >> (8 * (size - 1 - i)));
    return size;
}

size_t keys_pack(const struct engine *engine, const struct held *held, uint8_t parts[KEY_PARTS_BYTES])
{
    const struct system_flow *flow = &engine->system->flows[held->flow];
    const uint64_t *from = held->state + 1;
    size_t size = 0;
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &engine->system->checks[flow->check_first + i];
        struct commit_part part = {check->id, 8 * flow_check_words(check)};
        if ((held->state[0] >> i & 1) != 0) {
            memcpy(parts + size, &part, sizeof part);
            memcpy(parts + size + sizeof part, from, part.bytes);
            size += sizeof part + part.bytes;
        }
        from += part.bytes / 8;
    }
    return size;
}

// The part of a check among those from the store, at its place in the key's state.
static int unpack(const struct schema *schema, const struct system_check *check, uint64_t *to, const uint8_t *parts,
                  size_t size)
{
    struct commit_part part;
    size_t wanted = 8 * (size_t)flow_check_words(check);
    for (size_t at = 0; wanted != 0 && size - at >= sizeof part; at += part.bytes) {
        memcpy(&part, parts + at, sizeof part);
        at += sizeof part;
        if (part.bytes > size - at)
            return 0;
        int is_meant = part.id == check->id ||
                       (part.id == COMMIT_PART_SEQUENCE && check->kind == SYSTEM_CHECK_ORDER);
        if (!is_meant || (part.bytes != wanted && check->kind != SYSTEM_CHECK_ORDER) || part.bytes < 8)
            continue;
        // A window of another size forgets which numbers were seen: all of them count as seen.
        memset(to, 0xff, wanted);
        memcpy(to, parts + at, part.bytes == wanted ? wanted : 8);
        if (part.id == COMMIT_PART_SEQUENCE)
            *to = flow_ordered(&schema->fields[check->field], (int64_t)*to);
        return 1;
    }
    return 0;
}

void keys_load(struct engine *engine, uint16_t index, const uint8_t *key, size_t key_bytes, const uint8_t *parts,
               size_t size)
{
    const struct system_flow *flow = &engine->system->flows[index];
    struct key_table *table = &engine->flows[index].keys;
    uint64_t *to = engine->state + 1, number = 0;
    struct key_entry *entry = NULL, **head = NULL;
    if (table->words == 0 || key_bytes > flow_key_bytes(engine->system, flow))
        return;
    memset(engine->state, 0, 8 * (size_t)table->words);
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &engine->system->checks[flow->check_first + i];
        engine->state[0] |= (uint64_t)unpack(&engine->system->schemas[flow->schema], check, to, parts, size) << i;
        to += flow_check_words(check);
    }
    memcpy(engine->key, key, key_bytes);
    for (size_t i = 0; table->is_direct && i < key_bytes; i++)
        number = number << 8 | key[i];
    if (table->is_direct && key_bytes != 0)
        number += bias(engine, flow, key_bytes) - table->first;
    if (!table->is_direct)
        entry = find_hashed(engine, table, key_bytes, &head);
    else if (key_bytes == flow_key_bytes(engine->system, flow) && number < table->entries.count)
        entry = entry_at(table, number);
    // Without parts it was forgotten; whoever holds the key says what it will be.
    engine->spent_count = 0; // its place may be another's soon
    if (size == 0 && entry != NULL && entry->held == NULL && table->is_direct)
        memset(entry->state, 0, 8 * (size_t)table->words);
    else if (size == 0 && entry != NULL && entry->held == NULL)
        key_remove(engine, table, entry);
    if (engine->state[0] == 0 || (entry == NULL && (table->is_direct || !slots_left(&table->entries))))
        return;
    if (entry == NULL)
        entry = add(engine, table, key_bytes, head);
    memcpy(entry->state, engine->state, 8 * (size_t)table->words);
}
