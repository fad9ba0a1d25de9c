// SPDX-License-Identifier: ISC
// The generated tables, and the call of each input's handler.
#include "cli/build/generate.h"

#include "cli/source/schema_source.h"

static unsigned element_width(unsigned type)
{
    static const unsigned char widths[] = {1, 1, 2, 4, 8, 1, 2, 4, 8};

    return type <= SCHEMA_I64 ? widths[type] : 1;
}

static void gap_emit(FILE *out, size_t from, size_t to, unsigned *count)
{
    if (from == to)
        return;
    fprintf(out, "{%zu, 0, 1, %zu}, ", from, to - from);
    (*count)++;
}

// The parts of a message that need care (struct crenel_part), in order; returns their number.
static unsigned parts_emit(const struct schema *schema, FILE *out)
{
    size_t end = 0;
    unsigned count = 0;

    for (size_t i = 0; i < schema->header->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        gap_emit(out, end, field->offset, &count);
        if (field->type == SCHEMA_STRING || field->type == SCHEMA_BYTES ||
            field->type == SCHEMA_ARRAY) {
            size_t width = field->type == SCHEMA_ARRAY ? element_width(field->element) : 1;
            size_t data = (field->offset + 2u + width - 1) / width * width;
            gap_emit(out, field->offset + 2u, data, &count);
            fprintf(out, "{%u, %zu, %zu, %u}, ", field->offset, data, width, field->capacity);
            count++;
            end = data + width * field->capacity;
        } else {
            end = field->offset + element_width(field->type);
        }
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
