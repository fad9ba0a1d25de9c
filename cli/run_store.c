// SPDX-License-Identifier: ISC
// Records sorted by (namespace, key); ranges over the secondary index sort what they found.
#include "cli/run_store.h"

#include <stdlib.h>
#include <string.h>

static int compare_bytes(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

// First place whose record is not before (namespace, key).
static size_t place_of(const struct run_store *store, uint16_t space, const uint8_t *key, size_t size)
{
    size_t at = 0;
    while (at < store->count) {
        const struct run_record *record = &store->records[at];
        if (record->namespace_index > space ||
            (record->namespace_index == space &&
             compare_bytes(record->key, record->key_bytes, key, size) >= 0))
            break;
        at++;
    }
    return at;
}

static struct run_record *find(const struct run_store *store, uint16_t space, const uint8_t *key,
                               size_t size)
{
    size_t at = place_of(store, space, key, size);
    if (at == store->count || store->records[at].namespace_index != space ||
        compare_bytes(store->records[at].key, store->records[at].key_bytes, key, size) != 0)
        return NULL;
    return &store->records[at];
}

struct answer {
    uint8_t *bytes;
    size_t used;
    uint32_t items;
};

static int add_item(struct answer *answer, uint16_t status, const struct run_record *record,
                    uint64_t version)
{
    struct abi_item item = {.status = status, .version = version};
    size_t size = sizeof item;
    if (record != NULL) {
        item.key_bytes = record->key_bytes;
        item.value_bytes = record->value_bytes;
        size += ABI_ALIGN8((size_t)record->key_bytes) + ABI_ALIGN8((size_t)record->value_bytes);
    }
    // Room for the END item of a range stays free.
    size_t end = status == ABI_ITEM_FOUND ? sizeof item : 0;
    if (size + end > ABI_INPUT_BYTES - answer->used)
        return 0;
    uint8_t *at = answer->bytes + answer->used;
    memcpy(at, &item, sizeof item);
    if (record != NULL) {
        memcpy(at + sizeof item, record->key, record->key_bytes);
        memcpy(at + sizeof item + ABI_ALIGN8((size_t)record->key_bytes), record->value,
               record->value_bytes);
    }
    answer->used += size;
    answer->items++;
    return 1;
}

static int by_index(const void *a, const void *b)
{
    const struct run_record *left = *(const struct run_record *const *)a;
    const struct run_record *right = *(const struct run_record *const *)b;
    int order = compare_bytes(left->index, left->index_bytes, right->index, right->index_bytes);
    return order != 0 ? order
                      : compare_bytes(left->key, left->key_bytes, right->key, right->key_bytes);
}

static int is_within(const struct run_record *record, const struct abi_read *read,
                     const uint8_t *from, const uint8_t *end)
{
    int is_index = read->op == ABI_READ_INDEX;
    const uint8_t *key = is_index ? record->index : record->key;
    size_t size = is_index ? record->index_bytes : record->key_bytes;
    return record->namespace_index == read->namespace_index && (!is_index || size != 0) &&
           compare_bytes(key, size, from, read->from_bytes) >= 0 &&
           (read->end_bytes == 0 || compare_bytes(key, size, end, read->end_bytes) < 0);
}

static void answer_range(const struct run_store *store, const struct abi_read *read,
                         const uint8_t *from, const uint8_t *end, struct answer *answer)
{
    const struct run_record **found = calloc(store->count + 1, sizeof *found);
    size_t count = 0;
    for (size_t i = 0; i < store->count && found != NULL; i++)
        if (is_within(&store->records[i], read, from, end))
            found[count++] = &store->records[i];
    if (read->op == ABI_READ_INDEX && count != 0)
        qsort(found, count, sizeof *found, by_index);
    for (size_t i = 0; i < count && i < read->limit; i++)
        if (!add_item(answer, ABI_ITEM_FOUND, found[i], found[i]->version))
            break;
    (void)add_item(answer, ABI_ITEM_END, NULL, store->version);
    free(found);
}

size_t run_store_answer(const struct run_store *store, const uint8_t *reads, size_t size,
                        uint8_t bytes[ABI_INPUT_BYTES])
{
    struct abi_answer header = {.record = {.kind = ABI_ANSWER}};
    struct answer answer = {bytes, sizeof header, 0};
    memset(bytes, 0, ABI_INPUT_BYTES);
    for (size_t at = 0; at < size;) {
        struct abi_read read;
        memcpy(&read, reads + at, sizeof read);
        const uint8_t *from = reads + at + sizeof read;
        const uint8_t *end = from + ABI_ALIGN8((size_t)read.from_bytes);
        if (read.op == ABI_READ_GET) {
            const struct run_record *record =
                find(store, read.namespace_index, from, read.from_bytes);
            (void)add_item(&answer, record != NULL ? ABI_ITEM_FOUND : ABI_ITEM_ABSENT, record,
                           record != NULL ? record->version : 0);
        } else {
            answer_range(store, &read, from, end, &answer);
        }
        at += read.record.size;
    }
    header.record.size = (uint32_t)answer.used;
    header.item_count = answer.items;
    memcpy(bytes, &header, sizeof header);
    return answer.used;
}

static void remove_record(struct run_store *store, struct run_record *record)
{
    size_t at = (size_t)(record - store->records);
    free(record->value);
    store->count--;
    memmove(record, record + 1, (store->count - at) * sizeof *record);
}

static struct run_record *insert_record(struct run_store *store, uint16_t space,
                                        const uint8_t *key, size_t size)
{
    if (store->count == store->capacity) {
        store->capacity = store->capacity == 0 ? 64 : 2 * store->capacity;
        struct run_record *grown = realloc(store->records, store->capacity * sizeof *grown);
        if (grown == NULL)
            abort();
        store->records = grown;
    }
    size_t at = place_of(store, space, key, size);
    memmove(&store->records[at + 1], &store->records[at], (store->count - at) * sizeof(struct run_record));
    store->count++;
    struct run_record *record = &store->records[at];
    *record = (struct run_record){.namespace_index = space, .key_bytes = (uint16_t)size};
    memcpy(record->key, key, size);
    return record;
}

void run_store_write(struct run_store *store, const uint8_t *bytes)
{
    struct abi_write write;
    memcpy(&write, bytes, sizeof write);
    const uint8_t *key = bytes + sizeof write;
    const uint8_t *value = key + ABI_ALIGN8((size_t)write.key_bytes);
    const struct manifest_namespace *space = &store->manifest->namespaces[write.namespace_index];
    struct run_record *record = find(store, write.namespace_index, key, write.key_bytes);
    store->version++;
    if (write.op == ABI_WRITE_DELETE) {
        if (record != NULL)
            remove_record(store, record);
        return;
    }
    if (record == NULL)
        record = insert_record(store, write.namespace_index, key, write.key_bytes);
    uint8_t *copy = malloc(write.value_bytes + 1u);
    if (copy == NULL)
        abort();
    memcpy(copy, value, write.value_bytes);
    free(record->value);
    record->value = copy;
    record->value_bytes = write.value_bytes;
    record->version = store->version;
    record->index_bytes = 0;
    if (space->index_count != 0)
        record->index_bytes = (uint16_t)schema_key(
            &store->manifest->schemas[space->schema], space->index_fields, space->index_count, value,
            write.value_bytes, record->index, sizeof record->index);
}

void run_store_clean_up(struct run_store *store)
{
    for (size_t i = 0; i < store->count; i++)
        free(store->records[i].value);
    free(store->records);
}
