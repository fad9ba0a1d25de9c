// SPDX-License-Identifier: ISC
// Where a message's fields lie; shared by the reader of blocks and the checker of messages.
#ifndef CRENEL_CORE_SCHEMA_LAYOUT_H
#define CRENEL_CORE_SCHEMA_LAYOUT_H

#include "core/schema.h"
#include "core/zero.h"

//@ assigns \nothing; ensures \result <==> type_is_integer(type);
static inline int is_integer(unsigned type)
{
    return type >= SCHEMA_U8 && type <= SCHEMA_I64;
}

//@ assigns \nothing; ensures \result <==> SCHEMA_I8 <= type <= SCHEMA_I64;
static inline int is_signed(unsigned type)
{
    return type >= SCHEMA_I8 && type <= SCHEMA_I64;
}

//@ assigns \nothing; ensures \result <==> type_is_text(type);
static inline int is_text(unsigned type)
{
    return type == SCHEMA_STRING || type == SCHEMA_BYTES;
}

//@ assigns \nothing; ensures \result <==> 'a' <= c <= 'z';
static inline int is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

//@ assigns \nothing; ensures \result <==> '0' <= c <= '9';
static inline int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Of an integer type; 1 for bool and enumeration.
//@ assigns \nothing; ensures \result == width_of(type);
static inline unsigned type_width(unsigned type)
{
    switch (type) {
    case SCHEMA_U16:
    case SCHEMA_I16:
        return 2;
    case SCHEMA_U32:
    case SCHEMA_I32:
        return 4;
    case SCHEMA_U64:
    case SCHEMA_I64:
        return 8;
    default:
        return 1;
    }
}

/*@ requires alignment == 1 || alignment == 2 || alignment == 4 || alignment == 8;
    requires offset <= 0x100000;
    assigns \nothing;
    ensures \result == aligned(offset, alignment); */
static inline size_t align_up(size_t offset, size_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

// Where the field's own bytes begin when the previous one ended at `end`.
/*@ requires \valid_read(field) && field->type <= SCHEMA_ARRAY && end <= 0x10000;
    assigns \nothing;
    ensures \result == start_of(field, end); */
static inline size_t field_start(const struct schema_field *field, size_t end)
{
    if (is_text(field->type) || field->type == SCHEMA_ARRAY)
        return align_up(end, 2);
    return align_up(end, type_width(field->type));
}

// Offset of an array's first element.
/*@ requires \valid_read(field);
    assigns \nothing;
    ensures \result == elements_of(field); */
static inline size_t elements_start(const struct schema_field *field)
{
    return align_up(field->offset + 2u, type_width(field->element));
}

/*@ requires \valid_read(field);
    assigns \nothing;
    ensures \result == end_of(field); */
static inline size_t field_end(const struct schema_field *field)
{
    if (is_text(field->type))
        return field->offset + 2u + field->capacity;
    if (field->type == SCHEMA_ARRAY)
        return elements_start(field) + (size_t)field->capacity * type_width(field->element);
    return field->offset + type_width(field->type);
}

#endif
