// SPDX-License-Identifier: ISC
// What pool.c (states) and pool_link.c (the router's side) share; nobody else includes it.
#ifndef CRENEL_TENDER_POOL_STATE_H
#define CRENEL_TENDER_POOL_STATE_H

#include "tender/pool.h"

enum state { FREE, STARTING, READY, BUSY, READING, DYING };

struct slot {
    enum state state;
    uint64_t connection;  // lifetime connection: whose instance it is
    int has_event;        // shown in BUSY and READING; in other states it waits for the instance
    struct link_deliver event;
    uint8_t input[ABI_INPUT_BYTES]; // its record
    uint32_t taken_bytes;  // of the output region
    uint32_t record_bytes; // kept in records: SEND, WRITE, LOG, END
    uint32_t rounds;
    int64_t left_ms;  // of the guest's time for this event
    int64_t spent_ms; // processor time it had used when the event began
    unsigned graces;  // how often its time was given again
    int64_t due_ms;   // 0: it is not the guest's turn
    _Alignas(8) uint8_t records[ABI_OUTPUT_BYTES];
};

struct pool {
    struct wall_config config;
    struct channel *router;
    struct tender_page *page;
    struct wall *wall;
    struct loop_timer timer;
    enum manifest_lifetime lifetime;
    unsigned slot_count;
    int has_failed;
    int64_t create_after_ms; // an instance that nobody waits for
    int64_t shrink_ms; // when to look whether fewer instances will do
    unsigned peak;     // events at once since the last look
    _Alignas(8) uint8_t buffer[ABI_OUTPUT_BYTES], reads[ABI_OUTPUT_BYTES];
    struct slot slots[];
};

static inline void page_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void page_count(uint64_t *counter) { page_set(counter, *counter + 1); }

// pool.c
// An event was given to a slot: shows it, or creates the instance that will meet it.
void pool_advance(struct pool *pool, unsigned index);
void pool_tidy(struct pool *pool); // at the end of each callback: one instance is there, the timer is set
void pool_give_turn(struct pool *pool, unsigned index, enum state state);
void pool_kill(struct pool *pool, unsigned index);

// pool_link.c
void pool_send(struct pool *pool, const struct channel_part *parts, size_t part_count);
void pool_send_header(struct pool *pool, enum link_kind kind, uint64_t handle);
// EFFECTS of the slot's event, which is over. Fills in the header. crash and records may be NULL.
void pool_send_effects(struct pool *pool, struct slot *slot, struct link_effects effects,
                       const struct link_crash *crash, const uint8_t *records);

#endif
