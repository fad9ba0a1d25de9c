// SPDX-License-Identifier: ISC
// The schema checker (schema_check), and values of checked messages.
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

#include "core/check.h"
#include "core/schema_layout.h"

#include <string.h>

static uint64_t load(const uint8_t *bytes, unsigned width)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}


static int64_t sign_extend(uint64_t value, unsigned width)
{
    unsigned shift = 64 - 8 * width;
    return (int64_t)(value << shift) >> shift;
}

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
