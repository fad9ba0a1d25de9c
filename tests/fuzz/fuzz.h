// SPDX-License-Identifier: ISC
// A fuzz target is one file here that defines this function, as libFuzzer calls it: whatever the bytes, it
// returns 0, and aborts when something is wrong. `make fuzz-NAME` runs it under libFuzzer with the
// address and undefined sanitizers; a program in tests/unit replays fixed and mutated input in `make test`.
#ifndef CRENEL_TESTS_FUZZ_H
#define CRENEL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_BYTES_MAX 65536u

// data is 8-byte aligned (libFuzzer and the replay see to it).
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Good input number `index` to begin from; returns its size, 0: there is none (any more).
size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX]);

#endif
