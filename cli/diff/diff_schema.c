// SPDX-License-Identifier: ISC
// What messages of a new schema may hold that those of the old one could not.
#include "cli/diff/diff.h"

#include "core/field_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int is_integer(const struct schema_field *field)
{
    unsigned type = field->type == SCHEMA_ARRAY ? field->element : field->type;
    return type >= SCHEMA_U8 && type <= SCHEMA_I64;
}

static int is_less(const struct schema_field *field, int64_t one, int64_t other)
{
    unsigned type = field->type == SCHEMA_ARRAY ? field->element : field->type;
    return type <= SCHEMA_U64 ? (uint64_t)one < (uint64_t)other : one < other;
}

static void number_text(const struct schema_field *field, int64_t value, char text[40])
{
    unsigned type = field->type == SCHEMA_ARRAY ? field->element : field->type;
    if (type <= SCHEMA_U64)
        snprintf(text, 40, "%" PRIu64, (uint64_t)value);
    else
        snprintf(text, 40, "%" PRId64, value);
    size_t digits = strlen(text), start = text[0] == '-';
    if (field->decimals == 0 || digits + field->decimals + 2 >= 40)
        return;
    while (digits - start <= field->decimals) { // 0.05
        memmove(text + start + 1, text + start, digits - start + 1);
        text[start] = '0';
        digits++;
    }
    memmove(text + digits - field->decimals + 1, text + digits - field->decimals, field->decimals + 1u);
    text[digits - field->decimals] = '.';
}

static void diff_range(const struct diff_entry *entry, const struct schema_field *was, const struct schema_field *is)
{
    char old[2][40], new[2][40];
    if (was->minimum == is->minimum && was->maximum == is->maximum)
        return;
    int is_wider = is_less(is, is->minimum, was->minimum) || is_less(is, was->maximum, is->maximum);
    number_text(was, was->minimum, old[0]);
    number_text(was, was->maximum, old[1]);
    number_text(is, is->minimum, new[0]);
    number_text(is, is->maximum, new[1]);
    diff_add(entry, is_wider ? DIFF_MORE : DIFF_LESS, "field %s: %s..%s -> %s..%s", is->name, old[0], old[1], new[0], new[1]);
}

// Is every text of class `inner` one of class `outer`?
static int class_holds(unsigned outer, unsigned inner)
{
    static const uint8_t above[] = { // bit o: class o holds all of this one
        [SCHEMA_CLASS_UTF8] = 1u << SCHEMA_CLASS_UTF8,
        [SCHEMA_CLASS_TOKEN] = 1u << SCHEMA_CLASS_UTF8 | 1u << SCHEMA_CLASS_TOKEN | 1u << SCHEMA_CLASS_PRINTABLE |
                               1u << SCHEMA_CLASS_TOPIC,
        [SCHEMA_CLASS_HOST] = 1u << SCHEMA_CLASS_UTF8 | 1u << SCHEMA_CLASS_TOKEN | 1u << SCHEMA_CLASS_HOST |
                              1u << SCHEMA_CLASS_PRINTABLE | 1u << SCHEMA_CLASS_TOPIC,
        [SCHEMA_CLASS_PRINTABLE] = 1u << SCHEMA_CLASS_UTF8 | 1u << SCHEMA_CLASS_PRINTABLE,
        [SCHEMA_CLASS_TOPIC] = 1u << SCHEMA_CLASS_UTF8 | 1u << SCHEMA_CLASS_TOPIC,
    };
    return outer == inner || (inner < sizeof above && outer < 8 && (above[inner] >> outer & 1) != 0);
}

static void diff_labels(const struct diff_entry *entry, const struct schema *old, const struct schema_field *was,
                        const struct schema *new, const struct schema_field *is)
{
    unsigned least = was->label_count < is->label_count ? was->label_count : is->label_count;
    for (unsigned i = 0; i < least; i++)
        if (strcmp(old->labels[was->label_first + i].text, new->labels[is->label_first + i].text) != 0)
            diff_add(entry, DIFF_MORE, "field %s: value %u means %s -> %s", is->name, i,
                     old->labels[was->label_first + i].text, new->labels[is->label_first + i].text);
    for (unsigned i = least; i < is->label_count; i++)
        diff_add(entry, DIFF_MORE, "field %s: + %s", is->name, new->labels[is->label_first + i].text);
    for (unsigned i = least; i < was->label_count; i++)
        diff_add(entry, DIFF_LESS, "field %s: - %s", is->name, old->labels[was->label_first + i].text);
}

static void deny_text(unsigned deny, char text[64])
{
    static const char *const sinks[] = {"sql", "shell", "html", "csv", "log", "path"};
    size_t used = 0;
    snprintf(text, 64, "nothing");
    for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++)
        if ((deny >> i & 1) != 0)
            used += (size_t)snprintf(text + used, 64 - used, "%s%s", used == 0 ? "" : " ", sinks[i]);
}

// What of the two this comparison has no words for.
static int are_rests_equal(const struct schema_field *was, const struct schema_field *is)
{
    struct schema_field rest[2] = {*was, *is};
    for (int i = 0; i < 2; i++) {
        struct schema_field *r = &rest[i];
        memset(r->name, 0, sizeof r->name);
        memset(r->unit, 0, sizeof r->unit);
        r->type = r->element = r->class = r->decimals = 0;
        r->deny = r->member_count = 0;
        r->offset = r->stride = r->capacity = r->label_first = r->label_count = 0;
        r->minimum = r->maximum = 0;
        r->deny = r->member_count = 0;
        r->stride = 0; // follow from the fields that are compared
    }
    return memcmp(&rest[0], &rest[1], sizeof rest[0]) == 0;
}

static void diff_schema_field(const struct diff_entry *entry, const struct schema *old, const struct schema_field *was,
                              const struct schema *new, const struct schema_field *is)
{
    if (was->type != is->type || was->element != is->element || was->decimals != is->decimals) {
        diff_add(entry, DIFF_MORE, "field %s: another type", is->name);
        return;
    }
    if (is_integer(is))
        diff_range(entry, was, is);
    if (was->capacity != is->capacity)
        diff_add(entry, is->capacity > was->capacity ? DIFF_MORE : DIFF_LESS, "field %s: at most %u -> %u", is->name,
                 was->capacity, is->capacity);
    if (was->class != is->class)
        diff_add(entry, class_holds(was->class, is->class) ? DIFF_LESS : DIFF_MORE, "field %s: class %s -> %s", is->name,
                 field_class_name(was->class), field_class_name(is->class));
    for (unsigned i = 0; field_sink_name(i) != NULL; i++)
        if (((was->deny ^ is->deny) >> i & 1) != 0)
            diff_add(entry, (is->deny >> i & 1) != 0 ? DIFF_LESS : DIFF_MORE, "field %s: %s deny %s", is->name,
                     (is->deny >> i & 1) != 0 ? "+" : "-", field_sink_name(i));
    diff_labels(entry, old, was, new, is);
    if (was->deny != is->deny) { // what may not stand in it because a sink would take it for its own
        char names[2][64];
        deny_text(was->deny, names[0]);
        deny_text(is->deny, names[1]);
        diff_add(entry, (was->deny & ~is->deny) != 0 ? DIFF_MORE : DIFF_LESS, "field %s: denies %s -> %s", is->name,
                 names[0], names[1]);
    }
    if (!are_rests_equal(was, is))
        diff_add(entry, DIFF_MORE, "field %s: differs in something that this comparison has no words for", is->name);
    if (memcmp(was->unit, is->unit, sizeof is->unit) != 0)
        diff_add(entry, DIFF_OTHER, "field %s: unit '%.16s' -> '%.16s'", is->name, was->unit, is->unit);
}

// ---- Relations ----

static void relation_text(const struct schema *schema, const struct schema_relation *relation, char text[80])
{
    static const char *const operators[] = {"?", "<", "<=", "==", "!="};
    snprintf(text, 80, "%.32s %s %.32s", schema->fields[relation->left].name,
             operators[relation->operator < 5 ? relation->operator : 0], schema->fields[relation->right].name);
}

static int has_relation(const struct schema *schema, const char *text)
{
    char own[80];
    for (size_t i = 0; i < schema->header->relation_count; i++) {
        relation_text(schema, &schema->relations[i], own);
        if (strcmp(own, text) == 0)
            return 1;
    }
    return 0;
}

static void relations_missing(const struct diff_entry *entry, const struct schema *from, const struct schema *in,
                              enum diff_kind kind)
{
    char text[80];
    for (size_t i = 0; i < from->header->relation_count; i++) {
        relation_text(from, &from->relations[i], text);
        if (!has_relation(in, text))
            diff_add(entry, kind, "relation %s %s", kind == DIFF_MORE ? "-" : "+", text);
    }
}

void diff_schemas(struct diff *diff, uint16_t old_index, uint16_t new_index)
{
    const struct schema *old = &diff->old->view.schemas[old_index], *new = &diff->new->view.schemas[new_index];
    uint8_t *pair = &diff->is_compared[old_index][new_index / 8];
    const size_t begin = offsetof(struct schema_header, block_bytes); // the digest is as good as who wrote it
    int is_same = old->header->block_bytes == new->header->block_bytes &&
                  memcmp((const uint8_t *)old->header + begin, (const uint8_t *)new->header + begin,
                         new->header->block_bytes - begin) == 0;
    if ((*pair >> new_index % 8 & 1) != 0 || is_same)
        return;
    *pair |= (uint8_t)(1u << new_index % 8);
    struct diff_entry entry = {diff, "schema", new->header->name, 0};
    size_t before = diff->count;
    for (size_t i = 0; i < new->header->field_count; i++) {
        int was = schema_field_index(old, new->fields[i].name);
        if (was < 0)
            diff_add(&entry, DIFF_MORE, "+ field %s", new->fields[i].name);
        else
            diff_schema_field(&entry, old, &old->fields[was], new, &new->fields[i]);
    }
    for (size_t i = 0; i < old->header->field_count; i++)
        if (schema_field_index(new, old->fields[i].name) < 0)
            diff_add(&entry, DIFF_LESS, "- field %s", old->fields[i].name);
    relations_missing(&entry, old, new, DIFF_MORE);
    relations_missing(&entry, new, old, DIFF_LESS);
    if (diff->count == before)
        diff_add(&entry, DIFF_MORE, "differs in something that this comparison has no words for");
}
