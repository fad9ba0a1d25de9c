// SPDX-License-Identifier: ISC
// Namespaces of the store: what the system grants and what the images ask for must be the same thing.
#include "cli/source/compile_state.h"

#include "abi/abi.h"

#include <string.h>

// The manifest's entry for this namespace, or NULL.
static const struct manifest_namespace *asked_by(const struct compile *compile, size_t unikernel,
                                                 const char *name, int *index)
{
    const struct compile_unikernel *source = &compile->sources[unikernel];
    if (!source->is_loaded)
        return NULL;
    const struct manifest *manifest = &source->image.manifest;
    *index = compile_find(manifest->namespaces, sizeof *manifest->namespaces,
                          manifest->header->namespace_count, name);
    return *index < 0 ? NULL : &manifest->namespaces[*index];
}

// The unikernels in a list, as bits. A granted right that the image does not use is an error.
static uint32_t read_users(struct compile *compile, struct yaml_node *node, const char *key, unsigned right)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *list = yaml_child(file, node, key, YAML_SEQUENCE, 0);
    uint32_t users = 0;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct yaml_node *name = list->children[i];
        int index, at = name->kind != YAML_SCALAR
                            ? -1
                            : compile_refer(compile, name, "unikernel", compile->unikernels,
                                            sizeof compile->unikernels[0], compile->unikernel_count,
                                            name->text);
        if (name->kind != YAML_SCALAR)
            yaml_error(file, name, "write the name of a unikernel", "not a name");
        if (at < 0 || !compile->sources[at].is_loaded)
            continue;
        const struct manifest_namespace *asked = asked_by(compile, (size_t)at, node->key, &index);
        if (asked == NULL || (asked->access & right) == 0)
            yaml_error(file, name, "remove it: a right that nobody uses is a risk",
                       "the manifest of '%s' does not ask to %s '%s'", name->text, key, node->key);
        users |= UINT32_C(1) << at;
    }
    return users;
}

static int are_fields_same(const uint16_t *left, unsigned left_count, const uint16_t *right,
                           unsigned right_count)
{
    return left_count == right_count && memcmp(left, right, left_count * sizeof *left) == 0;
}

// One user's manifest against the namespace.
static void user_check(struct compile *compile, struct yaml_node *node, size_t space_index,
                       size_t unikernel, const struct schema *schema)
{
    struct yaml_file *file = &compile->file;
    struct system_namespace *space = &compile->namespaces[space_index];
    const char *name = compile->unikernels[unikernel].name;
    int index;
    const struct manifest_namespace *asked = asked_by(compile, unikernel, node->key, &index);
    if (asked == NULL)
        return;
    if ((asked->access & 1) != 0 && (space->readers >> unikernel & 1) == 0)
        yaml_error(file, node, "add it to 'read'", "'%s' reads '%s', which is not granted", name, node->key);
    if ((asked->access & 2) != 0 && (space->writers >> unikernel & 1) == 0)
        yaml_error(file, node, "add it to 'write'", "'%s' writes '%s', which is not granted", name, node->key);
    if (memcmp(schema->header->digest, asked->schema_digest, SCHEMA_DIGEST_BYTES) != 0)
        yaml_error(file, node, "build all users with the same schema file",
                   "'%s' was built with another schema for '%s'", name, node->key);
    else if (!are_fields_same(space->key_fields, space->key_count, asked->key_fields, asked->key_count) ||
             !are_fields_same(space->index_fields, space->index_count, asked->index_fields, asked->index_count))
        yaml_error(file, node, "write the same key and index in both files",
                   "key or index of '%s' differ from the manifest of '%s'", node->key, name);
    compile->unikernels[unikernel].namespaces[index] = (uint16_t)space_index;
}

// The schema that the first user brings.
static const struct schema *find_schema(const struct compile *compile, const char *name)
{
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        int index;
        const struct manifest_namespace *asked = asked_by(compile, i, name, &index);
        if (asked != NULL)
            return &compile->sources[i].image.manifest.schemas[asked->schema];
    }
    return NULL;
}

static int are_all_loaded(const struct compile *compile)
{
    for (size_t i = 0; i < compile->unikernel_count; i++)
        if (!compile->sources[i].is_loaded)
            return 0;
    return 1;
}

// The longest key that these fields can give.
static size_t key_bytes(const struct schema *schema, const uint16_t *fields, unsigned count)
{
    static const unsigned char widths[] = {1, 1, 2, 4, 8, 1, 2, 4, 8};
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct schema_field *field = &schema->fields[fields[i]];
        int is_text = field->type == SCHEMA_STRING || field->type == SCHEMA_BYTES;
        size += is_text ? field->capacity + (size_t)(i + 1 < count)
                        : widths[field->type <= SCHEMA_I64 ? field->type : 0];
    }
    return size;
}

static void compile_namespace(struct compile *compile, struct yaml_node *node, size_t index)
{
    struct yaml_file *file = &compile->file;
    struct system_namespace *space = &compile->namespaces[index];
    const char *schema_name = yaml_text(file, node, "schema", NULL);
    space->records_max = (uint32_t)yaml_integer(file, node, "records", 1, 100000000, 0, 0);
    space->readers = read_users(compile, node, "read", 1);
    space->writers = read_users(compile, node, "write", 2);
    const struct schema *schema = find_schema(compile, node->key);
    if (schema == NULL) {
        yaml_child(file, node, "key", YAML_SEQUENCE, 1);
        yaml_child(file, node, "index", YAML_SEQUENCE, 0);
        if (are_all_loaded(compile))
            yaml_error(file, node, "remove it, or ask for it in a unikernel.yaml",
                       "no unikernel uses the namespace '%s'", node->key);
        return;
    }
    if (schema_name != NULL && strcmp(schema_name, schema->header->name) != 0)
        yaml_error(file, node, "write the schema that its users were built with",
                   "namespace '%s' says %s, its users say %s", node->key, schema_name, schema->header->name);
    space->key_count = compile_fields(compile, node, "key", schema, space->key_fields, 1);
    space->index_count = compile_fields(compile, node, "index", schema, space->index_fields, 0);
    if (key_bytes(schema, space->key_fields, space->key_count) > ABI_KEY_BYTES_MAX ||
        key_bytes(schema, space->index_fields, space->index_count) > ABI_KEY_BYTES_MAX)
        yaml_error(file, node, "use fewer or shorter fields", "a key of '%s' may be over %u bytes",
                   node->key, ABI_KEY_BYTES_MAX);
    space->schema = compile_schema(compile, node, schema);
    for (size_t i = 0; i < compile->unikernel_count; i++)
        user_check(compile, node, index, i, schema);
}

void compile_namespaces(struct compile *compile)
{
    struct yaml_node *mapping;
    compile->namespace_count =
        compile_entries(compile, "namespaces", SYSTEM_NAMESPACES_MAX, &mapping);
    for (size_t i = 0; i < compile->namespace_count; i++) {
        struct yaml_node *node = mapping->children[i];
        compile->namespace_nodes[i] = node;
        compile_name(compile->namespaces[i].name, node->key);
        compile->namespaces[i].line = (uint32_t)node->line;
        if (node->kind == YAML_MAPPING)
            compile_namespace(compile, node, i);
    }
    // What an image asks for and the system does not declare.
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        const struct manifest *manifest = &compile->sources[i].image.manifest;
        for (size_t j = 0; compile->sources[i].is_loaded && j < manifest->header->namespace_count; j++)
            if (compile_find(compile->namespaces, sizeof compile->namespaces[0],
                             compile->namespace_count, manifest->namespaces[j].name) < 0)
                yaml_error(&compile->file, compile->sources[i].node, "declare it under 'namespaces'",
                           "'%s' uses the namespace '%s', which does not exist",
                           compile->unikernels[i].name, manifest->namespaces[j].name);
    }
}
