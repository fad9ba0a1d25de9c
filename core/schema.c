// SPDX-License-Identifier: ISC
// The schema checker (schema_check), and values of checked messages.
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

#include "core/check.h"
#include "core/schema_layout.h"
#include "core/schema_text.h"

#include <string.h>

// The path of every field of every message: a call would cost as much as what it does.
#define INLINE static inline __attribute__((always_inline))

/*@ requires \valid_read(bytes + (0 .. 1));
    assigns \nothing;
    ensures \result == bytes[0] + 256 * bytes[1]; */
static uint32_t load_16(const uint8_t *bytes)
{
    return bytes[0] + 256u * bytes[1];
}

// Eight bytes as one number.
/*@ requires \valid_read(bytes + (0 .. 7));
    assigns \nothing; */
INLINE uint64_t load_64(const uint8_t *bytes)
{
    return bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 24 |
           (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 | (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

// The scalar at this place of a message, extended to 64 bits as its type says. It lies in one word of eight bytes, since it
// is aligned, and messages have nothing but whole words; so there is no branch on its width.
/*@ requires type_is_scalar(type) && at + width_of(type) <= size && size % 8 == 0;
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
INLINE uint64_t load(unsigned type, const uint8_t *message, size_t at, size_t size)
{
    static const struct {
        uint64_t mask, sign; // the bits that a type has, and of these the one that counts less than nothing
    } forms[SCHEMA_ENUM + 1] = {
        [SCHEMA_U8] = {0xff, 0},         [SCHEMA_I8] = {0xff, 0x80},
        [SCHEMA_U16] = {0xffff, 0},      [SCHEMA_I16] = {0xffff, 0x8000},
        [SCHEMA_U32] = {UINT32_MAX, 0},  [SCHEMA_I32] = {UINT32_MAX, 0x80000000},
        [SCHEMA_U64] = {UINT64_MAX, 0},  [SCHEMA_I64] = {UINT64_MAX, 0}, // as they are
        [SCHEMA_BOOL] = {0xff, 0},       [SCHEMA_ENUM] = {0xff, 0}};
    //@ assert in_one_word: at / 8 * 8 + 8 <= size;
    (void)size;
    uint64_t value = load_64(message + at / 8 * 8) >> (8 * (at % 8)) & forms[type].mask;
    return (value ^ forms[type].sign) - forms[type].sign;
}

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

//@ lemma steps_rise: \forall integer i, n, step; 0 <= i < n && 0 <= step ==> i * step + step <= n * step;

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

// What the checks of fields build on: the last field of a message that was cut ends with its text.
/*@ predicate length_is_good(struct schema *s, uint8_t *message, integer size) =
        size <= s->header->struct_bytes && size % 8 == 0 &&
        (\forall integer i; 0 <= i < s->header->field_count - 1 ==> end_of(s->fields + i) <= size) &&
        arrays_are_laid_out(s->fields, s->header->field_count, size) &&
        (end_of(last_field(s)) <= size ||
         (type_is_text(last_field(s)->type) && last_field(s)->offset + 2 <= size &&
          text_is_inside(last_field(s), message, size)));
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
    //@ assert last: last_field(schema)->offset <= end_of(last_field(schema)) <= header->struct_bytes;
    /*@ assert before: \forall integer i; 0 <= i < header->field_count - 1 ==>
            end_of(schema->fields + i) <= last_field(schema)->offset; */
    //@ assert whole: !header->is_cut ==> length_is_good(schema, message, size);
    if (!header->is_cut)
        return REASON_DONE;
    const struct schema_field *last = &schema->fields[header->field_count - 1];
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
    //@ assert others: \forall integer i; 0 <= i < header->field_count - 1 ==> end_of(schema->fields + i) <= last->offset;
    if (size != align_up(last->offset + 2u + length, 8))
        return REASON_LENGTH;
    //@ assert inside: text_is_inside(last_field(schema), message, size);
    //@ assert part: length_is_good(schema, message, size);
    return REASON_DONE;
}

// Its value, length or count, in the first record of an array.
/*@ requires \valid_read(field) && SCHEMA_U8 <= field->type <= SCHEMA_SEALED;
    requires \valid_read(message + (0 .. size - 1)) && value_is_inside(field, size) && size % 8 == 0;
    assigns \nothing;
    ensures field->type >= SCHEMA_STRING ==> \result == message[field->offset] + 256 * message[field->offset + 1]; */
INLINE int64_t value_of(const struct schema_field *field, const uint8_t *message, size_t size)
{
    if (field->type >= SCHEMA_STRING)
        return load_16(message + field->offset);
    return (int64_t)load(field->type, message, field->offset, size);
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
    /*@ loop invariant i <= count && shift == i * array->stride && end <= size;
        loop assigns i, shift, end;
        loop variant count - i; */
    for (size_t i = 0, shift = 0; i < count; i++, shift += array->stride)
        /*@ loop invariant 1 <= j <= array->member_count + 1 && end <= size;
            loop assigns j, end;
            loop variant array->member_count + 1 - j; */
        for (uint16_t j = 1; j <= array->member_count; j++) {
            //@ assert inside: shift + array->stride <= array->capacity * array->stride;
            const struct schema_field *member = array + j;
            if (!is_zero(message, end, member->offset + shift))
                return (struct verdict){REASON_PADDING, j};
            enum reason reason = check_field(member, message, shift, size);
            if (reason != REASON_DONE)
                return (struct verdict){reason, j};
            end = field_end(member) + shift;
        }
    return (struct verdict){is_zero(message, end, records_stop(array)) ? REASON_DONE : REASON_PADDING, 0};
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
    size_t end = 0;
    const struct schema_field *field = schema->fields;
    unsigned count = schema->header->field_count;
    /*@ loop invariant i <= count && end <= 4096 && field == schema->fields + i;
        loop invariant end <= size || i == count;
        loop invariant \forall integer j; 0 <= j < i && type_is_text(schema->fields[j].type) &&
            !is_member(schema->fields + j) ==> text_is_inside(schema->fields + j, message, size);
        loop assigns i, field, reason, end;
        loop variant count - i; */
    for (unsigned i = 0; i < count; i++, field++) {
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
        end = field_end(field);
        if (field->member_count == 0)
            continue;
        struct verdict verdict = check_records(field, message, size);
        if (verdict.reason != REASON_DONE)
            return (struct verdict){verdict.reason, (uint16_t)(i + verdict.field)};
        end = records_stop(field);
        i += field->member_count;
        field += field->member_count;
    }
    if (!is_zero(message, end, size))
        return (struct verdict){REASON_PADDING, UINT16_MAX};
    /*@ loop invariant i <= schema->header->relation_count;
        loop assigns i;
        loop variant schema->header->relation_count - i; */
    for (unsigned i = 0; i < schema->header->relation_count; i++)
        if (!holds(schema, &schema->relations[i], message, size))
            return (struct verdict){REASON_RELATION, schema->relations[i].left};
    return (struct verdict){REASON_DONE, UINT16_MAX};
}

enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field)
{
    struct verdict verdict = judge(schema, message, size);
    *field = verdict.field;
    return verdict.reason;
}

// ---- Values of checked messages ----

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
