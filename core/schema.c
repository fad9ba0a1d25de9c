// SPDX-License-Identifier: ISC
// The schema checker: accepts blocks (schema_open) and judges messages (schema_check).
//
// A block is valid if and only if all of this holds.
// - Its size is header.block_bytes = header + fields + relations + labels, rounded up to 8.
// - Names are zero-terminated and zero-filled; the schema's is [a-z][a-z0-9-]*/[1-9][0-9]*, a field's
//   [a-z][a-z0-9_]* and no field has it twice; labels [a-z0-9][a-z0-9_-]*, units printable.
// - Fields lie one behind the other in their order, each at the first offset that its alignment
//   allows (integers: their width; bool and enumeration: 1; string, bytes and array: 2, for the
//   length or count; elements again at their width). struct_bytes is the end of the last, rounded up to 8.
// - is_cut is 1 exactly when the last field is a string or bytes.
// - Integers: minimum <= maximum, both within the type. Bool: 0 and 1. Enumeration: 0 and
//   label_count - 1; enumerations use the labels one after the other, all of them. What a type does not use is zero.
// - Relations name two different fields that have a value (integers of the same decimals, lengths, counts).
//
// The verdict on a message. First the length: struct_bytes, or with is_cut the end of the last used
// byte rounded up to 8. Then the fields in order; for each: bytes skipped before it are zero
// (padding), then
//   integer        within minimum and maximum (range)
//   bool           0 or 1 (range)
//   enumeration    below label_count (enumeration)
//   string, bytes  length <= capacity (length), characters in the class (class), tail zero (padding)
//   array          count <= capacity (length), bytes up to the first element zero (padding), used
//                  elements in range (range), unused ones zero (padding)
// Then the bytes behind the last field are zero (padding, no field). Then the relations in order
// (relation, field = the left one). The first thing that does not hold is the verdict.
#include "core/schema.h"

#include "abi/abi.h"
#include "core/check.h"

#include <string.h>

static uint64_t load(const uint8_t *bytes, unsigned width)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}


static int is_integer(unsigned type)
{
    return type >= SCHEMA_U8 && type <= SCHEMA_I64;
}

static int is_signed(unsigned type)
{
    return type >= SCHEMA_I8 && type <= SCHEMA_I64;
}

static int is_text(unsigned type)
{
    return type == SCHEMA_STRING || type == SCHEMA_BYTES;
}

// Of an integer type; 1 for bool and enumeration.
static unsigned type_width(unsigned type)
{
    switch (type) {
    case SCHEMA_U16:
    case SCHEMA_I16:
        return 2;
    case SCHEMA_U32:
    case SCHEMA_I32:
        return 4;
    case SCHEMA_U64:
    case SCHEMA_I64:
        return 8;
    default:
        return 1;
    }
}

static int64_t sign_extend(uint64_t value, unsigned width)
{
    unsigned shift = 64 - 8 * width;
    return (int64_t)(value << shift) >> shift;
}

static size_t align_up(size_t offset, size_t alignment)
{
    return (offset + alignment - 1) & ~(alignment - 1);
}

static int is_zero(const uint8_t *bytes, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

// ---- Blocks ----

// Zero-terminated within size and zero behind it; returns the length, or 0 if not (or if empty).
static size_t name_length(const char *name, size_t size)
{
    size_t length = strnlen(name, size);
    if (length == size)
        return 0;
    for (size_t i = length; i < size; i++)
        if (name[i] != 0)
            return 0;
    return length;
}

static int is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_schema_name(const char *name)
{
    size_t length = name_length(name, SCHEMA_NAME_BYTES), i = 0;
    if (length == 0 || !is_lower(name[0]))
        return 0;
    while (is_lower(name[i]) || is_digit(name[i]) || name[i] == '-')
        i++;
    if (name[i] != '/' || i + 1 >= length || name[i + 1] == '0')
        return 0;
    for (i++; i < length; i++)
        if (!is_digit(name[i]))
            return 0;
    return 1;
}

static int is_field_name(const char *name)
{
    size_t length = name_length(name, SCHEMA_FIELD_NAME_BYTES);
    if (length == 0 || !is_lower(name[0]))
        return 0;
    for (size_t i = 0; i < length; i++)
        if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '_')
            return 0;
    return 1;
}

static int is_label(const struct schema_label *label)
{
    size_t length = name_length(label->text, sizeof label->text);
    if (length == 0 || label->text[0] == '_' || label->text[0] == '-')
        return 0;
    for (size_t i = 0; i < length; i++)
        if (!is_lower(label->text[i]) && !is_digit(label->text[i]) && label->text[i] != '_' &&
            label->text[i] != '-')
            return 0;
    return 1;
}

static int is_unit(const char unit[16])
{
    if (unit[0] == 0)
        return is_zero((const uint8_t *)unit, 0, 16);
    size_t length = name_length(unit, 16);
    for (size_t i = 0; i < length; i++)
        if (unit[i] < 0x21 || unit[i] > 0x7e)
            return 0;
    return length != 0;
}

static int is_integer_range(unsigned type, int64_t minimum, int64_t maximum)
{
    unsigned bits = 8 * type_width(type);
    if (type == SCHEMA_U64)
        return (uint64_t)minimum <= (uint64_t)maximum;
    if (minimum > maximum)
        return 0;
    if (!is_signed(type))
        return minimum >= 0 && maximum <= (int64_t)((UINT64_C(1) << bits) - 1);
    int64_t limit = (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
    return minimum >= -limit - 1 && maximum <= limit;
}

// The attributes that the type uses are good, the others zero.
static int is_field_good(const struct schema_field *field, unsigned labels_seen,
                         unsigned label_count)
{
    unsigned type = field->type;
    int has_range = is_integer(type) || type == SCHEMA_ARRAY;
    if (!is_field_name(field->name) || !is_unit(field->unit) || field->zero != 0)
        return 0;
    if (type < SCHEMA_U8 || type > SCHEMA_ARRAY)
        return 0;
    if (type == SCHEMA_ARRAY ? !is_integer(field->element) : field->element != 0)
        return 0;
    if (field->class > (type == SCHEMA_STRING ? SCHEMA_CLASS_TOPIC : 0))
        return 0;
    if (field->decimals > (has_range ? 18 : 0))
        return 0;
    if (is_text(type) || type == SCHEMA_ARRAY ? field->capacity == 0 : field->capacity != 0)
        return 0;
    if (type == SCHEMA_ENUM) {
        if (field->label_first != labels_seen || field->label_count == 0 ||
            field->label_count > label_count - labels_seen)
            return 0;
        return field->minimum == 0 && field->maximum == field->label_count - 1;
    }
    if (field->label_first != 0 || field->label_count != 0)
        return 0;
    if (has_range)
        return is_integer_range(type == SCHEMA_ARRAY ? field->element : type, field->minimum,
                                field->maximum);
    return field->minimum == 0 && field->maximum == (type == SCHEMA_BOOL ? 1 : 0);
}

// Where the field's own bytes begin when the previous one ended at `end`.
static size_t field_start(const struct schema_field *field, size_t end)
{
    if (is_text(field->type) || field->type == SCHEMA_ARRAY)
        return align_up(end, 2);
    return align_up(end, type_width(field->type));
}

// Offset of an array's first element.
static size_t elements_start(const struct schema_field *field)
{
    return align_up(field->offset + 2u, type_width(field->element));
}

static size_t field_end(const struct schema_field *field)
{
    if (is_text(field->type))
        return field->offset + 2u + field->capacity;
    if (field->type == SCHEMA_ARRAY)
        return elements_start(field) + (size_t)field->capacity * type_width(field->element);
    return field->offset + type_width(field->type);
}

static int is_relation_good(const struct schema *schema, const struct schema_relation *relation)
{
    unsigned count = schema->header->field_count;
    if (relation->left >= count || relation->right >= count || relation->left == relation->right)
        return 0;
    if (relation->operator < SCHEMA_LESS || relation->operator > SCHEMA_NOT_EQUAL ||
        relation->zero != 0)
        return 0;
    const struct schema_field *left = &schema->fields[relation->left];
    const struct schema_field *right = &schema->fields[relation->right];
    if (left->type == SCHEMA_BOOL || left->type == SCHEMA_ENUM || right->type == SCHEMA_BOOL ||
        right->type == SCHEMA_ENUM)
        return 0;
    unsigned left_decimals = is_integer(left->type) ? left->decimals : 0;
    unsigned right_decimals = is_integer(right->type) ? right->decimals : 0;
    return left_decimals == right_decimals;
}

static int are_fields_good(const struct schema *schema)
{
    const struct schema_header *header = schema->header;
    size_t end = 0;
    unsigned labels_seen = 0;
    for (unsigned i = 0; i < header->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        if (!is_field_good(field, labels_seen, header->label_count))
            return 0;
        for (unsigned j = 0; j < i; j++)
            if (strcmp(schema->fields[j].name, field->name) == 0)
                return 0;
        labels_seen += field->label_count;
        if (field->offset != field_start(field, end))
            return 0;
        end = field_end(field);
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return 0;
    }
    return labels_seen == header->label_count && header->struct_bytes == align_up(end, 8) &&
           header->is_cut == is_text(schema->fields[header->field_count - 1].type);
}

enum status schema_open(struct schema *schema, const uint8_t *block, size_t size)
{
    if (size < sizeof(struct schema_header))
        return STATUS_TRUNCATED;
    if ((uintptr_t)block % 8 != 0)
        return STATUS_MALFORMED;
    struct schema opened;
    const struct schema_header *header = opened.header = (const void *)block;
    if (header->field_count == 0 || header->zero != 0 || !is_schema_name(header->name))
        return STATUS_MALFORMED;
    if (header->field_count > SCHEMA_FIELDS_MAX || header->relation_count > SCHEMA_RELATIONS_MAX ||
        header->label_count > SCHEMA_LABELS_MAX)
        return STATUS_TOO_LARGE;
    size_t relations_at = sizeof *header + header->field_count * sizeof(struct schema_field);
    size_t labels_at = relations_at + header->relation_count * sizeof(struct schema_relation);
    size_t end = labels_at + header->label_count * sizeof(struct schema_label);
    if (header->block_bytes != end)
        return STATUS_MALFORMED;
    if (size < end)
        return STATUS_TRUNCATED;
    if (size > end)
        return STATUS_MALFORMED;
    opened.fields = (const void *)(block + sizeof *header);
    opened.relations = (const void *)(block + relations_at);
    opened.labels = (const void *)(block + labels_at);
    for (unsigned i = 0; i < header->label_count; i++)
        if (!is_label(&opened.labels[i]))
            return STATUS_MALFORMED;
    if (!are_fields_good(&opened))
        return STATUS_MALFORMED;
    for (unsigned i = 0; i < header->relation_count; i++)
        if (!is_relation_good(&opened, &opened.relations[i]))
            return STATUS_MALFORMED;
    *schema = opened;
    return STATUS_OK;
}

// ---- Messages ----

static int is_control(uint32_t character)
{
    return character < 0x20 || (character >= 0x7f && character <= 0x9f);
}

// Shortest-form UTF-8 without surrogates and control characters.
static int is_utf8(const uint8_t *bytes, size_t length)
{
    static const uint32_t shortest[4] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < length;) {
        uint8_t first = bytes[i++];
        unsigned more;
        uint32_t character;
        if (first < 0x80) {
            more = 0;
            character = first;
        } else if ((first & 0xe0) == 0xc0) {
            more = 1;
            character = first & 0x1f;
        } else if ((first & 0xf0) == 0xe0) {
            more = 2;
            character = first & 0x0f;
        } else if ((first & 0xf8) == 0xf0) {
            more = 3;
            character = first & 0x07;
        } else {
            return 0;
        }
        if (more > length - i)
            return 0;
        for (unsigned j = 0; j < more; j++, i++) {
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
            character = character << 6 | (bytes[i] & 0x3f);
        }
        if (character < shortest[more] || character > 0x10ffff || is_control(character) ||
            (character >= 0xd800 && character <= 0xdfff))
            return 0;
    }
    return 1;
}

static int is_in_class(unsigned class, const uint8_t *bytes, size_t length)
{
    if (class == SCHEMA_CLASS_UTF8)
        return is_utf8(bytes, length);
    if (class == SCHEMA_CLASS_TOPIC)
        return is_utf8(bytes, length) &&
               (length == 0 || (memchr(bytes, '+', length) == NULL &&
                                memchr(bytes, '#', length) == NULL));
    for (size_t i = 0; i < length; i++) {
        char c = (char)bytes[i];
        int is_good;
        if (class == SCHEMA_CLASS_PRINTABLE)
            is_good = c >= 0x20 && c <= 0x7e;
        else if (class == SCHEMA_CLASS_HOST)
            is_good = is_lower(c) || is_digit(c) || c == '-' || c == '.';
        else
            is_good = is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z') || c == '-' ||
                      c == '_' || c == '.' || c == ':';
        if (!is_good)
            return 0;
    }
    return 1;
}

static int is_in_range(unsigned type, const struct schema_field *field, uint64_t raw)
{
    if (type == SCHEMA_U64)
        return raw >= (uint64_t)field->minimum && raw <= (uint64_t)field->maximum;
    int64_t value = is_signed(type) ? sign_extend(raw, type_width(type)) : (int64_t)raw;
    return value >= field->minimum && value <= field->maximum;
}

static enum reason check_text(const struct schema_field *field, const uint8_t *message, size_t size)
{
    size_t length = load(message + field->offset, 2);
    const uint8_t *bytes = message + field->offset + 2;
    if (length > field->capacity)
        return REASON_LENGTH;
    if (field->type == SCHEMA_STRING && !is_in_class(field->class, bytes, length))
        return REASON_CLASS;
    size_t end = field_end(field) < size ? field_end(field) : size;
    return is_zero(message, field->offset + 2u + length, end) ? REASON_DONE : REASON_PADDING;
}

static enum reason check_array(const struct schema_field *field, const uint8_t *message)
{
    size_t count = load(message + field->offset, 2);
    size_t at = elements_start(field), width = type_width(field->element);
    if (count > field->capacity)
        return REASON_LENGTH;
    if (!is_zero(message, field->offset + 2u, at))
        return REASON_PADDING;
    for (size_t i = 0; i < count; i++, at += width)
        if (!is_in_range(field->element, field, load(message + at, (unsigned)width)))
            return REASON_RANGE;
    return is_zero(message, at, field_end(field)) ? REASON_DONE : REASON_PADDING;
}

static enum reason check_field(const struct schema_field *field, const uint8_t *message,
                               size_t size)
{
    if (is_text(field->type))
        return check_text(field, message, size);
    if (field->type == SCHEMA_ARRAY)
        return check_array(field, message);
    uint64_t raw = load(message + field->offset, type_width(field->type));
    if (field->type == SCHEMA_ENUM)
        return raw < field->label_count ? REASON_DONE : REASON_ENUMERATION;
    return is_in_range(field->type, field, raw) ? REASON_DONE : REASON_RANGE;
}

// The message ends where its schema says; afterwards every access below stays inside.
static enum reason check_length(const struct schema *schema, const uint8_t *message, size_t size,
                                uint16_t *field)
{
    const struct schema_header *header = schema->header;
    *field = UINT16_MAX;
    if (!header->is_cut)
        return size == header->struct_bytes ? REASON_DONE : REASON_LENGTH;
    const struct schema_field *last = &schema->fields[header->field_count - 1];
    if (size < last->offset + 2u || size > header->struct_bytes)
        return REASON_LENGTH;
    size_t length = load(message + last->offset, 2);
    return size == align_up(last->offset + 2u + length, 8) ? REASON_DONE : REASON_LENGTH;
}

static int holds(const struct schema *schema, const struct schema_relation *relation,
                 const uint8_t *message, size_t size)
{
    int64_t left = schema_value(schema, relation->left, message, size);
    int64_t right = schema_value(schema, relation->right, message, size);
    // A u64 above INT64_MAX is above every value of another type.
    int is_left_huge = schema->fields[relation->left].type == SCHEMA_U64 && left < 0;
    int is_right_huge = schema->fields[relation->right].type == SCHEMA_U64 && right < 0;
    int is_less = is_left_huge == is_right_huge ? left < right : is_right_huge;
    int is_equal = is_left_huge == is_right_huge && left == right;
    switch (relation->operator) {
    case SCHEMA_LESS:
        return is_less;
    case SCHEMA_LESS_EQUAL:
        return is_less || is_equal;
    case SCHEMA_EQUAL:
        return is_equal;
    default:
        return !is_equal;
    }
}

enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field)
{
    enum reason reason = check_length(schema, message, size, field);
    if (reason != REASON_DONE)
        return reason;
    size_t end = 0;
    for (uint16_t i = 0; i < schema->header->field_count; i++) {
        *field = i;
        if (!is_zero(message, end, schema->fields[i].offset))
            return REASON_PADDING;
        reason = check_field(&schema->fields[i], message, size);
        if (reason != REASON_DONE)
            return reason;
        end = field_end(&schema->fields[i]);
    }
    *field = UINT16_MAX;
    if (!is_zero(message, end, size))
        return REASON_PADDING;
    for (unsigned i = 0; i < schema->header->relation_count; i++)
        if (!holds(schema, &schema->relations[i], message, size)) {
            *field = schema->relations[i].left;
            return REASON_RELATION;
        }
    return REASON_DONE;
}

// ---- Values of checked messages ----

int schema_field_index(const struct schema *schema, const char *name)
{
    for (int i = 0; i < schema->header->field_count; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return i;
    return -1;
}

int64_t schema_value(const struct schema *schema, uint16_t field, const uint8_t *message,
                     size_t size)
{
    const struct schema_field *of = &schema->fields[field];
    unsigned width = is_text(of->type) || of->type == SCHEMA_ARRAY ? 2 : type_width(of->type);
    check(field < schema->header->field_count && of->offset + width <= size);
    uint64_t raw = load(message + of->offset, width);
    return is_signed(of->type) ? sign_extend(raw, width) : (int64_t)raw;
}

size_t schema_bytes(const struct schema *schema, uint16_t field, const uint8_t *message,
                    size_t size, const uint8_t **bytes)
{
    const struct schema_field *of = &schema->fields[field];
    check(field < schema->header->field_count && is_text(of->type));
    size_t length = (size_t)schema_value(schema, field, message, size);
    check(of->offset + 2u + length <= size);
    *bytes = message + of->offset + 2;
    return length;
}

size_t schema_key(const struct schema *schema, const uint16_t *fields, size_t field_count,
                  const uint8_t *message, size_t size, uint8_t *key, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < field_count; i++) {
        const struct schema_field *field = &schema->fields[fields[i]];
        int is_last = i + 1 == field_count;
        if (is_text(field->type)) {
            const uint8_t *bytes;
            size_t length = schema_bytes(schema, fields[i], message, size, &bytes);
            size_t needed = length + (is_last ? 0 : 1);
            // Byte strings may hold zeros, so they could not be told apart from their end.
            if (needed > capacity - used || (field->type == SCHEMA_BYTES && !is_last))
                return 0;
            memcpy(key + used, bytes, length);
            if (!is_last)
                key[used + length] = 0;
            used += needed;
            continue;
        }
        if (field->type == SCHEMA_ARRAY)
            return 0;
        unsigned width = type_width(field->type);
        uint64_t value = (uint64_t)schema_value(schema, fields[i], message, size);
        if (is_signed(field->type))
            value ^= UINT64_C(1) << (8 * width - 1);
        if (width > capacity - used)
            return 0;
        for (unsigned j = 0; j < width; j++)
            key[used + j] = (uint8_t)(value >> (8 * (width - 1 - j)));
        used += width;
    }
    return used;
}
