// SPDX-License-Identifier: ISC
// Reading choices off the front of a fuzz input; when it is used up, all choices are 0.
#ifndef CRENEL_TESTS_TAKE_H
#define CRENEL_TESTS_TAKE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct take {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t take_byte(struct take *take)
{
    if (take->left == 0)
        return 0;
    take->left--;
    return *take->at++;
}

static inline uint64_t take_number(struct take *take, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)take_byte(take) << (8 * i);
    return value;
}

// At most `size` bytes, as they lie there; returns how many.
static inline size_t take_bytes(struct take *take, void *to, size_t size)
{
    size_t count = size < take->left ? size : take->left;
    if (count != 0)
        memcpy(to, take->at, count);
    take->at += count;
    take->left -= count;
    return count;
}

#endif
