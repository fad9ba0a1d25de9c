// SPDX-License-Identifier: ISC
// Replays the fuzz target of the MQTT engine: random scripts from a fixed generator, so that every run is the
// same. A failure aborts with the script's number.
#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"

#include <signal.h>

#define SCRIPTS 60000u
#define SCRIPT_BYTES_MAX 96u

static uint64_t state;
static volatile unsigned script_number;

static void on_abort(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "script %u breaks it\n", script_number);
}

static uint32_t random_next(void) // splitmix64
{
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

TEST(no_script_breaks_the_engine)
{
    for (unsigned i = 0; i < SCRIPTS; i++) {
        uint8_t script[SCRIPT_BYTES_MAX] = {0xc0, 0, 0, 0x80}; // CONNECT and its answer
        state = i;
        size_t begin = random_next() % 8 == 0 ? 0 : 4;
        size_t size = begin + random_next() % (SCRIPT_BYTES_MAX - begin);
        for (size_t at = begin; at < size; at++)
            script[at] = (uint8_t)(random_next() % 3 == 0 ? random_next() : random_next() | 0x80);
        for (size_t at = begin; at < size; at++)
            if (random_next() % 4 == 0)
                script[at] = 0; // many changes of nothing, so that connections live
        script_number = i;
        expect(LLVMFuzzerTestOneInput(script, size) == 0);
    }
}

int main(void)
{
    signal(SIGABRT, on_abort);
    RUN(no_script_breaks_the_engine);
    TEST_END();
}
