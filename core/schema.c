// SPDX-License-Identifier: ISC
// The schema checker (schema_check).
//
// The verdict on a message. First the length: struct_bytes, or with is_cut the end of the last used
// byte rounded up to 8. Then the fields in order; for each: bytes skipped before it are zero
// (padding), then
//   integer        within minimum and maximum (range)
//   bool           0 or 1 (range)
//   enumeration    below label_count (enumeration)
//   string         length <= capacity (length), characters in the class and not denied (class), tail zero (padding)
//   bytes, sealed  length <= capacity (length), tail zero (padding)
//   array          count <= capacity (length), bytes up to the first element zero (padding), used
//                  elements as above (range, enumeration), unused ones zero (padding)
// An array of records has a count (length); then for each used record its members in order, as above and with the bytes
// skipped before them; then the bytes of unused records are zero (padding, the array).
// Then the bytes behind the last field are zero (padding, no field). Then the relations in order
// (relation, field = the left one). The first thing that does not hold is the verdict.
#include "core/schema.h"

#include "core/schema_layout.h"
#include "core/schema_load.h"
#include "core/schema_text.h"

// An integer, bool or enumeration of `type`, which is the field's or that of its elements. Counted from the minimum, with
// a wrap, signed and unsigned values are alike.
/*@ requires \valid_read(field);
    requires type_is_scalar(type) && at + width_of(type) <= size && size % 8 == 0;
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result == REASON_DONE || REASON_RANGE <= \result <= REASON_ENUMERATION; */
INLINE enum reason check_scalar(unsigned type, const struct schema_field *field, const uint8_t *message, size_t at,
                                size_t size)
{
    uint64_t least = (uint64_t)field->minimum;
    if (load(type, message, at, size) - least <= (uint64_t)field->maximum - least)
        return REASON_DONE;
    return type == SCHEMA_ENUM ? REASON_ENUMERATION : REASON_RANGE;
}

// `shift`: where the record lies that the field is in, counted from the first one; 0 outside of arrays.
/*@ predicate text_ends_inside(struct schema_field *f, uint8_t *message, integer shift, integer size) =
        f->offset + shift + 2 + message[f->offset + shift] + 256 * message[f->offset + shift + 1] <= size;
*/
/*@ requires \valid_read(field) && field_is_valid(field) && type_is_text(field->type);
    requires \valid_read(message + (0 .. size - 1)) && size <= 4096 && shift <= 4096;
    requires field->offset + shift + 2 <= size;
    requires end_of(field) + shift <= size || text_ends_inside(field, message, shift, size);
    assigns \nothing;
    ensures \result == REASON_DONE ==> text_ends_inside(field, message, shift, size);
    ensures \result == REASON_DONE || REASON_LENGTH <= \result <= REASON_PADDING; */
static enum reason check_text(const struct schema_field *field, const uint8_t *message, size_t shift, size_t size)
{
    size_t at = field->offset + shift, length = load_16(message + at);
    const uint8_t *bytes = message + at + 2;
    if (length > field->capacity)
        return REASON_LENGTH;
    if (field->type == SCHEMA_STRING && !text_is_good(field->class, field->deny, bytes, length))
        return REASON_CLASS;
    size_t end = at + 2 + field->capacity < size ? at + 2 + field->capacity : size;
    return is_zero(message, at + 2 + length, end) ? REASON_DONE : REASON_PADDING;
}

/*@ requires \valid_read(field) && field_is_valid(field) && field->type == SCHEMA_ARRAY;
    requires field->element != SCHEMA_RECORD;
    requires \valid_read(message + (0 .. size - 1)) && end_of(field) <= size && size % 8 == 0;
    assigns \nothing;
    ensures \result == REASON_DONE || REASON_LENGTH <= \result <= REASON_PADDING; */
static enum reason check_array(const struct schema_field *field, const uint8_t *message, size_t size)
{
    size_t count = load_16(message + field->offset);
    size_t at = elements_start(field), width = type_width(field->element);
    if (count > field->capacity)
        return REASON_LENGTH;
    if (!is_zero(message, field->offset + 2u, at))
        return REASON_PADDING;
    /*@ loop invariant i <= count && at == elements_of(field) + i * width;
        loop assigns i, at;
        loop variant count - i; */
    for (size_t i = 0; i < count; i++, at += width) {
        //@ assert widths: width == 1 || width == 2 || width == 4 || width == 8;
        //@ assert by_1: width == 1 ==> i * width + width <= field->capacity * width;
        //@ assert by_2: width == 2 ==> i * width + width <= field->capacity * width;
        //@ assert by_4: width == 4 ==> i * width + width <= field->capacity * width;
        //@ assert by_8: width == 8 ==> i * width + width <= field->capacity * width;
        //@ assert element: at + width <= end_of(field);
        enum reason reason = check_scalar(field->element, field, message, at, size);
        if (reason != REASON_DONE)
            return reason;
    }
    return is_zero(message, at, field_end(field)) ? REASON_DONE : REASON_PADDING;
}

/*@ requires \valid_read(field) && field_is_valid(field);
    requires \valid_read(message + (0 .. size - 1)) && size <= 4096 && size % 8 == 0 && shift <= 4096;
    requires field->type == SCHEMA_ARRAY ==> shift == 0;
    requires end_of(field) + shift <= size ||
        (type_is_text(field->type) && field->offset + shift + 2 <= size && text_ends_inside(field, message, shift, size));
    assigns \nothing;
    ensures \result == REASON_DONE && type_is_text(field->type) ==> text_ends_inside(field, message, shift, size);
    ensures \result == REASON_DONE && field->type == SCHEMA_ARRAY && field->element == SCHEMA_RECORD ==>
        message[field->offset] + 256 * message[field->offset + 1] <= field->capacity;
    ensures \result == REASON_DONE || REASON_LENGTH <= \result <= REASON_PADDING; */
static enum reason check_field(const struct schema_field *field, const uint8_t *message, size_t shift, size_t size)
{
    if (field->type < SCHEMA_STRING)
        return check_scalar(field->type, field, message, field->offset + shift, size);
    if (is_text(field->type))
        return check_text(field, message, shift, size);
    if (field->element != SCHEMA_RECORD)
        return check_array(field, message, size);
    return load_16(message + field->offset) <= field->capacity ? REASON_DONE : REASON_LENGTH;
}

/*@ lemma aligned_is_behind: \forall integer x, a; 0 <= x && (a == 1 || a == 2 || a == 4 || a == 8) ==> x <= aligned(x, a);
    lemma elements_take_place: \forall integer count, type; 0 <= count ==> 0 <= count * width_of(type);
    lemma end_is_behind: \forall struct schema_field *f;
        0 <= f->offset && 0 <= f->capacity && SCHEMA_U8 <= f->type <= SCHEMA_SEALED ==>
        f->offset + (f->type >= SCHEMA_STRING ? 2 : width_of(f->type)) <= end_of(f);
*/

// What the checks of fields build on: the last field of a message that was cut ends with its text.
/*@ predicate field_is_reached(struct schema_field *f, uint8_t *message, integer size) =
        value_is_inside(f, size) && (end_of(f) <= size || (type_is_text(f->type) && text_is_inside(f, message, size)));
    predicate length_is_good(struct schema *s, uint8_t *message, integer size) =
        size <= s->header->struct_bytes && size % 8 == 0 &&
        (\forall integer i; 0 <= i < s->header->field_count ==> field_is_reached(s->fields + i, message, size)) &&
        arrays_are_laid_out(s->fields, s->header->field_count, size);
*/

// The message ends where its schema says; afterwards every access below stays inside.
/*@ requires schema_is_valid(schema);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result == REASON_DONE || \result == REASON_LENGTH;
    ensures \result == REASON_DONE ==> length_is_good(schema, message, size); */
static enum reason check_length(const struct schema *schema, const uint8_t *message, size_t size)
{
    const struct schema_header *header = schema->header;
    if (!header->is_cut && size != header->struct_bytes)
        return REASON_LENGTH;
    /*@ assert values: \forall integer i; 0 <= i < header->field_count ==>
            value_is_inside(schema->fields + i, end_of(schema->fields + i)); */
    /*@ assert ends: \forall integer i; 0 <= i < header->field_count ==>
            end_of(schema->fields + i) <= header->struct_bytes; */
    //@ assert whole: !header->is_cut ==> length_is_good(schema, message, size);
    if (!header->is_cut)
        return REASON_DONE;
    const struct schema_field *last = &schema->fields[header->field_count - 1];
    /*@ assert others: \forall integer i; 0 <= i < header->field_count - 1 ==>
            end_of(schema->fields + i) <= last->offset; */
    /*@ assert last_is_free: \forall integer i; 0 <= i < header->field_count && schema->fields[i].member_count != 0 ==>
            i + schema->fields[i].member_count < header->field_count - 1; */
    /*@ assert last_is_behind: \forall integer i; 0 <= i < header->field_count && schema->fields[i].member_count != 0 ==>
            records_end(schema->fields + i) <= last->offset; */
    /*@ assert arrays: last->offset <= size ==> arrays_are_laid_out(schema->fields, header->field_count, size); */
    if (size < last->offset + 2u || size > header->struct_bytes)
        return REASON_LENGTH;
    size_t length = load_16(message + last->offset);
    //@ assert words: aligned(last->offset + 2 + length, 8) % 8 == 0;
    //@ assert text: last->offset + 2 + length <= aligned(last->offset + 2 + length, 8);
    if (size != align_up(last->offset + 2u + length, 8))
        return REASON_LENGTH;
    //@ assert inside: field_is_reached(last, message, size);
    /*@ assert reached: \forall integer i; 0 <= i < header->field_count - 1 ==>
            field_is_reached(schema->fields + i, message, size); */
    return REASON_DONE;
}

/*@ requires schema_is_valid(schema) && message_is_sized(schema, message, size);
    requires \valid_read(relation);
    requires relation->left < schema->header->field_count && relation->right < schema->header->field_count;
    requires !is_member(schema->fields + relation->left) && !is_member(schema->fields + relation->right);
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
static int holds(const struct schema *schema, const struct schema_relation *relation,
                 const uint8_t *message, size_t size)
{
    int64_t left = value_of(&schema->fields[relation->left], message, size);
    int64_t right = value_of(&schema->fields[relation->right], message, size);
    // A u64 above INT64_MAX is above every value of another type.
    int is_left_huge = schema->fields[relation->left].type == SCHEMA_U64 && left < 0;
    int is_right_huge = schema->fields[relation->right].type == SCHEMA_U64 && right < 0;
    int is_less = is_left_huge == is_right_huge ? left < right : is_right_huge;
    int is_equal = is_left_huge == is_right_huge && left == right;
    switch (relation->operator) {
    case SCHEMA_LESS:
        return is_less;
    case SCHEMA_LESS_EQUAL:
        return is_less || is_equal;
    case SCHEMA_EQUAL:
        return is_equal;
    default:
        return !is_equal;
    }
}

struct verdict {
    enum reason reason;
    uint16_t field;
};

/*@ logic integer bytes_of(integer records, integer stride) = records <= 0 ? 0 : records * stride;
    lemma record_has_room: \forall integer i, n, stride; 0 <= i < n && 0 <= stride ==>
        bytes_of(i, stride) + stride <= bytes_of(n, stride);
*/

// The records of an array, whose count is good. Fields of the verdict count from the array.
/*@ requires \valid_read(array + (0 .. array->member_count)) && field_is_valid(array) && array->member_count > 0;
    requires \valid_read(message + (0 .. size - 1)) && size <= 4096 && size % 8 == 0;
    requires records_end(array) <= size && array->stride > 0 && end_of(array) <= (array + 1)->offset;
    requires \forall integer m; 1 <= m <= array->member_count ==> field_is_valid(array + m) &&
        member_is_laid_out(array + m, (array + 1)->offset, array->stride);
    requires message[array->offset] + 256 * message[array->offset + 1] <= array->capacity;
    assigns \nothing;
    ensures \result.field <= array->member_count;
    ensures \result.reason == REASON_DONE || REASON_LENGTH <= \result.reason <= REASON_PADDING; */
static struct verdict check_records(const struct schema_field *array, const uint8_t *message, size_t size)
{
    size_t count = load_16(message + array->offset), end = array->offset + 2u;
    /*@ loop invariant i <= count && shift == i * array->stride;
        loop invariant end <= size;
        loop assigns i, shift, end;
        loop variant count - i; */
    for (size_t i = 0, shift = 0; i < count; i++, shift += array->stride) {
        //@ assert step: bytes_of(i, array->stride) + array->stride <= bytes_of(array->capacity, array->stride);
        //@ assert inside: shift + array->stride <= array->capacity * array->stride <= 4096;
        /*@ loop invariant 1 <= j <= array->member_count + 1 && end <= size;
            loop assigns j, end;
            loop variant array->member_count + 1 - j; */
        for (uint16_t j = 1; j <= array->member_count; j++) {
            const struct schema_field *member = array + j;
            if (!is_zero(message, end, member->offset + shift))
                return (struct verdict){REASON_PADDING, j};
            enum reason reason = check_field(member, message, shift, size);
            if (reason != REASON_DONE)
                return (struct verdict){reason, j};
            end = field_end(member) + shift;
        }
        //@ assert next: shift + array->stride == (i + 1) * array->stride;
    }
    return (struct verdict){is_zero(message, end, records_stop(array)) ? REASON_DONE : REASON_PADDING, 0};
}

/*@ predicate texts_are_inside(struct schema_field *f, integer count, uint8_t *message, integer size) =
        \forall integer i; 0 <= i < count && type_is_text(f[i].type) && !is_member(f + i) ==>
            text_is_inside(f + i, message, size);
*/
/*@ requires schema_is_valid(schema) && length_is_good(schema, message, size);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result.reason == REASON_DONE ==>
        texts_are_inside(schema->fields, schema->header->field_count, message, size);
    ensures \result.reason == REASON_DONE || REASON_LENGTH <= \result.reason <= REASON_PADDING;
    ensures \result.field < schema->header->field_count || \result.field == UINT16_MAX; */
static struct verdict check_fields(const struct schema *schema, const uint8_t *message, size_t size)
{
    size_t end = 0;
    const struct schema_field *field = schema->fields;
    unsigned count = schema->header->field_count;
    enum reason reason;
    /*@ loop invariant i <= count && field == schema->fields + i;
        loop invariant end <= 4096;
        loop invariant texts_are_inside(schema->fields, i, message, size);
        loop assigns i, field, reason, end;
        loop variant count - i; */
    for (unsigned i = 0; i < count; i++, field++) {
        //@ assert reached: field_is_reached(schema->fields + i, message, size);
        //@ assert formed: field_is_valid(schema->fields + i);
        if (!is_zero(message, end, field->offset))
            return (struct verdict){REASON_PADDING, (uint16_t)i};
        if (field->type < SCHEMA_STRING) { // most are
            reason = check_scalar(field->type, field, message, field->offset, size);
            if (reason != REASON_DONE)
                return (struct verdict){reason, (uint16_t)i};
            end = field->offset + type_width(field->type);
            continue;
        }
        reason = check_field(field, message, 0, size);
        if (reason != REASON_DONE)
            return (struct verdict){reason, (uint16_t)i};
        //@ assert text: texts_are_inside(schema->fields, i + 1, message, size);
        end = field_end(field);
        if (field->member_count == 0)
            continue;
        //@ assert laid_out: records_are_laid_out(schema->fields, i, count, size);
        struct verdict verdict = check_records(field, message, size);
        if (verdict.reason != REASON_DONE)
            return (struct verdict){verdict.reason, (uint16_t)(i + verdict.field)};
        /*@ assert members: \forall integer j; i < j <= i + field->member_count ==>
                field_is_valid(schema->fields + j) && is_member(schema->fields + j); */
        //@ assert texts: texts_are_inside(schema->fields, i + field->member_count + 1, message, size);
        end = records_stop(field);
        //@ assert room: i + field->member_count < count <= SCHEMA_FIELDS_MAX;
        i += field->member_count;
        field += field->member_count;
        //@ assert last_member: i < count && field == schema->fields + i;
    }
    if (!is_zero(message, end, size))
        return (struct verdict){REASON_PADDING, UINT16_MAX};
    return (struct verdict){REASON_DONE, UINT16_MAX};
}

/*@ requires schema_is_valid(schema) && message_is_sized(schema, message, size);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result.reason == REASON_DONE || \result.reason == REASON_RELATION;
    ensures \result.field < schema->header->field_count || \result.field == UINT16_MAX; */
static struct verdict check_relations(const struct schema *schema, const uint8_t *message, size_t size)
{
    /*@ loop invariant i <= schema->header->relation_count;
        loop assigns i;
        loop variant schema->header->relation_count - i; */
    for (unsigned i = 0; i < schema->header->relation_count; i++)
        if (!holds(schema, &schema->relations[i], message, size))
            return (struct verdict){REASON_RELATION, schema->relations[i].left};
    return (struct verdict){REASON_DONE, UINT16_MAX};
}

/*@ requires schema_is_valid(schema);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result.reason == REASON_DONE ==> message_is_sized(schema, message, size);
    ensures \result.reason == REASON_DONE ||
        REASON_LENGTH <= \result.reason <= REASON_RELATION;
    ensures \result.field < schema->header->field_count || \result.field == UINT16_MAX; */
static struct verdict judge(const struct schema *schema, const uint8_t *message, size_t size)
{
    enum reason reason = check_length(schema, message, size);
    if (reason != REASON_DONE)
        return (struct verdict){reason, UINT16_MAX};
    struct verdict verdict = check_fields(schema, message, size);
    if (verdict.reason != REASON_DONE)
        return verdict;
    //@ assert sized: message_is_sized(schema, message, size);
    return check_relations(schema, message, size);
}

enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field)
{
    struct verdict verdict = judge(schema, message, size);
    *field = verdict.field;
    return verdict.reason;
}
