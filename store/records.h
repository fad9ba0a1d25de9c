// SPDX-License-Identifier: ISC
// Records of namespaces: answering READs, validating what was read, writing.
#ifndef CRENEL_STORE_RECORDS_H
#define CRENEL_STORE_RECORDS_H

#include "store/database.h"

struct records_answer {
    uint8_t answer[ABI_INPUT_BYTES]; // one abi ANSWER record
    size_t answer_bytes;
    // One struct commit_read with its key for each READ that was answered.
    uint8_t seen[ABI_READS_PER_WAIT_MAX * (sizeof(struct commit_read) + ABI_KEY_BYTES_MAX)];
    size_t seen_bytes, seen_count;
};

// Answers abi READ records (bytes[0..size), namespace_index = the system's), at most ABI_READS_PER_WAIT_MAX. What fits
// how: proto/commit.h.
enum status records_answer(struct store *store, const uint8_t *bytes, size_t size, struct records_answer *answer) MUST_USE;

// Version of a record, 0 when it is absent.
enum status records_version(struct store *store, unsigned namespace_index, const uint8_t *key,
                            size_t key_bytes, uint64_t *version) MUST_USE;

// In the open transaction. The new version of a record is that of its namespace after the write, so it is
// never used twice, not even over a delete.
enum status records_put(struct store *store, unsigned namespace_index, const uint8_t *key,
                        size_t key_bytes, const uint8_t *index_key, size_t index_bytes,
                        const uint8_t *value, size_t value_bytes) MUST_USE;
enum status records_delete(struct store *store, unsigned namespace_index, const uint8_t *key,
                           size_t key_bytes) MUST_USE;

#endif
