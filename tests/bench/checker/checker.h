// SPDX-License-Identifier: ISC
// One reading in every format of the checker's benchmark, and what each peer of it does.
//
// A peer writes a reading in its format, and says of bytes whether they are a good reading: it takes them apart itself and
// makes the same checks. The program refuses to measure a peer that takes a reading it should not (checker.c).
#ifndef CRENEL_BENCH_CHECKER_H
#define CRENEL_BENCH_CHECKER_H

#include <stddef.h>
#include <stdint.h>

#define SITE_MOST 40u

struct reading {
    uint64_t time;
    uint32_t sequence, sensor;
    int32_t value, low, high;
    uint32_t channel, battery, state, is_test;
    char site[SITE_MOST + 9]; // room for one that is too long
};

#ifdef __cplusplus
extern "C" {
#endif

// Once, before the others; argument is what the peer needs (a schema file).
void peer_start(const char *argument);
size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity);
int peer_is_good(const uint8_t *bytes, size_t size);

// The checks on what a peer took apart. Fields of a fixed width are that wide already.
static inline int reading_is_good(uint64_t time, uint32_t sensor, int32_t value, int32_t low, int32_t high,
                                  uint32_t channel, uint32_t battery, uint32_t state, uint32_t is_test,
                                  const uint8_t *site, size_t site_length)
{
    if (time < 1600000000000u || time > 4102444800000u || sensor < 1 || sensor > 4096)
        return 0;
    if (value < -40000 || value > 125000 || low < -40000 || low > 125000 || high < -40000 || high > 125000)
        return 0;
    if (channel < 1 || channel > 512 || battery > 100 || state > 2 || is_test > 1 || site_length > SITE_MOST)
        return 0;
    for (size_t i = 0; i < site_length; i++) {
        uint8_t c = site[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
              c == '.' || c == ':'))
            return 0;
    }
    return low <= value && value <= high;
}

#ifdef __cplusplus
}
#endif

#endif
