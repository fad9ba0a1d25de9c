// SPDX-License-Identifier: ISC
// Fuzz target: versions of a schema. From a block an older one is made, and perhaps changed; messages of the newer one are cut to it.
//
// Input: uint16_t size of the newer block (rounded down to 8), fields and relations that the older one lacks, is it cut, a byte of the
// older one's fields (uint16_t) and what is changed in it; block, message. What must hold: a newer one that only adds extends
// the older one; of any two of which one is said to extend the other, each message of the newer one, cut, is one of the older
// one with the same values, and no longer than what is kept and less than 8 zeros.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#include "abi/abi.h"
#include "core/schema_version.h"
#include "tests/unit/schema_block.h"

static struct schema newer;

// The older one: what the tables of tests/unit/schema_block.h hold, in the smallest struct that fits.
static int make_older(unsigned is_cut)
{
    for (unsigned bytes = 8; bytes <= newer.header->struct_bytes + 8u; bytes += 8)
        if (opens(bytes, is_cut))
            return 1;
    return 0;
}

// 0: it has more labels than there is room for.
static int begin_older(unsigned less, unsigned fewer)
{
    start();
    field_count = newer.header->field_count - less % newer.header->field_count;
    relation_count = newer.header->relation_count - fewer % (newer.header->relation_count + 1u);
    relation_count = relation_count < 4 ? relation_count : 4;
    label_count = 0;
    for (unsigned i = 0; i < field_count; i++)
        label_count += newer.fields[i].label_count;
    if (label_count > sizeof labels / sizeof labels[0])
        return 0;
    memcpy(fields, newer.fields, field_count * sizeof fields[0]);
    if (relation_count != 0)
        memcpy(relations, newer.relations, relation_count * sizeof relations[0]);
    if (label_count != 0)
        memcpy(labels, newer.labels, label_count * sizeof labels[0]);
    return 1;
}

static void judge(const uint8_t *message, size_t size)
{
    static _Alignas(8) uint8_t shown[ABI_PAYLOAD_BYTES_MAX];
    uint16_t field;
    size_t kept = SIZE_MAX, bytes = schema_cut(&newer, &schema, message, size, &kept);
    must(kept <= size && kept <= bytes && bytes <= schema.header->struct_bytes && bytes - kept < 8);
    memset(shown, 0, bytes);
    memcpy(shown, message, kept);
    must(schema_check(&schema, shown, bytes, &field) == REASON_DONE);
    for (uint16_t i = 0; i < schema.header->field_count; i++) {
        const uint8_t *was, *is;
        if (!schema_has_value(&schema, i))
            continue;
        must(schema_has_value(&newer, i));
        if (schema.fields[i].type < SCHEMA_STRING) {
            must(schema_value(&newer, i, message, size) == schema_value(&schema, i, shown, bytes));
            continue;
        }
        size_t count = schema_bytes(&newer, i, message, size, &was);
        must(schema_bytes(&schema, i, shown, bytes, &is) == count && memcmp(was, is, count) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    uint16_t field, block_bytes = (uint16_t)(take_number(&take, 2) & 0xfff8);
    uint8_t less = take_byte(&take), fewer = take_byte(&take), is_cut = take_byte(&take) & 1;
    uint16_t at = (uint16_t)take_number(&take, 2);
    uint8_t change = take_byte(&take);
    if (block_bytes > take.left || schema_open(&newer, take.at, block_bytes) != STATUS_OK || newer.header->field_count == 0)
        return 0;
    must(schema_extends(&newer, &newer));
    if (!begin_older(less, fewer))
        return 0;
    size_t fields_bytes = field_count * sizeof fields[0];
    ((uint8_t *)fields)[at % fields_bytes] ^= change;
    if (!make_older(is_cut))
        return 0;
    int extends = schema_extends(&newer, &schema);
    must(extends == (change == 0));
    must(schema_fields_shared(&newer, &schema) == (change == 0 ? field_count : at % fields_bytes / sizeof fields[0]));
    const size_t message_bytes = take.left - block_bytes;
    uint8_t *message = malloc(message_bytes + (message_bytes == 0)); // of its own: reads too far are seen
    must(message != NULL);
    memcpy(message, take.at + block_bytes, message_bytes);
    if (extends && schema_check(&newer, message, message_bytes, &field) == REASON_DONE)
        judge(message, message_bytes);
    free(message);
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    if (index >= 24)
        return 0;
    start();
    add("count", SCHEMA_U16, 0, 0, 1000);
    add("kind", SCHEMA_ENUM, 2, 0, 1);
    fields[field_count - 1].label_count = 2;
    memcpy(labels[0].text, "low", 4);
    memcpy(labels[1].text, "high", 5);
    label_count = 2;
    add_text("name", SCHEMA_STRING, 4, 6, SCHEMA_CLASS_TOKEN); // ends at 12
    if (index % 3 != 0)
        add("flag", SCHEMA_BOOL, 12, 0, 1); // in the place that an older one's zeros have
    struct schema_field *list = add("list", SCHEMA_ARRAY, 14, 0, 99);
    list->element = SCHEMA_U16;
    list->capacity = 2; // ends at 20
    add("wide", SCHEMA_U64, 24, 0, 9);
    add_text("text", SCHEMA_STRING, 32, 12, SCHEMA_CLASS_UTF8);
    relations[relation_count++] = (struct schema_relation){0, 2, SCHEMA_NOT_EQUAL, 0};
    uint16_t size = (uint16_t)make(&block, 48, 1);
    memset(bytes, 0, 8 + size + 64u);
    memcpy(bytes, &size, sizeof size);
    bytes[2] = (uint8_t)(index / 3); // fields less
    bytes[4] = (uint8_t)(field_count - index / 3 == 3 || index / 3 == 0); // its last one is a text
    memcpy(bytes + 8, &block, size);
    uint8_t *message = bytes + 8 + size;
    put(message, 2, 7);
    put(message + 4, 2, index % 6);
    memcpy(message + 6, "abcdef", index % 6);
    put(message + 14, 2, 2);
    put(message + 16, 2, 5);
    put(message + 32, 2, 5);
    memcpy(message + 34, "hello", 5);
    return 8u + size + 40;
}
