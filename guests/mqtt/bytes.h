// SPDX-License-Identifier: ISC
// A run of bytes that belongs to somebody else, and the few things done with it.
#ifndef CRENEL_GUESTS_MQTT_BYTES_H
#define CRENEL_GUESTS_MQTT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *at;
    size_t size;
};

static inline bool bytes_equal(struct bytes left, struct bytes right)
{
    return left.size == right.size &&
           (left.size == 0 || __builtin_memcmp(left.at, right.at, left.size) == 0);
}

// The part up to the first `end` (or all of it), which is cut off `rest` together with that byte.
static inline struct bytes bytes_cut(struct bytes *rest, uint8_t end)
{
    struct bytes part = {rest->at, 0};
    while (part.size < rest->size && rest->at[part.size] != end)
        part.size++;
    size_t taken = part.size < rest->size ? part.size + 1 : part.size;
    rest->at += taken;
    rest->size -= taken;
    return part;
}

#endif
