// SPDX-License-Identifier: ISC
// Which schema blocks are accepted (schema_open).
//
// A block is valid if and only if all of this holds.
// - Its size is header.block_bytes = header + fields + relations + labels, rounded up to 8.
// - Names are zero-terminated and zero-filled; the schema's is [a-z][a-z0-9-]*/[1-9][0-9]*, a field's
//   [a-z][a-z0-9_]*, or two such words with a dot between, and no field has it twice; labels [a-z0-9][a-z0-9_-]*, units printable.
// - Fields lie one behind the other in their order, each at an offset that its alignment allows (integers: their width;
//   bool and enumeration: 1; string, bytes, sealed and array: 2, for the length or count) and less than 8 bytes behind
//   the one before; elements of an array at the first offset of their width behind the count. struct_bytes is the end
//   of the last, rounded up to 8.
// - An array of records is followed by its members, none of them an array, all with its stride. The stride is what the
//   members of one record take and less than 8 bytes more, and a multiple of what each of them is aligned to.
// - is_cut is 1 exactly when the last field is a string, bytes or sealed, and not in an array of records.
// - Integers: minimum <= maximum, both within the type. Bool: 0 and 1. Enumeration: 0 and label_count - 1; enumerations
//   use the labels one after the other, all of them. The same for elements. What a type does not use is zero.
// - Relations name two different fields that have a value (integers of the same decimals, lengths, counts), none of
//   them in an array.
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
    int is_start = 1;
    unsigned dots = 0;
    /*@ loop invariant i <= length;
        loop assigns i, is_start, dots;
        loop variant length - i; */
    for (size_t i = 0; i < length; i++) {
        int is_dot = !is_start && name[i] == '.' && dots++ == 0;
        if (!is_dot && !is_lower(name[i]) && (is_start || (!is_digit(name[i]) && name[i] != '_')))
            return 0;
        is_start = is_dot;
    }
    return length != 0 && !is_start;
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

// The range and labels of a field whose values are of `type`; 0 for those that have no values of their own.
/*@ requires \valid_read(field) && labels_seen <= label_count <= SCHEMA_LABELS_MAX;
    assigns \nothing;
    ensures \result ==> labels_seen + field->label_count <= label_count; */
static int are_values_good(const struct schema_field *field, unsigned type, unsigned labels_seen,
                           unsigned label_count)
{
    if (type == SCHEMA_ENUM)
        return field->label_first == labels_seen && field->label_count != 0 &&
               field->label_count <= label_count - labels_seen && field->minimum == 0 &&
               field->maximum == field->label_count - 1;
    if (field->label_first != 0 || field->label_count != 0)
        return 0;
    if (is_integer(type))
        return is_integer_range(type, field->minimum, field->maximum);
    return field->minimum == 0 && field->maximum == (type == SCHEMA_BOOL ? 1 : 0);
}

// The attributes that the type uses are good, the others zero.
/*@ requires \valid_read(field) && labels_seen <= label_count <= SCHEMA_LABELS_MAX;
    assigns \nothing;
    ensures \result ==> field_is_formed(field) &&
        is_terminated(&field->name[0], SCHEMA_FIELD_NAME_BYTES) &&
        labels_seen + field->label_count <= label_count; */
static int is_field_good(const struct schema_field *field, unsigned labels_seen,
                         unsigned label_count)
{
    unsigned type = field->type, values = type == SCHEMA_ARRAY ? field->element : is_scalar(type) ? type : 0;
    if (!is_field_name(field->name) || !is_unit(field->unit))
        return 0;
    if (type < SCHEMA_U8 || type > SCHEMA_SEALED)
        return 0;
    if (type == SCHEMA_ARRAY ? !is_scalar(values) && values != SCHEMA_RECORD : field->element != 0)
        return 0;
    if ((values == SCHEMA_RECORD) != (field->member_count != 0))
        return 0;
    if (type == SCHEMA_STRING ? field->class > SCHEMA_CLASS_TOPIC || field->deny > SCHEMA_DENY_ALL
                              : field->class != 0 || field->deny != 0)
        return 0;
    if (field->decimals > (is_integer(values) ? 18 : 0) || (field->capacity != 0) != (type >= SCHEMA_STRING))
        return 0;
    return are_values_good(field, values, labels_seen, label_count);
}

/*@ requires \valid_read(fields + (0 .. count - 1)) && \valid_read(relation);
    assigns \nothing;
    ensures \result ==> relation->left < count && relation->right < count &&
        !is_member(fields + relation->left) && !is_member(fields + relation->right); */
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
        right->type == SCHEMA_ENUM || is_in_array(left) || is_in_array(right))
        return 0;
    unsigned left_decimals = is_integer(left->type) ? left->decimals : 0;
    unsigned right_decimals = is_integer(right->type) ? right->decimals : 0;
    return left_decimals == right_decimals;
}

// Where the field ends, when it may follow one that ended at `end`; else a number above ABI_PAYLOAD_BYTES_MAX.
/*@ requires \valid_read(field) && field_is_formed(field) && end <= ABI_PAYLOAD_BYTES_MAX;
    assigns \nothing;
    ensures \result <= ABI_PAYLOAD_BYTES_MAX ==> \result == end_of(field) && end <= field->offset; */
static size_t place(const struct schema_field *field, size_t end)
{
    if (field->offset < end || field->offset - end >= 8 || field->offset % field_alignment(field->type) != 0)
        return SIZE_MAX;
    return field_end(field);
}

// The members behind the array of records at that index, whose count ends at `end`: where the whole array ends, or as above.
/*@ requires at < SCHEMA_FIELDS_MAX && \valid_read(fields + (at .. at + fields[at].member_count));
    requires \forall integer m; at <= m <= at + fields[at].member_count ==> field_is_formed(fields + m);
    requires end <= ABI_PAYLOAD_BYTES_MAX && fields[at].member_count > 0 && fields[at].stride > 0;
    assigns \nothing;
    ensures \result <= ABI_PAYLOAD_BYTES_MAX ==> \result == records_end(fields + at) && end <= fields[at + 1].offset;
    ensures \result <= ABI_PAYLOAD_BYTES_MAX ==> \forall integer m; at < m <= at + fields[at].member_count ==>
        field_is_valid(fields + m) && fields[m].member_count == 0 && end <= fields[m].offset &&
        member_is_laid_out(fields + m, fields[at + 1].offset, fields[at].stride) && end_of(fields + m) <= \result;
    ensures \result <= ABI_PAYLOAD_BYTES_MAX ==> \forall integer m, n; at < m < n <= at + fields[at].member_count ==>
        end_of(fields + m) <= fields[n].offset; */
static size_t place_members(const struct schema_field *fields, unsigned at, size_t end)
{
    const struct schema_field *array = &fields[at];
    /*@ loop invariant at < i <= at + array->member_count + 1 && \at(end, Pre) <= end <= ABI_PAYLOAD_BYTES_MAX;
        loop invariant i > at + 1 ==> \at(end, Pre) <= fields[at + 1].offset && fields[at + 1].offset <= end;
        loop invariant \forall integer m; at < m < i ==> field_is_valid(fields + m);
        loop invariant \forall integer m; at < m < i ==> fields[m].type != SCHEMA_ARRAY;
        loop invariant \forall integer m; at < m < i ==> fields[m].stride == array->stride;
        loop invariant \forall integer m; at < m < i ==> fields[at + 1].offset <= fields[m].offset;
        loop invariant \forall integer m; at < m < i ==> \at(end, Pre) <= fields[m].offset && end_of(fields + m) <= end;
        loop invariant \forall integer m, n; at < m < n < i ==> end_of(fields + m) <= fields[n].offset;
        loop assigns i, end;
        loop variant at + array->member_count + 1 - i; */
    for (unsigned i = at + 1; i <= at + array->member_count; i++) {
        const struct schema_field *member = &fields[i];
        if (member->type == SCHEMA_ARRAY || member->stride != array->stride ||
            array->stride % field_alignment(member->type) != 0)
            return SIZE_MAX;
        end = place(member, end);
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return SIZE_MAX;
    }
    size_t bytes = end - array[1].offset;
    if (array->stride < bytes || array->stride - bytes >= 8)
        return SIZE_MAX;
    return records_stop(array);
}

/*@ requires \valid_read(header) && 1 <= header->field_count <= SCHEMA_FIELDS_MAX;
    requires \valid_read(fields + (0 .. header->field_count - 1));
    requires \forall integer i; 0 <= i < header->field_count ==> field_is_formed(fields + i);
    assigns \nothing;
    ensures \result ==> layout_is_valid(header, fields); */
static int are_fields_laid_out(const struct schema_header *header, const struct schema_field *fields)
{
    size_t end = 0;
    unsigned step;
    /*@ loop invariant i <= header->field_count && end <= ABI_PAYLOAD_BYTES_MAX;
        loop invariant \forall integer j; 0 <= j < i ==> field_is_valid(fields + j);
        loop invariant \forall integer j; 0 <= j < i ==> end_of(fields + j) <= end;
        loop invariant \forall integer j, k; 0 <= j < k < i ==> end_of(fields + j) <= fields[k].offset;
        loop invariant arrays_are_laid_out(fields, i, end);
        loop assigns i, end, step;
        loop variant header->field_count - i; */
    for (unsigned i = 0; i < header->field_count; i += step) {
        const struct schema_field *field = &fields[i];
        step = 1u + field->member_count;
        if (step > header->field_count - i || (field->stride != 0) != (step > 1))
            return 0;
        end = place(field, end);
        if (end <= ABI_PAYLOAD_BYTES_MAX && step > 1)
            end = place_members(fields, i, end);
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return 0;
        //@ assert whole: \forall integer j; i <= j < i + step ==> field_is_valid(fields + j) && end_of(fields + j) <= end;
        //@ assert behind: \forall integer j; i <= j < i + step ==> \at(end, LoopCurrent) <= fields[j].offset;
        //@ assert array: field->member_count != 0 ==> records_are_laid_out(fields, i, i + step, end);
        //@ assert others: \forall integer j; i < j < i + step ==> fields[j].member_count == 0;
        //@ assert rises: \at(end, LoopCurrent) <= end;
        //@ assert inner: \forall integer j, k; i <= j < k < i + step ==> end_of(fields + j) <= fields[k].offset;
        //@ assert outer: \forall integer j, k; 0 <= j < i <= k < i + step ==> end_of(fields + j) <= fields[k].offset;
        /*@ assert older: \forall integer j; 0 <= j < i && fields[j].member_count != 0 ==>
                records_are_laid_out(fields, j, i + step, end); */
    }
    const struct schema_field *last = &fields[header->field_count - 1];
    return header->struct_bytes == align_up(end, 8) &&
           header->is_cut == (is_text(last->type) && !is_in_array(last));
}

/*@ requires \valid_read(header) && 1 <= header->field_count <= SCHEMA_FIELDS_MAX;
    requires header->label_count <= SCHEMA_LABELS_MAX;
    requires \valid_read(fields + (0 .. header->field_count - 1));
    assigns \nothing;
    ensures \result ==> layout_is_valid(header, fields); */
static int are_fields_good(const struct schema_header *header, const struct schema_field *fields)
{
    unsigned labels_seen = 0;
    /*@ loop invariant i <= header->field_count && labels_seen <= header->label_count;
        loop invariant \forall integer j; 0 <= j < i ==> field_is_formed(fields + j) &&
            is_terminated(&fields[j].name[0], SCHEMA_FIELD_NAME_BYTES);
        loop assigns i, labels_seen;
        loop variant header->field_count - i; */
    for (unsigned i = 0; i < header->field_count; i++) {
        if (!is_field_good(&fields[i], labels_seen, header->label_count))
            return 0;
        /*@ loop invariant j <= i;
            loop assigns j;
            loop variant i - j; */
        for (unsigned j = 0; j < i; j++)
            if (strcmp(fields[j].name, fields[i].name) == 0)
                return 0;
        labels_seen += fields[i].label_count;
    }
    return labels_seen == header->label_count && are_fields_laid_out(header, fields);
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
        loop invariant relations_are_valid(header, fields, relations, i);
        loop assigns i;
        loop variant header->relation_count - i; */
    for (unsigned i = 0; i < header->relation_count; i++)
        if (!is_relation_good(fields, header->field_count, &relations[i]))
            return STATUS_MALFORMED;
    *schema = (struct schema){header, fields, relations, labels};
    return STATUS_OK;
}
