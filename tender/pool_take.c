// SPDX-License-Identifier: ISC
// What guests publish: private copies of records, the EFFECTS of events that have ended, READs.
//
// The records of a batch lie one event behind the other, and each event leaves when its END is there. The first event
// of `shown` is the one that goes on; event_at says where its records begin. What is behind an END that must be the
// last record is a breach of the contract by the event that the END belongs to.
#include "core/mechanism.h"
#include "core/records.h"
#include "tender/pool_state.h"

#include <string.h>

// Copies what is new. 0: the guest says what cannot be.
static int copy(struct pool *pool, unsigned index, uint32_t *size)
{
    return guest_memory_take(pool->config.memory, index, pool->slots[index].taken_bytes, pool->buffer, size) == STATUS_OK;
}

static enum status judge(const struct pool *pool, uint32_t at, uint32_t size, struct records_verdict *verdict)
{
    return records_judge(pool->buffer + at, size - at, pool->config.image->manifest.header->refusal_count, verdict);
}

// Records of the first event, up to where it waits or ends. Returns the bytes of its READs; where it ends are none.
static size_t keep(struct pool *pool, struct slot *slot, uint32_t at, uint32_t bytes, enum records_kind kind)
{
    size_t read_bytes = 0, kept = bytes;
    if (kind == RECORDS_READ)
        kept = records_split(pool->buffer + at, bytes, pool->reads, &read_bytes);
    memcpy(slot->records + slot->record_bytes, pool->buffer + at, kept);
    slot->record_bytes += (uint32_t)kept;
    slot->taken_bytes += bytes;
    return read_bytes;
}

static void end(struct pool *pool, struct slot *slot, const struct records_verdict *verdict)
{
    struct link_effects effects = {
        .outcome = verdict->kind == RECORDS_DONE ? LINK_ENDED : LINK_REFUSED,
        .code = verdict->code,
        .record_bytes = slot->record_bytes,
    };
    pool_send_effects(pool, &slot->shown, effects, NULL, slot->records);
    slot->event_at = slot->taken_bytes;
    slot->record_bytes = 0;
    slot->ended++;
}

int pool_take_ended(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    unsigned ended = slot->ended;
    struct records_verdict verdict;
    uint32_t size;
    if (slot->rounds != 0 || !copy(pool, index, &size))
        return 0;
    for (uint32_t at = 0; at < size && slot->shown.count > 1; at += (uint32_t)verdict.bytes) {
        if (judge(pool, at, size, &verdict) != STATUS_OK || verdict.kind != RECORDS_DONE)
            break;
        (void)keep(pool, slot, at, (uint32_t)verdict.bytes, verdict.kind);
        end(pool, slot, &verdict);
    }
    return slot->ended != ended;
}

static void read(struct pool *pool, unsigned index, size_t read_bytes)
{
    struct slot *slot = &pool->slots[index];
    if (slot->shown.count > 1) {
        pool_fail_contract(pool, index, "READ in a batch");
        return;
    }
    if (++slot->rounds > ABI_WAITS_PER_EVENT_MAX && MECHANISM(ROUNDS)) {
        pool_fail_contract(pool, index, "too many waits in one event");
        return;
    }
    struct link_header header = {(uint32_t)(sizeof header + read_bytes), LINK_READ, 0, slot->shown.first->handle};
    slot->state = READING;
    pool_send(pool, (struct channel_part[]){{&header, sizeof header}, {pool->reads, read_bytes}}, 2);
}

// The guest waits, and at least one event has ended.
static void go_on(struct pool *pool, unsigned index, int is_refused)
{
    struct slot *slot = &pool->slots[index];
    if (slot->shown.count != 0 && !is_refused) { // with the rest of its input, and all of the output
        slot->taken_bytes = slot->event_at = slot->ended = 0;
        slot->left_ms = pool->config.unikernel->deadline_ms;
        pool_give_turn(pool, index, BUSY);
        pool->wall->calls->wake(pool->wall, index);
        return;
    }
    queue_prepend(pool->lifetime == LIFETIME_CONNECTION ? &slot->waiting : &pool->waiting, &slot->shown);
    // A refused event resets a resident's memory like any failed one; a connection goes on.
    int is_kept = pool->lifetime == LIFETIME_CONNECTION || (pool->lifetime == LIFETIME_RESIDENT && !is_refused);
    if (!is_kept && !pool->wall->calls->restore(pool->wall, index)) {
        pool_kill(pool, index);
        return;
    }
    slot->state = READY;
    if (!is_kept)
        slot->taken_bytes = 0;
}

void pool_take(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    struct records_verdict verdict = {.kind = RECORDS_DONE};
    uint32_t size, at = 0;
    slot->left_ms = slot->due_ms - pool->config.loop->now_ms;
    slot->due_ms = 0;
    if (!copy(pool, index, &size)) {
        pool_fail_contract(pool, index, "published_bytes out of range");
        return;
    }
    while (at < size || slot->ended == 0) {
        enum status judged = judge(pool, at, size, &verdict);
        if (!MECHANISM(READ_ONCE)) { // the mistake: what goes on is read again, a moment later
            (void)pool->wall->calls->spent_ms(pool->wall, index);
            (void)!guest_memory_take(pool->config.memory, index, slot->taken_bytes - at, pool->buffer, &size);
        }
        if (judged != STATUS_OK && MECHANISM(RECORDS)) {
            pool_fail_contract(pool, index, verdict.why);
            return;
        }
        uint32_t bytes = judged == STATUS_OK ? (uint32_t)verdict.bytes : size - at;
        int is_last = verdict.kind == RECORDS_REFUSED || slot->shown.count == 1;
        if (verdict.kind != RECORDS_READ && is_last && at + bytes < size && MECHANISM(RECORDS)) {
            pool_fail_contract(pool, index, "record behind END");
            return;
        }
        size_t read_bytes = keep(pool, slot, at, bytes, verdict.kind);
        at += bytes;
        if (verdict.kind == RECORDS_READ) {
            read(pool, index, read_bytes);
            return;
        }
        end(pool, slot, &verdict);
        if (is_last)
            break;
    }
    go_on(pool, index, verdict.kind == RECORDS_REFUSED);
}
