// SPDX-License-Identifier: ISC
// A schema block made by hand, independent of the compiler of schemas; and the checker's verdict on a message.
#ifndef CRENEL_TESTS_SCHEMA_BLOCK_H
#define CRENEL_TESTS_SCHEMA_BLOCK_H

#include "core/schema.h"

#include <stdio.h>
#include <string.h>

struct block {
    struct schema_header header;
    uint8_t rest[SCHEMA_FIELDS_MAX * sizeof(struct schema_field) + 1024];
};

static struct schema_field fields[SCHEMA_FIELDS_MAX];
static struct schema_relation relations[4];
static struct schema_label labels[8];
static unsigned field_count, relation_count, label_count;

static inline void start(void)
{
    memset(fields, 0, sizeof fields);
    memset(relations, 0, sizeof relations);
    memset(labels, 0, sizeof labels);
    field_count = relation_count = label_count = 0;
}

static inline struct schema_field *add(const char *name, unsigned type, unsigned offset, int64_t minimum,
                                int64_t maximum)
{
    struct schema_field *field = &fields[field_count++];
    snprintf(field->name, sizeof field->name, "%s", name);
    field->type = (uint8_t)type;
    field->offset = (uint16_t)offset;
    field->minimum = minimum;
    field->maximum = maximum;
    return field;
}

static inline struct schema_field *add_text(const char *name, unsigned type, unsigned offset,
                                     unsigned capacity, unsigned class)
{
    struct schema_field *field = add(name, type, offset, 0, 0);
    field->capacity = (uint16_t)capacity;
    field->class = (uint8_t)class;
    return field;
}

static inline size_t make(struct block *block, unsigned struct_bytes, unsigned is_cut)
{
    memset(block, 0, sizeof *block);
    memcpy(block->header.name, "test/1", 7);
    block->header.field_count = (uint16_t)field_count;
    block->header.relation_count = (uint16_t)relation_count;
    block->header.label_count = (uint16_t)label_count;
    block->header.struct_bytes = (uint16_t)struct_bytes;
    block->header.is_cut = (uint16_t)is_cut;
    size_t at = 0, size = field_count * sizeof fields[0];
    memcpy(block->rest + at, fields, size);
    at += size;
    size = relation_count * sizeof relations[0];
    memcpy(block->rest + at, relations, size);
    at += size;
    size = label_count * sizeof labels[0];
    memcpy(block->rest + at, labels, size);
    size_t total = sizeof block->header + at + size;
    block->header.block_bytes = (uint32_t)total;
    return total;
}

static struct block block;
static struct schema schema;

static inline int opens(unsigned struct_bytes, unsigned is_cut)
{
    size_t size = make(&block, struct_bytes, is_cut);
    return schema_open(&schema, (const uint8_t *)&block, size) == STATUS_OK;
}

static inline void put(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

// The verdict with the field in one number, to compare at once.
static inline unsigned verdict(const uint8_t *message, size_t size)
{
    uint16_t field = 0x1234;
    unsigned reason = schema_check(&schema, message, size, &field);
    return reason == REASON_DONE ? 0 : reason << 16 | field;
}
#define REFUSED(reason, field) ((unsigned)(reason) << 16 | (field))
#define NO_FIELD 0xffffu

#endif
