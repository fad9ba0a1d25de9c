// SPDX-License-Identifier: ISC
// Schemas as CDDL: one rule for the message, one for each record and what an array is of, called NAME-FIELD.
//
// Integers are ranges; those of more than 15 digits are texts, as in JSON. A number with decimals may be an integer or a
// float. Texts of ASCII classes are regular expressions with their length, others have a .size, which counts bytes.
#include "cli/source/schema_cddl.h"

#include "core/field_words.h"
#include "core/schema_layout.h"

#include <inttypes.h>
#include <string.h>

#define WRITTEN_MAX INT64_C(999999999999999) // as in cli/message_json.c: larger numbers are texts

static const char *const class_characters[] = {
    [SCHEMA_CLASS_TOKEN] = "[A-Za-z0-9_.:-]",
    [SCHEMA_CLASS_HOST] = "[a-z0-9.-]",
    [SCHEMA_CLASS_PRINTABLE] = "[ -~]",
};

// A bound as an integer of the data model: rounded into the range when the field has decimals.
static int64_t whole(const struct schema_field *field, int64_t value, int is_up)
{
    int64_t scale = 1;
    for (unsigned i = 0; i < field->decimals; i++)
        scale *= 10;
    int64_t rest = value % scale;
    return value / scale + (is_up && rest > 0) - (!is_up && rest < 0);
}

static void emit_number(const struct schema_field *field, unsigned type, FILE *out)
{
    int is_huge = type == SCHEMA_U64 && field->maximum < 0; // above INT64_MAX
    int is_all_huge = type == SCHEMA_U64 && field->minimum < 0;
    int64_t low = field->minimum, high = is_huge ? INT64_MAX : field->maximum;
    int has_text = is_huge || high > WRITTEN_MAX || low < -WRITTEN_MAX;
    int has_number = !is_all_huge && low <= WRITTEN_MAX && high >= -WRITTEN_MAX;
    low = low < -WRITTEN_MAX ? -WRITTEN_MAX : low;
    high = high > WRITTEN_MAX ? WRITTEN_MAX : high;
    const char *separator = "";
    if (has_number && whole(field, low, 1) <= whole(field, high, 0)) {
        fprintf(out, "%" PRId64 "..%" PRId64, whole(field, low, 1), whole(field, high, 0));
        separator = " / ";
    }
    if (has_number && field->decimals != 0) {
        char from[24], to[24];
        field_number_text(type, field->decimals, low, from, sizeof from);
        field_number_text(type, field->decimals, high, to, sizeof to);
        fprintf(out, "%s%s..%s", separator, from, to);
        separator = " / ";
    }
    if (has_text && field->decimals != 0)
        fprintf(out, "%ststr .regexp \"-?[0-9]+[.][0-9]{%u}\"", separator, field->decimals);
    else if (has_text)
        fprintf(out, "%ststr .regexp \"-?[0-9]{16,20}\"", separator);
}

static void emit_scalar(const struct schema *schema, const struct schema_field *field, unsigned type, FILE *out)
{
    if (type == SCHEMA_BOOL)
        fprintf(out, "bool");
    else if (is_integer(type))
        emit_number(field, type, out);
    for (unsigned i = 0; type == SCHEMA_ENUM && i < field->label_count; i++)
        fprintf(out, "%s\"%s\"", i == 0 ? "" : " / ", schema->labels[field->label_first + i].text);
}

// The name of a rule beside the message's: "reading-position-list" for `position.list` of reading/1.
static void emit_rule_name(const struct schema *schema, const char *name, size_t length, FILE *out)
{
    fprintf(out, "%.*s-", (int)strcspn(schema->header->name, "/"), schema->header->name);
    for (size_t i = 0; i < length && name[i] != 0; i++)
        fputc(name[i] == '.' ? '-' : name[i], out);
}

// Topics need two controls, so the size is a rule of its own; elements are one, too.
static int has_rule(const struct schema_field *field)
{
    return (field->type == SCHEMA_STRING && field->class == SCHEMA_CLASS_TOPIC) ||
           (field->type == SCHEMA_ARRAY && field->element != SCHEMA_RECORD);
}

static void emit_text(const struct schema *schema, const struct schema_field *field, FILE *out)
{
    unsigned most = field->capacity;
    if (field->type != SCHEMA_STRING)
        fprintf(out, "tstr .size (0..%u) / { hex: tstr .regexp \"([0-9a-f][0-9a-f]){0,%u}\" } / { base64: tstr }", most,
                most);
    else if (field->class == SCHEMA_CLASS_UTF8)
        fprintf(out, "tstr .size (0..%u)", most);
    else if (field->class == SCHEMA_CLASS_TOPIC) {
        emit_rule_name(schema, field->name, sizeof field->name, out);
        fprintf(out, " .regexp \"[^+#]*\"");
    } else
        fprintf(out, "tstr .regexp \"%s{0,%u}\"", class_characters[field->class], most);
}

// A field's name where it is, and its type; what it may be in words as a comment.
static void emit_field(const struct schema *schema, const struct schema_field *field, int is_last, FILE *out)
{
    const char *dot = strchr(field->name, '.');
    char may_be[160];
    fprintf(out, "  %s: ", dot == NULL ? field->name : dot + 1);
    if (field->type < SCHEMA_STRING) {
        emit_scalar(schema, field, field->type, out);
    } else if (is_text(field->type)) {
        emit_text(schema, field, out);
    } else {
        fprintf(out, "[0*%u ", field->capacity);
        emit_rule_name(schema, field->name, sizeof field->name, out);
        fprintf(out, "]");
    }
    field_may_be(schema, field, may_be, sizeof may_be);
    fprintf(out, "%s ; %s\n", is_last ? "" : ",", may_be);
}

static int record_length(const struct schema_field *field)
{
    const char *dot = strchr(field->name, '.');
    return dot == NULL ? 0 : (int)(dot - field->name);
}

// Number of fields from `first` on that are in its record; 0: it is in none.
static unsigned record_size(const struct schema *schema, unsigned first)
{
    const struct schema_field *fields = schema->fields;
    int length = record_length(&fields[first]);
    unsigned count = 0;
    while (length != 0 && first + count < schema->header->field_count &&
           record_length(&fields[first + count]) == length &&
           strncmp(fields[first].name, fields[first + count].name, (size_t)length) == 0)
        count++;
    return count;
}

void schema_emit_cddl(const struct schema *schema, FILE *out)
{
    static const char *const operators[] = {"", "<", "<=", "==", "!="};
    const struct schema_header *header = schema->header;
    const struct schema_field *fields = schema->fields;
    int stem = (int)strcspn(header->name, "/");
    fprintf(out, "; %s of Crenel: a message as `crenel schema decode` writes it\n%.*s = {\n", header->name, stem,
            header->name);
    for (unsigned i = 0, count; i < header->field_count; i += count) {
        int is_last;
        count = record_size(schema, i);
        if (count == 0) {
            count = 1u + fields[i].member_count;
            emit_field(schema, &fields[i], i + count == header->field_count, out);
            continue;
        }
        is_last = i + count == header->field_count;
        fprintf(out, "  %.*s: ", record_length(&fields[i]), fields[i].name);
        emit_rule_name(schema, fields[i].name, (size_t)record_length(&fields[i]), out);
        fprintf(out, "%s\n", is_last ? "" : ",");
    }
    fprintf(out, "}\n");
    for (unsigned i = 0; i < header->relation_count; i++)
        fprintf(out, "; and %s %s %s\n", fields[schema->relations[i].left].name,
                operators[schema->relations[i].operator], fields[schema->relations[i].right].name);
    for (unsigned i = 0, count; i < header->field_count; i += count) {
        count = record_size(schema, i);
        if (count == 0) {
            count = 1;
            continue;
        }
        fputc('\n', out);
        emit_rule_name(schema, fields[i].name, (size_t)record_length(&fields[i]), out);
        fprintf(out, " = {\n");
        for (unsigned j = i; j < i + count; j++)
            emit_field(schema, &fields[j], j + 1 == i + count, out);
        fprintf(out, "}\n");
    }
    for (unsigned i = 0; i < header->field_count; i++) {
        if (!has_rule(&fields[i]))
            continue;
        fputc('\n', out);
        emit_rule_name(schema, fields[i].name, sizeof fields[i].name, out);
        fprintf(out, " = ");
        if (fields[i].type == SCHEMA_STRING)
            fprintf(out, "tstr .size (0..%u)", fields[i].capacity);
        else
            emit_scalar(schema, &fields[i], fields[i].element, out);
        fputc('\n', out);
    }
}
