// SPDX-License-Identifier: ISC
// checker_PEER [ARGUMENT]: bytes of a reading in the peer's format, and nanoseconds that one verdict takes (the median of
// several runs over different readings).
#include "tests/bench/checker/checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READINGS 64u
#define BYTES_MAX 512u
#define RUNS 15u
#define PASSES 2000u

static uint8_t bytes[READINGS][BYTES_MAX];
static size_t sizes[READINGS];

static struct reading make(unsigned seed)
{
    struct reading reading = {.time = 1700000000000u + seed * 1000003u,
                              .sequence = seed * 77777u,
                              .sensor = 1 + seed * 61 % 4096,
                              .value = (int32_t)(seed * 2003 % 60000) - 20000,
                              .channel = 1 + seed * 7 % 512,
                              .battery = seed * 3 % 101,
                              .state = seed % 3,
                              .is_test = seed % 2,
                              .site = "plant-7.hall-03:press_11.motor"};
    reading.low = reading.value - 150;
    reading.high = reading.value + 250;
    return reading;
}

// A reading with one thing wrong; 0 behind the last. Values that a format cannot hold are not asked for.
static int spoil(unsigned which, struct reading *r)
{
    switch (which) {
    case 0: r->time = 1599999999999u; return 1;
    case 1: r->time = 4102444800001u; return 1;
    case 2: r->sensor = 0; return 1;
    case 3: r->sensor = 4097; return 1;
    case 4: r->value = r->low = -40001; return 1;
    case 5: r->value = r->high = 125001; return 1;
    case 6: r->low = -40001; return 1;
    case 7: r->high = 125001; return 1;
    case 8: r->channel = 0; return 1;
    case 9: r->channel = 513; return 1;
    case 10: r->battery = 101; return 1;
    case 11: r->state = 3; return 1;
    case 12: r->low = r->value + 1; return 1;
    case 13: r->high = r->value - 1; return 1;
    case 14: r->site[4] = ' '; return 1;
    case 15: r->site[29] = '/'; return 1;
    case 16: memset(r->site, 'a', SITE_MOST + 1); return 1;
    default: return 0;
    }
}

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int fail(const char *what, unsigned which)
{
    fprintf(stderr, "%s %u\n", what, which);
    return 1;
}

int main(int argc, char **argv)
{
    double runs[RUNS];
    size_t total = 0;
    struct reading bad;
    peer_start(argc > 1 ? argv[1] : NULL);
    for (unsigned i = 0; i < READINGS; i++) {
        struct reading reading = make(i);
        sizes[i] = peer_encode(&reading, bytes[i], sizeof bytes[i]);
        total += sizes[i];
        if (!peer_is_good(bytes[i], sizes[i]))
            return fail("refuses the good reading", i);
    }
    for (unsigned i = 0; bad = make(i), spoil(i, &bad); i++) {
        uint8_t wrong[BYTES_MAX];
        size_t size = peer_encode(&bad, wrong, sizeof wrong);
        if (peer_is_good(wrong, size))
            return fail("takes the bad reading", i);
    }
    for (unsigned run = 0; run < RUNS; run++) {
        double begin = now_ns();
        unsigned good = 0;
        for (unsigned pass = 0; pass < PASSES; pass++)
            for (unsigned i = 0; i < READINGS; i++)
                good += (unsigned)peer_is_good(bytes[i], sizes[i]);
        runs[run] = (now_ns() - begin) / (PASSES * READINGS);
        if (good != PASSES * READINGS)
            return fail("changes its mind in run", run);
    }
    qsort(runs, RUNS, sizeof runs[0], compare);
    printf("%zu %.2f\n", total / READINGS, runs[RUNS / 2]);
    return 0;
}
