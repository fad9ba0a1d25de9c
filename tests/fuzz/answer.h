// SPDX-License-Identifier: ISC
// What an ANSWER of the store must be.
#ifndef CRENEL_TESTS_ANSWER_H
#define CRENEL_TESTS_ANSWER_H

#include "abi/abi.h"
#include "tests/fuzz/must.h"

#include <string.h>

static inline void judge_answer(const uint8_t *answer, size_t size)
{
    struct abi_answer head_of;
    must(size >= sizeof head_of && size <= ABI_INPUT_BYTES);
    memcpy(&head_of, answer, sizeof head_of);
    must(head_of.record.size == size && head_of.record.kind == ABI_ANSWER);
    size_t at = sizeof head_of;
    for (uint32_t i = 0; i < head_of.item_count; i++) {
        struct abi_item item;
        must(size - at >= sizeof item);
        memcpy(&item, answer + at, sizeof item);
        at += sizeof item + ABI_ALIGN8((size_t)item.key_bytes) + ABI_ALIGN8((size_t)item.value_bytes);
        must(at <= size && item.status <= ABI_ITEM_ABSENT && item.key_bytes <= ABI_KEY_BYTES_MAX);
    }
    must(at == size);
}

#endif
