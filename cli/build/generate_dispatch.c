// SPDX-License-Identifier: ISC
// The generated tables, and the call of each input's handler.
#include "cli/build/generate.h"

#include "cli/source/schema_source.h"
#include "core/check.h"
#include "core/schema_layout.h"

#include <stdlib.h>

static void gap_emit(FILE *out, size_t from, size_t to, unsigned *count)
{
    if (from == to)
        return;
    fprintf(out, "{%zu, 0, 1, %zu, 0}, ", from, to - from);
    (*count)++;
}

// The parts of one field behind a field that ended at `end`; returns where it ends.
static size_t field_parts_emit(const struct schema_field *field, size_t end, FILE *out, unsigned *count)
{
    gap_emit(out, end, field->offset, count);
    if (field->type < SCHEMA_STRING || field->element == SCHEMA_RECORD)
        return field_end(field);
    size_t width = field->type == SCHEMA_ARRAY ? type_width(field->element) : 1;
    size_t data = field->type == SCHEMA_ARRAY ? elements_start(field) : field->offset + 2u;
    gap_emit(out, field->offset + 2u, data, count);
    fprintf(out, "{%u, %zu, %zu, %u, 0}, ", field->offset, data, width, field->capacity);
    (*count)++;
    return field_end(field);
}

// The array of records itself, then the parts of its first record.
static void records_parts_emit(const struct schema_field *array, FILE *out, unsigned *count)
{
    char *parts = NULL;
    size_t size, start = array[1].offset, end = start;
    unsigned inner = 0;
    FILE *memory = open_memstream(&parts, &size);
    check(memory != NULL);
    for (unsigned i = 1; i <= array->member_count; i++)
        end = field_parts_emit(&array[i], end, memory, &inner);
    gap_emit(memory, end, start + array->stride, &inner);
    check(fclose(memory) == 0);
    gap_emit(out, array->offset + 2u, start, count);
    fprintf(out, "{%u, %zu, %u, %u, %u}, %s", array->offset, start, array->stride, array->capacity, inner, parts);
    *count += 1 + inner;
    free(parts);
}

// The parts of a message that need care (struct crenel_part), in order; returns their number.
static unsigned parts_emit(const struct schema *schema, FILE *out)
{
    size_t end = 0;
    unsigned count = 0;

    for (size_t i = 0; i < schema->header->field_count; i += 1u + schema->fields[i].member_count) {
        const struct schema_field *field = &schema->fields[i];
        end = field_parts_emit(field, end, out, &count);
        if (field->member_count == 0)
            continue;
        records_parts_emit(field, out, &count);
        end = records_stop(field);
    }
    if (!schema->header->is_cut) // else the tail is not sent, and the last part stays last
        gap_emit(out, end, schema->header->struct_bytes, &count);
    return count;
}

static void layout_emit(const struct build_source *source, size_t index, FILE *out)
{
    const struct schema *schema = &source->schemas[index];
    char name[SCHEMA_NAME_BYTES];

    schema_c_name(schema, name, sizeof name);
    fprintf(out, "\nconst struct crenel_layout crenel_layout_%s = {\n    .parts = {", name);
    unsigned count = parts_emit(schema, out);
    fprintf(out, "},\n    .struct_bytes = %u, .is_cut = %u, .part_count = %u, .schema = %zu};\n",
            schema->header->struct_bytes, schema->header->is_cut, count, index);
}

static void limits_emit(const struct build_source *source, FILE *out)
{
    const struct manifest_header *header = &source->header;
    int is_reading = 0;

    for (size_t i = 0; i < header->namespace_count; i++)
        is_reading |= source->namespaces[i].access & 1;
    fprintf(out,
            "\nconst struct crenel_limits *crenel_limits(void)\n{\n"
            "    static const struct crenel_limits limits = {%u, %u, %u, %d, %u};\n"
            "    return &limits;\n}\n",
            header->output_count, header->namespace_count, header->writes_max, is_reading,
            header->is_random);
    fprintf(out, "\nconst struct crenel_output *crenel_output(unsigned output)\n{\n"
                 "    static const struct crenel_output outputs[] = {\n");
    for (size_t i = 0; i < header->output_count; i++)
        fprintf(out, "        {\"%s\", %u, %u, %d, 0},\n", source->outputs[i].name,
                source->outputs[i].schema, source->outputs[i].count_max,
                source->outputs[i].kind == MANIFEST_REPLY);
    fprintf(out, "        {\"\", 0, 0, 0, 0}};\n    return &outputs[output];\n}\n");
    fprintf(out, "\nconst char *crenel_namespace_name(unsigned namespace_index)\n{\n"
                 "    static const char names[][%u] = {", MANIFEST_NAME_BYTES);
    for (size_t i = 0; i < header->namespace_count; i++)
        fprintf(out, "\"%s\", ", source->namespaces[i].name);
    fprintf(out, "\"\"};\n    return names[namespace_index];\n}\n");
}

void generate_dispatch(const struct build_source *source, FILE *out)
{
    char name[MANIFEST_NAME_BYTES];

    fprintf(out,
            "// Written by crenel build from unikernel.yaml of %s and its schemas.\n"
            "#include \"%s.h\"\n",
            source->header.name, source->header.name);
    for (size_t i = 0; i < source->header.schema_count; i++)
        layout_emit(source, i, out);
    limits_emit(source, out);
    fprintf(out, "\nvoid crenel_dispatch(const struct event *event, const void *message)\n{\n"
                 "    switch (event->input) {\n");
    for (size_t i = 0; i < source->header.input_count; i++) {
        generate_c_name(source->inputs[i].name, name);
        fprintf(out, "    case %zu:\n        on_%s(event, message);\n        return;\n", i, name);
    }
    fprintf(out, "    default:\n        fail(\"there is no input %%u\", event->input);\n    }\n}\n");
}
