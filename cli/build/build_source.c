// SPDX-License-Identifier: ISC
// Reads unikernel.yaml (docs/files.md).
#include "cli/build/build_source.h"

#include "abi/abi.h"
#include "cli/build/build.h"
#include "cli/report.h"
#include "cli/source/schema_source.h"
#include "cli/source/yaml.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_PAIR 0xffffu

static int name_is_valid(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return name[0] >= 'a' && name[0] <= 'z' && name[length] == 0 && length < MANIFEST_NAME_BYTES;
}

static void name_take(struct yaml_file *file, const struct yaml_node *node, const char *text,
                      char name[MANIFEST_NAME_BYTES])
{
    if (text == NULL)
        return; // reported
    if (!name_is_valid(text))
        yaml_error(file, node, "names are [a-z][a-z0-9_-]*, at most 31 characters",
                   "'%s' is not a name", text);
    else
        snprintf(name, MANIFEST_NAME_BYTES, "%s", text);
}

// The children of a sequence, NULL and 0 if there is none; over the limit is an error.
static size_t list_take(struct yaml_file *file, const char *key, size_t most, int required,
                        struct yaml_node ***children)
{
    struct yaml_node *list = yaml_child(file, file->root, key, YAML_SEQUENCE, required);

    if (list == NULL)
        return 0;
    if (list->count > most) {
        yaml_error(file, list, NULL, "'%s' has %zu entries, at most %zu are allowed", key,
                   list->count, most);
        return 0;
    }
    *children = list->children;
    return list->count;
}

static char *text_copy(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    return copy;
}

// The absolute path of a file named in unikernel.yaml, or NULL (reported).
static char *file_find(struct yaml_file *file, const struct yaml_node *node, const char *folder,
                       const char *name)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof path, name[0] == '/' ? "%s%s" : "%s/%s", name[0] == '/' ? "" : folder, name);
    char *found = realpath(path, NULL);
    if (found == NULL)
        yaml_error(file, node, "paths are relative to the folder of unikernel.yaml", "%s: %s", name,
                   strerror(errno));
    return found;
}

static void schemas_read(struct build_source *source, struct yaml_file *file,
                         const char *schema_folder)
{
    struct yaml_node **nodes;
    size_t count = list_take(file, "schemas", MANIFEST_SCHEMAS_MAX, 1, &nodes);

    for (size_t i = 0; i < count; i++) {
        const char *name = nodes[i]->text;
        size_t at = source->header.schema_count, size;
        if (nodes[i]->kind != YAML_SCALAR) {
            yaml_error(file, nodes[i], "write the path of a schema file", "'schemas' lists files");
            continue;
        }
        int is_ours = strncmp(name, "crenel/", 7) == 0;
        source->schema_paths[at] = file_find(file, nodes[i], is_ours ? schema_folder : source->folder,
                                             is_ours ? name + 7 : name);
        if (source->schema_paths[at] == NULL)
            continue;
        source->header.schema_count++; // owns the path from here
        if (schema_source_read(source->schema_paths[at], &source->blocks[at], &size) != STATUS_OK ||
            schema_open(&source->schemas[at], source->blocks[at], size) != STATUS_OK) {
            file->error_count++; // reported with its own file and line
            free(source->blocks[at]);
            source->blocks[at] = NULL;
            continue;
        }
        char c_name[SCHEMA_NAME_BYTES], other[SCHEMA_NAME_BYTES];
        schema_c_name(&source->schemas[at], c_name, sizeof c_name);
        for (size_t j = 0; j < at; j++) {
            if (source->blocks[j] == NULL)
                continue;
            schema_c_name(&source->schemas[j], other, sizeof other);
            if (strcmp(other, c_name) == 0)
                yaml_error(file, nodes[i], "list one of them",
                           "two schemas would both be 'struct %s'", c_name);
        }
    }
}

static uint16_t schema_take(const struct build_source *source, struct yaml_file *file,
                            struct yaml_node *node, uint8_t digest[SCHEMA_DIGEST_BYTES])
{
    const char *name = yaml_text(file, node, "schema", NULL);

    for (uint16_t i = 0; name != NULL && i < source->header.schema_count; i++) {
        if (source->blocks[i] == NULL || strcmp(source->schemas[i].header->name, name) != 0)
            continue;
        memcpy(digest, source->schemas[i].header->digest, SCHEMA_DIGEST_BYTES);
        return i;
    }
    if (name != NULL && file->error_count == 0)
        yaml_error(file, node, "add its file to 'schemas'", "there is no schema '%s'", name);
    return 0;
}

static int flow_find(const struct manifest_flow *flows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(flows[i].name, name) == 0)
            return (int)i;
    return -1;
}

static uint16_t flows_read(struct build_source *source, struct yaml_file *file, const char *key,
                           struct manifest_flow *flows)
{
    struct yaml_node **nodes;
    int is_output = flows == source->outputs;
    size_t count = list_take(file, key, MANIFEST_FLOWS_MAX, !is_output, &nodes);

    for (size_t i = 0; i < count; i++) {
        name_take(file, nodes[i], yaml_text(file, nodes[i], "flow", NULL), flows[i].name);
        if (flow_find(flows, i, flows[i].name) >= 0 && flows[i].name[0] != 0)
            yaml_error(file, nodes[i], NULL, "'%s' is named twice in '%s'", flows[i].name, key);
        flows[i].schema = schema_take(source, file, nodes[i], flows[i].schema_digest);
        flows[i].pair = NO_PAIR;
        if (is_output)
            flows[i].count_max =
                (uint16_t)yaml_integer(file, nodes[i], "most", 1, MANIFEST_EFFECTS_MAX, 0, 0);
    }
    return (uint16_t)count;
}

// `reply:` of an input names the output that answers; of an output, the input that takes the answer.
static void pairs_read(struct yaml_file *file, const char *key, struct manifest_flow *flows,
                       struct manifest_flow *partners, size_t partner_count)
{
    struct yaml_node **nodes;
    size_t count = list_take(file, key, MANIFEST_FLOWS_MAX, 0, &nodes);

    for (size_t i = 0; i < count; i++) {
        const char *reply = yaml_text(file, nodes[i], "reply", "");
        if (reply[0] == 0)
            continue;
        int pair = flow_find(partners, partner_count, reply);
        if (pair < 0 || partners[pair].kind == MANIFEST_REQUEST || flows[i].kind == MANIFEST_REPLY) {
            yaml_error(file, nodes[i], "an input's reply is an output, an output's reply is an input",
                       "'reply: %s' names no flow that could be the reply", reply);
            continue;
        }
        flows[i].kind = MANIFEST_REQUEST;
        flows[i].pair = (uint16_t)pair;
        partners[pair].kind = MANIFEST_REPLY;
    }
}

static uint16_t fields_read(struct yaml_file *file, struct yaml_node *node, const char *key,
                            const struct schema *schema, int required,
                            uint16_t fields[MANIFEST_KEY_FIELDS_MAX])
{
    struct yaml_node *list = yaml_child(file, node, key, YAML_SEQUENCE, required);

    if (list == NULL)
        return 0;
    if (list->count == 0 || list->count > MANIFEST_KEY_FIELDS_MAX) {
        yaml_error(file, list, NULL, "'%s' names 1 to %u fields", key, MANIFEST_KEY_FIELDS_MAX);
        return 0;
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->children[i]->text;
        int index = name == NULL ? -1 : schema_field_index(schema, name);
        if (index < 0 || !schema_has_value(schema, (uint16_t)index)) {
            yaml_error(file, list->children[i], "name an integer, bool, enum, string or bytes field that is in no array",
                       "'%s' is no field of %s that could be in a key", name == NULL ? "" : name,
                       schema->header->name);
            return 0;
        }
        if (schema->fields[index].type == SCHEMA_BYTES && i + 1 < list->count)
            yaml_error(file, list->children[i], "put it last", "bytes can only be a key's last field");
        fields[i] = (uint16_t)index;
        for (size_t j = 0; j < i; j++)
            if (fields[j] == fields[i])
                yaml_error(file, list->children[i], NULL, "'%s' is named twice", name);
    }
    return (uint16_t)list->count;
}

static void access_read(struct yaml_file *file, struct yaml_node *node,
                        struct manifest_namespace *namespace)
{
    struct yaml_node *list = yaml_child(file, node, "access", YAML_SEQUENCE, 1);

    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const char *text = list->children[i]->text;
        if (text != NULL && strcmp(text, "read") == 0)
            namespace->access |= 1;
        else if (text != NULL && strcmp(text, "write") == 0)
            namespace->access |= 2;
        else
            yaml_error(file, list->children[i], "access: [read, write], or one of them",
                       "there is no such access");
    }
    if (list != NULL && namespace->access == 0)
        yaml_error(file, list, "access: [read, write], or one of them", "'access' is empty");
}

static uint16_t namespaces_read(struct build_source *source, struct yaml_file *file)
{
    struct yaml_node **nodes;
    size_t count = list_take(file, "namespaces", MANIFEST_NAMESPACES_MAX, 0, &nodes);

    for (size_t i = 0; i < count; i++) {
        struct manifest_namespace *namespace = &source->namespaces[i];
        name_take(file, nodes[i], yaml_text(file, nodes[i], "name", NULL), namespace->name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(source->namespaces[j].name, namespace->name) == 0)
                yaml_error(file, nodes[i], NULL, "'%s' is named twice", namespace->name);
        namespace->schema = schema_take(source, file, nodes[i], namespace->schema_digest);
        access_read(file, nodes[i], namespace);
        if (namespace->schema < source->header.schema_count &&
            source->blocks[namespace->schema] != NULL) {
            const struct schema *schema = &source->schemas[namespace->schema];
            namespace->key_count =
                fields_read(file, nodes[i], "key", schema, 1, namespace->key_fields);
            namespace->index_count =
                fields_read(file, nodes[i], "index", schema, 0, namespace->index_fields);
        }
    }
    return (uint16_t)count;
}

static uint16_t refusals_read(struct build_source *source, struct yaml_file *file)
{
    struct yaml_node **nodes;
    size_t count = list_take(file, "refusals", MANIFEST_REFUSALS_MAX, 0, &nodes);

    for (size_t i = 0; i < count; i++) {
        name_take(file, nodes[i], nodes[i]->text == NULL ? "" : nodes[i]->text,
                  source->refusals[i].name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(source->refusals[j].name, source->refusals[i].name) == 0)
                yaml_error(file, nodes[i], NULL, "'%s' is named twice", source->refusals[i].name);
    }
    return (uint16_t)count;
}

static int is_c_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 2 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 2, ".c") == 0;
}

static void folder_sources_take(struct build_source *source, struct yaml_file *file)
{
    struct dirent **entries;
    int count = scandir(source->folder, &entries, is_c_file, alphasort);

    source->is_whole_folder = 1;
    for (int i = 0; i < count; i++) {
        if (source->source_count < BUILD_SOURCES_MAX)
            source->sources[source->source_count++] =
                file_find(file, file->root, source->folder, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (count <= 0 || (size_t)count > BUILD_SOURCES_MAX)
        yaml_error(file, file->root, "write 1 to 64 .c files, or name them in 'sources'",
                   "the folder holds %d C files", count < 0 ? 0 : count);
}

static void sources_read(struct build_source *source, struct yaml_file *file)
{
    struct yaml_node **nodes;
    size_t count = list_take(file, "sources", BUILD_SOURCES_MAX, 0, &nodes);

    for (size_t i = 0; i < count; i++) {
        if (nodes[i]->kind != YAML_SCALAR) {
            yaml_error(file, nodes[i], "write the path of a C file", "'sources' lists files");
            continue;
        }
        char *path = file_find(file, nodes[i], source->folder, nodes[i]->text);
        if (path != NULL)
            source->sources[source->source_count++] = path;
    }
    if (count == 0)
        folder_sources_take(source, file);
    count = list_take(file, "defines", BUILD_DEFINES_MAX, 0, &nodes);
    for (size_t i = 0; i < count; i++) {
        const char *text = nodes[i]->text;
        if (text == NULL || (text[0] != '_' && (text[0] < 'A' || text[0] > 'z')))
            yaml_error(file, nodes[i], "defines: [NAME, OTHER=1]", "not a definition");
        else
            source->defines[source->define_count++] = text_copy(text);
    }
}

static uint32_t pages_read(struct yaml_file *file, struct yaml_node *memory, const char *key,
                           uint32_t most, uint32_t fallback)
{
    if (memory == NULL)
        return fallback;
    uint32_t bytes = (uint32_t)yaml_bytes(file, memory, key, 4096, most, 1, fallback);
    if (bytes % 4096 != 0)
        yaml_error(file, memory, "write a multiple of 4KiB", "'%s' is not whole pages", key);
    return bytes;
}

static void header_read(struct build_source *source, struct yaml_file *file)
{
    static const char *const lifetimes[] = {"message", "connection", "resident"};
    static const char *const isolations[] = {"any", "process", "kvm", "enclave"};
    static const char *const booleans[] = {"false", "true"};
    struct manifest_header *header = &source->header;
    struct yaml_node *root = file->root;

    header->magic = MANIFEST_MAGIC;
    header->version = MANIFEST_VERSION;
    header->abi_version = ABI_VERSION;
    name_take(file, root, yaml_text(file, root, "unikernel", NULL), header->name);
    const char *release = yaml_text(file, root, "release", "0.1.0");
    if (strlen(release) >= sizeof header->release ||
        release[strspn(release, "abcdefghijklmnopqrstuvwxyz0123456789.+-")] != 0)
        yaml_error(file, root, "write for example 1.0.0, at most 15 characters",
                   "'release: %s' is not a version", release);
    else
        snprintf(header->release, sizeof header->release, "%s", release);
    header->security_version =
        (uint32_t)yaml_integer(file, root, "security_version", 0, UINT32_MAX, 1, 1);
    header->lifetime = (uint8_t)yaml_choice(file, root, "lifetime", lifetimes, 3, 0);
    header->isolation = (uint8_t)yaml_choice(file, root, "isolation", isolations, 4, 0);
    header->is_random = (uint8_t)yaml_choice(file, root, "random", booleans, 2, 0);
    if (header->is_random)
        yaml_error(file, yaml_child(file, root, "random", YAML_SCALAR, 0),
                   "let a host service draw what must not be guessed", "no host gives a unikernel a seed yet");
    header->writes_max =
        (uint16_t)yaml_integer(file, root, "writes", 0, MANIFEST_EFFECTS_MAX, 1, 0);
    header->deadline_ms =
        (uint32_t)yaml_ms(file, root, "deadline", 1, MANIFEST_DEADLINE_MS_MAX, 1, 100);
    struct yaml_node *memory = yaml_child(file, root, "memory", YAML_MAPPING, 0);
    header->arena_bytes = pages_read(file, memory, "arena", MANIFEST_ARENA_BYTES_MAX, 65536);
    header->stack_bytes = pages_read(file, memory, "stack", MANIFEST_STACK_BYTES_MAX, 16384);
}

// What only shows when all parts are known.
static void whole_check(const struct build_source *source, struct yaml_file *file)
{
    int is_reading = 0, is_writing = 0;
    size_t largest = 0;

    for (size_t i = 0; i < source->header.namespace_count; i++) {
        is_reading |= source->namespaces[i].access & 1;
        is_writing |= source->namespaces[i].access & 2;
    }
    for (size_t i = 0; i < source->header.input_count; i++) {
        size_t bytes = source->schemas[source->inputs[i].schema].header->struct_bytes;
        largest = bytes > largest ? bytes : largest;
    }
    if (is_writing && source->header.writes_max == 0)
        yaml_error(file, file->root, "add for example 'writes: 1'",
                   "a namespace may be written, but 'writes' allows none");
    if (is_reading && source->header.arena_bytes < largest + ABI_CONTEXT_BYTES_MAX)
        yaml_error(file, file->root, "raise memory.arena",
                   "the arena cannot hold a message of %zu bytes while the store is read", largest);
}

enum status build_source_read(struct build_source *source, const char *folder,
                              const char *schema_folder)
{
    struct yaml_file file;

    memset(source, 0, sizeof *source);
    if (realpath(folder, source->folder) == NULL) {
        report_error(folder, 0, "name a folder that holds unikernel.yaml", "%s", strerror(errno));
        return STATUS_ABSENT;
    }
    int length = snprintf(source->path, sizeof source->path, "%s/unikernel.yaml", source->folder);
    if (length < 0 || (size_t)length >= sizeof source->path) {
        report_error(folder, 0, NULL, "path too long");
        return STATUS_TOO_LARGE;
    }
    enum status status = yaml_read(&file, source->path);
    if (status != STATUS_OK)
        return status;
    header_read(source, &file);
    schemas_read(source, &file, schema_folder);
    source->header.input_count = flows_read(source, &file, "inputs", source->inputs);
    source->header.output_count = flows_read(source, &file, "outputs", source->outputs);
    if (source->header.input_count == 0 && file.error_count == 0)
        yaml_error(&file, file.root, NULL, "a unikernel without inputs never runs");
    pairs_read(&file, "inputs", source->inputs, source->outputs, source->header.output_count);
    pairs_read(&file, "outputs", source->outputs, source->inputs, source->header.input_count);
    source->header.namespace_count = namespaces_read(source, &file);
    source->header.refusal_count = refusals_read(source, &file);
    sources_read(source, &file);
    yaml_finish(&file);
    if (file.error_count == 0)
        whole_check(source, &file);
    status = file.error_count == 0 ? STATUS_OK : STATUS_MALFORMED;
    yaml_close(&file);
    return status;
}

enum status build_name(const char *folder, char name[MANIFEST_NAME_BYTES])
{
    struct yaml_file file;
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof path, "%s/unikernel.yaml", folder) >= sizeof path) {
        report_error(folder, 0, NULL, "path too long");
        return STATUS_TOO_LARGE;
    }
    enum status status = yaml_read(&file, path);
    if (status != STATUS_OK)
        return status;
    memset(name, 0, MANIFEST_NAME_BYTES);
    name_take(&file, file.root, yaml_text(&file, file.root, "unikernel", NULL), name);
    status = file.error_count == 0 ? STATUS_OK : STATUS_MALFORMED;
    yaml_close(&file);
    return status;
}
