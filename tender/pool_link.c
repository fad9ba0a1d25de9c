// SPDX-License-Identifier: ISC
// The pool's side of the link to the router (proto/link.h): what comes in becomes an event of a slot, an
// answer shown, an instance ended; what goes out is sent blocking, because the router always drains.
#include "tender/pool_state.h"

#include "core/check.h"

#include <string.h>

void pool_send(struct pool *pool, const struct channel_part *parts, size_t part_count)
{
    // A router that is gone ends the tender: main sees the closed link too.
    if (channel_send_parts(pool->router, parts, part_count) != STATUS_OK)
        pool->has_failed = 1;
}

void pool_send_header(struct pool *pool, enum link_kind kind, uint64_t handle)
{
    struct link_header header = {sizeof header, (uint16_t)kind, 0, handle};
    pool_send(pool, &(struct channel_part){&header, sizeof header}, 1);
}

void pool_send_effects(struct pool *pool, struct slot *slot, struct link_effects effects,
                       const struct link_crash *crash, const uint8_t *records)
{
    size_t crash_bytes = crash != NULL ? sizeof *crash : 0;
    effects.header = (struct link_header){(uint32_t)(sizeof effects + crash_bytes + effects.record_bytes),
                                          LINK_EFFECTS, 0, slot->event.header.handle};
    struct channel_part parts[] = {
        {&effects, sizeof effects}, {crash, crash_bytes}, {records, effects.record_bytes}};
    slot->has_event = 0;
    pool_send(pool, parts, 3);
    page_count(&pool->page->events);
}

// Where an event of that connection (0: none) is to wait: the soonest of the slots without an event.
static struct slot *slot_for(struct pool *pool, uint64_t connection)
{
    static const uint8_t ranks[] = {[READY] = 4, [STARTING] = 3, [FREE] = 2, [DYING] = 1};
    struct slot *best = NULL;
    unsigned best_rank = 0;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        if (connection != 0 && slot->state != FREE && slot->connection == connection)
            return slot->has_event ? NULL : slot; // its own instance
        int is_anothers = connection != 0 && (slot->state == READY || slot->state == STARTING);
        if (slot->has_event || is_anothers || ranks[slot->state] <= best_rank)
            continue;
        best = slot;
        best_rank = ranks[slot->state];
    }
    return best;
}

static enum status take_delivery(struct pool *pool, const uint8_t *packet, size_t size)
{
    struct link_deliver deliver;
    const size_t from = offsetof(struct link_deliver, record);
    if (size < sizeof deliver || size - from > ABI_INPUT_BYTES)
        return STATUS_MALFORMED;
    memcpy(&deliver, packet, sizeof deliver);
    uint64_t behind = ABI_ALIGN8((uint64_t)deliver.context_bytes) + ABI_ALIGN8((uint64_t)deliver.payload_bytes);
    struct slot *slot = slot_for(pool, deliver.connection);
    if (slot == NULL || deliver.record.kind != ABI_EVENT || deliver.record.size != size - from ||
        size - sizeof deliver != behind ||
        (deliver.connection != 0) != (pool->lifetime == LIFETIME_CONNECTION))
        return STATUS_MALFORMED;
    slot->has_event = 1;
    slot->event = deliver;
    memcpy(slot->input, packet + from, size - from);
    pool_advance(pool, (unsigned)(slot - pool->slots));
    return STATUS_OK;
}

static enum status take_answer(struct pool *pool, uint64_t handle, const uint8_t *record,
                               size_t size)
{
    struct abi_answer answer;
    unsigned index = 0;
    while (index < pool->slot_count &&
           !(pool->slots[index].has_event && pool->slots[index].event.header.handle == handle))
        index++;
    if (index == pool->slot_count)
        return STATUS_OK; // the instance died meanwhile, its EFFECTS are on their way
    if (pool->slots[index].state != READING || size < sizeof answer || size > ABI_INPUT_BYTES)
        return STATUS_MALFORMED;
    memcpy(&answer, record, sizeof answer);
    if (answer.record.kind != ABI_ANSWER || answer.record.size != size)
        return STATUS_MALFORMED;
    guest_memory_show(pool->config.memory, index, record, (uint32_t)size);
    pool_give_turn(pool, index, BUSY);
    pool->wall->calls->wake(pool->wall, index);
    return STATUS_OK;
}

static void take_close(struct pool *pool, uint64_t connection)
{
    int is_there = 0; // then GONE follows when it is gone
    for (unsigned i = 0; i < pool->slot_count; i++) {
        struct slot *slot = &pool->slots[i];
        int is_its = slot->state != FREE && slot->connection == connection;
        if (slot->has_event && slot->event.connection == connection)
            pool_send_effects(pool, slot, (struct link_effects){.outcome = LINK_LOST}, NULL, NULL);
        if (is_its && slot->state != DYING)
            pool_kill(pool, i);
        is_there |= is_its;
    }
    if (!is_there)
        pool_send_header(pool, LINK_GONE, connection);
}

enum status pool_packet(struct pool *pool, const uint8_t *packet, size_t size)
{
    struct link_header header;
    enum status status = STATUS_OK;
    if (size < sizeof header)
        return STATUS_MALFORMED;
    memcpy(&header, packet, sizeof header);
    if (header.size != size || header.zero != 0)
        return STATUS_MALFORMED;
    if (header.kind == LINK_DELIVER)
        status = take_delivery(pool, packet, size);
    else if (header.kind == LINK_ANSWER)
        status = take_answer(pool, header.handle, packet + sizeof header, size - sizeof header);
    else if (header.kind == LINK_CLOSE && header.handle != 0)
        take_close(pool, header.handle);
    else
        status = STATUS_MALFORMED;
    pool_tidy(pool);
    return status;
}

enum status pool_start(struct pool *pool, struct wall *wall)
{
    struct link_hello hello = {.header = {sizeof hello, LINK_HELLO, 0, 0},
                               .version = LINK_VERSION,
                               .capacity = pool->slot_count};
    memcpy(hello.image_digest, pool->config.unikernel->image_digest, sizeof hello.image_digest);
    pool->wall = wall;
    pool_send(pool, &(struct channel_part){&hello, sizeof hello}, 1);
    pool_tidy(pool);
    return pool->has_failed ? STATUS_CLOSED : STATUS_OK;
}
