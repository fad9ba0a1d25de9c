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
    return type == SCHEMA_STRING || type == SCHEMA_BYTES || type == SCHEMA_SEALED;
}

// Of a fixed width and one value: what may be an element.
//@ assigns \nothing; ensures \result <==> type_is_scalar(type);
static inline int is_scalar(unsigned type)
{
    return type >= SCHEMA_U8 && type <= SCHEMA_ENUM;
}

// A member of an array of records: it has as many values as there are records.
//@ requires \valid_read(field); assigns \nothing; ensures \result <==> is_member(field);
static inline int is_in_array(const struct schema_field *field)
{
    return field->stride != 0 && field->member_count == 0;
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

// Of an integer type; 1 for all others.
//@ requires type <= SCHEMA_RECORD; assigns \nothing; ensures \result == width_of(type);
static inline unsigned type_width(unsigned type)
{
    static const uint8_t widths[SCHEMA_RECORD + 1] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 1, 1, 1, 1, 1, 1, 1};
    return widths[type];
}

/*@ requires alignment == 1 || alignment == 2 || alignment == 4 || alignment == 8;
    requires offset <= 0x100000;
    assigns \nothing;
    ensures \result == aligned(offset, alignment); */
static inline size_t align_up(size_t offset, size_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

// What a field's own bytes are aligned to: its value, its length or its count.
//@ assigns \nothing; ensures \result == 1 || \result == 2 || \result == 4 || \result == 8;
static inline unsigned field_alignment(unsigned type)
{
    return type >= SCHEMA_STRING ? 2 : type_width(type);
}

// Offset of the first element of an array of scalars.
/*@ requires \valid_read(field) && type_is_scalar(field->element);
    assigns \nothing;
    ensures \result == elements_of(field); */
static inline size_t elements_start(const struct schema_field *field)
{
    return align_up(field->offset + 2u, type_width(field->element));
}

// Of an array of records, whose members are fields of their own: the end of its count.
/*@ requires \valid_read(field) && field_is_formed(field);
    assigns \nothing;
    ensures \result == end_of(field); */
static inline size_t field_end(const struct schema_field *field)
{
    if (is_text(field->type))
        return field->offset + 2u + field->capacity;
    if (field->type != SCHEMA_ARRAY)
        return field->offset + type_width(field->type);
    if (field->element == SCHEMA_RECORD)
        return field->offset + 2u;
    return elements_start(field) + (size_t)field->capacity * type_width(field->element);
}

// The end of an array of records.
/*@ requires \valid_read(array + (0 .. 1));
    assigns \nothing;
    ensures \result == records_end(array); */
static inline size_t records_stop(const struct schema_field *array)
{
    return array[1].offset + (size_t)array->capacity * array->stride;
}

/*@ lemma aligned_is_behind: \forall integer x, a; 0 <= x && (a == 1 || a == 2 || a == 4 || a == 8) ==> x <= aligned(x, a);
    lemma elements_take_place: \forall integer count, type; 0 <= count ==> 0 <= count * width_of(type);
    lemma end_is_behind: \forall struct schema_field *f;
        0 <= f->offset && 0 <= f->capacity && SCHEMA_U8 <= f->type <= SCHEMA_SEALED ==>
        f->offset + (f->type >= SCHEMA_STRING ? 2 : width_of(f->type)) <= end_of(f);
*/

#endif
