// SPDX-License-Identifier: ISC
// The JSON reader: one cursor that cannot run past its end, one function for each rule of the grammar.
#include "json.h"

#include "decode.h"

struct cursor {
    const uint8_t *at, *end;
};

// The next byte without taking it; 0, which is no JSON, at the end.
static uint8_t peek(const struct cursor *cursor)
{
    return cursor->at < cursor->end ? *cursor->at : 0;
}

static bool take(struct cursor *cursor, uint8_t byte)
{
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' ||
                                        *cursor->at == '\n' || *cursor->at == '\r'))
        cursor->at++;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t take_digits(struct cursor *cursor)
{
    const uint8_t *start = cursor->at;
    while (is_digit(peek(cursor)))
        cursor->at++;
    return (size_t)(cursor->at - start);
}

static bool take_number(struct cursor *cursor)
{
    take(cursor, '-');
    if (!take(cursor, '0') && take_digits(cursor) == 0)
        return false;
    if (take(cursor, '.') && take_digits(cursor) == 0)
        return false;
    if (take(cursor, 'e') || take(cursor, 'E')) {
        if (!take(cursor, '+'))
            take(cursor, '-');
        if (take_digits(cursor) == 0)
            return false;
    }
    return true;
}

static bool take_escape(struct cursor *cursor)
{
    uint8_t byte = peek(cursor);
    if (byte == 'u') {
        cursor->at++;
        for (int i = 0; i < 4; i++) {
            uint8_t digit = peek(cursor);
            if (!is_digit(digit) && !((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f'))
                return false;
            cursor->at++;
        }
        return true;
    }
    if (byte == 0 || memchr("\"\\/bfnrt", byte, 8) == NULL)
        return false;
    cursor->at++;
    return true;
}

// One character of two to four bytes, in shortest form, no surrogate.
static bool take_utf8(struct cursor *cursor)
{
    static const uint32_t smallest[] = {0x80, 0x800, 0x10000};
    uint8_t first = peek(cursor);
    size_t more = (first & 0xe0) == 0xc0 ? 1 : (first & 0xf0) == 0xe0 ? 2 : (first & 0xf8) == 0xf0 ? 3 : 0;
    if (more == 0)
        return false;
    uint32_t code = first & (0x3fu >> more);
    cursor->at++;
    for (size_t i = 0; i < more; i++) {
        uint8_t byte = peek(cursor);
        if ((byte & 0xc0) != 0x80)
            return false;
        code = code << 6 | (byte & 0x3f);
        cursor->at++;
    }
    return code >= smallest[more - 1] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

static bool take_string(struct cursor *cursor, struct json_value *value)
{
    if (!take(cursor, '"'))
        return false;
    const uint8_t *start = cursor->at;
    for (;;) {
        uint8_t byte = peek(cursor); // 0 at the end: refused as a control character
        if (byte < 0x20)
            return false;
        if (byte >= 0x80) {
            if (!take_utf8(cursor))
                return false;
            continue;
        }
        cursor->at++;
        if (byte == '"')
            break;
        if (byte == '\\' && !take_escape(cursor))
            return false;
    }
    *value = (struct json_value){JSON_STRING, start, (size_t)(cursor->at - 1 - start)};
    return true;
}

static bool take_word(struct cursor *cursor, const char *word)
{
    for (; *word != 0; word++)
        if (!take(cursor, (uint8_t)*word))
            return false;
    return true;
}

static bool take_value(struct cursor *cursor, struct json_value *value, unsigned depth);

static bool take_array(struct cursor *cursor, unsigned depth)
{
    struct json_value element;
    cursor->at++; // '['
    skip_space(cursor);
    if (take(cursor, ']'))
        return true;
    do {
        if (!take_value(cursor, &element, depth))
            return false;
    } while (take(cursor, ','));
    return take(cursor, ']');
}

static bool take_member(struct cursor *cursor, struct json_value *name, struct json_value *value,
                        unsigned depth)
{
    skip_space(cursor);
    if (!take_string(cursor, name))
        return false;
    skip_space(cursor);
    return take(cursor, ':') && take_value(cursor, value, depth);
}

static bool take_object(struct cursor *cursor, unsigned depth)
{
    struct json_value name, value;
    cursor->at++; // '{'
    skip_space(cursor);
    if (take(cursor, '}'))
        return true;
    do {
        if (!take_member(cursor, &name, &value, depth))
            return false;
    } while (take(cursor, ','));
    return take(cursor, '}');
}

// A value with the space around it. depth is the level of the object or array that it stands in, so the
// recursion ends at JSON_DEPTH_MAX whatever the bytes are.
static bool take_value(struct cursor *cursor, struct json_value *value, unsigned depth)
{
    skip_space(cursor);
    const uint8_t *start = cursor->at;
    enum json_type type = JSON_OTHER;
    bool is_good;
    switch (peek(cursor)) {
    case '"':
        is_good = take_string(cursor, value);
        skip_space(cursor);
        return is_good;
    case '{':
        is_good = depth < JSON_DEPTH_MAX && take_object(cursor, depth + 1);
        break;
    case '[':
        is_good = depth < JSON_DEPTH_MAX && take_array(cursor, depth + 1);
        break;
    case 't':
        is_good = take_word(cursor, "true");
        break;
    case 'f':
        is_good = take_word(cursor, "false");
        break;
    case 'n':
        is_good = take_word(cursor, "null");
        break;
    default:
        type = JSON_NUMBER;
        is_good = take_number(cursor);
        break;
    }
    *value = (struct json_value){type, start, (size_t)(cursor->at - start)};
    skip_space(cursor);
    return is_good;
}

static bool is_named(const struct json_value *text, const char *name)
{
    return text->size == strlen(name) && memcmp(text->bytes, name, text->size) == 0;
}

enum json_result json_object(const uint8_t *bytes, size_t size, const char *const names[],
                             struct json_value values[], size_t count)
{
    struct cursor cursor = {bytes, bytes + size};
    struct json_value found[JSON_MEMBERS_MAX] = {0};
    struct json_value name, value;
    bool is_twice = false;
    if (count > JSON_MEMBERS_MAX)
        return JSON_MALFORMED;
    skip_space(&cursor);
    if (!take(&cursor, '{'))
        return JSON_MALFORMED;
    skip_space(&cursor);
    if (!take(&cursor, '}')) {
        do {
            if (!take_member(&cursor, &name, &value, 1))
                return JSON_MALFORMED;
            for (size_t i = 0; i < count; i++) {
                if (!is_named(&name, names[i]))
                    continue;
                is_twice = is_twice || found[i].type != JSON_NONE;
                found[i] = value;
            }
        } while (take(&cursor, ','));
        if (!take(&cursor, '}'))
            return JSON_MALFORMED;
    }
    skip_space(&cursor);
    if (cursor.at != cursor.end)
        return JSON_MALFORMED;
    if (is_twice)
        return JSON_DUPLICATE;
    memcpy(values, found, count * sizeof values[0]);
    return JSON_OK;
}
