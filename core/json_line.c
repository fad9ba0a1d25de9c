// SPDX-License-Identifier: ISC
// One flat JSON object into a bounded buffer.
#include "core/json_line.h"

#include "core/check.h"

#include <string.h>

// All that is written goes through here.
/*@ requires line_is_valid(line) && (length > 0 ==> \valid_read(text + (0 .. length - 1)));
    requires \separated(line->text + (0 .. line->capacity - 1), text + (0 .. length - 1));
    assigns line->text[0 .. line->capacity - 1], line->length, line->is_full;
    ensures line_is_valid(line) && line->length >= \old(line->length); */
static void put(struct json_line *line, const char *text, size_t length)
{
    // One byte stays for the final zero.
    if (line->is_full || length >= line->capacity - line->length) {
        line->is_full = 1;
        return;
    }
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void put_key(struct json_line *line, const char *key)
{
    put(line, line->is_first ? "\"" : ",\"", line->is_first ? 1 : 2);
    line->is_first = 0;
    put(line, key, strlen(key));
    put(line, "\":", 2);
}

void json_begin(struct json_line *line, char *text, size_t capacity)
{
    check(capacity > 0);
    *line = (struct json_line){.text = text, .capacity = capacity, .is_first = 1};
    put(line, "{", 1);
}

size_t json_end(struct json_line *line)
{
    put(line, "}", 1);
    if (line->is_full)
        line->length = 0;
    line->text[line->length] = '\0';
    return line->length;
}

void json_text(struct json_line *line, const char *key, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    put_key(line, key);
    put(line, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        if (byte == '"' || byte == '\\') {
            put(line, (const char[]){'\\', (char)byte}, 2);
        } else if (byte < 0x20 || byte >= 0x7f) {
            put(line, (const char[]){'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]}, 6);
        } else {
            put(line, (const char *)&byte, 1);
        }
    }
    put(line, "\"", 1);
}

void json_string(struct json_line *line, const char *key, const char *text)
{
    json_text(line, key, text, strlen(text));
}

static void put_decimal(struct json_line *line, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(line, digits + at, sizeof digits - at);
}

void json_integer(struct json_line *line, const char *key, int64_t value)
{
    put_key(line, key);
    if (value < 0)
        put(line, "-", 1);
    put_decimal(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_unsigned(struct json_line *line, const char *key, uint64_t value)
{
    put_key(line, key);
    put_decimal(line, value);
}

void json_bool(struct json_line *line, const char *key, int value)
{
    put_key(line, key);
    put(line, value ? "true" : "false", value ? 4 : 5);
}

void json_hex(struct json_line *line, const char *key, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    put_key(line, key);
    put(line, "\"", 1);
    for (size_t i = 0; i < size; i++)
        put(line, (const char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
    put(line, "\"", 1);
}

void json_raw(struct json_line *line, const char *key, const char *text, size_t length)
{
    put_key(line, key);
    put(line, text, length);
}
