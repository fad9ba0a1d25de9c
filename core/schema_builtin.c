// SPDX-License-Identifier: ISC
// The built-in schemas. A flow at such an endpoint must carry exactly this layout, since router and password service
// read it as a struct (proto/builtin.h). The same definitions for authors are in schemas/*.yaml; a test keeps both equal.
#include "core/schema_builtin.h"

#include "abi/abi.h"
#include "core/schema_layout.h"
#include "proto/builtin.h"

#include <string.h>

struct builtin_field {
    const char *name;
    uint8_t type, class;
    uint16_t capacity;
    int64_t maximum;
};

static const struct builtin {
    const char *name;
    unsigned field_count;
    struct builtin_field fields[3];
} builtins[] = {
    {"wire/1", 2, {{"is_closed", SCHEMA_BOOL, 0, 0, 1}, {"bytes", SCHEMA_BYTES, 0, 2048, 0}}},
    {"subscription/1", 2, {{"port", SCHEMA_U16, 0, 0, 31}, {"is_joined", SCHEMA_BOOL, 0, 0, 1}}},
    {"password-request/1", 2,
     {{"user", SCHEMA_STRING, SCHEMA_CLASS_TOKEN, 32, 0}, {"password", SCHEMA_BYTES, 0, 128, 0}}},
    {"password-reply/1", 2,
     {{"is_accepted", SCHEMA_BOOL, 0, 0, 1}, {"principal", SCHEMA_U16, 0, 0, 64}}},
    {"receipt/1", 3,
     {{"output", SCHEMA_U16, 0, 0, 31}, {"reason", SCHEMA_U16, 0, 0, 255}, {"is_taken", SCHEMA_BOOL, 0, 0, 1}}},
    {"sealed/1", 2,
     {{"serial", SCHEMA_U64, 0, 0, -1}, {"box", SCHEMA_SEALED, 0, BUILTIN_BOX_BYTES_MAX, 0}}},
};

const char *schema_builtin_differs(const struct schema *schema, const char *name)
{
    const struct builtin *builtin = builtins;
    const struct builtin *end = builtins + sizeof builtins / sizeof builtins[0];
    while (builtin < end && strcmp(builtin->name, name) != 0)
        builtin++;
    if (builtin == end || strcmp(schema->header->name, name) != 0)
        return "it carries another schema";
    if (schema->header->field_count != builtin->field_count || schema->header->relation_count != 0)
        return "its schema has other fields than the host's";
    size_t at = 0;
    for (unsigned i = 0; i < builtin->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        const struct builtin_field *expected = &builtin->fields[i];
        size_t offset = align_up(at, field_alignment(field->type));
        if (strcmp(field->name, expected->name) != 0 || field->type != expected->type ||
            field->class != expected->class || field->capacity != expected->capacity ||
            field->minimum != 0 || field->maximum != expected->maximum || field->decimals != 0 || field->deny != 0 ||
            field->offset != offset)
            return "its schema has other fields than the host's";
        at = field_end(field);
    }
    return NULL;
}

static int is_added(const struct schema_field *field, const char *name, unsigned type, size_t offset, unsigned capacity,
                    int64_t maximum)
{
    return strcmp(field->name, name) == 0 && field->type == type && field->offset == offset && field->capacity == capacity &&
           field->minimum == 0 && field->maximum == maximum && field->decimals == 0;
}

int schema_is_envelope(const struct schema *envelope, const struct schema *inner)
{
    const struct schema_header *outer = envelope->header, *header = inner->header;
    size_t prefix = strlen(SCHEMA_ENVELOPE_PREFIX), count = header->field_count, end = header->struct_bytes;
    return strncmp(outer->name, SCHEMA_ENVELOPE_PREFIX, prefix) == 0 && strcmp(outer->name + prefix, header->name) == 0 &&
           outer->field_count == count + 2 && outer->relation_count == header->relation_count &&
           outer->label_count == header->label_count && outer->struct_bytes == end + sizeof(struct builtin_signature) &&
           memcmp(envelope->fields, inner->fields, count * sizeof inner->fields[0]) == 0 &&
           memcmp(envelope->relations, inner->relations, header->relation_count * sizeof inner->relations[0]) == 0 &&
           memcmp(envelope->labels, inner->labels, header->label_count * sizeof inner->labels[0]) == 0 &&
           is_added(&envelope->fields[count], "serial", SCHEMA_U64, end, 0, -1) &&
           is_added(&envelope->fields[count + 1], "tag", SCHEMA_BYTES, end + 8, BUILTIN_TAG_BYTES, 0);
}

size_t schema_envelope_inner_bytes(const struct schema *inner, const uint8_t *envelope, size_t size)
{
    const struct schema_field *last = &inner->fields[inner->header->field_count - 1];
    uint16_t length;
    if (!inner->header->is_cut || size < inner->header->struct_bytes)
        return inner->header->struct_bytes;
    memcpy(&length, envelope + last->offset, sizeof length);
    return ABI_ALIGN8(last->offset + sizeof length + length);
}
