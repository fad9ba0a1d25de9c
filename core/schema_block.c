// SPDX-License-Identifier: ISC
// Which schema blocks are accepted (schema_open).
//
// A block is valid if and only if all of this holds.
// - Its size is header.block_bytes = header + fields + relations + labels, rounded up to 8.
// - Names are zero-terminated and zero-filled; the schema's is [a-z][a-z0-9-]*/[1-9][0-9]*, a field's
//   [a-z][a-z0-9_]* and no field has it twice; labels [a-z0-9][a-z0-9_-]*, units printable.
// - Fields lie one behind the other in their order, each at the first offset that its alignment
//   allows (integers: their width; bool and enumeration: 1; string, bytes and array: 2, for the
//   length or count; elements again at their width). struct_bytes is the end of the last, rounded up to 8.
// - is_cut is 1 exactly when the last field is a string or bytes.
// - Integers: minimum <= maximum, both within the type. Bool: 0 and 1. Enumeration: 0 and
//   label_count - 1; enumerations use the labels one after the other, all of them. What a type does not use is zero.
// - Relations name two different fields that have a value (integers of the same decimals, lengths, counts).
#include "core/schema.h"

#include "abi/abi.h"
#include "core/schema_layout.h"

#include <string.h>

/*@ predicate is_terminated(char *name, integer size) =
        \exists integer end; 0 <= end < size && name[end] == 0;
*/

/*@ requires from <= size && \valid_read(name + (0 .. size - 1));
    assigns \nothing; */
static int is_blank(const char *name, size_t from, size_t size)
{
    /*@ loop invariant from <= i <= size;
        loop assigns i;
        loop variant size - i; */
    for (size_t i = from; i < size; i++)
        if (name[i] != 0)
            return 0;
    return 1;
}

// Zero-terminated within size and zero behind it; returns the length, or 0 if not (or if empty).
/*@ requires 0 < size && \valid_read(name + (0 .. size - 1));
    assigns \nothing;
    ensures \result < size;
    ensures \result > 0 ==> name[\result] == 0; */
static size_t name_length(const char *name, size_t size)
{
    size_t length = 0;
    /*@ loop invariant length <= size;
        loop assigns length;
        loop variant size - length; */
    while (length < size && name[length] != 0)
        length++;
    return length < size && is_blank(name, length, size) ? length : 0;
}

/*@ requires \valid_read(name + (0 .. SCHEMA_NAME_BYTES - 1));
    assigns \nothing;
    ensures \result ==> is_terminated(name, SCHEMA_NAME_BYTES); */
static int is_schema_name(const char *name)
{
    size_t length = name_length(name, SCHEMA_NAME_BYTES), i = 0;
    if (length == 0 || !is_lower(name[0]))
        return 0;
    /*@ loop invariant i <= length;
        loop assigns i;
        loop variant length - i; */
    while (is_lower(name[i]) || is_digit(name[i]) || name[i] == '-')
        i++;
    if (name[i] != '/' || i + 1 >= length || name[i + 1] == '0')
        return 0;
    /*@ loop invariant i <= length;
        loop assigns i;
        loop variant length - i; */
    for (i++; i < length; i++)
        if (!is_digit(name[i]))
            return 0;
    return 1;
}

/*@ requires \valid_read(name + (0 .. SCHEMA_FIELD_NAME_BYTES - 1));
    assigns \nothing;
    ensures \result ==> is_terminated(name, SCHEMA_FIELD_NAME_BYTES); */
static int is_field_name(const char *name)
{
    size_t length = name_length(name, SCHEMA_FIELD_NAME_BYTES);
    if (length == 0 || !is_lower(name[0]))
        return 0;
    /*@ loop invariant i <= length;
        loop assigns i;
        loop variant length - i; */
    for (size_t i = 0; i < length; i++)
        if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '_')
            return 0;
    return 1;
}

//@ requires \valid_read(label); assigns \nothing;
static int is_label(const struct schema_label *label)
{
    size_t length = name_length(label->text, sizeof label->text);
    if (length == 0 || label->text[0] == '_' || label->text[0] == '-')
        return 0;
    /*@ loop invariant i <= length;
        loop assigns i;
        loop variant length - i; */
    for (size_t i = 0; i < length; i++)
        if (!is_lower(label->text[i]) && !is_digit(label->text[i]) && label->text[i] != '_' &&
            label->text[i] != '-')
            return 0;
    return 1;
}

//@ requires \valid_read(unit + (0 .. 15)); assigns \nothing;
static int is_unit(const char unit[16])
{
    if (unit[0] == 0)
        return is_blank(unit, 0, 16);
    size_t length = name_length(unit, 16);
    /*@ loop invariant i <= length;
        loop assigns i;
        loop variant length - i; */
    for (size_t i = 0; i < length; i++)
        if (unit[i] < 0x21 || unit[i] > 0x7e)
            return 0;
    return length != 0;
}

//@ requires type_is_integer(type); assigns \nothing;
static int is_integer_range(unsigned type, int64_t minimum, int64_t maximum)
{
    unsigned bits = 8 * type_width(type);
    if (type == SCHEMA_U64)
        return (uint64_t)minimum <= (uint64_t)maximum;
    if (minimum > maximum)
        return 0;
    if (!is_signed(type))
        return minimum >= 0 && maximum <= (int64_t)((UINT64_C(1) << bits) - 1);
    int64_t limit = (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
    return minimum >= -limit - 1 && maximum <= limit;
}

// The attributes that the type uses are good, the others zero.
/*@ requires \valid_read(field) && labels_seen <= label_count <= SCHEMA_LABELS_MAX;
    assigns \nothing;
    ensures \result ==> SCHEMA_U8 <= field->type <= SCHEMA_ARRAY &&
        (field->type == SCHEMA_ARRAY ==> type_is_integer(field->element)) &&
        is_terminated(&field->name[0], SCHEMA_FIELD_NAME_BYTES) &&
        labels_seen + field->label_count <= label_count; */
static int is_field_good(const struct schema_field *field, unsigned labels_seen,
                         unsigned label_count)
{
    unsigned type = field->type;
    int has_range = is_integer(type) || type == SCHEMA_ARRAY;
    if (!is_field_name(field->name) || !is_unit(field->unit) || field->zero != 0)
        return 0;
    if (type < SCHEMA_U8 || type > SCHEMA_ARRAY)
        return 0;
    if (type == SCHEMA_ARRAY ? !is_integer(field->element) : field->element != 0)
        return 0;
    if (field->class > (type == SCHEMA_STRING ? SCHEMA_CLASS_TOPIC : 0))
        return 0;
    if (field->decimals > (has_range ? 18 : 0))
        return 0;
    if (is_text(type) || type == SCHEMA_ARRAY ? field->capacity == 0 : field->capacity != 0)
        return 0;
    if (type == SCHEMA_ENUM) {
        if (field->label_first != labels_seen || field->label_count == 0 ||
            field->label_count > label_count - labels_seen)
            return 0;
        return field->minimum == 0 && field->maximum == field->label_count - 1;
    }
    if (field->label_first != 0 || field->label_count != 0)
        return 0;
    if (has_range)
        return is_integer_range(type == SCHEMA_ARRAY ? field->element : type, field->minimum,
                                field->maximum);
    return field->minimum == 0 && field->maximum == (type == SCHEMA_BOOL ? 1 : 0);
}

/*@ requires \valid_read(fields + (0 .. count - 1)) && \valid_read(relation);
    assigns \nothing;
    ensures \result ==> relation->left < count && relation->right < count; */
static int is_relation_good(const struct schema_field *fields, unsigned count,
                            const struct schema_relation *relation)
{
    if (relation->left >= count || relation->right >= count || relation->left == relation->right)
        return 0;
    if (relation->operator < SCHEMA_LESS || relation->operator > SCHEMA_NOT_EQUAL ||
        relation->zero != 0)
        return 0;
    const struct schema_field *left = &fields[relation->left];
    const struct schema_field *right = &fields[relation->right];
    if (left->type == SCHEMA_BOOL || left->type == SCHEMA_ENUM || right->type == SCHEMA_BOOL ||
        right->type == SCHEMA_ENUM)
        return 0;
    unsigned left_decimals = is_integer(left->type) ? left->decimals : 0;
    unsigned right_decimals = is_integer(right->type) ? right->decimals : 0;
    return left_decimals == right_decimals;
}

/*@ requires \valid_read(header) && 1 <= header->field_count <= SCHEMA_FIELDS_MAX;
    requires header->label_count <= SCHEMA_LABELS_MAX;
    requires \valid_read(fields + (0 .. header->field_count - 1));
    assigns \nothing;
    ensures \result ==> layout_is_valid(header, fields); */
static int are_fields_good(const struct schema_header *header, const struct schema_field *fields)
{
    size_t end = 0;
    unsigned labels_seen = 0;
    /*@ loop invariant i <= header->field_count && labels_seen <= header->label_count;
        loop invariant end <= ABI_PAYLOAD_BYTES_MAX && (i > 0 ==> end == end_of(fields + (i - 1)));
        loop invariant fields_are_laid_out(fields, i);
        loop invariant \forall integer j; 0 <= j < i ==> end_of(fields + j) <= end &&
            is_terminated(&fields[j].name[0], SCHEMA_FIELD_NAME_BYTES);
        loop assigns i, end, labels_seen;
        loop variant header->field_count - i; */
    for (unsigned i = 0; i < header->field_count; i++) {
        const struct schema_field *field = &fields[i];
        if (!is_field_good(field, labels_seen, header->label_count))
            return 0;
        /*@ loop invariant j <= i;
            loop assigns j;
            loop variant i - j; */
        for (unsigned j = 0; j < i; j++)
            if (strcmp(fields[j].name, field->name) == 0)
                return 0;
        labels_seen += field->label_count;
        if (field->offset != field_start(field, end))
            return 0;
        end = field_end(field);
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return 0;
    }
    return labels_seen == header->label_count && header->struct_bytes == align_up(end, 8) &&
           header->is_cut == is_text(fields[header->field_count - 1].type);
}

enum status schema_open(struct schema *schema, const uint8_t *block, size_t size)
{
    if (size < sizeof(struct schema_header))
        return STATUS_TRUNCATED;
    if ((uintptr_t)block % 8 != 0)
        return STATUS_MALFORMED;
    const struct schema_header *header = (const void *)block;
    //@ admit a_cast: size >= sizeof(struct schema_header) ==> \valid_read(header);
    if (header->field_count == 0 || header->zero != 0 || !is_schema_name(header->name))
        return STATUS_MALFORMED;
    if (header->field_count > SCHEMA_FIELDS_MAX || header->relation_count > SCHEMA_RELATIONS_MAX ||
        header->label_count > SCHEMA_LABELS_MAX)
        return STATUS_TOO_LARGE;
    size_t relations_at = sizeof *header + header->field_count * sizeof(struct schema_field);
    size_t labels_at = relations_at + header->relation_count * sizeof(struct schema_relation);
    size_t end = labels_at + header->label_count * sizeof(struct schema_label);
    if (header->block_bytes != end)
        return STATUS_MALFORMED;
    if (size < end)
        return STATUS_TRUNCATED;
    if (size > end)
        return STATUS_MALFORMED;
    const struct schema_field *fields = (const void *)(block + sizeof *header);
    const struct schema_relation *relations = (const void *)(block + relations_at);
    const struct schema_label *labels = (const void *)(block + labels_at);
    /*@ admit a_cast: sizeof(struct schema_header) + header->field_count * sizeof(struct schema_field) <= size ==>
            \valid_read(fields + (0 .. header->field_count - 1)); */
    /*@ admit a_cast: relations_at + header->relation_count * sizeof(struct schema_relation) <= size ==>
            \valid_read(relations + (0 .. header->relation_count - 1)); */
    /*@ admit a_cast: labels_at + header->label_count * sizeof(struct schema_label) <= size ==>
            \valid_read(labels + (0 .. header->label_count - 1)); */
    /*@ loop invariant i <= header->label_count;
        loop assigns i;
        loop variant header->label_count - i; */
    for (unsigned i = 0; i < header->label_count; i++)
        if (!is_label(&labels[i]))
            return STATUS_MALFORMED;
    if (!are_fields_good(header, fields))
        return STATUS_MALFORMED;
    /*@ loop invariant i <= header->relation_count;
        loop invariant relations_are_valid(header, relations, i);
        loop assigns i;
        loop variant header->relation_count - i; */
    for (unsigned i = 0; i < header->relation_count; i++)
        if (!is_relation_good(fields, header->field_count, &relations[i]))
            return STATUS_MALFORMED;
    *schema = (struct schema){header, fields, relations, labels};
    return STATUS_OK;
}
