// SPDX-License-Identifier: ISC
// Schema files (YAML) into canonical blocks. The C side is in schema_emit.c.
#include "cli/source/schema_source.h"

#include "cli/report.h"
#include "cli/source/yaml.h"
#include "abi/abi.h"
#include "core/check.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

// The parts of a block while it is read.
struct draft {
    struct yaml_file file;
    struct schema_header header;
    struct schema_field fields[SCHEMA_FIELDS_MAX];
    struct schema_relation relations[SCHEMA_RELATIONS_MAX];
    struct schema_label labels[SCHEMA_LABELS_MAX];
};

static const char *const type_names[] = {"u8",   "u16",  "u32",    "u64",   "i8",   "i16",
                                         "i32",  "i64",  "bool",   "enum",  "string", "bytes",
                                         "array"};
#define TYPE_COUNT 13
#define INTEGER_COUNT 8
// A field of one of these names would not compile in the generated header.
static const char *const reserved_names[] = {
    "auto",   "break",  "case",     "char",   "const",  "continue", "default", "do",     "double",
    "else",   "enum",   "extern",   "float",  "for",    "goto",     "if",      "inline", "int",
    "long",   "register", "restrict", "return", "short", "signed",  "sizeof",  "static", "struct",
    "switch", "typedef", "union",   "unsigned", "void", "volatile", "while",   "asm",    "typeof"};

static unsigned integer_width(unsigned type)
{
    static const unsigned char widths[] = {0, 1, 2, 4, 8, 1, 2, 4, 8};
    return type <= SCHEMA_I64 ? widths[type] : 1;
}

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

static int64_t read_bound(struct draft *draft, struct yaml_node *node, const char *key,
                          const struct schema_field *field, unsigned type)
{
    const char *text = yaml_text(&draft->file, node, key, NULL);
    int64_t value = 0;
    if (text != NULL && !schema_number_read(text, type, field->decimals, &value))
        yaml_error(&draft->file, node, "write a number that the type and its decimals can hold",
                   "'%s: %s' does not fit the type", key, text);
    return value;
}

static void read_range(struct draft *draft, struct yaml_node *node, struct schema_field *field,
                       unsigned type)
{
    field->decimals = (uint8_t)yaml_integer(&draft->file, node, "decimals", 0, 18, 1, 0);
    field->minimum = read_bound(draft, node, "min", field, type);
    field->maximum = read_bound(draft, node, "max", field, type);
    unsigned bits = 8 * integer_width(type);
    int is_inverted = type == SCHEMA_U64 ? (uint64_t)field->minimum > (uint64_t)field->maximum
                                         : field->minimum > field->maximum;
    int64_t most = bits == 64 ? INT64_MAX : (int64_t)(UINT64_MAX >> (64 - bits + (type >= SCHEMA_I8)));
    int64_t least = type >= SCHEMA_I8 ? -most - 1 : 0;
    if (is_inverted)
        yaml_error(&draft->file, node, "exchange them", "min is above max");
    else if (type != SCHEMA_U64 && (field->minimum < least || field->maximum > most))
        yaml_error(&draft->file, node, "use a wider type or a smaller range",
                   "min or max is outside what %s can hold", type_names[type - 1]);
}

static void read_labels(struct draft *draft, struct yaml_node *node, struct schema_field *field)
{
    struct yaml_node *of = yaml_child(&draft->file, node, "of", YAML_SEQUENCE, 1);
    field->label_first = draft->header.label_count;
    for (size_t i = 0; of != NULL && i < of->count; i++) {
        const struct yaml_node *label = of->children[i];
        if (draft->header.label_count == SCHEMA_LABELS_MAX) {
            yaml_error(&draft->file, of, "use fewer labels", "more than %u labels in one schema", SCHEMA_LABELS_MAX);
            return;
        }
        const char *text = label->kind == YAML_SCALAR ? label->text : "";
        size_t good = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");
        if (good == 0 || text[good] != 0 || good > 23 || text[0] == '_' || text[0] == '-') {
            yaml_error(&draft->file, label, "use a-z 0-9 _ -, at most 23 characters", "bad label '%s'", text);
            continue;
        }
        for (unsigned j = field->label_first; j < draft->header.label_count; j++)
            if (strcmp(draft->labels[j].text, text) == 0)
                yaml_error(&draft->file, label, "keep one", "label '%s' is here twice", text);
        memcpy(draft->labels[draft->header.label_count++].text, text, good + 1);
        field->label_count++;
    }
    if (of != NULL && of->count == 0)
        yaml_error(&draft->file, of, "write of: [first, second]", "an enumeration without labels");
    field->maximum = field->label_count - 1;
}

// "text" and "text_length" would be one member of the C struct.
static int is_derived(const char *name, const char *from)
{
    size_t length = strlen(from);
    return strncmp(name, from, length) == 0 &&
           (name[length] == 0 || strcmp(name + length, "_length") == 0 ||
            strcmp(name + length, "_count") == 0);
}

static int is_name_taken(const struct draft *draft, const char *name)
{
    for (unsigned i = 0; i < draft->header.field_count; i++)
        if (is_derived(draft->fields[i].name, name) || is_derived(name, draft->fields[i].name))
            return 1;
    return 0;
}

static void read_name(struct draft *draft, struct yaml_node *node, struct schema_field *field)
{
    const char *name = yaml_text(&draft->file, node, "name", NULL);
    if (name == NULL)
        return;
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (good == 0 || name[good] != 0 || good >= SCHEMA_FIELD_NAME_BYTES || name[0] < 'a') {
        yaml_error(&draft->file, node, "use a-z 0-9 _, a letter first, at most 31 characters",
                   "bad field name '%s'", name);
        return;
    }
    for (size_t i = 0; i < sizeof reserved_names / sizeof reserved_names[0]; i++)
        if (strcmp(name, reserved_names[i]) == 0)
            yaml_error(&draft->file, node, "choose another name", "'%s' is a word of C", name);
    if (is_name_taken(draft, name))
        yaml_error(&draft->file, node, "choose another name (NAME_length and NAME_count are taken too)",
                   "field '%s' is here twice", name);
    memcpy(field->name, name, good);
}

static void read_field(struct draft *draft, struct yaml_node *node, struct schema_field *field)
{
    static const char *const classes[] = {"utf8", "token", "host", "printable", "topic"};
    struct yaml_file *file = &draft->file;
    read_name(draft, node, field);
    unsigned type = (unsigned)yaml_choice(file, node, "type", type_names, TYPE_COUNT, -1) + 1;
    field->type = (uint8_t)type;
    if (type == SCHEMA_STRING || type == SCHEMA_BYTES || type == SCHEMA_ARRAY)
        field->capacity = (uint16_t)yaml_integer(file, node, "most", 1, ABI_PAYLOAD_BYTES_MAX, 0, 0);
    if (type == SCHEMA_STRING)
        field->class = (uint8_t)yaml_choice(file, node, "class", classes, 5, -1);
    if (type == SCHEMA_ARRAY) {
        field->element = (uint8_t)(yaml_choice(file, node, "of", type_names, INTEGER_COUNT, -1) + 1);
        read_range(draft, node, field, field->element);
    }
    if (type <= SCHEMA_I64)
        read_range(draft, node, field, type);
    if (type == SCHEMA_BOOL)
        field->maximum = 1;
    if (type == SCHEMA_ENUM)
        read_labels(draft, node, field);
    const char *unit = yaml_text(file, node, "unit", "");
    if (strlen(unit) >= sizeof field->unit || strpbrk(unit, " \t") != NULL)
        yaml_error(file, node, "at most 15 characters, no spaces", "bad unit '%s'", unit);
    else
        for (size_t i = 0; unit[i] != 0; i++)
            if (unit[i] < 0x21 || unit[i] > 0x7e)
                yaml_error(file, node, "use ASCII, for example Cel", "bad unit '%s'", unit);
            else
                field->unit[i] = unit[i];
}

static size_t align_up(size_t offset, size_t alignment)
{
    return (offset + alignment - 1) & ~(alignment - 1);
}

// The one layout that schema_open() accepts.
static void lay_out(struct draft *draft)
{
    size_t end = 0;
    for (unsigned i = 0; i < draft->header.field_count; i++) {
        struct schema_field *field = &draft->fields[i];
        int has_length = field->type >= SCHEMA_STRING;
        size_t start = align_up(end, has_length ? 2 : integer_width(field->type));
        if (field->type == SCHEMA_ARRAY)
            end = align_up(start + 2, integer_width(field->element)) +
                  (size_t)field->capacity * integer_width(field->element);
        else
            end = has_length ? start + 2 + field->capacity : start + integer_width(field->type);
        if (end > ABI_PAYLOAD_BYTES_MAX) {
            yaml_error(&draft->file, draft->file.root, "make fields smaller or send several messages",
                       "the message is larger than %u bytes (at field '%s')", ABI_PAYLOAD_BYTES_MAX,
                       field->name);
            return;
        }
        field->offset = (uint16_t)start;
    }
    draft->header.struct_bytes = (uint16_t)align_up(end, 8);
    unsigned last = draft->fields[draft->header.field_count - 1].type;
    draft->header.is_cut = last == SCHEMA_STRING || last == SCHEMA_BYTES;
}

static int find_field(struct draft *draft, const struct yaml_node *node, const char *name)
{
    for (unsigned i = 0; i < draft->header.field_count; i++)
        if (strcmp(draft->fields[i].name, name) == 0) {
            unsigned type = draft->fields[i].type;
            if (type != SCHEMA_BOOL && type != SCHEMA_ENUM)
                return (int)i;
            yaml_error(&draft->file, node, "relations compare integers, lengths and counts",
                       "field '%s' cannot be compared", name);
            return -1;
        }
    yaml_error(&draft->file, node, "name a field of this schema", "no field '%s'", name);
    return -1;
}

static void read_relation(struct draft *draft, const struct yaml_node *node)
{
    static const char *const operators[] = {"<", "<=", "==", "!="};
    char left[32], operator[8], right[32];
    int end = -1;
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    unsigned index = 0;
    if (sscanf(text, " %31[a-z0-9_] %7[<=!] %31[a-z0-9_] %n", left, operator, right, &end) != 3 ||
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

static void read_header(struct draft *draft, struct yaml_node *root)
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

static void read_parts(struct draft *draft)
{
    struct yaml_file *file = &draft->file;
    struct yaml_node *root = file->root;
    read_header(draft, root);
    struct yaml_node *fields = yaml_child(file, root, "fields", YAML_SEQUENCE, 1);
    struct yaml_node *relations = yaml_child(file, root, "relations", YAML_SEQUENCE, 0);
    if (fields != NULL && (fields->count == 0 || fields->count > SCHEMA_FIELDS_MAX))
        yaml_error(file, fields, "between 1 and 64", "%zu fields", fields->count);
    for (size_t i = 0; fields != NULL && i < fields->count && i < SCHEMA_FIELDS_MAX; i++) {
        if (fields->children[i]->kind != YAML_MAPPING) {
            yaml_error(file, fields->children[i], "write {name: ..., type: ...}", "not a field");
            continue;
        }
        read_field(draft, fields->children[i], &draft->fields[i]);
        draft->header.field_count++;
    }
    if (relations != NULL && relations->count > SCHEMA_RELATIONS_MAX)
        yaml_error(file, relations, "at most 16", "%zu relations", relations->count);
    for (size_t i = 0; relations != NULL && i < relations->count && i < SCHEMA_RELATIONS_MAX; i++)
        read_relation(draft, relations->children[i]);
    if (file->error_count == 0)
        lay_out(draft);
    yaml_finish(file);
}

static uint8_t *assemble(struct draft *draft, size_t *size)
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

enum status schema_source_read(const char *path, uint8_t **block, size_t *size)
{
    struct draft *draft = calloc(1, sizeof *draft);
    if (draft == NULL)
        return STATUS_SYSTEM;
    enum status status = yaml_read(&draft->file, path);
    if (status != STATUS_OK)
        goto out;
    read_parts(draft);
    status = STATUS_MALFORMED;
    if (draft->file.error_count == 0) {
        *block = assemble(draft, size);
        status = *block == NULL ? STATUS_SYSTEM : STATUS_OK;
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
