// SPDX-License-Identifier: ISC
// What the checks of flow state remember of each key (core/flow_check.h): tables, and what events hold of them until they
// are settled.
#ifndef CRENEL_ROUTER_KEYS_H
#define CRENEL_ROUTER_KEYS_H

#include "core/flow_check.h"
#include "core/system.h"
#include "proto/commit.h"
#include "router/slots.h"

#define KEY_PARTS_BYTES (8 * FLOW_STATE_WORDS_MAX + SYSTEM_FLOW_CHECKS_MAX * sizeof(struct commit_part))
_Static_assert(KEY_PARTS_BYTES <= COMMIT_PARTS_BYTES_MAX, "the state of a key fits");

struct engine;
struct event;
struct message;

struct key_entry { // of a table: what its flow's checks remember of one key
    struct held *held; // by the (last) event that changes it, or NULL
    uint64_t state[];
};

struct held {
    struct held *next; // of the event
    struct held *older, *newer; // of the same key, by events that go on from one another
    struct key_entry *entry;
    const struct event *event;
    uint16_t flow;
    uint8_t is_wanted; // another event waits for it
    uint64_t state[]; // what it will be
};

struct key_table {
    uint32_t words; // of a state; 0: the flow's checks need none
    uint32_t mask;  // of heads
    uint8_t is_direct; // integer keys, from `first` on, have a place each
    uint64_t first;
    uint64_t count, next; // hashed: keys that are there; where spent.c goes on
    struct slots entries;
    struct key_entry **heads; // by hash
};

// ---- keys.c, spent.c ----
int keys_create(struct engine *engine, const struct system_flow *flow, struct key_table *table); // 0: no memory
// Judges the flow state of all sends of the event, and holds their keys; or none. REASON_DONE: held;
// REASON_ENTERED: another event holds one, wait; else the refusal, with event->text filled.
enum reason keys_hold(struct engine *engine, struct message *message);
// A message whose state will be asked for: until then the processor may fetch it.
void keys_expect(struct engine *engine, uint16_t flow, const uint8_t *message, size_t size);
void keys_settle(struct engine *engine, struct event *event, int is_taken);
void key_remove(const struct engine *engine, struct key_table *table, struct key_entry *entry); // of a hashed one
uint32_t spent_find(struct engine *engine); // how many keys may leave, engine->spent, when the store has forgotten them
void spent_remove(struct engine *engine);   // it has
void keys_report(struct engine *engine, const struct message *message); // what was only observed
// The key and the state of one in the store's form; their size.
size_t keys_name(const struct engine *engine, const struct held *held, uint8_t key[SYSTEM_KEY_BYTES_MAX]);
size_t keys_pack(const struct engine *engine, const struct held *held, uint8_t parts[KEY_PARTS_BYTES]);
void keys_load(struct engine *engine, uint16_t flow, const uint8_t *key, size_t key_bytes, const uint8_t *parts,
               size_t size);

#endif
