// SPDX-License-Identifier: ISC
// The store of `crenel run`: records in memory, for one unikernel alone. Same answers as the real one.
#ifndef CRENEL_CLI_RUN_STORE_H
#define CRENEL_CLI_RUN_STORE_H

#include "abi/abi.h"
#include "core/manifest.h"

struct run_record {
    uint16_t namespace_index;
    uint16_t key_bytes, index_bytes;
    uint32_t value_bytes;
    uint64_t version;
    uint8_t key[ABI_KEY_BYTES_MAX], index[ABI_KEY_BYTES_MAX];
    uint8_t *value;
};

struct run_store {
    const struct manifest *manifest;
    struct run_record *records; // in order of namespace, key
    size_t count, capacity;
    uint64_t version;
};

// Answers READ records (as published, their form was checked) with one ANSWER; returns its size.
size_t run_store_answer(const struct run_store *store, const uint8_t *reads, size_t size,
                        uint8_t answer[ABI_INPUT_BYTES]);

// Applies one WRITE record that was judged.
void run_store_write(struct run_store *store, const uint8_t *record);

void run_store_clean_up(struct run_store *store);

#endif
