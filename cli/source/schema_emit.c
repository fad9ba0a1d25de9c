// SPDX-License-Identifier: ISC
// Schemas as C for guests: the struct whose bytes are the message, and its numbers.
#include "cli/source/schema_source.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

struct emit {
    FILE *out;
    const struct schema *schema;
    char name[SCHEMA_NAME_BYTES];  // reading
    char upper[SCHEMA_NAME_BYTES]; // READING
    unsigned gaps;
};

static const char *c_type(unsigned type)
{
    static const char *const types[] = {"uint8_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t",
                                        "int8_t",  "int16_t", "int32_t",  "int64_t"};
    return types[type <= SCHEMA_I64 ? type : 0];
}

static unsigned c_width(unsigned type)
{
    static const unsigned char widths[] = {1, 1, 2, 4, 8, 1, 2, 4, 8};
    return widths[type <= SCHEMA_I64 ? type : 0];
}

static void upper_copy(char *to, size_t capacity, const char *from)
{
    size_t i = 0;
    for (; from[i] != 0 && i + 1 < capacity; i++)
        to[i] = from[i] == '-' ? '_' : (char)toupper((unsigned char)from[i]);
    to[i] = 0;
}

void schema_c_name(const struct schema *schema, char *name, size_t capacity)
{
    size_t i = 0;
    for (const char *from = schema->header->name; from[i] != 0 && from[i] != '/' && i + 1 < capacity; i++)
        name[i] = from[i] == '-' ? '_' : from[i];
    if (capacity > 0)
        name[i] = 0;
}

// Explicit padding, so that initialising the struct zeroes every byte of the message.
static void emit_gap(struct emit *emit, size_t from, size_t to)
{
    if (to > from)
        fprintf(emit->out, "    uint8_t _zero%u[%zu];\n", emit->gaps++, to - from);
}

// One field's members; returns where they end.
static size_t emit_member(struct emit *emit, const struct schema_field *field)
{
    FILE *out = emit->out;
    if (field->type == SCHEMA_STRING || field->type == SCHEMA_BYTES) {
        fprintf(out, "    uint16_t %s_length;\n    %s %s[%u];\n", field->name,
                field->type == SCHEMA_STRING ? "char" : "uint8_t", field->name, field->capacity);
        return field->offset + 2u + field->capacity;
    }
    if (field->type == SCHEMA_ARRAY) {
        size_t width = c_width(field->element);
        size_t at = (field->offset + 2u + width - 1) / width * width;
        fprintf(out, "    uint16_t %s_count;\n", field->name);
        emit_gap(emit, field->offset + 2u, at);
        fprintf(out, "    %s %s[%u];", c_type(field->element), field->name, field->capacity);
        fprintf(out, field->unit[0] ? " // %s\n" : "\n", field->unit);
        return at + width * field->capacity;
    }
    fprintf(out, "    %s %s;", c_type(field->type), field->name);
    if (field->decimals != 0)
        fprintf(out, " // in 10^-%u%s%s", field->decimals, field->unit[0] ? " " : "", field->unit);
    else if (field->unit[0] != 0)
        fprintf(out, " // %s", field->unit);
    fprintf(out, "\n");
    return field->offset + (field->type <= SCHEMA_I64 ? c_width(field->type) : 1u);
}

static void emit_integer(struct emit *emit, const char *field, const char *what, unsigned type,
                         int64_t value)
{
    fprintf(emit->out, "#define %s_%s_%s ", emit->upper, field, what);
    if (type == SCHEMA_U64)
        fprintf(emit->out, "%" PRIu64 "u\n", (uint64_t)value);
    else if (value == INT64_MIN)
        fprintf(emit->out, "(-%" PRId64 " - 1)\n", INT64_MAX);
    else if (value < 0)
        fprintf(emit->out, "(%" PRId64 ")\n", value);
    else
        fprintf(emit->out, "%" PRId64 "%s\n", value, type < SCHEMA_I8 ? "u" : "");
}

static void emit_numbers(struct emit *emit)
{
    const struct schema *schema = emit->schema;
    for (unsigned i = 0; i < schema->header->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        char upper[SCHEMA_FIELD_NAME_BYTES];
        upper_copy(upper, sizeof upper, field->name);
        unsigned type = field->type == SCHEMA_ARRAY ? field->element : field->type;
        if (type <= SCHEMA_I64) {
            emit_integer(emit, upper, "MIN", type, field->minimum);
            emit_integer(emit, upper, "MAX", type, field->maximum);
        }
        if (field->decimals != 0) {
            uint64_t scale = 1;
            for (unsigned j = 0; j < field->decimals; j++)
                scale *= 10;
            fprintf(emit->out, "#define %s_%s_SCALE %" PRIu64 "\n", emit->upper, upper, scale);
        }
        if (field->capacity != 0)
            fprintf(emit->out, "#define %s_%s_MOST %uu\n", emit->upper, upper, field->capacity);
        if (field->type != SCHEMA_ENUM)
            continue;
        fprintf(emit->out, "enum %s_%s {\n", emit->name, field->name);
        for (unsigned j = 0; j < field->label_count; j++) {
            char label[sizeof(struct schema_label)];
            upper_copy(label, sizeof label, schema->labels[field->label_first + j].text);
            fprintf(emit->out, "    %s_%s_%s = %u,\n", emit->upper, upper, label, j);
        }
        fprintf(emit->out, "};\n");
    }
}

static void emit_asserts(const struct emit *emit)
{
    const struct schema *schema = emit->schema;
    fprintf(emit->out, "_Static_assert(sizeof(struct %s) == %u, \"%s\");\n", emit->name,
            schema->header->struct_bytes, emit->name);
    for (unsigned i = 0; i < schema->header->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        const char *suffix = field->type == SCHEMA_ARRAY    ? "_count"
                             : field->type >= SCHEMA_STRING ? "_length"
                                                            : "";
        fprintf(emit->out, "_Static_assert(__builtin_offsetof(struct %s, %s%s) == %u, \"%s.%s\");\n",
                emit->name, field->name, suffix, field->offset, emit->name, field->name);
    }
}

// Bytes of one message to send: all of the struct, or up to the last used byte.
static void emit_size(const struct emit *emit)
{
    const struct schema_header *header = emit->schema->header;
    fprintf(emit->out, "static inline uint32_t %s_size(const struct %s *message)\n{\n", emit->name,
            emit->name);
    const struct schema_field *last = &emit->schema->fields[header->field_count - 1];
    if (header->is_cut)
        fprintf(emit->out,
                "    uint32_t length = message->%s_length > %uu ? %uu : message->%s_length;\n"
                "    return (%uu + length + 7u) & ~7u;\n}\n",
                last->name, last->capacity, last->capacity, last->name, last->offset + 2u);
    else
        fprintf(emit->out, "    (void)message;\n    return sizeof(struct %s);\n}\n", emit->name);
}

void schema_emit_c(const struct schema *schema, FILE *out)
{
    struct emit emit = {.out = out, .schema = schema};
    schema_c_name(schema, emit.name, sizeof emit.name);
    upper_copy(emit.upper, sizeof emit.upper, emit.name);
    fprintf(out, "// %s\n", schema->header->name);
    emit_numbers(&emit);
    fprintf(out, "struct %s {\n", emit.name);
    size_t end = 0;
    for (unsigned i = 0; i < schema->header->field_count; i++) {
        emit_gap(&emit, end, schema->fields[i].offset);
        end = emit_member(&emit, &schema->fields[i]);
    }
    emit_gap(&emit, end, schema->header->struct_bytes);
    fprintf(out, "};\n");
    emit_asserts(&emit);
    emit_size(&emit);
}
