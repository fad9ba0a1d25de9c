// SPDX-License-Identifier: ISC
// A second schema checker, written from the prose of core/schema_block.c, core/schema.c and core/schema_text.c alone: simple and slow. All
// numbers are 128 bits wide, offsets are found by counting, text is judged by writing it anew.
#ifndef CRENEL_TESTS_SCHEMA_ORACLE_H
#define CRENEL_TESTS_SCHEMA_ORACLE_H

#include "abi/abi.h"
#include "core/schema.h"

#include <stdlib.h>
#include <string.h>

typedef __int128 wide;

struct oracle { // the parts of a block, each a copy of its own
    struct schema_header header;
    struct schema_field fields[SCHEMA_FIELDS_MAX];
    struct schema_relation relations[SCHEMA_RELATIONS_MAX];
    struct schema_label labels[SCHEMA_LABELS_MAX];
};

static inline unsigned oracle_width(unsigned type)
{
    const unsigned widths[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 1, 1};
    return type > SCHEMA_ENUM ? 2 : widths[type];
}

static inline int oracle_is_number(unsigned type) { return type >= SCHEMA_U8 && type <= SCHEMA_I64; }
static inline int oracle_is_text(unsigned type)
{
    return type == SCHEMA_STRING || type == SCHEMA_BYTES || type == SCHEMA_SEALED;
}

static inline wide oracle_number(const uint8_t *bytes, unsigned type)
{
    wide value = 0, weight = 1;
    for (unsigned i = 0; i < oracle_width(type); i++, weight *= 256)
        value += weight * bytes[i];
    int is_signed = type >= SCHEMA_I8 && type <= SCHEMA_I64;
    return is_signed && value >= weight / 2 ? value - weight : value;
}

static inline wide oracle_bound(int64_t bound, unsigned type)
{
    return type == SCHEMA_U64 ? (wide)(uint64_t)bound : (wide)bound;
}

// The text before the first zero has only these characters, is not empty, and everything behind is zero.
static inline int oracle_is_word(const char *text, size_t size, const char *first, const char *others)
{
    size_t length = 0;
    while (length < size && text[length] != 0)
        length++;
    if (length == 0 || length == size)
        return 0;
    for (size_t i = length; i < size; i++)
        if (text[i] != 0)
            return 0;
    for (size_t i = 0; i < length; i++)
        if (strchr(i == 0 ? first : others, text[i]) == NULL)
            return 0;
    return 1;
}

#define ORACLE_LOWER "abcdefghijklmnopqrstuvwxyz"
#define ORACLE_DIGITS "0123456789"

static inline int oracle_is_schema_name(const char *name)
{
    if (!oracle_is_word(name, SCHEMA_NAME_BYTES, ORACLE_LOWER, ORACLE_LOWER ORACLE_DIGITS "-/"))
        return 0;
    const char *slash = strchr(name, '/');
    return slash != NULL && slash == strrchr(name, '/') && slash[1] != 0 && slash[1] != '0' &&
           strspn(slash + 1, ORACLE_DIGITS) == strlen(slash + 1);
}

static inline int oracle_is_unit(const char unit[16])
{
    char all[95] = "";
    for (int c = 0x21; c <= 0x7e; c++)
        all[c - 0x21] = (char)c;
    char none[16] = "";
    return memcmp(unit, none, 16) == 0 || oracle_is_word(unit, 16, all, all);
}

static inline size_t oracle_align(size_t at, size_t alignment)
{
    while (at % alignment != 0)
        at++;
    return at;
}

// Where the elements of an array begin.
static inline size_t oracle_elements(const struct schema_field *field)
{
    return oracle_align(field->offset + 2u, oracle_width(field->element));
}

static inline size_t oracle_end(const struct schema_field *field)
{
    if (oracle_is_text(field->type))
        return field->offset + 2u + field->capacity;
    if (field->type == SCHEMA_ARRAY && field->element == SCHEMA_RECORD)
        return field->offset + 2u;
    if (field->type == SCHEMA_ARRAY)
        return oracle_elements(field) + (size_t)field->capacity * oracle_width(field->element);
    return field->offset + oracle_width(field->type);
}

// One word of a field's name, or two with a dot between them.
static inline int oracle_is_field_name(const char *name)
{
    char parts[2][SCHEMA_FIELD_NAME_BYTES] = {"", ""};
    const char *dot = memchr(name, 0x2e, strnlen(name, SCHEMA_FIELD_NAME_BYTES)); // a dot
    size_t first = dot == NULL ? SCHEMA_FIELD_NAME_BYTES : (size_t)(dot - name);
    memcpy(parts[0], name, first);
    if (dot != NULL)
        memcpy(parts[1], dot + 1, SCHEMA_FIELD_NAME_BYTES - first - 1);
    for (int i = 0; i < (dot == NULL ? 1 : 2); i++)
        if (!oracle_is_word(parts[i], SCHEMA_FIELD_NAME_BYTES, ORACLE_LOWER, ORACLE_LOWER ORACLE_DIGITS "_"))
            return 0;
    return 1;
}

// The array of records that the field is in, or NULL.
static inline const struct schema_field *oracle_array(const struct oracle *o, unsigned index)
{
    for (unsigned i = 0; i < index; i++)
        if (o->fields[i].element == SCHEMA_RECORD && index - i <= o->fields[i].member_count)
            return &o->fields[i];
    return NULL;
}

static inline int oracle_is_range(const struct schema_field *field, unsigned type)
{
    wide most = 1, low = oracle_bound(field->minimum, type), high = oracle_bound(field->maximum, type);
    int is_signed = type >= SCHEMA_I8;
    for (unsigned bit = 0; bit < 8 * oracle_width(type) - (is_signed ? 1 : 0); bit++)
        most *= 2;
    return low <= high && high <= most - 1 && low >= (is_signed ? -most : 0);
}

static inline int oracle_is_field(const struct oracle *o, unsigned index, unsigned labels_before)
{
    const struct schema_field *f = &o->fields[index], *array = oracle_array(o, index);
    int is_array = f->type == SCHEMA_ARRAY, is_records = is_array && f->element == SCHEMA_RECORD;
    unsigned values = is_array ? f->element : f->type;
    int is_number = oracle_is_number(values);
    if (f->type < SCHEMA_U8 || f->type > SCHEMA_SEALED || !oracle_is_unit(f->unit) || !oracle_is_field_name(f->name))
        return 0;
    for (unsigned i = 0; i < o->header.field_count; i++)
        if (i != index && memcmp(o->fields[i].name, f->name, sizeof f->name) == 0)
            return 0;
    if (is_array ? values < SCHEMA_U8 || (values > SCHEMA_ENUM && !is_records) : f->element != 0)
        return 0;
    if ((f->type == SCHEMA_STRING ? f->class > SCHEMA_CLASS_TOPIC || f->deny >= 64 : f->class != 0 || f->deny != 0) ||
        (is_number ? f->decimals > 18 : f->decimals != 0) ||
        (f->capacity != 0) != (is_array || oracle_is_text(f->type)))
        return 0;
    if (is_records ? array != NULL || f->stride == 0 || f->member_count == 0 || index + f->member_count >= o->header.field_count
                   : f->member_count != 0 || f->stride != (array == NULL ? 0 : array->stride) || (is_array && array != NULL))
        return 0;
    if (values == SCHEMA_ENUM)
        return f->label_first == labels_before && f->label_count != 0 && f->minimum == 0 &&
               f->maximum == f->label_count - 1;
    if (f->label_first != 0 || f->label_count != 0)
        return 0;
    if (is_number)
        return oracle_is_range(f, values);
    return f->minimum == 0 && f->maximum == (values == SCHEMA_BOOL);
}

static inline int oracle_is_relation(const struct oracle *o, const struct schema_relation *relation)
{
    unsigned count = o->header.field_count;
    if (relation->left >= count || relation->right >= count || relation->left == relation->right ||
        relation->operator < SCHEMA_LESS || relation->operator > SCHEMA_NOT_EQUAL || relation->zero != 0)
        return 0;
    const struct schema_field *sides[] = {&o->fields[relation->left], &o->fields[relation->right]};
    unsigned decimals[2];
    for (int i = 0; i < 2; i++) {
        if (sides[i]->type == SCHEMA_BOOL || sides[i]->type == SCHEMA_ENUM ||
            oracle_array(o, (unsigned)(sides[i] - o->fields)) != NULL)
            return 0;
        decimals[i] = oracle_is_number(sides[i]->type) ? sides[i]->decimals : 0;
    }
    return decimals[0] == decimals[1];
}

static inline int oracle_open(struct oracle *o, const uint8_t *block, size_t size)
{
    memset(o, 0, sizeof *o);
    if (size < sizeof o->header)
        return 0;
    memcpy(&o->header, block, sizeof o->header);
    const struct schema_header *h = &o->header;
    if (h->field_count == 0 || h->field_count > SCHEMA_FIELDS_MAX || h->relation_count > SCHEMA_RELATIONS_MAX ||
        h->label_count > SCHEMA_LABELS_MAX || h->zero != 0 || !oracle_is_schema_name(h->name))
        return 0;
    const size_t parts[] = {h->field_count * 80u, h->relation_count * 8u, h->label_count * 24u};
    if (size != 96 + parts[0] + parts[1] + parts[2] || h->block_bytes != size)
        return 0;
    memcpy(o->fields, block + 96, parts[0]);
    memcpy(o->relations, block + 96 + parts[0], parts[1]);
    memcpy(o->labels, block + 96 + parts[0] + parts[1], parts[2]);
    unsigned labels = 0;
    size_t end = 0;
    for (unsigned i = 0; i < h->field_count; i++) {
        const struct schema_field *f = &o->fields[i], *array = oracle_array(o, i);
        if (!oracle_is_field(o, i, labels) || f->offset < end || f->offset > end + 7 ||
            f->offset != oracle_align(f->offset, oracle_width(f->type)))
            return 0;
        labels += f->label_count;
        end = oracle_end(f);
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return 0;
        if (array == NULL || f != array + array->member_count)
            continue;
        size_t record = end - array[1].offset;
        if (array->stride < record || array->stride > record + 7)
            return 0;
        for (unsigned j = 1; j <= array->member_count; j++)
            if (oracle_align(array->stride, oracle_width(array[j].type)) != array->stride)
                return 0;
        end = array[1].offset + (size_t)array->stride * array->capacity;
        if (end > ABI_PAYLOAD_BYTES_MAX)
            return 0;
    }
    for (unsigned i = 0; i < h->label_count; i++)
        if (!oracle_is_word(o->labels[i].text, 24, ORACLE_LOWER ORACLE_DIGITS, ORACLE_LOWER ORACLE_DIGITS "_-"))
            return 0;
    for (unsigned i = 0; i < h->relation_count; i++)
        if (!oracle_is_relation(o, &o->relations[i]))
            return 0;
    return labels == h->label_count && h->struct_bytes == oracle_align(end, 8) &&
           h->is_cut == (oracle_is_text(o->fields[h->field_count - 1].type) &&
                         oracle_array(o, h->field_count - 1u) == NULL);
}

// ---- Messages ----

static inline size_t oracle_utf8(uint32_t c, uint8_t to[4])
{
    if (c < 0x80)
        return to[0] = (uint8_t)c, 1;
    if (c < 0x800)
        return to[0] = (uint8_t)(0xc0 + c / 64), to[1] = (uint8_t)(0x80 + c % 64), 2;
    if (c < 0x10000)
        return to[0] = (uint8_t)(0xe0 + c / 4096), to[1] = (uint8_t)(0x80 + c / 64 % 64),
               to[2] = (uint8_t)(0x80 + c % 64), 3;
    to[0] = (uint8_t)(0xf0 + c / 262144), to[1] = (uint8_t)(0x80 + c / 4096 % 64);
    to[2] = (uint8_t)(0x80 + c / 64 % 64), to[3] = (uint8_t)(0x80 + c % 64);
    return 4;
}

// Reads a character in a lax way, then asks whether writing it gives the same bytes. Returns its size, or 0.
static inline size_t oracle_character(const uint8_t *at, size_t left, uint32_t *c)
{
    static const uint8_t lead[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    for (size_t size = 1; size <= 4 && size <= left; size++) {
        uint8_t again[4];
        *c = at[0] & lead[size];
        for (size_t i = 1; i < size; i++)
            *c = *c * 64 + at[i] % 64;
        if (*c <= 0x10ffff && !(*c >= 0xd800 && *c <= 0xdfff) && oracle_utf8(*c, again) == size &&
            memcmp(again, at, size) == 0)
            return size;
    }
    return 0;
}

static inline int oracle_is_in_class(unsigned class, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        uint32_t c;
        size = oracle_character(bytes + i, length - i, &c);
        int is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (size == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            return 0;
        if ((class == SCHEMA_CLASS_TOPIC && (c == '+' || c == '#')) ||
            (class == SCHEMA_CLASS_PRINTABLE && c > 0x7e) ||
            (class == SCHEMA_CLASS_HOST && !is_letter && c != '-' && c != '.') ||
            (class == SCHEMA_CLASS_TOKEN && !is_letter && !(c >= 'A' && c <= 'Z') && c != '-' && c != '_' &&
             c != '.' && c != ':'))
            return 0;
    }
    return 1;
}

// Does a sink mean something by this text? Each sink's list is walked for itself.
static inline int oracle_is_denied(unsigned deny, const uint8_t *bytes, size_t length)
{
    static const struct {
        const char *anywhere, *first;
        const char *sequences[20], *first_sequences[5];
    } sinks[6] = {
        {"'\"`;\\#", "", {"--", "/*", "*/"}, {0}},
        {"'\"`;\\#$&|<>(){}[]*?!~^%", "-", {0}, {0}},
        {"'\"`<>&", "", {0}, {0}},
        {"\",;|", "=+-@ ", {0}, {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"}},
        {"", "", {"${", "\xd8\x9c", "\xe2\x80\x8b", "\xe2\x80\x8c", "\xe2\x80\x8d", "\xe2\x80\x8e", "\xe2\x80\x8f",
                  "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac", "\xe2\x80\xad",
                  "\xe2\x80\xae", "\xef\xbb\xbf"}, {0}},
        {"\\:*?\"<>|", "/~- ", {".."}, {0}}};
    char text[ABI_PAYLOAD_BYTES_MAX + 1] = "";
    memcpy(text, bytes, length);
    for (unsigned i = 0; i < 6; i++) {
        if ((deny >> i & 1) == 0)
            continue;
        if (strpbrk(text, sinks[i].anywhere) != NULL || (text[0] != 0 && strchr(sinks[i].first, text[0]) != NULL))
            return 1;
        for (unsigned j = 0; sinks[i].sequences[j] != NULL; j++)
            if (strstr(text, sinks[i].sequences[j]) != NULL)
                return 1;
        for (unsigned j = 0; sinks[i].first_sequences[j] != NULL; j++)
            if (strstr(text, sinks[i].first_sequences[j]) == text)
                return 1;
        for (size_t at = 0; i == 4 && at + 3 <= length; at++) // U+2060 to U+2069
            if (bytes[at] == 0xe2 && bytes[at + 1] == 0x81 && bytes[at + 2] >= 0xa0 && bytes[at + 2] <= 0xa9)
                return 1;
    }
    return 0;
}

static inline int oracle_is_in_range(const struct schema_field *f, const uint8_t *at, unsigned type)
{
    wide value = oracle_number(at, type);
    return value >= oracle_bound(f->minimum, type) && value <= oracle_bound(f->maximum, type);
}

static inline int oracle_is_zero(const uint8_t *message, size_t size, size_t from, size_t to)
{
    for (size_t i = from; i < to && i < size; i++)
        if (message[i] != 0)
            return 0;
    return 1;
}

static inline enum reason oracle_scalar(const struct schema_field *f, const uint8_t *at, unsigned type)
{
    if (type == SCHEMA_ENUM)
        return at[0] < f->label_count ? REASON_DONE : REASON_ENUMERATION;
    return oracle_is_in_range(f, at, type) ? REASON_DONE : REASON_RANGE;
}

// `message` is where the field's offset counts from, `size` what is there.
static inline enum reason oracle_field(const struct schema_field *f, const uint8_t *message, size_t size)
{
    const uint8_t *at = message + f->offset;
    size_t length = at[0] + (f->type >= SCHEMA_STRING ? 256u * at[1] : 0);
    if (f->type < SCHEMA_STRING)
        return oracle_scalar(f, at, f->type);
    if (length > f->capacity)
        return REASON_LENGTH;
    size_t used = f->offset + 2u + length;
    if (f->type == SCHEMA_STRING &&
        (!oracle_is_in_class(f->class, at + 2, length) || oracle_is_denied(f->deny, at + 2, length)))
        return REASON_CLASS;
    if (f->type == SCHEMA_ARRAY && f->element == SCHEMA_RECORD)
        return REASON_DONE;
    if (f->type == SCHEMA_ARRAY) {
        if (!oracle_is_zero(message, size, f->offset + 2u, oracle_elements(f)))
            return REASON_PADDING;
        used = oracle_elements(f);
        for (size_t i = 0; i < length; i++, used += oracle_width(f->element)) {
            enum reason reason = oracle_scalar(f, message + used, f->element);
            if (reason != REASON_DONE)
                return reason;
        }
    }
    return oracle_is_zero(message, size, used, oracle_end(f)) ? REASON_DONE : REASON_PADDING;
}

// The records of the array fields[index], one by one.
static inline enum reason oracle_records(const struct oracle *o, unsigned index, const uint8_t *message, unsigned *field)
{
    const struct schema_field *array = &o->fields[index];
    size_t count = message[array->offset] + 256u * message[array->offset + 1], end = array->offset + 2u;
    for (size_t i = 0; i < count; i++)
        for (unsigned j = 1; j <= array->member_count; j++) {
            size_t shift = i * array->stride;
            *field = index + j;
            if (!oracle_is_zero(message, SIZE_MAX, end, array[j].offset + shift))
                return REASON_PADDING;
            enum reason reason = oracle_field(&array[j], message + shift, SIZE_MAX);
            if (reason != REASON_DONE)
                return reason;
            end = oracle_end(&array[j]) + shift;
        }
    *field = index;
    return oracle_is_zero(message, SIZE_MAX, end, array[1].offset + (size_t)array->stride * array->capacity)
               ? REASON_DONE : REASON_PADDING;
}

static inline enum reason oracle_check(const struct oracle *o, const uint8_t *message, size_t size, unsigned *field)
{
    size_t wanted = o->header.struct_bytes, end = 0;
    *field = UINT16_MAX;
    if (o->header.is_cut) {
        const struct schema_field *last = &o->fields[o->header.field_count - 1];
        if (size < last->offset + 2u || size > wanted)
            return REASON_LENGTH;
        wanted = oracle_align(last->offset + 2u + message[last->offset] + 256u * message[last->offset + 1], 8);
    }
    if (size != wanted)
        return REASON_LENGTH;
    for (unsigned i = 0; i < o->header.field_count; i++) {
        *field = i;
        if (!oracle_is_zero(message, size, end, o->fields[i].offset))
            return REASON_PADDING;
        enum reason reason = oracle_field(&o->fields[i], message, size);
        if (reason != REASON_DONE)
            return reason;
        end = oracle_end(&o->fields[i]);
        if (o->fields[i].element != SCHEMA_RECORD)
            continue;
        reason = oracle_records(o, i, message, field);
        if (reason != REASON_DONE)
            return reason;
        end = o->fields[i + 1].offset + (size_t)o->fields[i].stride * o->fields[i].capacity;
        i += o->fields[i].member_count;
    }
    *field = UINT16_MAX;
    if (!oracle_is_zero(message, size, end, size))
        return REASON_PADDING;
    for (unsigned i = 0; i < o->header.relation_count; i++) {
        const struct schema_relation *r = &o->relations[i];
        const struct schema_field *left = &o->fields[r->left], *right = &o->fields[r->right];
        wide a = oracle_number(message + left->offset, oracle_is_number(left->type) ? left->type : SCHEMA_U16);
        wide b = oracle_number(message + right->offset, oracle_is_number(right->type) ? right->type : SCHEMA_U16);
        int holds = r->operator == SCHEMA_LESS ? a < b : r->operator == SCHEMA_LESS_EQUAL ? a <= b
                    : r->operator == SCHEMA_EQUAL ? a == b : a != b;
        *field = r->left;
        if (!holds)
            return REASON_RELATION;
    }
    return REASON_DONE;
}

#endif
