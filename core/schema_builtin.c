// SPDX-License-Identifier: ISC
// The built-in schemas. A flow at such an endpoint must carry exactly this layout, since router and password service
// read it as a struct (proto/builtin.h). The same definitions for authors are in schemas/*.yaml; a test keeps both equal.
#include "core/schema_builtin.h"

#include "core/schema_layout.h"

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
