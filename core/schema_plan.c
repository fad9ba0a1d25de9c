// SPDX-License-Identifier: ISC
// The plan of a schema (schema_prepare).
//
// Bytes that the checker skips are less than eight (core/schema_block.c), so they lie in two words at most: a range for each,
// and one for the field behind them. What is in a text or in an array is not planned.
#include "core/schema.h"

#include "core/schema_layout.h"

// The bytes [from, to), as far as they are in the word of the last one.
/*@ requires from < to <= 4096;
    assigns \nothing;
    ensures \result.word % 8 == 0 && \result.word < to && \result.up < 64 && \result.down < 64; */
static struct schema_number number(size_t from, size_t to, int has_sign)
{
    size_t word = (to - 1) / 8 * 8;
    unsigned up = (unsigned)(word + 8 - to), bytes = (unsigned)(to - (from < word ? word : from));
    //@ assert a_word: up < 8 && 1 <= bytes <= 8;
    unsigned down = 8 * (8 - bytes);
    return (struct schema_number){has_sign ? UINT64_C(1) << (63 - down) : 0, (uint32_t)word, 8 * up, down};
}

/*@ requires from < to <= 4096 && REASON_RANGE <= reason <= REASON_PADDING;
    assigns \nothing;
    ensures \result.word % 8 == 0 && \result.word < to && \result.up < 64;
    ensures \result.field == field && \result.reason == reason; */
static struct schema_range range(size_t from, size_t to, uint64_t least, uint64_t span, uint32_t reason, uint32_t field)
{
    struct schema_number at = number(from, to, 0);
    uint64_t below = (UINT64_C(1) << at.down) - 1;
    return (struct schema_range){least << at.down, span << at.down | below, at.word, at.up, reason, field};
}

/*@ requires \valid_read(field) && SCHEMA_U8 <= field->type <= SCHEMA_ENUM;
    requires end_of(field) <= 4096;
    assigns \nothing;
    ensures \result.word % 8 == 0 && \result.word < field->offset + width_of(field->type) && \result.up < 64;
    ensures \result.field == index && REASON_RANGE <= \result.reason <= REASON_PADDING; */
static struct schema_range value_range(const struct schema_field *field, uint32_t index)
{
    uint64_t least = (uint64_t)field->minimum; // counted from it, with a wrap, signed and unsigned values are alike
    return range(field->offset, field->offset + type_width(field->type), least, (uint64_t)field->maximum - least,
                 field->type == SCHEMA_ENUM ? REASON_ENUMERATION : REASON_RANGE, index);
}

// Its value, length or count.
/*@ requires \valid_read(field) && SCHEMA_U8 <= field->type <= SCHEMA_SEALED;
    requires field->offset + (field->type >= SCHEMA_STRING ? 2 : width_of(field->type)) <= 4096;
    assigns \nothing;
    ensures \result.word % 8 == 0 && \result.up < 64 && \result.down < 64;
    ensures \result.word < field->offset + (field->type >= SCHEMA_STRING ? 2 : width_of(field->type)); */
static struct schema_number value_number(const struct schema_field *field)
{
    unsigned width = field->type >= SCHEMA_STRING ? 2 : type_width(field->type);
    return number(field->offset, (size_t)field->offset + width, is_signed(field->type));
}

// What is used of every message, before its end, may be looked at in the shortest one.
/*@ predicate values_are_inside(struct schema_field *f, integer count, integer least) =
        \forall integer i; 0 <= i < count ==> value_is_inside(f + i, least);
*/
/*@ requires schema_is_valid(schema) && \valid(plan) && least <= 4096;
    requires values_are_inside(schema->fields, schema->header->field_count, least);
    assigns plan->ranges[0 .. SCHEMA_RANGES_MAX - 1], plan->range_count, plan->end;
    ensures plan->range_count <= SCHEMA_RANGES_MAX && plan->end <= 4096;
    ensures ranges_are_good(&plan->ranges[0], plan->range_count, schema->header->field_count, least); */
static void plan_ranges(struct schema_plan *plan, const struct schema *schema, uint32_t least)
{
    (void)least;
    const struct schema_field *fields = schema->fields;
    uint32_t count = schema->header->field_count, used = 0;
    size_t end = 0;
    /*@ loop invariant i <= count && used <= 3 * i && end <= 4096;
        loop invariant ranges_are_good(&plan->ranges[0], used, count, least);
        loop assigns i, used, end, plan->ranges[0 .. SCHEMA_RANGES_MAX - 1];
        loop variant count - i; */
    for (uint32_t i = 0; i < count; i++) {
        const struct schema_field *field = &fields[i];
        //@ assert formed: field_is_valid(field);
        //@ assert inside: value_is_inside(field, least);
        if (end / 8 * 8 + 8 < field->offset)
            plan->ranges[used++] = range(end, end / 8 * 8 + 8, 0, 0, REASON_PADDING, i);
        //@ assert one: used <= 3 * i + 1 && ranges_are_good(&plan->ranges[0], used, count, least);
        if (end < field->offset)
            plan->ranges[used++] = range(end, field->offset, 0, 0, REASON_PADDING, i);
        //@ assert two: used <= 3 * i + 2 && ranges_are_good(&plan->ranges[0], used, count, least);
        if (field->type < SCHEMA_STRING) {
            struct schema_range value = value_range(field, i);
            //@ assert value_inside: value.word % 8 == 0 && value.word < least && value.up < 64 && value.field < count;
            plan->ranges[used++] = value;
            //@ assert before: ranges_are_good(&plan->ranges[0], used - 1, count, least);
            //@ assert last: range_is_good(&plan->ranges[used - 1], count, least);
        }
        //@ assert three: used <= 3 * i + 3 && ranges_are_good(&plan->ranges[0], used, count, least);
        end = field_end(field);
        if (field->member_count == 0)
            continue;
        //@ assert laid_out: records_are_laid_out(fields, i, count, schema->header->struct_bytes);
        end = records_stop(field);
        i += field->member_count;
    }
    plan->range_count = used;
    plan->end = (uint32_t)end;
}

/*@ requires schema_is_valid(schema) && \valid(plan);
    assigns plan->next[0 .. SCHEMA_FIELDS_MAX];
    ensures nexts_are_good(&plan->next[0], schema->fields, 0, schema->header->field_count); */
static void plan_parts(struct schema_plan *plan, const struct schema *schema)
{
    const struct schema_field *fields = schema->fields;
    uint32_t count = schema->header->field_count, next = count;
    plan->next[count] = next;
    /*@ loop invariant i <= count && next_is_good(next, fields, i, count);
        loop invariant nexts_are_good(&plan->next[0], fields, i, count);
        loop assigns i, next, plan->next[0 .. SCHEMA_FIELDS_MAX];
        loop variant i; */
    for (uint32_t i = count; i > 0; i--) {
        const struct schema_field *field = &fields[i - 1];
        if (field->type >= SCHEMA_STRING && !is_in_array(field))
            next = i - 1;
        //@ assert this: next_is_good(next, fields, i - 1, count);
        plan->next[i - 1] = next;
    }
}

/*@ requires schema_is_valid(schema) && index < schema->header->relation_count;
    requires least <= 4096 && values_are_inside(schema->fields, schema->header->field_count, least);
    assigns \nothing;
    ensures \result.left.word % 8 == 0 && \result.left.word < least && \result.left.up < 64 && \result.left.down < 64;
    ensures \result.right.word % 8 == 0 && \result.right.word < least && \result.right.up < 64 && \result.right.down < 64;
    ensures \result.field < schema->header->field_count; */
static struct schema_comparison comparison(const struct schema *schema, unsigned index, uint32_t least)
{
    (void)least;
    const struct schema_relation *relation = &schema->relations[index];
    //@ assert left: relation->left < schema->header->field_count && field_is_valid(schema->fields + relation->left);
    //@ assert right: relation->right < schema->header->field_count && field_is_valid(schema->fields + relation->right);
    return (struct schema_comparison){value_number(&schema->fields[relation->left]),
                                      value_number(&schema->fields[relation->right]), relation->operator, relation->left};
}

/*@ requires schema_is_valid(schema) && \valid(plan) && least <= 4096;
    requires values_are_inside(schema->fields, schema->header->field_count, least);
    assigns plan->comparisons[0 .. SCHEMA_RELATIONS_MAX - 1], plan->comparison_count;
    ensures plan->comparison_count <= SCHEMA_RELATIONS_MAX;
    ensures comparisons_are_good(&plan->comparisons[0], plan->comparison_count, schema->header->field_count, least); */
static void plan_comparisons(struct schema_plan *plan, const struct schema *schema, uint32_t least)
{
    uint32_t count = schema->header->relation_count;
    /*@ loop invariant i <= count;
        loop invariant comparisons_are_good(&plan->comparisons[0], i, schema->header->field_count, least);
        loop assigns i, plan->comparisons[0 .. SCHEMA_RELATIONS_MAX - 1];
        loop variant count - i; */
    for (uint32_t i = 0; i < count; i++)
        plan->comparisons[i] = comparison(schema, i, least);
    plan->comparison_count = count;
}

// Of the shortest message.
/*@ requires schema_is_valid(schema);
    assigns \nothing;
    ensures \result == (schema->header->is_cut != 0 ? last_field(schema)->offset + 2 : schema->header->struct_bytes);
    ensures \result <= 4096 && values_are_inside(schema->fields, schema->header->field_count, \result); */
static uint32_t least_bytes(const struct schema *schema)
{
    uint32_t count = schema->header->field_count;
    const struct schema_field *fields = schema->fields;
    /*@ assert values: \forall integer i; 0 <= i < count ==> value_is_inside(fields + i, end_of(fields + i)); */
    /*@ assert ends: \forall integer i; 0 <= i < count ==> end_of(fields + i) <= schema->header->struct_bytes; */
    /*@ assert others: \forall integer i; 0 <= i < count - 1 ==> end_of(fields + i) <= fields[count - 1].offset; */
    return schema->header->is_cut ? fields[count - 1].offset + 2u : schema->header->struct_bytes;
}

void schema_prepare(struct schema_plan *plan, const struct schema *schema)
{
    uint32_t least = least_bytes(schema);
    plan->least_bytes = least;
    plan->most_bytes = schema->header->struct_bytes;
    plan->field_count = schema->header->field_count;
    plan_ranges(plan, schema, least);
    plan_parts(plan, schema);
    //@ assert ranges: ranges_are_good(&plan->ranges[0], plan->range_count, schema->header->field_count, least);
    plan_comparisons(plan, schema, least);
    //@ assert ranges_stay: ranges_are_good(&plan->ranges[0], plan->range_count, schema->header->field_count, least);
    //@ assert parts_stay: nexts_are_good(&plan->next[0], schema->fields, 0, schema->header->field_count);
}
