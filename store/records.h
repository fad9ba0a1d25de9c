// SPDX-License-Identifier: ISC
// Records of namespaces: answering READs, validating what was read, writing.
#ifndef CRENEL_STORE_RECORDS_H
#define CRENEL_STORE_RECORDS_H

#include "store/database.h"

// Answers abi READ records (bytes[0..size), namespace_index = the system's) with one abi ANSWER record of at most
// ABI_INPUT_BYTES in answer; *answer_bytes is its size. What fits how: proto/commit.h.
enum status records_answer(struct store *store, const uint8_t *bytes, size_t size,
                           uint8_t answer[ABI_INPUT_BYTES], size_t *answer_bytes) MUST_USE;

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
