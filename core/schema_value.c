// SPDX-License-Identifier: ISC
// Fields of a schema by name, and their values in a checked message: numbers, bytes, keys of the store.
#include "core/schema.h"

#include "core/check.h"
#include "core/schema_layout.h"
#include "core/schema_load.h"

#include <string.h>

/*@ requires schema_is_valid(schema);
    requires \forall integer i; 0 <= i < schema->header->field_count ==>
        valid_read_string(&schema->fields[i].name[0]);
    requires valid_read_string(name);
    assigns \nothing;
    ensures -1 <= \result < schema->header->field_count; */
int schema_field_index(const struct schema *schema, const char *name)
{
    /*@ loop invariant 0 <= i <= schema->header->field_count;
        loop assigns i;
        loop variant schema->header->field_count - i; */
    for (int i = 0; i < schema->header->field_count; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return i;
    return -1;
}

int schema_has_value(const struct schema *schema, uint16_t field)
{
    const struct schema_field *of = &schema->fields[field];
    return of->type != SCHEMA_ARRAY && of->type != SCHEMA_SEALED && !is_in_array(of);
}

int64_t schema_value(const struct schema *schema, uint16_t field, const uint8_t *message,
                     size_t size)
{
    const struct schema_field *of = &schema->fields[field];
    check(field < schema->header->field_count && of->offset / 8u * 8u + 8 <= size);
    return value_of(of, message, size);
}

size_t schema_bytes(const struct schema *schema, uint16_t field, const uint8_t *message,
                    size_t size, const uint8_t **bytes)
{
    const struct schema_field *of = &schema->fields[field];
    check(field < schema->header->field_count && is_text(of->type));
    size_t length = (size_t)schema_value(schema, field, message, size);
    check(of->offset + 2u + length <= size);
    *bytes = message + of->offset + 2;
    return length;
}

// One field's part of a key with room for `capacity` bytes: how long it is, or -1.
/*@ requires schema_is_valid(schema) && field < schema->header->field_count;
    requires \valid_read(message + (0 .. size - 1)) && size <= 4096 && size % 8 == 0;
    requires !is_member(schema->fields + field) ==> field_is_inside(schema->fields + field, message, size);
    requires capacity > 0 ==> \valid(key + (0 .. capacity - 1));
    requires \separated(key + (0 .. capacity - 1), message + (0 .. size - 1));
    assigns key[0 .. capacity - 1];
    ensures -1 <= \result <= capacity; */
static int key_part(const struct schema *schema, uint16_t field, int is_last,
                    const uint8_t *message, size_t size, uint8_t *key, size_t capacity)
{
    unsigned type = schema->fields[field].type, width = type_width(type);
    if (!schema_has_value(schema, field))
        return -1;
    if (is_text(type)) {
        const uint8_t *bytes;
        size_t length = schema_bytes(schema, field, message, size, &bytes);
        size_t needed = length + (is_last ? 0 : 1);
        // Byte strings may hold zeros, so they could not be told apart from their end.
        if (needed > capacity || (type == SCHEMA_BYTES && !is_last))
            return -1;
        memcpy(key, bytes, length);
        if (!is_last)
            key[length] = 0;
        return (int)needed;
    }
    if (width > capacity)
        return -1;
    uint64_t value = (uint64_t)schema_value(schema, field, message, size);
    if (is_signed(type))
        value ^= UINT64_C(1) << (8 * width - 1);
    /*@ loop invariant i <= width;
        loop assigns i, key[0 .. width - 1];
        loop variant width - i; */
    for (unsigned i = 0; i < width; i++)
        key[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return (int)width;
}

// Writing a key changes neither the schema nor the message.
/*@ predicate field_is_same{A, B}(struct schema_field *f) =
        \at(f->type, A) == \at(f->type, B) && \at(f->element, A) == \at(f->element, B) &&
        \at(f->offset, A) == \at(f->offset, B) && \at(f->capacity, A) == \at(f->capacity, B) &&
        \at(f->member_count, A) == \at(f->member_count, B) && \at(f->stride, A) == \at(f->stride, B);
    lemma end_stays{A, B}: \forall struct schema_field *f; field_is_same{A, B}(f) ==>
        \at(end_of(f), A) == \at(end_of(f), B);
    lemma validity_stays{A, B}: \forall struct schema_field *f;
        field_is_same{A, B}(f) && field_is_valid{A}(f) ==> field_is_valid{B}(f);
    predicate fields_are_same{A, B}(struct schema_field *f, integer n) =
        \forall integer i; 0 <= i < n ==> field_is_same{A, B}(f + i);
    predicate bytes_are_same{A, B}(uint8_t *b, integer n) =
        \forall integer i; 0 <= i < n ==> \at(b[i], A) == \at(b[i], B);
    lemma layout_stays{A, B}: \forall struct schema_field *f, integer n;
        fields_are_same{A, B}(f, n) && fields_are_laid_out{A}(f, n) ==> fields_are_laid_out{B}(f, n);
    lemma records_end_stays{A, B}: \forall struct schema_field *f;
        field_is_same{A, B}(f) && field_is_same{A, B}(f + 1) ==> \at(records_end(f), A) == \at(records_end(f), B);
    lemma member_stays{A, B}: \forall struct schema_field *f, integer start, stride;
        field_is_same{A, B}(f) && member_is_laid_out{A}(f, start, stride) ==> member_is_laid_out{B}(f, start, stride);
    lemma records_stay{A, B}: \forall struct schema_field *f, integer i, n, end; 0 <= i < n &&
        fields_are_same{A, B}(f, n) && \at(f[i].member_count, A) != 0 &&
        records_are_laid_out{A}(f, i, n, end) ==> records_are_laid_out{B}(f, i, n, end);
    lemma arrays_stay{A, B}: \forall struct schema_field *f, integer n, end;
        fields_are_same{A, B}(f, n) && arrays_are_laid_out{A}(f, n, end) ==> arrays_are_laid_out{B}(f, n, end);
    lemma inside_stays{A, B}: \forall struct schema_field *f, uint8_t *b, integer n;
        field_is_same{A, B}(f) && bytes_are_same{A, B}(b, n) && field_is_inside{A}(f, b, n) ==>
        field_is_inside{B}(f, b, n);
*/
size_t schema_key(const struct schema *schema, const uint16_t *fields, size_t field_count,
                  const uint8_t *message, size_t size, uint8_t *key, size_t capacity)
{
    size_t used = 0;
    /*@ loop invariant i <= field_count && used <= capacity;
        loop invariant bytes_are_same{LoopEntry, Here}(message, size);
        loop invariant fields_are_same{LoopEntry, Here}(schema->fields, schema->header->field_count);
        loop invariant schema_is_valid(schema);
        loop invariant \forall integer i; 0 <= i < schema->header->field_count && !is_member(schema->fields + i) ==>
            field_is_inside(schema->fields + i, message, size);
        loop assigns i, used, key[0 .. capacity - 1];
        loop variant field_count - i; */
    for (size_t i = 0; i < field_count; i++) {
        int part = key_part(schema, fields[i], i + 1 == field_count, message, size, key + used,
                            capacity - used);
        if (part < 0)
            return 0;
        used += (size_t)part;
    }
    return used;
}
