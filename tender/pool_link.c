// SPDX-License-Identifier: ISC
// The pool's side of the link to the router (proto/link.h): what comes in becomes an event that waits, an
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

void pool_send_effects(struct pool *pool, struct queue *queue, struct link_effects effects,
                       const struct link_crash *crash, const uint8_t *records)
{
    struct delivery *delivery = queue_pop(queue);
    size_t crash_bytes = crash != NULL ? sizeof *crash : 0;
    effects.header = (struct link_header){(uint32_t)(sizeof effects + crash_bytes + effects.record_bytes),
                                          LINK_EFFECTS, 0, delivery->handle};
    struct channel_part parts[] = {
        {&effects, sizeof effects}, {crash, crash_bytes}, {records, effects.record_bytes}};
    pool_send(pool, parts, 3);
    delivery_give(pool, delivery);
    page_count(&pool->page->events);
}

void pool_send_lost(struct pool *pool, struct queue *queue)
{
    while (queue->count != 0)
        pool_send_effects(pool, queue, (struct link_effects){.outcome = LINK_LOST}, NULL, NULL);
}

// Where the events of that connection wait: at its own instance, which is made if need be.
static struct queue *queue_of(struct pool *pool, uint64_t connection)
{
    unsigned is_free = pool->slot_count;
    for (unsigned i = pool->slot_count; i-- > 0;) {
        if (pool->slots[i].state == FREE)
            is_free = i;
        else if (pool->slots[i].connection == connection)
            return &pool->slots[i].waiting;
    }
    if (is_free == pool->slot_count)
        return NULL;
    pool_create(pool, is_free, connection);
    return &pool->slots[is_free].waiting;
}

static enum status take_delivery(struct pool *pool, const uint8_t *packet, size_t size)
{
    struct link_deliver deliver;
    const size_t from = offsetof(struct link_deliver, record);
    if (size < sizeof deliver || size - from > POOL_EVENT_BYTES)
        return STATUS_MALFORMED;
    memcpy(&deliver, packet, sizeof deliver);
    uint64_t behind = ABI_ALIGN8((uint64_t)deliver.context_bytes) + ABI_ALIGN8((uint64_t)deliver.payload_bytes);
    if (deliver.record.kind != ABI_EVENT || deliver.record.size != size - from || size - sizeof deliver != behind ||
        (deliver.connection != 0) != (pool->lifetime == LIFETIME_CONNECTION))
        return STATUS_MALFORMED;
    struct delivery *delivery = delivery_take(pool);
    struct queue *queue = deliver.connection != 0 && delivery != NULL ? queue_of(pool, deliver.connection)
                                                                       : &pool->waiting;
    if (delivery == NULL || queue == NULL)
        return STATUS_MALFORMED;
    delivery->handle = deliver.header.handle;
    delivery->connection = deliver.connection;
    delivery->bytes = (uint32_t)(size - from);
    memcpy(delivery->record, packet + from, size - from);
    queue_push(queue, delivery);
    return STATUS_OK;
}

static enum status take_answer(struct pool *pool, uint64_t handle, const uint8_t *record,
                               size_t size)
{
    struct abi_answer answer;
    unsigned index = 0;
    while (index < pool->slot_count &&
           !(pool->slots[index].shown.count != 0 && pool->slots[index].shown.first->handle == handle))
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
        if (is_its) {
            pool_send_lost(pool, &slot->shown);
            pool_send_lost(pool, &slot->waiting);
        }
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
    return status;
}

enum status pool_start(struct pool *pool, struct wall *wall)
{
    struct link_hello hello = {.header = {sizeof hello, LINK_HELLO, 0, 0},
                               .version = LINK_VERSION,
                               .instances = (uint16_t)pool->slot_count,
                               // What reads the store meets the next event of its connection when this one is committed.
                               .batch = pool->batch == 1 && pool->lifetime == LIFETIME_CONNECTION ? 1 : LINK_BATCH_MAX};
    memcpy(hello.image_digest, pool->config.unikernel->image_digest, sizeof hello.image_digest);
    pool->wall = wall;
    pool_send(pool, &(struct channel_part){&hello, sizeof hello}, 1);
    pool_turn(pool);
    return pool->has_failed ? STATUS_CLOSED : STATUS_OK;
}
