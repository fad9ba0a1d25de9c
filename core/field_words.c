// SPDX-License-Identifier: ISC
// Words for types, classes and sinks, numbers with their decimals, and what a field may be.
#include "core/field_words.h"

#include "core/schema_layout.h"
#include "core/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const types[] = {"u8",   "u16",  "u32",    "u64",   "i8",    "i16",    "i32",   "i64",
                                    "bool", "enum", "string", "bytes", "array", "sealed", "record"};
static const char *const classes[] = {"utf8", "token", "host", "printable", "topic"};
static const char *const sinks[] = {"sql", "shell", "html", "csv", "log", "path"};

const char *field_type_name(unsigned type)
{
    return type >= SCHEMA_U8 && type <= SCHEMA_RECORD ? types[type - 1] : "?";
}

const char *field_class_name(unsigned class)
{
    return class <= SCHEMA_CLASS_TOPIC ? classes[class] : "?";
}

const char *field_sink_name(unsigned bit)
{
    return bit < sizeof sinks / sizeof sinks[0] ? sinks[bit] : NULL;
}

int field_sink_find(const char *name)
{
    for (int i = 0; i < (int)(sizeof sinks / sizeof sinks[0]); i++)
        if (strcmp(sinks[i], name) == 0)
            return i;
    return -1;
}

void field_number_text(unsigned type, unsigned decimals, int64_t value, char *text, size_t capacity)
{
    int is_negative = type != SCHEMA_U64 && value < 0;
    uint64_t magnitude = is_negative ? 0 - (uint64_t)value : (uint64_t)value, scale = 1;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    if (decimals == 0)
        snprintf(text, capacity, "%s%" PRIu64, is_negative ? "-" : "", magnitude);
    else
        snprintf(text, capacity, "%s%" PRIu64 ".%0*" PRIu64, is_negative ? "-" : "", magnitude / scale,
                 (int)decimals, magnitude % scale);
}

void field_value_text(const struct schema *schema, const struct schema_field *field, int64_t value, char *text, size_t capacity)
{
    if (field->type == SCHEMA_BOOL)
        snprintf(text, capacity, "%s", value != 0 ? "true" : "false");
    else if (field->type == SCHEMA_ENUM && value >= 0 && value < field->label_count)
        snprintf(text, capacity, "%s", schema->labels[field->label_first + value].text);
    else
        field_number_text(field->type, field->decimals, value, text, capacity);
}

static void say_scalar(struct words *words, const struct schema *schema, const struct schema_field *field, unsigned type)
{
    char low[24], high[24];
    if (type == SCHEMA_BOOL)
        words_add(words, "false or true");
    for (unsigned i = 0; type == SCHEMA_ENUM && i < field->label_count; i++)
        words_add(words, "%s%s", i == 0 ? "one of " : " ", schema->labels[field->label_first + i].text);
    if (is_integer(type)) {
        field_number_text(type, field->decimals, field->minimum, low, sizeof low);
        field_number_text(type, field->decimals, field->maximum, high, sizeof high);
        words_add(words, "%s to %s", low, high);
    }
}

static void say_text(struct words *words, const struct schema_field *field)
{
    words_add(words, "at most %u bytes", field->capacity);
    if (field->type == SCHEMA_SEALED)
        words_add(words, " that the fabric cannot read");
    if (field->type != SCHEMA_STRING)
        return;
    words_add(words, " of class %s", field_class_name(field->class));
    for (unsigned i = 0, is_first = 1; field_sink_name(i) != NULL; i++)
        if ((field->deny >> i & 1) != 0) {
            words_add(words, "%s%s", is_first ? ", nothing that means something to " : " ", field_sink_name(i));
            is_first = 0;
        }
}

void field_may_be(const struct schema *schema, const struct schema_field *field, char *text, size_t capacity)
{
    struct words words = {text, capacity, 0};
    text[0] = 0;
    if (is_text(field->type))
        say_text(&words, field);
    else if (field->type != SCHEMA_ARRAY)
        say_scalar(&words, schema, field, field->type);
    else if (field->element == SCHEMA_RECORD)
        words_add(&words, "at most %u records", field->capacity);
    else {
        words_add(&words, "at most %u of %s, each ", field->capacity, field_type_name(field->element));
        say_scalar(&words, schema, field, field->element);
    }
    if (field->unit[0] != 0)
        words_add(&words, " %s", field->unit);
}
