// SPDX-License-Identifier: ISC
// Reading the store: a READ record, a wait, and the ANSWER. And keys that order as their values do.
#include "guest/library/guest.h"

static uint8_t *key_reserve(struct crenel_key *key, size_t bytes)
{
    if (bytes > sizeof key->bytes - key->size)
        fail("a store key is longer than %zu bytes", sizeof key->bytes);
    uint8_t *at = key->bytes + key->size;
    key->size = (uint16_t)(key->size + bytes);
    return at;
}

void crenel_key_unsigned(struct crenel_key *key, uint64_t value, unsigned width)
{
    uint8_t *at = key_reserve(key, width);

    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

void crenel_key_signed(struct crenel_key *key, int64_t value, unsigned width)
{
    crenel_key_unsigned(key, (uint64_t)value ^ UINT64_C(1) << (8 * width - 1), width);
}

void crenel_key_bytes(struct crenel_key *key, const void *bytes, size_t size, bool is_last)
{
    uint8_t *at = key_reserve(key, size + (is_last ? 0 : 1));

    memcpy(at, bytes, size);
    if (!is_last)
        at[size] = 0;
}

static const struct abi_answer *read_ask(unsigned namespace_index, uint16_t op,
                                         const struct crenel_key *from,
                                         const struct crenel_key *end, size_t limit)
{
    struct guest *guest = guest_state();
    const char *name = crenel_namespace_name(namespace_index);
    size_t size = sizeof(struct abi_read) + ABI_ALIGN8((size_t)from->size) +
                  ABI_ALIGN8((size_t)end->size);

    if (guest->waits++ >= ABI_WAITS_PER_EVENT_MAX)
        fail("%s: more than %u store reads in one event", name, ABI_WAITS_PER_EVENT_MAX);
    struct abi_read *read = guest_record(ABI_READ, size, name);
    read->namespace_index = (uint16_t)namespace_index;
    read->op = op;
    read->limit = (uint16_t)limit;
    read->from_bytes = from->size;
    read->end_bytes = end->size;
    memset(read->zero, 0, sizeof read->zero);
    guest_copy(guest_copy((uint8_t *)(read + 1), from->bytes, from->size), end->bytes, end->size);
    const struct abi_record *answer = guest_wait();
    if (answer->kind != ABI_ANSWER)
        __builtin_trap();
    return (const struct abi_answer *)answer;
}

// Copies the item's value, the unsent tail as zero. False: no record.
static bool item_copy(const struct abi_item *item, void *record, size_t record_bytes)
{
    const uint8_t *value = (const uint8_t *)(item + 1) + ABI_ALIGN8((size_t)item->key_bytes);

    if (item->status != ABI_ITEM_FOUND)
        return false;
    if (item->value_bytes > record_bytes)
        __builtin_trap();
    memcpy(record, value, item->value_bytes);
    memset((uint8_t *)record + item->value_bytes, 0, record_bytes - item->value_bytes);
    return true;
}

bool crenel_get(unsigned namespace_index, const struct crenel_key *key, void *record,
                size_t record_bytes)
{
    static const struct crenel_key none;
    const struct abi_answer *answer = read_ask(namespace_index, ABI_READ_GET, key, &none, 1);

    return item_copy((const struct abi_item *)(answer + 1), record, record_bytes);
}

size_t crenel_range(unsigned namespace_index, bool is_index, const struct crenel_key *from,
                    const struct crenel_key *end, void *records, size_t record_bytes,
                    size_t capacity)
{
    size_t item_bytes = sizeof(struct abi_item) + ABI_KEY_BYTES_MAX + record_bytes;
    size_t most = (ABI_INPUT_BYTES - sizeof(struct abi_answer)) / item_bytes;

    if (most > ABI_RANGE_ITEMS_MAX)
        most = ABI_RANGE_ITEMS_MAX;
    if (capacity == 0 || capacity > most)
        fail("%s: a range of %zu records at once, at most %zu fit an answer",
             crenel_namespace_name(namespace_index), capacity, most);
    const struct abi_answer *answer = read_ask(
        namespace_index, is_index ? ABI_READ_INDEX : ABI_READ_RANGE, from, end, capacity);
    const struct abi_item *item = (const struct abi_item *)(answer + 1);
    size_t count = 0;
    while (count < capacity &&
           item_copy(item, (uint8_t *)records + count * record_bytes, record_bytes)) {
        item = (const struct abi_item *)((const uint8_t *)(item + 1) +
                                         ABI_ALIGN8((size_t)item->key_bytes) +
                                         ABI_ALIGN8(item->value_bytes));
        count++;
    }
    return count;
}
