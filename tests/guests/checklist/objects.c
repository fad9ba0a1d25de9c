// SPDX-License-Identifier: ISC
// Writes beyond objects on the stack, in the arena and in arrays, and reads of what an earlier call left.
#include "acts.h"

static uint8_t array[16];
static volatile uint8_t indexed[16];

static __attribute__((noinline)) void smash(unsigned bytes)
{
    uint8_t local[16];
    volatile uint8_t *at = launder((uintptr_t)local);
    for (unsigned i = 0; i < bytes; i++)
        at[i] = 'A';
}

// A frame larger than the whole stack and its guard, of which only the far end is used.
static __attribute__((noinline)) void big_frame(void)
{
    __attribute__((uninitialized)) volatile uint8_t local[24 * 1024];
    volatile uint8_t *at = launder((uintptr_t)local);
    *at = 1;
}

static __attribute__((noinline)) unsigned recurse(unsigned depth)
{
    volatile unsigned local[64];
    local[depth % 64] = depth;
    if (local[depth % 64] != depth)
        return 0;
    return recurse(depth + 1) + local[depth % 64];
}

static __attribute__((noinline)) void leave_secrets(void)
{
    uint64_t words[64];
    volatile uint64_t *at = (volatile uint64_t *)launder((uintptr_t)words);
    for (unsigned i = 0; i < 64; i++)
        at[i] = 0x5ec7e75ec7e75ec7u;
}

static __attribute__((noinline)) unsigned find_secrets(void)
{
    uint64_t words[64];
    const volatile uint64_t *at = (const volatile uint64_t *)launder((uintptr_t)words);
    unsigned found = 0;
    for (unsigned i = 0; i < 64; i++)
        found += at[i] == 0x5ec7e75ec7e75ec7u;
    return found;
}

void act_on_objects(unsigned act, unsigned key)
{
    volatile unsigned count = key;
    const char *volatile format = "%n";
    switch (act) {
    case SMASH: smash(key); break;
    case BIG_FRAME: big_frame(); break;
    case RECURSE: log_info("%u", recurse(key)); break;
    case ARENA_OVER: { // `key` bytes into a block of 32; the block behind it is the victim
        volatile uint8_t *block = launder((uintptr_t)arena_allocate(32)), *victim = arena_allocate(32);
        for (unsigned i = 0; i < key; i++)
            block[i] = 'A';
        log_info("victim=%x", victim[0]);
        break;
    }
    case INDEX: indexed[count] = 1; break;
    case COPY: memcpy(array, format, count); break;
    case FORMAT:
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        log_info(format, &count);
        break;
    default:
        leave_secrets();
        log_info("stale=%u", find_secrets());
        break;
    }
}
