// SPDX-License-Identifier: ISC
// Events that are with this tender, in the order in which they came.
#include "tender/pool_state.h"

#include <string.h>

void queue_push(struct queue *queue, struct delivery *delivery)
{
    delivery->next = NULL;
    if (queue->count++ == 0)
        queue->first = delivery;
    else
        queue->last->next = delivery;
    queue->last = delivery;
}

struct delivery *queue_pop(struct queue *queue)
{
    struct delivery *delivery = queue->first;
    if (delivery == NULL)
        return NULL;
    queue->first = delivery->next;
    queue->count--;
    return delivery;
}

void queue_prepend(struct queue *queue, struct queue *before)
{
    if (before->count == 0)
        return;
    if (queue->count == 0)
        queue->last = before->last;
    before->last->next = queue->first;
    queue->first = before->first;
    queue->count += before->count;
    *before = (struct queue){0};
}

struct delivery *delivery_take(struct pool *pool)
{
    struct delivery *delivery = pool->free;
    if (delivery != NULL)
        pool->free = delivery->next;
    else if (pool->used < pool->slot_count * LINK_BATCH_MAX)
        delivery = &pool->deliveries[pool->used++];
    return delivery;
}

void delivery_give(struct pool *pool, struct delivery *delivery)
{
    delivery->next = pool->free;
    pool->free = delivery;
}
