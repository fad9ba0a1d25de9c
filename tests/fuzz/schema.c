// SPDX-License-Identifier: ISC
// Fuzz target: schema blocks, and messages under those that are accepted. A second checker (schema_oracle.h) must
// agree on every verdict.
//
// Input: uint16_t size of the block (rounded down to 8), 6 bytes for nothing, block, message.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/schema_oracle.h"
#include "tests/unit/schema_block.h"

static void make_fields(void)
{
    start();
    add("count", SCHEMA_U16, 0, 0, 1000);
    add("value", SCHEMA_I32, 4, -400, 400)->decimals = 2;
    add("wide", SCHEMA_U64, 8, 0, -1);
    add("kind", SCHEMA_ENUM, 16, 0, 1);
    fields[field_count - 1].label_count = 2;
    memcpy(labels[0].text, "low", 4);
    memcpy(labels[1].text, "high", 5);
    label_count = 2;
    struct schema_field *list = add("list", SCHEMA_ARRAY, 18, 0, 99);
    list->element = SCHEMA_U16;
    list->capacity = 4;
    relations[relation_count++] = (struct schema_relation){0, 4, SCHEMA_NOT_EQUAL, 0};
}

// A record, an array of two records with a text in each, an array of bool, a sealed field.
static size_t make_nested(uint8_t *bytes)
{
    start();
    add("at.x", SCHEMA_U16, 0, 1, 1000);
    add_text("at.note", SCHEMA_STRING, 2, 6, SCHEMA_CLASS_UTF8)->deny = SCHEMA_DENY_SQL | SCHEMA_DENY_LOG;
    struct schema_field *list = add("list", SCHEMA_ARRAY, 10, 0, 0);
    list->element = SCHEMA_RECORD;
    list->capacity = 3;
    list->stride = 12;
    list->member_count = 3;
    add("list.when", SCHEMA_U32, 12, 0, 9)->stride = 12;
    add("list.is_on", SCHEMA_BOOL, 16, 0, 1)->stride = 12;
    struct schema_field *name = add_text("list.name", SCHEMA_STRING, 18, 3, SCHEMA_CLASS_TOKEN);
    name->stride = 12;
    name->deny = SCHEMA_DENY_PATH | SCHEMA_DENY_CSV;
    struct schema_field *flags = add("flags", SCHEMA_ARRAY, 48, 0, 1);
    flags->element = SCHEMA_BOOL;
    flags->capacity = 4;
    add_text("secret", SCHEMA_SEALED, 54, 20, 0);
    uint16_t size = (uint16_t)make(&block, 80, 1);
    memset(bytes, 0, 8 + size + 64u);
    memcpy(bytes, &size, sizeof size);
    memcpy(bytes + 8, &block, size);
    uint8_t *message = bytes + 8 + size;
    put(message, 2, 7);
    put(message + 2, 2, 4);
    memcpy(message + 4, "a - b", 4);
    put(message + 10, 2, 2); // two records
    put(message + 12, 4, 3);
    put(message + 18, 2, 1);
    memcpy(message + 20, "n", 1);
    put(message + 24, 4, 9);
    put(message + 28, 1, 1);
    put(message + 48, 2, 2);
    put(message + 51, 1, 1);
    put(message + 54, 2, 8);
    memcpy(message + 56, "\xff\0sealed", 8);
    return 8u + size + 64;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    if (index > 6)
        return 0;
    if (index == 6)
        return make_nested(bytes);
    make_fields();
    add_text("text", SCHEMA_STRING, 28, 32, index % 5);
    if (index == 5)
        fields[field_count - 1].type = SCHEMA_BYTES, fields[field_count - 1].class = 0;
    uint16_t size = (uint16_t)make(&block, 64, 1);
    memset(bytes, 0, 8);
    memcpy(bytes, &size, sizeof size);
    memcpy(bytes + 8, &block, size);
    uint8_t *message = bytes + 8 + size;
    memset(message, 0, 64);
    put(message, 2, 7);
    put(message + 4, 4, 123);
    put(message + 16, 1, 1);
    put(message + 18, 2, 2); // two elements
    put(message + 20, 2, 5);
    put(message + 22, 2, 6);
    put(message + 28, 2, 7); // length
    memcpy(message + 30, "ab-cd.e", 7);
    return 8u + size + 40;
}

static struct oracle oracle;

static void judge(const struct schema *view, const uint8_t *message, size_t size)
{
    uint16_t field = 0x1234;
    unsigned wanted_field;
    enum reason reason = schema_check(view, message, size, &field);
    must(oracle_check(&oracle, message, size, &wanted_field) == reason);
    must(reason == REASON_DONE || field == wanted_field);
    must(reason == REASON_DONE || (reason >= REASON_ENVELOPE && reason <= REASON_RELATION));
    if (reason != REASON_DONE) {
        must(field < view->header->field_count || field == UINT16_MAX);
        return;
    }
    must(size <= view->header->struct_bytes && size % 8 == 0);
    for (uint16_t i = 0; i < view->header->field_count; i++) {
        (void)schema_value(view, i, message, size);
        if (!schema_has_value(view, i) || view->fields[i].type < SCHEMA_STRING)
            continue;
        const uint8_t *bytes;
        size_t count = schema_bytes(view, i, message, size, &bytes);
        must(count <= view->fields[i].capacity);
        must(count == 0 || (bytes >= message && bytes + count <= message + size));
    }
    for (uint16_t i = 0; i < view->header->field_count; i++) {
        uint8_t key[64];
        size_t key_bytes = schema_key(view, &i, 1, message, size, key, sizeof key);
        must(key_bytes <= sizeof key && (schema_has_value(view, i) || key_bytes == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema view;
    uint16_t block_bytes;

    if (size < 8)
        return 0;
    memcpy(&block_bytes, data, sizeof block_bytes);
    block_bytes &= 0xfff8;
    if (block_bytes > size - 8)
        return 0;
    int is_good = schema_open(&view, data + 8, block_bytes) == STATUS_OK;
    must(oracle_open(&oracle, data + 8, block_bytes) == is_good);
    if (!is_good)
        return 0;
    must(view.header->block_bytes == block_bytes);
    size_t message_bytes = size - 8 - block_bytes;
    uint8_t *message = malloc(message_bytes + (message_bytes == 0)); // of its own: reads too far are seen
    must(message != NULL);
    memcpy(message, data + 8 + block_bytes, message_bytes);
    judge(&view, message, message_bytes);
    free(message);
    return 0;
}
