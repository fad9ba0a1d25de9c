// SPDX-License-Identifier: ISC
// Fixed tables whose entries come and go. A free entry's first word leads to the next; entries that were
// never used lie behind them, so a table that is hardly used hardly takes memory.
#include "router/slots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_BYTES (2u * 1024u * 1024u)

int slots_create(struct slots *slots, uint64_t count, size_t slot_bytes, int is_random)
{
    *slots = (struct slots){.bytes = calloc(count + 1, slot_bytes), .slot_bytes = slot_bytes, .count = count};
    // Entries of large tables are met in any order: with large pages the processor finds them.
    uintptr_t from = ((uintptr_t)slots->bytes + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1);
    uintptr_t end = (uintptr_t)slots->bytes + count * slot_bytes;
    if (slots->bytes != NULL && is_random && end > from + HUGE_BYTES)
        (void)madvise((void *)from, (end - from) & ~(uintptr_t)(HUGE_BYTES - 1), MADV_HUGEPAGE); // a kernel may not have them
    return slots->bytes != NULL;
}
