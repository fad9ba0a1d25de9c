// SPDX-License-Identifier: ISC
// Schemas as C for guests: the struct whose bytes are the message, and its numbers.
#include "cli/source/schema_source.h"

#include "core/schema_layout.h"

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

static void upper_copy(char *to, size_t capacity, const char *from)
{
    size_t i = 0;
    for (; from[i] != 0 && i + 1 < capacity; i++)
        to[i] = from[i] == '-' || from[i] == '.' ? '_' : (char)toupper((unsigned char)from[i]);
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

void schema_c_field(const struct schema_field *field, char name[SCHEMA_FIELD_NAME_BYTES])
{
    size_t i = 0;
    for (; i + 1 < SCHEMA_FIELD_NAME_BYTES && field->name[i] != 0; i++)
        name[i] = field->name[i] == '.' ? '_' : field->name[i];
    name[i] = 0;
}

// "position.x" -> 8, 0 outside of records.
static int record_length(const struct schema_field *field)
{
    const char *dot = strchr(field->name, '.');
    return dot == NULL ? 0 : (int)(dot - field->name);
}

static int is_same_record(const struct schema_field *field, const struct schema_field *other)
{
    int length = record_length(field);
    return length != 0 && record_length(other) == length && strncmp(field->name, other->name, (size_t)length) == 0;
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
    const char *name = field->name + record_length(field) + (record_length(field) != 0);
    if (is_text(field->type)) {
        fprintf(out, "    uint16_t %s_length;\n    %s %s[%u];\n", name,
                field->type == SCHEMA_STRING ? "char" : "uint8_t", name, field->capacity);
        return field_end(field);
    }
    if (field->type == SCHEMA_ARRAY) {
        fprintf(out, "    uint16_t %s_count;\n", name);
        if (field->element == SCHEMA_RECORD)
            return field_end(field);
        emit_gap(emit, field->offset + 2u, elements_start(field));
        fprintf(out, "    %s %s[%u];", c_type(field->element), name, field->capacity);
        fprintf(out, field->unit[0] ? " // %s\n" : "\n", field->unit);
        return field_end(field);
    }
    fprintf(out, "    %s %s;", c_type(field->type), name);
    if (field->decimals != 0)
        fprintf(out, " // in 10^-%u%s%s", field->decimals, field->unit[0] ? " " : "", field->unit);
    else if (field->unit[0] != 0)
        fprintf(out, " // %s", field->unit);
    fprintf(out, "\n");
    return field_end(field);
}

// ---- Records: each a struct of its own before the message's ----

// What the struct that begins with this field is aligned to, and how many fields it has.
static size_t record_shape(const struct emit *emit, unsigned first, unsigned *count)
{
    const struct schema_field *fields = emit->schema->fields;
    size_t alignment = 1;
    for (*count = 0; first + *count < emit->schema->header->field_count &&
                     is_same_record(&fields[first], &fields[first + *count]);
         ++*count) {
        const struct schema_field *field = &fields[first + *count];
        size_t own = field_alignment(field->type);
        if (field->type == SCHEMA_ARRAY && type_width(field->element) > own)
            own = type_width(field->element);
        if (own > alignment)
            alignment = own;
    }
    return alignment;
}

static void emit_records(struct emit *emit)
{
    const struct schema_field *fields = emit->schema->fields;
    unsigned count;
    for (unsigned i = 0; i < emit->schema->header->field_count; i += count) {
        size_t alignment = record_shape(emit, i, &count);
        if (count == 0) {
            count = 1;
            continue;
        }
        fprintf(emit->out, "struct %s_%.*s {\n", emit->name, record_length(&fields[i]), fields[i].name);
        size_t end = fields[i].offset;
        for (unsigned j = i; j < i + count; j++) {
            emit_gap(emit, end, fields[j].offset);
            end = emit_member(emit, &fields[j]);
        }
        emit_gap(emit, end, fields[i].offset + align_up(end - fields[i].offset, alignment));
        fprintf(emit->out, "};\n");
    }
}

// The member that is a record, or an array of them whose count was emitted; returns where it ends.
static size_t emit_record_member(struct emit *emit, unsigned first, size_t alignment, unsigned count)
{
    const struct schema_field *fields = emit->schema->fields, *last = &fields[first + count - 1];
    fprintf(emit->out, "    struct %s_%.*s %.*s", emit->name, record_length(last), last->name, record_length(last),
            last->name);
    if (!is_in_array(last)) {
        fprintf(emit->out, ";\n");
        return fields[first].offset + align_up(field_end(last) - fields[first].offset, alignment);
    }
    fprintf(emit->out, "[%u];\n", fields[first - 1].capacity);
    return records_stop(&fields[first - 1]);
}

static void emit_struct(struct emit *emit)
{
    const struct schema_field *fields = emit->schema->fields;
    size_t end = 0;
    unsigned count;
    fprintf(emit->out, "struct %s {\n", emit->name);
    for (unsigned i = 0; i < emit->schema->header->field_count; i += count) {
        size_t alignment = record_shape(emit, i, &count);
        emit_gap(emit, end, fields[i].offset);
        end = count != 0 ? emit_record_member(emit, i, alignment, count) : emit_member(emit, &fields[i]);
        count += count == 0;
    }
    emit_gap(emit, end, emit->schema->header->struct_bytes);
    fprintf(emit->out, "};\n");
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
        if (is_integer(type)) {
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
        if (type != SCHEMA_ENUM)
            continue;
        char name[SCHEMA_FIELD_NAME_BYTES];
        schema_c_field(field, name);
        fprintf(emit->out, "enum %s_%s {\n", emit->name, name);
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
        int record = record_length(field);
        const char *name = field->name + record + (record != 0);
        // The first of an array's records stands for all.
        fprintf(emit->out, "_Static_assert(__builtin_offsetof(struct %s, %.*s%s%s%s) == %u, \"%s.%s\");\n",
                emit->name, record, field->name, is_in_array(field) ? "[0]." : record != 0 ? "." : "", name, suffix,
                field->offset, emit->name, field->name);
        if (is_in_array(field))
            fprintf(emit->out, "_Static_assert(sizeof(struct %s_%.*s) == %u, \"%s.%.*s\");\n", emit->name, record,
                    field->name, field->stride, emit->name, record, field->name);
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
    emit_records(&emit);
    emit_struct(&emit);
    emit_asserts(&emit);
    emit_size(&emit);
}
