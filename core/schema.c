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
//
// Numbers and skipped bytes are judged by the schema's plan (core/schema_plan.c), texts and arrays behind them.
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

// The bytes [from, to) are zero.
/*@ requires \valid_read(message + (0 .. size - 1)) && to <= size <= 4096 && size % 8 == 0;
    assigns \nothing; */
static int is_clear(const uint8_t *message, size_t from, size_t to, size_t size)
{
    (void)size;
    if (from >= to)
        return 1;
    size_t word = from / 8 * 8;
    //@ assert first: word % 8 == 0 && word <= from;
    uint64_t bits = load_64(message + word) >> 8 * (from % 8) << 8 * (from % 8);
    /*@ loop invariant word % 8 == 0 && word < to;
        loop assigns word, bits;
        loop variant to - word; */
    for (; to - word > 8; bits = load_64(message + word)) {
        if (bits != 0)
            return 0;
        word += 8;
    }
    return bits << 8 * (8 - (to - word)) == 0;
}

// `shift`: where the record lies that the field is in, counted from the first one; 0 outside of arrays.
/*@ predicate text_ends_inside(struct schema_field *f, uint8_t *message, integer shift, integer size) =
        f->offset + shift + 2 + message[f->offset + shift] + 256 * message[f->offset + shift + 1] <= size;
*/
/*@ requires \valid_read(field) && field_is_valid(field) && type_is_text(field->type);
    requires \valid_read(message + (0 .. size - 1)) && size <= 4096 && size % 8 == 0 && shift <= 4096;
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
    return is_clear(message, at + 2 + length, end, size) ? REASON_DONE : REASON_PADDING;
}

/*@ requires \valid_read(field) && field_is_valid(field) && field->type == SCHEMA_ARRAY;
    requires field->element != SCHEMA_RECORD;
    requires \valid_read(message + (0 .. size - 1)) && end_of(field) <= size <= 4096 && size % 8 == 0;
    assigns \nothing;
    ensures \result == REASON_DONE || REASON_LENGTH <= \result <= REASON_PADDING; */
static enum reason check_array(const struct schema_field *field, const uint8_t *message, size_t size)
{
    size_t count = load_16(message + field->offset);
    size_t at = elements_start(field), width = type_width(field->element);
    if (count > field->capacity)
        return REASON_LENGTH;
    if (!is_clear(message, field->offset + 2u, at, size))
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
    return is_clear(message, at, field_end(field), size) ? REASON_DONE : REASON_PADDING;
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

// What the checks of fields build on: the last field of a message that was cut ends with its text.
/*@ predicate field_is_reached(struct schema_field *f, uint8_t *message, integer size) =
        value_is_inside(f, size) && (end_of(f) <= size || (type_is_text(f->type) && text_is_inside(f, message, size)));
    predicate length_is_good(struct schema *s, uint8_t *message, integer size) =
        size <= s->header->struct_bytes && size % 8 == 0 &&
        (\forall integer i; 0 <= i < s->header->field_count ==> field_is_reached(s->fields + i, message, size)) &&
        arrays_are_laid_out(s->fields, s->header->field_count, size);
*/

// The message ends where its schema says; afterwards every access below stays inside. One that may be cut has its last field's
// length in the last two bytes of the least.
/*@ requires schema_is_valid(schema) && plan_is_valid(plan, schema);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result ==> length_is_good(schema, message, size) && plan->least_bytes <= size; */
static int is_length_good(const struct schema *schema, const struct schema_plan *plan, const uint8_t *message, size_t size)
{
    (void)schema;
    if (size < plan->least_bytes || size > plan->most_bytes)
        return 0;
    //@ ghost const struct schema_header *header = schema->header;
    /*@ assert values: \forall integer i; 0 <= i < header->field_count ==>
            value_is_inside(schema->fields + i, end_of(schema->fields + i)); */
    /*@ assert ends: \forall integer i; 0 <= i < header->field_count ==>
            end_of(schema->fields + i) <= header->struct_bytes; */
    //@ assert whole: header->is_cut == 0 ==> length_is_good(schema, message, size);
    //@ assert cut: header->is_cut != 0 ==> plan->least_bytes < plan->most_bytes;
    if (plan->least_bytes == plan->most_bytes)
        return 1;
    //@ ghost const struct schema_field *last = &schema->fields[header->field_count - 1];
    /*@ assert others: \forall integer i; 0 <= i < header->field_count - 1 ==>
            end_of(schema->fields + i) <= last->offset; */
    /*@ assert last_is_free: \forall integer i; 0 <= i < header->field_count && schema->fields[i].member_count != 0 ==>
            i + schema->fields[i].member_count < header->field_count - 1; */
    /*@ assert last_is_behind: \forall integer i; 0 <= i < header->field_count && schema->fields[i].member_count != 0 ==>
            records_end(schema->fields + i) <= last->offset; */
    /*@ assert arrays: last->offset <= size ==> arrays_are_laid_out(schema->fields, header->field_count, size); */
    size_t least = plan->least_bytes, length = load_16(message + (least - 2));
    //@ assert words: aligned(least + length, 8) % 8 == 0;
    //@ assert text: least + length <= aligned(least + length, 8);
    if (size != align_up(least + length, 8))
        return 0;
    //@ assert inside: field_is_reached(last, message, size);
    /*@ assert reached: \forall integer i; 0 <= i < header->field_count - 1 ==>
            field_is_reached(schema->fields + i, message, size); */
    return 1;
}

/*@ requires number_is_good(number, size) && size % 8 == 0 && \valid_read(number);
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
INLINE uint64_t read_number(const struct schema_number *number, const uint8_t *message, size_t size)
{
    (void)size;
    return ((load_64(message + number->word) << number->up >> number->down) ^ number->sign) - number->sign;
}

/*@ requires \valid_read(range) && word_is_inside(range->word, size) && size % 8 == 0 && range->up < 64;
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
INLINE int is_within(const struct schema_range *range, const uint8_t *message, size_t size)
{
    (void)size;
    return (load_64(message + range->word) << range->up) - range->least <= range->span;
}

/*@ requires \valid_read(comparison) && size % 8 == 0;
    requires number_is_good(&comparison->left, size) && number_is_good(&comparison->right, size);
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
INLINE int holds(const struct schema_comparison *comparison, const uint8_t *message, size_t size)
{
    uint64_t left = read_number(&comparison->left, message, size), right = read_number(&comparison->right, message, size);
    // What is below zero is below every u64.
    int is_left_below = (left & comparison->left.sign) != 0, is_right_below = (right & comparison->right.sign) != 0;
    int is_less = is_left_below == is_right_below ? left < right : is_left_below;
    int is_equal = is_left_below == is_right_below && left == right;
    switch (comparison->operator) {
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
static __attribute__((noinline)) struct verdict check_records(const struct schema_field *array, const uint8_t *message, size_t size)
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
            if (!is_clear(message, end, member->offset + shift, size))
                return (struct verdict){REASON_PADDING, j};
            enum reason reason = check_field(member, message, shift, size);
            if (reason != REASON_DONE)
                return (struct verdict){reason, j};
            end = field_end(member) + shift;
        }
        //@ assert next: shift + array->stride == (i + 1) * array->stride;
    }
    return (struct verdict){is_clear(message, end, records_stop(array), size) ? REASON_DONE : REASON_PADDING, 0};
}

/*@ predicate texts_are_inside(struct schema_field *f, integer count, uint8_t *message, integer size) =
        \forall integer i; 0 <= i < count && type_is_text(f[i].type) && !is_member(f + i) ==>
            text_is_inside(f + i, message, size);
*/
// The fields before `limit` that are more than a number.
/*@ requires schema_is_valid(schema) && plan_is_valid(plan, schema) && length_is_good(schema, message, size);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    requires limit <= schema->header->field_count;
    assigns \nothing;
    ensures \result.reason == REASON_DONE ==> texts_are_inside(schema->fields, limit, message, size);
    ensures \result.reason == REASON_DONE || REASON_LENGTH <= \result.reason <= REASON_PADDING;
    ensures \result.field < schema->header->field_count || \result.field == UINT16_MAX; */
static struct verdict check_parts(const struct schema *schema, const struct schema_plan *plan, uint32_t limit,
                                  const uint8_t *message, size_t size)
{
    //@ assert first: next_is_good(plan->next[0], schema->fields, 0, schema->header->field_count);
    //@ assert none: texts_are_inside(schema->fields, plan->next[0], message, size);
    /*@ loop invariant i <= schema->header->field_count;
        loop invariant i < schema->header->field_count ==> is_part(schema->fields + i);
        loop invariant texts_are_inside(schema->fields, i, message, size);
        loop assigns i;
        loop variant schema->header->field_count - i; */
    for (uint32_t i = plan->next[0]; i < limit; i = plan->next[i + 1]) {
        const struct schema_field *field = schema->fields + i;
        //@ assert reached: field_is_reached(schema->fields + i, message, size);
        //@ assert formed: field_is_valid(schema->fields + i);
        enum reason reason = check_field(field, message, 0, size);
        if (reason != REASON_DONE)
            return (struct verdict){reason, (uint16_t)i};
        //@ assert text: texts_are_inside(schema->fields, i + 1, message, size);
        //@ assert next: next_is_good(plan->next[i + 1], schema->fields, i + 1, schema->header->field_count);
        //@ assert texts: texts_are_inside(schema->fields, plan->next[i + 1], message, size);
        if (field->member_count == 0)
            continue;
        //@ assert laid_out: records_are_laid_out(schema->fields, i, schema->header->field_count, size);
        struct verdict verdict = check_records(field, message, size);
        if (verdict.reason != REASON_DONE)
            return (struct verdict){verdict.reason, (uint16_t)(i + verdict.field)};
    }
    return (struct verdict){REASON_DONE, UINT16_MAX};
}

// All numbers first: they are most of a message. Of the first that is not within its range the fields before it are still to
// be looked at, for the verdict is on the first field.
/*@ requires schema_is_valid(schema) && plan_is_valid(plan, schema);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns \nothing;
    ensures \result.reason == REASON_DONE ==> message_is_sized(schema, message, size);
    ensures \result.reason == REASON_DONE ||
        REASON_LENGTH <= \result.reason <= REASON_RELATION;
    ensures \result.field < schema->header->field_count || \result.field == UINT16_MAX; */
static struct verdict judge(const struct schema *schema, const struct schema_plan *plan, const uint8_t *message, size_t size)
{
    if (!is_length_good(schema, plan, message, size))
        return (struct verdict){REASON_LENGTH, UINT16_MAX};
    uint32_t at = 0;
    /*@ loop invariant at <= plan->range_count;
        loop assigns at;
        loop variant plan->range_count - at; */
    while (at < plan->range_count && is_within(&plan->ranges[at], message, size))
        at++;
    int is_out = at < plan->range_count;
    struct verdict verdict = check_parts(schema, plan, is_out ? plan->ranges[at].field : plan->field_count, message, size);
    if (verdict.reason != REASON_DONE)
        return verdict;
    if (is_out)
        return (struct verdict){(enum reason)plan->ranges[at].reason, (uint16_t)plan->ranges[at].field};
    //@ assert sized: message_is_sized(schema, message, size);
    if (!is_clear(message, plan->end, size, size))
        return (struct verdict){REASON_PADDING, UINT16_MAX};
    /*@ loop invariant i <= plan->comparison_count;
        loop assigns i;
        loop variant plan->comparison_count - i; */
    for (uint32_t i = 0; i < plan->comparison_count; i++)
        if (!holds(&plan->comparisons[i], message, size))
            return (struct verdict){REASON_RELATION, (uint16_t)plan->comparisons[i].field};
    return (struct verdict){REASON_DONE, UINT16_MAX};
}

enum reason schema_judge(const struct schema *schema, const struct schema_plan *plan, const uint8_t *message, size_t size,
                         uint16_t *field)
{
    struct verdict verdict = judge(schema, plan, message, size);
    *field = verdict.field;
    return verdict.reason;
}

enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field)
{
    struct schema_plan plan;
    schema_prepare(&plan, schema);
    return schema_judge(schema, &plan, message, size, field);
}
