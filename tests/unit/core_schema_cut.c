// SPDX-License-Identifier: ISC
// Random schemas, each extended at random, and random messages of the newer one: what an older receiver is shown is a
// message of its schema, with the same values and nothing else.
#include "core/schema_version.h"
#include "tests/unit/schema_block.h"
#include "tests/unit/test.h"

#include <stdalign.h>
#include <stdlib.h>
#include <time.h>

static uint64_t seed;
static struct block older_block;
static struct schema older;
static alignas(8) uint8_t message[4096], shown[4096];
static unsigned at; // where the next field may lie

static unsigned below(unsigned limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 20) % limit;
}

static unsigned align(unsigned value, unsigned to) { return (value + to - 1) / to * to; }

static const unsigned types[] = {SCHEMA_U8, SCHEMA_U16, SCHEMA_U32, SCHEMA_U64, SCHEMA_I8, SCHEMA_I16, SCHEMA_I32,
                                 SCHEMA_I64, SCHEMA_BOOL, SCHEMA_STRING, SCHEMA_BYTES, SCHEMA_ARRAY};
static unsigned width_of(unsigned type)
{
    static const unsigned widths[] = {[SCHEMA_U8] = 1, [SCHEMA_U16] = 2, [SCHEMA_U32] = 4, [SCHEMA_U64] = 8,
                                      [SCHEMA_I8] = 1, [SCHEMA_I16] = 2, [SCHEMA_I32] = 4, [SCHEMA_I64] = 8,
                                      [SCHEMA_BOOL] = 1};
    return type <= SCHEMA_BOOL ? widths[type] : 2;
}

static void add_random(void)
{
    char name[16];
    unsigned type = types[below(sizeof types / sizeof types[0])], width = width_of(type);
    snprintf(name, sizeof name, "f%u", field_count);
    at = align(at, width);
    struct schema_field *field = add(name, type, at, 0, 1);
    at += width;
    if (type < SCHEMA_STRING)
        return;
    field->maximum = 0;
    field->capacity = (uint16_t)(1 + below(12));
    if (type == SCHEMA_ARRAY) {
        field->element = (uint8_t)(below(2) == 0 ? SCHEMA_U8 : SCHEMA_U32);
        field->maximum = 9;
        at = align(at, width_of(field->element)) + field->capacity * width_of(field->element);
    } else {
        field->class = type == SCHEMA_STRING ? SCHEMA_CLASS_TOKEN : 0;
        at += field->capacity;
    }
}

static unsigned is_cut_last(void)
{
    unsigned type = fields[field_count - 1].type;
    return type == SCHEMA_STRING || type == SCHEMA_BYTES;
}

// Fills in the newer one's message; returns its size.
static size_t fill(void)
{
    size_t size = schema.header->struct_bytes;
    memset(message, 0, sizeof message);
    for (unsigned i = 0; i < field_count; i++) {
        const struct schema_field *field = &fields[i];
        if (field->type < SCHEMA_STRING) {
            put(message + field->offset, width_of(field->type), below(2));
            continue;
        }
        unsigned length = below(field->capacity + 1u), width = field->type == SCHEMA_ARRAY ? width_of(field->element) : 1;
        put(message + field->offset, 2, length);
        for (unsigned j = 0; j < length; j++)
            put(message + align(field->offset + 2u, width) + j * width, width, field->type == SCHEMA_ARRAY ? below(10) : 'a' + below(26));
        if (i + 1 == field_count && is_cut_last())
            size = align(field->offset + 2u + length, 8);
    }
    return size;
}

static int is_same_value(unsigned i, size_t size)
{
    uint64_t values[2] = {0, 0};
    const struct schema_field *field = &fields[i];
    memcpy(&values[0], message + field->offset, width_of(field->type));
    if (field->offset + width_of(field->type) > size)
        return 0;
    memcpy(&values[1], shown + field->offset, width_of(field->type));
    if (field->type < SCHEMA_STRING || values[0] != values[1])
        return values[0] == values[1];
    unsigned width = field->type == SCHEMA_ARRAY ? width_of(field->element) : 1, begin = align(field->offset + 2u, width);
    return begin + values[0] * width <= size && memcmp(message + begin, shown + begin, values[0] * width) == 0;
}

static int is_cut_well(size_t size, unsigned older_count)
{
    size_t kept = 0, shown_bytes = schema_cut(&schema, &older, message, size, &kept);
    uint16_t field;
    if (kept > shown_bytes || shown_bytes - kept >= 8)
        return 0;
    memset(shown, 0, sizeof shown);
    memcpy(shown, message, kept);
    if (schema_check(&older, shown, shown_bytes, &field) != REASON_DONE)
        return 0;
    for (unsigned i = 0; i < older_count; i++)
        if (!is_same_value(i, shown_bytes))
            return 0;
    return 1;
}

TEST(every_cut_is_a_message)
{
    unsigned cuts = 0;
    for (unsigned round = 0; round < 20000 && test_why == NULL; round++) {
        start();
        at = 0;
        for (unsigned i = 1 + below(4); i > 0; i--)
            add_random();
        unsigned count = field_count;
        size_t bytes = make(&older_block, align(at, 8), is_cut_last());
        expect(schema_open(&older, (const uint8_t *)&older_block, bytes) == STATUS_OK);
        for (unsigned i = below(4); i > 0; i--)
            add_random();
        expect(opens(align(at, 8), is_cut_last()) && schema_extends(&schema, &older));
        for (unsigned i = 0; i < 5 && test_why == NULL; i++) {
            size_t size = fill();
            expect(verdict(message, size) == 0);
            expect(is_cut_well(size, count));
            cuts++;
        }
    }
    printf("# %u cuts\n", cuts);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("# seed %llu\n", (unsigned long long)seed);
    seed = seed * 2654435761u + 88172645463325252u;
    RUN(every_cut_is_a_message);
    TEST_END();
}
