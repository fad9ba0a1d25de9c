// SPDX-License-Identifier: ISC
// The generated header: what the application calls.
#include "cli/build/generate.h"

#include "cli/source/schema_source.h"

#include <ctype.h>
#include <string.h>

void generate_c_name(const char *name, char c_name[MANIFEST_NAME_BYTES])
{
    size_t i = 0;

    for (; name[i] != 0 && i + 1 < MANIFEST_NAME_BYTES; i++)
        c_name[i] = name[i] == '-' ? '_' : name[i];
    c_name[i] = 0;
}

static void upper_name(const char *name, char upper[MANIFEST_NAME_BYTES])
{
    generate_c_name(name, upper);
    for (size_t i = 0; upper[i] != 0; i++)
        upper[i] = (char)toupper((unsigned char)upper[i]);
}

// Names that begin the entries of a table, as an enumeration.
static void enum_emit(FILE *out, const char *kind, const char *prefix, const void *table,
                      size_t count, size_t entry_bytes)
{
    char upper[MANIFEST_NAME_BYTES];

    if (count == 0)
        return;
    fprintf(out, "\nenum %s {\n", kind);
    for (size_t i = 0; i < count; i++) {
        upper_name((const char *)table + i * entry_bytes, upper);
        fprintf(out, "    %s_%s = %zu,\n", prefix, upper, i);
    }
    fprintf(out, "};\n");
}

static int takes_receipts(const struct build_source *source)
{
    for (size_t i = 0; i < source->header.input_count; i++)
        if (strcmp(source->schemas[source->inputs[i].schema].header->name, "receipt/1") == 0)
            return 1;
    return 0;
}

static void send_emit(const struct build_source *source, size_t index, FILE *out)
{
    const struct manifest_flow *flow = &source->outputs[index];
    char name[MANIFEST_NAME_BYTES], upper[MANIFEST_NAME_BYTES], schema[SCHEMA_NAME_BYTES];

    generate_c_name(flow->name, name);
    upper_name(flow->name, upper);
    schema_c_name(&source->schemas[flow->schema], schema, sizeof schema);
    if (flow->kind == MANIFEST_REPLY) {
        fprintf(out,
                "\nstatic inline void reply_%s(const struct %s *message)\n{\n"
                "    crenel_send(OUTPUT_%s, &crenel_layout_%s, message, 0, 0, 0);\n}\n",
                name, schema, upper, schema);
        return;
    }
    fprintf(out,
            "\nstatic inline void send_%s(const struct %s *message)\n{\n"
            "    crenel_send(OUTPUT_%s, &crenel_layout_%s, message, 0, 0, 0);\n}\n",
            name, schema, upper, schema);
    fprintf(out,
            "static inline void send_%s_with(const struct %s *message, const void *context, "
            "size_t context_bytes)\n{\n"
            "    crenel_send(OUTPUT_%s, &crenel_layout_%s, message, 0, context, context_bytes);\n}\n",
            name, schema, upper, schema);
    fprintf(out,
            "static inline void send_%s_after(const struct %s *message, uint32_t delay_ms)\n{\n"
            "    crenel_send(OUTPUT_%s, &crenel_layout_%s, message, delay_ms, 0, 0);\n}\n",
            name, schema, upper, schema);
    if (flow->kind == MANIFEST_PLAIN && takes_receipts(source))
        fprintf(out,
                "static inline void send_%s_receipt(const struct %s *message, const void *context, "
                "size_t context_bytes)\n{\n"
                "    crenel_send_receipt(OUTPUT_%s, &crenel_layout_%s, message, context, context_bytes);\n}\n",
                name, schema, upper, schema);
}

// SCHEMA_send: to an output chosen at run time.
static void choice_emit(const struct build_source *source, size_t schema_index, FILE *out)
{
    char schema[SCHEMA_NAME_BYTES];
    int is_sent = 0;

    schema_c_name(&source->schemas[schema_index], schema, sizeof schema);
    for (size_t i = 0; i < source->header.output_count; i++)
        is_sent |= source->outputs[i].schema == schema_index;
    if (is_sent)
        fprintf(out,
                "\nstatic inline void %s_send(enum output output, const struct %s *message)\n{\n"
                "    crenel_send(output, &crenel_layout_%s, message, 0, 0, 0);\n}\n",
                schema, schema, schema);
}

static const char *integer_type(unsigned type)
{
    static const char *const names[] = {"",       "uint8_t", "uint16_t", "uint32_t", "uint64_t",
                                        "int8_t", "int16_t", "int32_t",  "int64_t"};

    return type <= SCHEMA_I64 ? names[type] : "uint8_t"; // bool and enumeration
}

static unsigned integer_width(unsigned type)
{
    static const unsigned char widths[] = {1, 1, 2, 4, 8, 1, 2, 4, 8};

    return type <= SCHEMA_I64 ? widths[type] : 1;
}

// Adds fields to _key; `from` is what stands before each field's name ("_record->" or "").
static void key_emit(const struct schema *schema, const uint16_t *fields, size_t count,
                     const char *from, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct schema_field *field = &schema->fields[fields[i]];
        char parameter[SCHEMA_FIELD_NAME_BYTES];
        schema_c_field(field, parameter);
        const char *name = from[0] != 0 ? field->name : parameter;
        if (field->type == SCHEMA_STRING || field->type == SCHEMA_BYTES)
            fprintf(out, "    crenel_key_bytes(&_key, %s%s, %s%s_length, %s);\n", from, name,
                    from, name, i + 1 == count ? "true" : "false");
        else
            fprintf(out, "    crenel_key_%s(&_key, %s%s, %u);\n",
                    field->type >= SCHEMA_I8 && field->type <= SCHEMA_I64 ? "signed" : "unsigned",
                    from, name, integer_width(field->type));
    }
}

static void key_parameters_emit(const struct schema *schema, const struct manifest_namespace *space,
                                FILE *out)
{
    for (size_t i = 0; i < space->key_count; i++) {
        const struct schema_field *field = &schema->fields[space->key_fields[i]];
        const char *comma = i == 0 ? "" : ", ";
        char name[SCHEMA_FIELD_NAME_BYTES];
        schema_c_field(field, name);
        if (field->type == SCHEMA_STRING || field->type == SCHEMA_BYTES)
            fprintf(out, "%sconst %s *%s, size_t %s_length", comma,
                    field->type == SCHEMA_STRING ? "char" : "uint8_t", name, name);
        else
            fprintf(out, "%s%s %s", comma, integer_type(field->type), name);
    }
}

static void range_emit(const char *name, const char *schema, size_t index, const char *kind,
                       const char *key, FILE *out)
{
    fprintf(out,
            "static inline size_t %s_%s(const struct %s *from, const struct %s *end, struct %s "
            "*records, size_t capacity)\n{\n"
            "    struct crenel_key _from = %s_%s(from), _end = %s_%s(end);\n"
            "    return crenel_range(%zu, %s, &_from, &_end, records, sizeof *records, capacity);\n}\n",
            name, kind, schema, schema, schema, name, key, name, key, index,
            strcmp(kind, "index") == 0 ? "true" : "false");
}

static void record_key_emit(const struct build_source *source, size_t index, const char *function,
                            const uint16_t *fields, size_t count, FILE *out)
{
    const struct schema *schema = &source->schemas[source->namespaces[index].schema];
    char name[MANIFEST_NAME_BYTES], schema_name[SCHEMA_NAME_BYTES];

    generate_c_name(source->namespaces[index].name, name);
    schema_c_name(schema, schema_name, sizeof schema_name);
    fprintf(out,
            "static inline struct crenel_key %s_%s(const struct %s *_record)\n{\n"
            "    struct crenel_key _key;\n    _key.size = 0;\n    if (_record == 0)\n"
            "        return _key;\n",
            name, function, schema_name);
    key_emit(schema, fields, count, "_record->", out);
    fprintf(out, "    return _key;\n}\n");
}

static void namespace_emit(const struct build_source *source, size_t index, FILE *out)
{
    const struct manifest_namespace *space = &source->namespaces[index];
    const struct schema *schema = &source->schemas[space->schema];
    char name[MANIFEST_NAME_BYTES], schema_name[SCHEMA_NAME_BYTES];

    generate_c_name(space->name, name);
    schema_c_name(schema, schema_name, sizeof schema_name);
    fprintf(out, "\n// namespace %s\n", space->name);
    record_key_emit(source, index, "key", space->key_fields, space->key_count, out);
    if (space->access & 1) {
        fprintf(out, "static inline bool %s_get(", name);
        key_parameters_emit(schema, space, out);
        fprintf(out, ", struct %s *_record)\n{\n    struct crenel_key _key;\n    _key.size = 0;\n",
                schema_name);
        key_emit(schema, space->key_fields, space->key_count, "", out);
        fprintf(out, "    return crenel_get(%zu, &_key, _record, sizeof *_record);\n}\n", index);
        range_emit(name, schema_name, index, "range", "key", out);
    }
    if (space->access & 1 && space->index_count != 0) {
        record_key_emit(source, index, "index_key", space->index_fields, space->index_count, out);
        range_emit(name, schema_name, index, "index", "index_key", out);
    }
    if (space->access & 2) {
        fprintf(out,
                "static inline void %s_put(const struct %s *record)\n{\n"
                "    struct crenel_key _key = %s_key(record);\n"
                "    crenel_put(%zu, &_key, &crenel_layout_%s, record);\n}\n",
                name, schema_name, name, index, schema_name);
        fprintf(out, "static inline void %s_delete(", name);
        key_parameters_emit(schema, space, out);
        fprintf(out, ")\n{\n    struct crenel_key _key;\n    _key.size = 0;\n");
        key_emit(schema, space->key_fields, space->key_count, "", out);
        fprintf(out, "    crenel_delete(%zu, &_key);\n}\n", index);
    }
}

void generate_header(const struct build_source *source, FILE *out)
{
    const struct manifest_header *header = &source->header;
    char name[MANIFEST_NAME_BYTES], schema[SCHEMA_NAME_BYTES];

    fprintf(out,
            "// Written by crenel build from unikernel.yaml of %s and its schemas.\n"
            "#ifndef CRENEL_GENERATED_H\n#define CRENEL_GENERATED_H\n\n#include \"crenel.h\"\n",
            header->name);
    for (size_t i = 0; i < header->schema_count; i++) {
        fputc('\n', out);
        schema_emit_c(&source->schemas[i], out);
        schema_c_name(&source->schemas[i], schema, sizeof schema);
        fprintf(out, "extern const struct crenel_layout crenel_layout_%s;\n", schema);
    }
    enum_emit(out, "input", "INPUT", source->inputs, header->input_count, sizeof *source->inputs);
    enum_emit(out, "output", "OUTPUT", source->outputs, header->output_count,
              sizeof *source->outputs);
    enum_emit(out, "refusal", "REFUSE", source->refusals, header->refusal_count,
              sizeof *source->refusals);
    fprintf(out, "\n// What the application defines.\n");
    for (size_t i = 0; i < header->input_count; i++) {
        generate_c_name(source->inputs[i].name, name);
        schema_c_name(&source->schemas[source->inputs[i].schema], schema, sizeof schema);
        fprintf(out, "void on_%s(const struct event *event, const struct %s *message);\n", name,
                schema);
    }
    for (size_t i = 0; i < header->output_count; i++)
        send_emit(source, i, out);
    for (size_t i = 0; i < header->schema_count; i++)
        choice_emit(source, i, out);
    for (size_t i = 0; i < header->namespace_count; i++)
        namespace_emit(source, i, out);
    fprintf(out, "\n#endif\n");
}
