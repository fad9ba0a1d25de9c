// SPDX-License-Identifier: ISC
// What the parts of the compiler share: names and their tables, schemas, principals, configuration text.
#include "cli/source/compile_state.h"
#include "cli/report.h"
#include "cli/source/schema_source.h"
#include "abi/abi.h"
#include "core/system_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void compile_name(char to[SYSTEM_NAME_BYTES], const char *name)
{
    size_t length = strlen(name);
    memset(to, 0, SYSTEM_NAME_BYTES);
    if (length < SYSTEM_NAME_BYTES)
        memcpy(to, name, length);
    if (!system_is_name(to))
        memset(to, 0, SYSTEM_NAME_BYTES);
}

int compile_find(const void *table, size_t entry, size_t count, const char *name)
{
    const char *names = table;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names + i * entry, name) == 0)
            return (int)i;
    return -1;
}

int compile_refer(struct compile *compile, const struct yaml_node *node, const char *what,
                  const void *table, size_t entry, size_t count, const char *name)
{
    int index = compile_find(table, entry, count, name);
    if (index >= 0)
        return index;
    const char *names[SYSTEM_FLOWS_MAX];
    char mend[128] = "use a name that this file declares";
    for (size_t i = 0; i < count && i < SYSTEM_FLOWS_MAX; i++)
        names[i] = (const char *)table + i * entry;
    const char *nearest = yaml_nearest(name, names, count < SYSTEM_FLOWS_MAX ? count : SYSTEM_FLOWS_MAX);
    if (nearest != NULL)
        snprintf(mend, sizeof mend, "did you mean '%s'?", nearest);
    yaml_error(&compile->file, node, mend, "there is no %s '%s'", what, name);
    return -1;
}

size_t compile_entries(struct compile *compile, const char *key, size_t most,
                       struct yaml_node **mapping)
{
    char name[SYSTEM_NAME_BYTES];
    struct yaml_file *file = &compile->file;
    *mapping = yaml_child(file, file->root, key, YAML_MAPPING, 0);
    if (*mapping == NULL)
        return 0;
    for (size_t i = 0; i < (*mapping)->count; i++) {
        struct yaml_node *entry = (*mapping)->children[i];
        entry->is_used = 1;
        compile_name(name, entry->key);
        if (name[0] == 0)
            yaml_error(file, entry, "use a-z 0-9 _ -, a letter first, at most 31 characters",
                       "bad name '%s'", entry->key);
        if (entry->kind != YAML_MAPPING)
            yaml_error(file, entry, "write NAME: {key: value, ..}", "'%s' has the wrong form", entry->key);
    }
    if ((*mapping)->count <= most)
        return (*mapping)->count;
    char mend[64];
    snprintf(mend, sizeof mend, "at most %zu in one system", most);
    yaml_error(file, *mapping, mend, "%zu entries in '%s'", (*mapping)->count, key);
    return most;
}

uint16_t compile_schema(struct compile *compile, const struct yaml_node *node,
                        const struct schema *schema)
{
    const struct schema_header *header = schema->header;
    for (size_t i = 0; i < compile->schema_count; i++)
        if (memcmp(compile->schemas[i].header->digest, header->digest, SCHEMA_DIGEST_BYTES) == 0)
            return (uint16_t)i;
    if (compile->schema_count == SYSTEM_SCHEMAS_MAX) {
        yaml_error(&compile->file, node, "split the system", "more than %u schemas", SYSTEM_SCHEMAS_MAX);
        return 0;
    }
    compile->schemas[compile->schema_count] = *schema;
    return (uint16_t)compile->schema_count++;
}

uint64_t compile_principals(struct compile *compile, struct yaml_node *mapping, uint8_t *is_open)
{
    static const char mend[] = "write 'principals: [user, ..]', or 'principals: anyone' to ask nobody";
    struct yaml_file *file = &compile->file;
    uint64_t mask = 0;
    for (size_t i = 0; i < mapping->count; i++) {
        const struct yaml_node *child = mapping->children[i];
        if (strcmp(child->key, "principals") == 0 && child->kind == YAML_SCALAR) {
            const char *text = yaml_text(file, mapping, "principals", NULL);
            *is_open = text != NULL && strcmp(text, "anyone") == 0;
            if (text != NULL && !*is_open)
                yaml_error(file, child, mend, "'principals: %s' is not known", text);
            return 0;
        }
    }
    const struct yaml_node *list = yaml_child(file, mapping, "principals", YAML_SEQUENCE, 0);
    *is_open = 0;
    if (list == NULL || list->count == 0)
        yaml_error(file, list != NULL ? list : mapping, mend,
                   list != NULL ? "'principals' of '%s' names nobody" : "'principals' is missing in '%s'",
                   mapping->key != NULL ? mapping->key : "topics");
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct yaml_node *name = list->children[i];
        int index = name->kind != YAML_SCALAR
                        ? -1
                        : compile_refer(compile, name, "principal", compile->principals,
                                        sizeof compile->principals[0], compile->principal_count,
                                        name->text);
        if (name->kind != YAML_SCALAR)
            yaml_error(file, name, mend, "not a name");
        if (index >= 0)
            mask |= UINT64_C(1) << index;
    }
    return mask;
}

void compile_configure(struct compile *compile, size_t unikernel, const struct yaml_node *node,
                       const char *line)
{
    struct compile_unikernel *source = &compile->sources[unikernel];
    size_t length = strlen(line), used = source->configuration_bytes;
    int needs_end = used != 0 && source->configuration[used - 1] != '\n';
    if (used + length + 2 > ABI_CONFIGURATION_BYTES_MAX) {
        yaml_error(&compile->file, node, "write less", "the configuration of '%s' is over 8 KiB",
                   compile->unikernels[unikernel].name);
        return;
    }
    char *text = realloc(source->configuration, used + length + 2);
    if (text == NULL) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    if (needs_end)
        text[used++] = '\n';
    memcpy(text + used, line, length);
    source->configuration = text;
    source->configuration_bytes = used + length;
}

uint16_t compile_fields(struct compile *compile, struct yaml_node *mapping, const char *key,
                        const struct schema *schema, uint16_t fields[SYSTEM_KEY_FIELDS_MAX],
                        int is_required)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *list = yaml_child(file, mapping, key, YAML_SEQUENCE, is_required);
    if (list == NULL)
        return 0;
    if (list->count == 0 || list->count > SYSTEM_KEY_FIELDS_MAX)
        yaml_error(file, list, "between 1 and 4 fields", "'%s' has %zu fields", key, list->count);
    uint16_t count = 0;
    for (size_t i = 0; i < list->count && i < SYSTEM_KEY_FIELDS_MAX; i++) {
        const struct yaml_node *name = list->children[i];
        if (name->kind != YAML_SCALAR) {
            yaml_error(file, name, "write the name of a field", "not a name");
            continue;
        }
        int index = compile_refer(compile, name, "field", schema->fields, sizeof schema->fields[0],
                                  schema->header->field_count, name->text);
        if (index < 0)
            continue;
        if (!schema_has_value(schema, (uint16_t)index) ||
            (schema->fields[index].type == SCHEMA_BYTES && i + 1 != list->count)) {
            yaml_error(file, name, "use integers, strings, or bytes as the last field, none of them in an array or sealed",
                       "field '%s' cannot be part of '%s'", name->text, key);
            continue;
        }
        for (uint16_t j = 0; j < count; j++)
            if (fields[j] == index)
                yaml_error(file, name, "name it once", "field '%s' is in '%s' twice", name->text, key);
        fields[count++] = (uint16_t)index;
    }
    return count;
}
