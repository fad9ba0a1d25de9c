// SPDX-License-Identifier: ISC
// Schema files (YAML) into canonical blocks. The C side is in schema_emit.c.
#include "cli/source/schema_source.h"

#include "cli/report.h"
#include "cli/source/schema_draft.h"
#include "abi/abi.h"
#include "core/check.h"
#include "core/schema_layout.h"
#include "core/schema_version.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int schema_number_read(const char *text, unsigned type, unsigned decimals, int64_t *value)
{
    int is_negative = *text == '-';
    unsigned __int128 magnitude = 0;
    const char *at = text + is_negative;
    unsigned fraction = 0;
    int digits = 0, in_fraction = 0;
    for (; *at != 0; at++) {
        if (*at == '.' && !in_fraction && digits > 0) {
            in_fraction = 1;
            continue;
        }
        if (*at < '0' || *at > '9' || magnitude >> 70 != 0)
            return 0;
        if (in_fraction && fraction == decimals) {
            if (*at != '0')
                return 0;
            continue;
        }
        fraction += (unsigned)in_fraction;
        magnitude = magnitude * 10 + (unsigned)(*at - '0');
        digits++;
    }
    if (digits == 0 || at[-1] == '.')
        return 0;
    for (; fraction < decimals && magnitude >> 70 == 0; fraction++)
        magnitude *= 10;
    unsigned __int128 most = is_negative ? (unsigned __int128)1 << 63
                             : type == SCHEMA_U64 ? UINT64_MAX : INT64_MAX;
    int is_unsigned = type < SCHEMA_I8;
    if (magnitude > most || fraction < decimals || (is_negative && is_unsigned && magnitude != 0))
        return 0;
    *value = is_negative ? (int64_t)(0 - (uint64_t)magnitude) : (int64_t)(uint64_t)magnitude;
    return 1;
}

static int find_field(struct schema_draft *draft, const struct yaml_node *node, const char *name)
{
    for (unsigned i = 0; i < draft->header.field_count; i++)
        if (strcmp(draft->fields[i].name, name) == 0) {
            const struct schema_field *field = &draft->fields[i];
            int is_array = is_in_array(field);
            if (field->type != SCHEMA_BOOL && field->type != SCHEMA_ENUM && !is_array)
                return (int)i;
            yaml_error(&draft->file, node,
                       is_array ? "relations compare what the message has one of"
                                : "relations compare integers, lengths and counts",
                       "field '%s' cannot be compared", name);
            return -1;
        }
    yaml_error(&draft->file, node, "name a field of this schema", "no field '%s'", name);
    return -1;
}

static void read_relation(struct schema_draft *draft, const struct yaml_node *node)
{
    static const char *const operators[] = {"<", "<=", "==", "!="};
    char left[SCHEMA_FIELD_NAME_BYTES], operator[8], right[SCHEMA_FIELD_NAME_BYTES];
    int end = -1;
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    unsigned index = 0;
    if (sscanf(text, " %31[a-z0-9_.] %7[<=!] %31[a-z0-9_.] %n", left, operator, right, &end) != 3 ||
        end < 0 || text[end] != 0)
        index = 4;
    while (index < 4 && strcmp(operators[index], operator) != 0)
        index++;
    if (index == 4) {
        yaml_error(&draft->file, node, "write FIELD < FIELD (or <= == !=)", "bad relation '%s'", text);
        return;
    }
    int l = find_field(draft, node, left), r = find_field(draft, node, right);
    if (l < 0 || r < 0)
        return;
    const struct schema_field *a = &draft->fields[l], *b = &draft->fields[r];
    unsigned a_decimals = a->type <= SCHEMA_I64 ? a->decimals : 0;
    unsigned b_decimals = b->type <= SCHEMA_I64 ? b->decimals : 0;
    if (l == r || a_decimals != b_decimals) {
        yaml_error(&draft->file, node, "compare two fields with the same number of decimals",
                   "'%s' cannot be compared with '%s'", left, right);
        return;
    }
    draft->relations[draft->header.relation_count++] =
        (struct schema_relation){(uint16_t)l, (uint16_t)r, (uint16_t)(index + 1), 0};
}

static void read_header(struct schema_draft *draft, struct yaml_node *root)
{
    const char *name = yaml_text(&draft->file, root, "schema", NULL);
    if (name == NULL)
        return;
    size_t stem = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    const char *digits = name + stem + (name[stem] == '/');
    if (stem == 0 || name[0] < 'a' || name[0] > 'z' || name[stem] != '/' || *digits == 0 ||
        *digits == '0' || digits[strspn(digits, "0123456789")] != 0 ||
        strlen(name) >= SCHEMA_NAME_BYTES) {
        yaml_error(&draft->file, root, "write for example 'schema: reading/1' (at most 47 characters)",
                   "bad schema name '%s'", name);
        return;
    }
    memcpy(draft->header.name, name, strlen(name));
}

static void read_parts(struct schema_draft *draft)
{
    struct yaml_file *file = &draft->file;
    struct yaml_node *root = file->root;
    read_header(draft, root);
    struct yaml_node *fields = yaml_child(file, root, "fields", YAML_SEQUENCE, 1);
    struct yaml_node *relations = yaml_child(file, root, "relations", YAML_SEQUENCE, 0);
    (void)yaml_child(file, root, "extends", YAML_SCALAR, 0); // extend reads it
    if (fields != NULL)
        draft_fields(draft, fields);
    if (file->error_count == 0)
        draft_lay_out(draft);
    if (relations != NULL && relations->count > SCHEMA_RELATIONS_MAX)
        yaml_error(file, relations, "at most 16", "%zu relations", relations->count);
    for (size_t i = 0; relations != NULL && i < relations->count && i < SCHEMA_RELATIONS_MAX; i++)
        read_relation(draft, relations->children[i]);
    yaml_finish(file);
}

static uint8_t *assemble(struct schema_draft *draft, size_t *size)
{
    size_t fields = draft->header.field_count * sizeof draft->fields[0];
    size_t relations = draft->header.relation_count * sizeof draft->relations[0];
    size_t labels = draft->header.label_count * sizeof draft->labels[0];
    *size = sizeof draft->header + fields + relations + labels;
    draft->header.block_bytes = (uint32_t)*size;
    uint8_t *block = malloc(*size), *at = block;
    if (block == NULL)
        return NULL;
    at = (uint8_t *)memcpy(at, &draft->header, sizeof draft->header) + sizeof draft->header;
    at = (uint8_t *)memcpy(at, draft->fields, fields) + fields;
    at = (uint8_t *)memcpy(at, draft->relations, relations) + relations;
    memcpy(at, draft->labels, labels);
    schema_digest(block, *size, ((struct schema_header *)(void *)block)->digest);
    struct schema schema;
    check(schema_open(&schema, block, *size) == STATUS_OK);
    return block;
}

// ---- Versions ----

int schema_is_older(const char *older, const char *name)
{
    size_t stem = strcspn(name, "/") + 1, length = strlen(name), older_length = strlen(older);
    if (strncmp(older, name, stem) != 0)
        return 0;
    return older_length != length ? older_length < length : strcmp(older + stem, name + stem) < 0;
}

int schema_extends_or_error(struct yaml_file *file, const struct yaml_node *node, const struct schema *schema,
                            const struct schema *older)
{
    const char *name = schema->header->name, *older_name = older->header->name;
    if (!schema_is_older(older_name, name)) {
        yaml_error(file, node, "only a later version of the same name extends: reading/2 extends reading/1",
                   "%s does not extend %s", name, older_name);
        return 0;
    }
    unsigned same = schema_fields_shared(schema, older), count = older->header->field_count;
    if (same < count)
        yaml_error(file, node, "keep the older fields as they are, first and in their order; add new ones behind them",
                   "%s does not extend %s: it has no such field '%s' in place %u", name, older_name,
                   older->fields[same].name, same + 1);
    else if (!schema_extends(schema, older))
        yaml_error(file, node, "keep the older relations, first and in their order; add new ones behind them",
                   "%s does not extend %s: it has other relations", name, older_name);
    return schema_extends(schema, older);
}

// The file beside `path` that holds the schema called `name`: reading/1 in reading-1.yaml. The caller frees.
static char *path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    int folder = slash == NULL ? 0 : (int)(slash - path + 1), stem = (int)strcspn(name, "/");
    char *beside;
    if (name[stem] == 0 || asprintf(&beside, "%.*s%.*s-%s.yaml", folder, path, stem, name, name + stem + 1) < 0)
        return NULL;
    return beside;
}

// What the file says under `extends` is true of its block.
static void check_extends(struct schema_draft *draft, const char *path, const uint8_t *block, size_t size)
{
    struct yaml_file *file = &draft->file;
    const struct yaml_node *extends = yaml_child(file, file->root, "extends", YAML_SCALAR, 0);
    if (extends == NULL)
        return;
    struct schema schema, older;
    uint8_t *older_block = NULL;
    size_t older_size;
    char *beside = path_beside(path, extends->text);
    check(schema_open(&schema, block, size) == STATUS_OK);
    if (beside == NULL || !schema_is_older(extends->text, draft->header.name))
        yaml_error(file, extends, "name an earlier version of this schema", "%s cannot extend '%s'",
                   draft->header.name, extends->text);
    else if (access(beside, F_OK) != 0)
        yaml_error(file, extends, "put the older version there", "%s is to be in '%s', which is not there",
                   extends->text, beside);
    else if (schema_source_read(beside, &older_block, &older_size) != STATUS_OK)
        file->error_count++; // reported with its own file and line
    else if (schema_open(&older, older_block, older_size) != STATUS_OK ||
             strcmp(older.header->name, extends->text) != 0)
        yaml_error(file, extends, "put the older version there", "'%s' does not hold %s", beside, extends->text);
    else
        (void)schema_extends_or_error(file, extends, &schema, &older);
    free(older_block);
    free(beside);
}

enum status schema_source_read(const char *path, uint8_t **block, size_t *size)
{
    struct schema_draft *draft = calloc(1, sizeof *draft);
    if (draft == NULL)
        return STATUS_SYSTEM;
    enum status status = yaml_read(&draft->file, path);
    if (status != STATUS_OK)
        goto out;
    read_parts(draft);
    status = STATUS_MALFORMED;
    if (draft->file.error_count == 0) {
        uint8_t *made = assemble(draft, size);
        if (made != NULL)
            check_extends(draft, path, made, *size);
        status = made == NULL ? STATUS_SYSTEM : draft->file.error_count != 0 ? STATUS_MALFORMED : STATUS_OK;
        if (status == STATUS_OK)
            *block = made;
        else
            free(made);
    }
    yaml_close(&draft->file);
out:
    free(draft);
    return status;
}

void schema_digest(const uint8_t *block, size_t size, uint8_t digest[SCHEMA_DIGEST_BYTES])
{
    static const uint8_t zero[SCHEMA_DIGEST_BYTES];
    const size_t at = offsetof(struct schema_header, digest);
    check(size >= sizeof(struct schema_header));
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, block, at);
    crypto_hash_sha256_update(&state, zero, sizeof zero);
    crypto_hash_sha256_update(&state, block + at + sizeof zero, size - at - sizeof zero);
    crypto_hash_sha256_final(&state, digest);
}
