// SPDX-License-Identifier: ISC
// Fuzz target: compiled systems. Every index of one that is accepted is followed.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/unit/system_sample.h"

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    if (index != 0)
        return 0;
    fill();
    memcpy(bytes, &good, sizeof good);
    return sizeof good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why;
    if (system_open(&view, data, size, &why) != STATUS_OK)
        must(why != NULL && view.flows == NULL);
    else
        must(use_all() + 1 != 0 && why == NULL);
    return 0;
}
