// SPDX-License-Identifier: ISC
// The fields of a schema file: what each may hold, and where it lies.
//
// The layout is that of the C struct which guests see: a record is a struct in it, so it begins where the widest of its
// members may and takes a multiple of that.
#include "cli/source/schema_draft.h"
#include "cli/source/schema_source.h"

#include "abi/abi.h"
#include "core/field_words.h"
#include "core/schema_layout.h"

#include <stdio.h>
#include <string.h>

#define TYPE_COUNT SCHEMA_RECORD
#define CLASS_COUNT (SCHEMA_CLASS_TOPIC + 1)
#define SINK_COUNT 6
// A field of one of these names would not compile in the generated header.
static const char *const reserved_names[] = {
    "auto",   "break",  "case",     "char",   "const",  "continue", "default", "do",     "double",
    "else",   "enum",   "extern",   "float",  "for",    "goto",     "if",      "inline", "int",
    "long",   "register", "restrict", "return", "short", "signed",  "sizeof",  "static", "struct",
    "switch", "typedef", "union",   "unsigned", "void", "volatile", "while",   "asm",    "typeof"};

// The value of a key as an index into the words that `name_of` gives, from `first` on.
static int choose(struct schema_draft *draft, struct yaml_node *node, const char *key, const char *(*name_of)(unsigned),
                  unsigned first, int count)
{
    const char *names[TYPE_COUNT];
    for (int i = 0; i < count; i++)
        names[i] = name_of(first + (unsigned)i);
    return yaml_choice(&draft->file, node, key, names, count, -1);
}

static int64_t read_bound(struct schema_draft *draft, struct yaml_node *node, const char *key,
                          const struct schema_field *field, unsigned type)
{
    const char *text = yaml_text(&draft->file, node, key, NULL);
    int64_t value = 0;
    if (text != NULL && !schema_number_read(text, type, field->decimals, &value))
        yaml_error(&draft->file, node, "write a number that the type and its decimals can hold",
                   "'%s: %s' does not fit the type", key, text);
    return value;
}

static void read_range(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field,
                       unsigned type)
{
    field->decimals = (uint8_t)yaml_integer(&draft->file, node, "decimals", 0, 18, 1, 0);
    field->minimum = read_bound(draft, node, "min", field, type);
    field->maximum = read_bound(draft, node, "max", field, type);
    unsigned bits = 8 * type_width(type);
    int is_inverted = type == SCHEMA_U64 ? (uint64_t)field->minimum > (uint64_t)field->maximum
                                         : field->minimum > field->maximum;
    int64_t most = bits == 64 ? INT64_MAX : (int64_t)(UINT64_MAX >> (64 - bits + (type >= SCHEMA_I8)));
    int64_t least = type >= SCHEMA_I8 ? -most - 1 : 0;
    if (is_inverted)
        yaml_error(&draft->file, node, "exchange them", "min is above max");
    else if (type != SCHEMA_U64 && (field->minimum < least || field->maximum > most))
        yaml_error(&draft->file, node, "use a wider type or a smaller range",
                   "min or max is outside what %s can hold", field_type_name(type));
}

static void read_labels(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field,
                        const char *key)
{
    struct yaml_node *of = yaml_child(&draft->file, node, key, YAML_SEQUENCE, 1);
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
        yaml_error(&draft->file, of, "write [first, second]", "an enumeration without labels");
    field->maximum = field->label_count - 1;
}

// What a field of scalars may hold, whether it is one or an array.
static void read_values(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field,
                        unsigned type, const char *labels_key)
{
    if (is_integer(type))
        read_range(draft, node, field, type);
    if (type == SCHEMA_BOOL)
        field->maximum = 1;
    if (type == SCHEMA_ENUM)
        read_labels(draft, node, field, labels_key);
}

// ---- Names ----

// "text" and "text_length" would be one member of the C struct, "a.b" and "a_b" give the same macros.
static int is_derived(const char *name, const char *from)
{
    size_t length = 0;
    while (from[length] != 0 && (name[length] == from[length] || (name[length] == '.' && from[length] == '_') ||
                                 (name[length] == '_' && from[length] == '.')))
        length++;
    return from[length] == 0 && (name[length] == 0 || strcmp(name + length, "_length") == 0 ||
                                 strcmp(name + length, "_count") == 0);
}

// `record`: what is taken is the name of a record: nothing else may begin with it and a dot.
static int is_name_taken(const struct schema_draft *draft, const char *name, const char *record)
{
    size_t length = strlen(name);
    for (unsigned i = 0; i < draft->header.field_count; i++) {
        const char *other = draft->fields[i].name;
        int is_own_array = record != NULL && strcmp(other, record) == 0;
        if ((is_derived(other, name) || is_derived(name, other)) && !is_own_array)
            return 1;
        if (strncmp(other, name, length) == 0 && other[length] == '.')
            return 1;
    }
    return 0;
}

// Name of a field or a record, behind that of the record that it is in. Nothing is written when it is bad.
static void read_name(struct schema_draft *draft, struct yaml_node *node, const char *record,
                      char to[SCHEMA_FIELD_NAME_BYTES])
{
    const char *name = yaml_text(&draft->file, node, "name", NULL);
    if (name == NULL)
        return;
    char whole[2 * SCHEMA_FIELD_NAME_BYTES];
    size_t good = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    int length = snprintf(whole, sizeof whole, "%s%s%s", record == NULL ? "" : record, record == NULL ? "" : ".", name);
    if (good == 0 || name[good] != 0 || name[0] < 'a') {
        yaml_error(&draft->file, node, "use a-z 0-9 _, a letter first", "bad field name '%s'", name);
        return;
    }
    if (length < 0 || length >= (int)SCHEMA_FIELD_NAME_BYTES) {
        yaml_error(&draft->file, node, "use at most 31 characters, with those of its record and the dot",
                   "the field name '%s%s%s' is too long", record == NULL ? "" : record, record == NULL ? "" : ".", name);
        return;
    }
    for (size_t i = 0; i < sizeof reserved_names / sizeof reserved_names[0]; i++)
        if (strcmp(name, reserved_names[i]) == 0)
            yaml_error(&draft->file, node, "choose another name", "'%s' is a word of C", name);
    if (is_name_taken(draft, whole, record))
        yaml_error(&draft->file, node,
                   "choose another name (NAME_length and NAME_count are taken too, and A_B by member B of A)",
                   "field '%s' is here twice", whole);
    memcpy(to, whole, (size_t)length);
}

// ---- Fields ----

static void read_unit(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field)
{
    struct yaml_file *file = &draft->file;
    const char *unit = yaml_text(file, node, "unit", "");
    if (strlen(unit) >= sizeof field->unit || strpbrk(unit, " \t") != NULL) {
        yaml_error(file, node, "at most 15 characters, no spaces", "bad unit '%s'", unit);
        return;
    }
    for (size_t i = 0; unit[i] != 0; i++)
        if (unit[i] < 0x21 || unit[i] > 0x7e)
            yaml_error(file, node, "use ASCII, for example Cel", "bad unit '%s'", unit);
        else
            field->unit[i] = unit[i];
}

static void read_deny(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field)
{
    struct yaml_file *file = &draft->file;
    struct yaml_node *deny = yaml_child(file, node, "deny", YAML_SEQUENCE, 0);
    for (size_t i = 0; deny != NULL && i < deny->count; i++) {
        const struct yaml_node *sink = deny->children[i];
        const char *name = sink->kind == YAML_SCALAR ? sink->text : "";
        int bit = field_sink_find(name);
        if (bit < 0) {
            const char *names[SINK_COUNT];
            for (unsigned k = 0; k < SINK_COUNT; k++)
                names[k] = field_sink_name(k);
            const char *nearest = yaml_nearest(name, names, SINK_COUNT);
            char mend[80] = "use some of sql shell html csv log path";
            if (nearest != NULL)
                snprintf(mend, sizeof mend, "did you mean '%s'?", nearest);
            yaml_error(file, sink, mend, "'%s' is no sink that can be denied", name);
            continue;
        }
        if ((field->deny >> bit & 1) != 0)
            yaml_error(file, sink, "keep one", "'%s' is here twice", name);
        field->deny |= (uint8_t)(1u << bit);
    }
}

static struct schema_field *field_add(struct schema_draft *draft, const struct yaml_node *node, unsigned record)
{
    if (draft->header.field_count == SCHEMA_FIELDS_MAX) {
        yaml_error(&draft->file, node, "use fewer, or several schemas", "more than %u fields (those of records count)",
                   SCHEMA_FIELDS_MAX);
        return NULL;
    }
    draft->records[draft->header.field_count] = (uint8_t)record;
    return &draft->fields[draft->header.field_count++];
}

static void read_fields(struct schema_draft *draft, struct yaml_node *fields, const char *record, int is_array);

static void read_array(struct schema_draft *draft, struct yaml_node *node, struct schema_field *field, int is_in_array)
{
    struct yaml_file *file = &draft->file;
    int of = choose(draft, node, "of", field_type_name, SCHEMA_U8, TYPE_COUNT);
    unsigned element = (unsigned)of + 1;
    if (is_in_array)
        yaml_error(file, node, "make the array a field of the message itself, or the elements fields of the record",
                   "an array in an array of records");
    if (of >= 0 && !is_scalar(element) && element != SCHEMA_RECORD) {
        yaml_error(file, node, "arrays are of integers, bool, enum or record", "an array of %s", field_type_name(element));
        return;
    }
    if (of < 0 || element == SCHEMA_RECORD) {
        field->element = SCHEMA_RECORD; // its members are read by read_record_array
        return;
    }
    field->element = (uint8_t)element;
    read_values(draft, node, field, element, "labels");
}

static void read_field(struct schema_draft *draft, struct yaml_node *node, unsigned type, const char *record,
                       int is_in_array)
{
    struct yaml_file *file = &draft->file;
    struct schema_field *field = field_add(draft, node, record == NULL ? 0 : draft->record_count);
    if (field == NULL)
        return;
    draft->header.field_count--; // its own name is not taken yet
    read_name(draft, node, record, field->name);
    draft->header.field_count++;
    field->type = (uint8_t)type;
    if (type >= SCHEMA_STRING)
        field->capacity = (uint16_t)yaml_integer(file, node, "most", 1, ABI_PAYLOAD_BYTES_MAX, 0, 0);
    if (type == SCHEMA_STRING) {
        field->class = (uint8_t)choose(draft, node, "class", field_class_name, 0, CLASS_COUNT);
        read_deny(draft, node, field);
    }
    read_values(draft, node, field, type, "of");
    if (type == SCHEMA_ARRAY)
        read_array(draft, node, field, is_in_array);
    read_unit(draft, node, field);
    if (field->element != SCHEMA_RECORD)
        return;
    struct yaml_node *members = yaml_child(file, node, "fields", YAML_SEQUENCE, !is_in_array);
    unsigned before = draft->header.field_count;
    draft->record_count++;
    if (record == NULL && members != NULL && field->name[0] != 0)
        read_fields(draft, members, field->name, 1);
    field->member_count = (uint8_t)(draft->header.field_count - before);
}

static void read_record(struct schema_draft *draft, struct yaml_node *node, const char *record)
{
    char name[SCHEMA_FIELD_NAME_BYTES] = "";
    if (record != NULL) {
        yaml_error(&draft->file, node, "make its members fields of the record that it is in", "a record in a record");
        return;
    }
    read_name(draft, node, NULL, name);
    struct yaml_node *members = yaml_child(&draft->file, node, "fields", YAML_SEQUENCE, 1);
    draft->record_count++;
    if (members != NULL && name[0] != 0)
        read_fields(draft, members, name, 0);
}

static void read_fields(struct schema_draft *draft, struct yaml_node *fields, const char *record, int is_in_array)
{
    struct yaml_file *file = &draft->file;
    if (fields->count == 0)
        yaml_error(file, fields, "write {name: ..., type: ...}", "no fields");
    for (size_t i = 0; i < fields->count; i++) {
        struct yaml_node *node = fields->children[i];
        if (node->kind != YAML_MAPPING) {
            yaml_error(file, node, "write {name: ..., type: ...}", "not a field");
            continue;
        }
        int type = choose(draft, node, "type", field_type_name, SCHEMA_U8, TYPE_COUNT);
        if (type + 1 == SCHEMA_RECORD)
            read_record(draft, node, record);
        else
            read_field(draft, node, type < 0 ? SCHEMA_BOOL : (unsigned)type + 1, record, is_in_array);
    }
}

void draft_fields(struct schema_draft *draft, struct yaml_node *fields)
{
    read_fields(draft, fields, NULL, 0);
}

// ---- Layout ----

// What the field's members of the C struct are aligned to.
static unsigned alignment_of(const struct schema_field *field)
{
    unsigned own = field_alignment(field->type);
    unsigned element = field->type == SCHEMA_ARRAY && field->element != SCHEMA_RECORD ? type_width(field->element) : 1;
    return element > own ? element : own;
}

// Fields [first, first + count) as the members of one struct that begins at or behind `end`. Returns its end.
static size_t lay_out_record(struct schema_draft *draft, unsigned first, unsigned count, size_t end)
{
    size_t alignment = 1;
    for (unsigned i = first; i < first + count; i++)
        if (alignment_of(&draft->fields[i]) > alignment)
            alignment = alignment_of(&draft->fields[i]);
    end = align_up(end, alignment);
    for (unsigned i = first; i < first + count && end <= ABI_PAYLOAD_BYTES_MAX; i++) {
        end = align_up(end, field_alignment(draft->fields[i].type));
        draft->fields[i].offset = (uint16_t)end;
        end = field_end(&draft->fields[i]);
    }
    return align_up(end, alignment);
}

void draft_lay_out(struct schema_draft *draft)
{
    size_t end = 0;
    unsigned count;
    for (unsigned i = 0; i < draft->header.field_count; i += count) {
        struct schema_field *field = &draft->fields[i];
        unsigned record = draft->records[i];
        count = 1;
        while (record != 0 && i + count < draft->header.field_count && draft->records[i + count] == record)
            count++;
        struct schema_field *array = i > 0 && draft->fields[i - 1].element == SCHEMA_RECORD ? field - 1 : NULL;
        end = record != 0 ? lay_out_record(draft, i, count, end) : align_up(end, field_alignment(field->type));
        if (record == 0) {
            field->offset = (uint16_t)end;
            end = field_end(field);
        }
        if (array != NULL && end <= ABI_PAYLOAD_BYTES_MAX) {
            array->stride = (uint16_t)(end - field->offset);
            for (unsigned j = i; j < i + count; j++)
                draft->fields[j].stride = array->stride;
            end = records_stop(array);
        }
        if (end > ABI_PAYLOAD_BYTES_MAX) {
            yaml_error(&draft->file, draft->file.root, "make fields smaller or send several messages",
                       "the message is larger than %u bytes (at field '%s')", ABI_PAYLOAD_BYTES_MAX, field->name);
            return;
        }
    }
    const struct schema_field *last = &draft->fields[draft->header.field_count - 1];
    // A record that ends the struct may have padding behind its last member: up to the next 8 all is zero anyway.
    draft->header.struct_bytes = (uint16_t)align_up(end, 8);
    draft->header.is_cut = is_text(last->type) && !is_in_array(last);
}
