// SPDX-License-Identifier: ISC
// Records and their versions.
#include "store/records.h"

#include "core/check.h"

#include <string.h>

struct answer {
    struct records_answer *to;
    uint32_t item_count;
};

// What was seen, so that the COMMIT can name it.
static void put_seen(struct records_answer *to, const struct abi_read *read, const uint8_t *key, uint64_t version)
{
    int is_get = read->op == ABI_READ_GET;
    struct commit_read seen = {.namespace_index = read->namespace_index,
                               .op = read->op,
                               .from_bytes = is_get ? read->from_bytes : 0,
                               .version = version};
    uint8_t *at = to->seen + to->seen_bytes;
    memset(at, 0, sizeof seen + ABI_ALIGN8((size_t)seen.from_bytes));
    memcpy(at, &seen, sizeof seen);
    memcpy(at + sizeof seen, key, seen.from_bytes);
    to->seen_bytes += sizeof seen + ABI_ALIGN8((size_t)seen.from_bytes);
    to->seen_count++;
}

// Appends an item unless fewer than `reserve` bytes would stay free. Returns 1 when it did.
static int put_item(struct answer *answer, uint16_t status, const uint8_t *key, size_t key_bytes,
                    const uint8_t *value, size_t value_bytes, uint64_t version, size_t reserve)
{
    struct abi_item item = {.status = status,
                            .key_bytes = (uint16_t)key_bytes,
                            .value_bytes = (uint32_t)value_bytes,
                            .version = version};
    size_t size = sizeof item + ABI_ALIGN8(key_bytes) + ABI_ALIGN8(value_bytes);
    if (size + reserve > ABI_INPUT_BYTES - answer->to->answer_bytes)
        return 0;
    uint8_t *at = answer->to->answer + answer->to->answer_bytes;
    memset(at, 0, size);
    memcpy(at, &item, sizeof item);
    if (key_bytes != 0)
        memcpy(at + sizeof item, key, key_bytes);
    if (value_bytes != 0)
        memcpy(at + sizeof item + ABI_ALIGN8(key_bytes), value, value_bytes);
    answer->to->answer_bytes += size;
    answer->item_count++;
    return 1;
}

static enum status answer_get(struct store *store, struct answer *answer,
                              const struct abi_read *read, const uint8_t *key, int *fits)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_RECORD_GET);
    bind_integer(statement, 1, store->namespace_ids[read->namespace_index]);
    bind_bytes(statement, 2, key, read->from_bytes);
    enum status status = store_step(store, statement);
    if (status == STATUS_ABSENT) {
        *fits = put_item(answer, ABI_ITEM_ABSENT, key, read->from_bytes, NULL, 0, 0, 0);
        if (*fits)
            put_seen(answer->to, read, key, 0);
        return STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    size_t value_bytes;
    const uint8_t *value = column_bytes(statement, 2, &value_bytes);
    uint64_t version = (uint64_t)sqlite3_column_int64(statement, 1);
    *fits = put_item(answer, ABI_ITEM_FOUND, key, read->from_bytes, value, value_bytes, version, 0);
    if (*fits)
        put_seen(answer->to, read, key, version);
    sqlite3_reset(statement);
    return STATUS_OK;
}

static enum status answer_range(struct store *store, struct answer *answer,
                                const struct abi_read *read, const uint8_t *from,
                                const uint8_t *end, int *fits)
{
    // Room for END must stay; without it this READ gets nothing at all.
    if (ABI_INPUT_BYTES - answer->to->answer_bytes < sizeof(struct abi_item)) {
        *fits = 0;
        return STATUS_OK;
    }
    sqlite3_stmt *statement = store_statement(
        store, read->op == ABI_READ_RANGE ? STATEMENT_RECORD_RANGE : STATEMENT_RECORD_INDEX);
    bind_integer(statement, 1, store->namespace_ids[read->namespace_index]);
    bind_bytes(statement, 2, from, read->from_bytes);
    bind_bytes(statement, 3, end, read->end_bytes);
    bind_integer(statement, 4, read->end_bytes != 0);
    bind_integer(statement, 5, read->limit);
    if (read->op == ABI_READ_INDEX)
        bind_integer(statement, 6, 0);
    enum status status;
    while ((status = store_step(store, statement)) == STATUS_OK) {
        size_t key_bytes, value_bytes;
        const uint8_t *key = column_bytes(statement, 0, &key_bytes);
        const uint8_t *value = column_bytes(statement, 2, &value_bytes);
        if (!put_item(answer, ABI_ITEM_FOUND, key, key_bytes, value, value_bytes,
                      (uint64_t)sqlite3_column_int64(statement, 1), sizeof(struct abi_item)))
            break;
    }
    sqlite3_reset(statement);
    if (status != STATUS_OK && status != STATUS_ABSENT)
        return status;
    uint64_t version = store->state.versions[read->namespace_index];
    *fits = put_item(answer, ABI_ITEM_END, NULL, 0, NULL, 0, version, 0);
    check(*fits);
    put_seen(answer->to, read, from, version);
    return STATUS_OK;
}

// One READ record at bytes; its size is checked against what is left.
static enum status read_is_valid(const struct store *store, const uint8_t *bytes, size_t size,
                                 struct abi_read *read)
{
    if (size < sizeof *read)
        return STATUS_MALFORMED;
    memcpy(read, bytes, sizeof *read);
    if (read->record.kind != ABI_READ || read->record.size > size ||
        read->record.size !=
            sizeof *read + ABI_ALIGN8((size_t)read->from_bytes) + ABI_ALIGN8((size_t)read->end_bytes) ||
        read->namespace_index >= store->system->namespace_count || read->op < ABI_READ_GET ||
        read->op > ABI_READ_INDEX || read->limit == 0 || read->limit > ABI_RANGE_ITEMS_MAX ||
        read->from_bytes > ABI_KEY_BYTES_MAX || read->end_bytes > ABI_KEY_BYTES_MAX)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

enum status records_answer(struct store *store, const uint8_t *bytes, size_t size, struct records_answer *to)
{
    struct answer answer = {.to = to};
    int fits = 1;
    unsigned reads = 0;
    to->answer_bytes = sizeof(struct abi_answer);
    to->seen_bytes = to->seen_count = 0;
    for (size_t at = 0; at < size;) {
        struct abi_read read;
        enum status status = read_is_valid(store, bytes + at, size - at, &read);
        if (status != STATUS_OK || ++reads > ABI_READS_PER_WAIT_MAX)
            return STATUS_MALFORMED;
        const uint8_t *from = bytes + at + sizeof read;
        const uint8_t *end = from + ABI_ALIGN8((size_t)read.from_bytes);
        if (fits && read.op == ABI_READ_GET)
            status = answer_get(store, &answer, &read, from, &fits);
        else if (fits)
            status = answer_range(store, &answer, &read, from, end, &fits);
        if (status != STATUS_OK)
            return status;
        at += read.record.size;
    }
    struct abi_answer head = {.record = {.size = (uint32_t)to->answer_bytes, .kind = ABI_ANSWER},
                              .item_count = answer.item_count};
    memcpy(to->answer, &head, sizeof head);
    return STATUS_OK;
}

enum status records_version(struct store *store, unsigned namespace_index, const uint8_t *key,
                            size_t key_bytes, uint64_t *version)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_RECORD_VERSION);
    bind_integer(statement, 1, store->namespace_ids[namespace_index]);
    bind_bytes(statement, 2, key, key_bytes);
    enum status status = store_step(store, statement);
    if (status != STATUS_OK && status != STATUS_ABSENT)
        return status;
    *version = status == STATUS_OK ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return STATUS_OK;
}

static uint64_t next_version(struct store *store, unsigned namespace_index)
{
    store->state.namespaces_changed |= 1ull << namespace_index;
    return ++store->state.versions[namespace_index];
}

enum status records_put(struct store *store, unsigned namespace_index, const uint8_t *key,
                        size_t key_bytes, const uint8_t *index_key, size_t index_bytes,
                        const uint8_t *value, size_t value_bytes)
{
    uint64_t old;
    enum status status = records_version(store, namespace_index, key, key_bytes, &old);
    if (status != STATUS_OK)
        return status;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_RECORD_PUT);
    bind_integer(statement, 1, store->namespace_ids[namespace_index]);
    bind_bytes(statement, 2, key, key_bytes);
    bind_integer(statement, 3, (int64_t)next_version(store, namespace_index));
    if (index_bytes != 0)
        bind_bytes(statement, 4, index_key, index_bytes);
    bind_bytes(statement, 5, value, value_bytes);
    status = store_run(store, statement);
    if (status == STATUS_OK && old == 0)
        store->state.records[namespace_index]++;
    return status;
}

enum status records_delete(struct store *store, unsigned namespace_index, const uint8_t *key,
                           size_t key_bytes)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_RECORD_DELETE);
    bind_integer(statement, 1, store->namespace_ids[namespace_index]);
    bind_bytes(statement, 2, key, key_bytes);
    enum status status = store_run(store, statement);
    if (status == STATUS_OK && sqlite3_changes(store->db) != 0) {
        check(store->state.records[namespace_index] > 0);
        store->state.records[namespace_index]--;
        (void)next_version(store, namespace_index);
    }
    return status;
}
