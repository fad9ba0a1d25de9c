// SPDX-License-Identifier: ISC
// What pool.c (states) and pool_link.c (the router's side) share; nobody else includes it.
#ifndef CRENEL_TENDER_POOL_STATE_H
#define CRENEL_TENDER_POOL_STATE_H

#include "tender/pool.h"

enum state { FREE, STARTING, READY, BUSY, READING, DYING };

#define POOL_EVENT_BYTES (sizeof(struct abi_event) + ABI_CONTEXT_BYTES_MAX + ABI_PAYLOAD_BYTES_MAX)

struct delivery { // an event that the router waits for
    struct delivery *next;
    uint64_t handle, connection;
    uint32_t bytes; // of its record
    _Alignas(8) uint8_t record[POOL_EVENT_BYTES];
};

struct queue { // in order; zero: empty
    struct delivery *first, *last;
    unsigned count;
};

struct slot {
    enum state state;
    uint64_t connection;  // lifetime connection: whose instance it is
    struct queue shown;   // in BUSY and READING: the events in the guest's input that have not ended
    struct queue waiting; // lifetime connection: those that come next
    unsigned ended;       // since the guest was given its turn
    uint32_t taken_bytes;  // of the output region
    uint32_t event_at;     // where in it the records of the first event shown begin
    uint32_t record_bytes; // kept in records: its SEND, WRITE, LOG, END
    uint32_t rounds;
    int64_t left_ms;  // of the guest's time for this event
    int64_t spent_ms; // processor time it had used at looked_ms, not long before the event began
    int64_t looked_ms;
    unsigned graces;  // how often its time was given again
    int64_t due_ms;   // 0: it is not the guest's turn
    int64_t given_ms; // when it was given the turn
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
    unsigned batch; // events that an instance is shown at once
    int has_failed;
    struct queue waiting; // other lifetimes: events that no instance has been shown
    struct delivery *deliveries, *free; // slot_count * LINK_BATCH_MAX; those that were used and are not
    unsigned used;
    int is_behind; // as of the last turn
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
void pool_create(struct pool *pool, unsigned index, uint64_t connection);
void pool_give_turn(struct pool *pool, unsigned index, enum state state);
// Its events are shown to another, those of a connection to none.
void pool_kill(struct pool *pool, unsigned index);
void pool_fail_contract(struct pool *pool, unsigned index, const char *why);

// pool_take.c
void pool_take(struct pool *pool, unsigned index); // of a guest that waits
// Of one that runs or has stopped: the events of its batch that have ended. 0: none.
int pool_take_ended(struct pool *pool, unsigned index);

// queue.c
void queue_push(struct queue *queue, struct delivery *delivery);
struct delivery *queue_pop(struct queue *queue);         // NULL: none
void queue_prepend(struct queue *queue, struct queue *before); // before becomes empty
struct delivery *delivery_take(struct pool *pool);       // NULL: the router sends more than it may
void delivery_give(struct pool *pool, struct delivery *delivery);

// pool_link.c
void pool_send(struct pool *pool, const struct channel_part *parts, size_t part_count);
void pool_send_header(struct pool *pool, enum link_kind kind, uint64_t handle);
// EFFECTS of the queue's first event, which is over. Fills in the header. crash and records may be NULL.
void pool_send_effects(struct pool *pool, struct queue *queue, struct link_effects effects,
                       const struct link_crash *crash, const uint8_t *records);
void pool_send_lost(struct pool *pool, struct queue *queue); // of all in it

#endif
