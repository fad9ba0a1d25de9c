// SPDX-License-Identifier: ISC
// Slots: memory for so many entries of one size, set aside once.
#ifndef CRENEL_ROUTER_SLOTS_H
#define CRENEL_ROUTER_SLOTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slots { // entries that come and go; each begins with a pointer that is free while it is
    uint8_t *bytes;
    size_t slot_bytes;
    uint64_t count, used; // used: from there on never taken
    void *free;
};

// 0: no memory. is_random: entries are met in any order.
int slots_create(struct slots *slots, uint64_t count, size_t slot_bytes, int is_random);
static inline int slots_left(const struct slots *slots) { return slots->free != NULL || slots->used < slots->count; }

// NULL: none left.
static inline void *slots_take(struct slots *slots)
{
    void *slot = slots->free;
    if (slot != NULL)
        memcpy(&slots->free, slot, sizeof slots->free);
    else if (slots->used < slots->count)
        slot = slots->bytes + slots->used++ * slots->slot_bytes;
    return slot;
}

static inline void slots_give(struct slots *slots, void *slot)
{
    memcpy(slot, &slots->free, sizeof slots->free);
    slots->free = slot;
}

#endif
