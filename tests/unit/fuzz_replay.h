// SPDX-License-Identifier: ISC
// Replays a fuzz target (tests/fuzz/): its good inputs and those that fuzzing found worth keeping, then changed ones
// from a fixed generator, so that every run is the same. With a folder as argument it writes the unchanged ones
// there, for libFuzzer to begin from.
//
// Kept inputs lie in tests/fuzz/seeds/NAME, one after the other: a uint16_t size, little-endian, and the bytes
// (tools/pack-seeds writes it).
#ifndef CRENEL_TESTS_FUZZ_REPLAY_H
#define CRENEL_TESTS_FUZZ_REPLAY_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static uint64_t replay_state;
static volatile unsigned replay_round;

static inline uint32_t replay_random(void) // splitmix64
{
    replay_state += 0x9e3779b97f4a7c15u;
    uint64_t z = (replay_state ^ (replay_state >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

static inline void replay_aborted(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "round %u breaks it\n", replay_round);
}

// One change in place; returns the new size, never a larger one.
static inline size_t replay_change(uint8_t *bytes, size_t size)
{
    static const uint64_t edges[] = {0, 1, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff,
                                     0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff, UINT64_MAX, INT64_MAX};
    size_t at = replay_random() % size, width = (size_t)1 << replay_random() % 4;
    uint64_t value = edges[replay_random() % (sizeof edges / sizeof edges[0])];
    switch (replay_random() % 8) {
    case 0:
    case 1:
        bytes[at] ^= (uint8_t)(1u << replay_random() % 8);
        return size;
    case 2:
        bytes[at] = (uint8_t)replay_random();
        return size;
    case 3:
    case 4: // an integer at its alignment
        at -= at % width;
        if (at + width <= size)
            memcpy(bytes + at, &value, width);
        return size;
    case 5: { // a piece over another
        size_t from = replay_random() % size, count = 1 + replay_random() % 64;
        count = count > size - from ? size - from : count;
        memmove(bytes + at, bytes + from, count > size - at ? size - at : count);
        return size;
    }
    case 6: // a piece taken out
        if (at + 8 * width < size) {
            memmove(bytes + at, bytes + at + 8 * width, size - at - 8 * width);
            return size - 8 * width;
        }
        return size;
    default:
        return replay_random() % 4 == 0 ? at : size;
    }
}

static uint8_t replay_seed[FUZZ_BYTES_MAX];

static uint8_t replay_kept[65536];
static size_t replay_kept_at[2048]; // where each one begins
static unsigned replay_kept_count, replay_made_count;
static int replay_is_whole; // the file of kept inputs ends with an input

static inline void replay_open(const char *program)
{
    char path[256];
    const char *name = strrchr(program, '_');
    snprintf(path, sizeof path, "tests/fuzz/seeds/%s", name == NULL ? "" : name + 1);
    FILE *file = fopen(path, "rb");
    size_t size = file == NULL ? 0 : fread(replay_kept, 1, sizeof replay_kept, file), at = 0;
    if (file != NULL)
        fclose(file);
    while (size - at > 2 && replay_kept_count < sizeof replay_kept_at / sizeof replay_kept_at[0]) {
        replay_kept_at[replay_kept_count++] = at;
        at += 2u + replay_kept[at] + 256u * replay_kept[at + 1];
    }
    replay_is_whole = at == size;
    while (fuzz_seed(replay_made_count, replay_seed) != 0)
        replay_made_count++;
}

// Unchanged input `index` into replay_seed; 0: there is none.
static inline size_t replay_input(unsigned index)
{
    if (index < replay_made_count)
        return fuzz_seed(index, replay_seed);
    if (index - replay_made_count >= replay_kept_count)
        return 0;
    const uint8_t *kept = replay_kept + replay_kept_at[index - replay_made_count];
    size_t size = kept[0] + 256u * kept[1];
    memcpy(replay_seed, kept + 2, size);
    return size;
}

static inline int replay_seeds(const char *folder)
{
    size_t size;
    for (unsigned i = 0; (size = replay_input(i)) != 0; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/seed-%u", folder, i);
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(replay_seed, 1, size, file) != size || fclose(file) != 0)
            return 1;
    }
    return 0;
}

static inline void replay_one(size_t size)
{
    uint8_t *exact = malloc(size + (size == 0)); // so that a sanitizer sees a read too far
    if (exact == NULL)
        abort();
    memcpy(exact, replay_seed, size);
    expect(LLVMFuzzerTestOneInput(exact, size) == 0);
    free(exact);
}

static inline void replay_all(unsigned rounds)
{
    unsigned inputs = replay_made_count + replay_kept_count;
    signal(SIGABRT, replay_aborted);
    expect(replay_made_count != 0 && replay_is_whole);
    for (unsigned i = 0; i < inputs; i++)
        replay_one(replay_input(i));
    for (unsigned i = 0; i < rounds && inputs != 0; i++) {
        replay_round = i;
        replay_state = i;
        size_t size = replay_input(i % inputs);
        for (unsigned changes = 1 + replay_random() % 4; changes > 0 && size != 0; changes--)
            size = replay_change(replay_seed, size);
        replay_one(size);
    }
}

#define REPLAY(name, rounds)                                                                       \
    TEST(name) { replay_all(rounds); }                                                             \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        replay_open(argv[0]);                                                                      \
        if (argc > 1)                                                                              \
            return replay_seeds(argv[1]);                                                          \
        RUN(name);                                                                                 \
        TEST_END();                                                                                \
    }

#endif
