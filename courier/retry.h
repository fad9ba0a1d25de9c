// SPDX-License-Identifier: ISC
// When a courier connects again, to another node or to a broker.
//
// The first tries follow quickly, since most ends are short; each wait is twice the one before, some seconds at most. Chance takes
// up to a quarter of it, so that many which lost the same peer do not come back to it all at once.
#ifndef CRENEL_COURIER_RETRY_H
#define CRENEL_COURIER_RETRY_H

#include <stdint.h>
#include <sys/random.h>

#define RETRY_LEAST_MS 100
#define RETRY_MOST_MS 5000

// The wait that follows; *next_ms, at first RETRY_LEAST_MS, is doubled.
static inline int64_t retry_wait_ms(int64_t *next_ms)
{
    uint16_t random = 0;
    int64_t wait_ms = *next_ms;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    *next_ms = wait_ms * 2 < RETRY_MOST_MS ? wait_ms * 2 : RETRY_MOST_MS;
    return wait_ms - wait_ms * random / (4 * UINT16_MAX);
}

#endif
