// SPDX-License-Identifier: ISC
// Writing one flat JSON object, a line of text, into the caller's buffer. Cannot run past its end.
#ifndef CRENEL_CORE_JSON_LINE_H
#define CRENEL_CORE_JSON_LINE_H

#include <stddef.h>
#include <stdint.h>

struct json_line {
    char *text;
    size_t capacity, length;
    int is_first; // no member yet
    int is_full;  // something did not fit; stays so
};

/*@ predicate line_is_valid(struct json_line *l) =
        \valid(l) && l->length < l->capacity && \valid(l->text + (0 .. l->capacity - 1));
*/

// Begins an object; capacity > 0. The members follow in the order of the calls.
void json_begin(struct json_line *line, char *text, size_t capacity);
// Ends it with "}" and a zero byte. Returns the length, or 0 (and text "") when it did not fit.
/*@ requires line_is_valid(line);
    assigns line->text[0 .. line->capacity - 1], line->length, line->is_full;
    ensures \result == line->length < line->capacity && line->text[\result] == 0; */
size_t json_end(struct json_line *line);

// Bytes outside printable ASCII, quotes and backslashes are escaped; bytes that are no UTF-8 need not
// be told apart from Latin-1: every byte from 0x80 becomes \u00xx.
void json_text(struct json_line *line, const char *key, const void *bytes, size_t size);
void json_string(struct json_line *line, const char *key, const char *text);
void json_integer(struct json_line *line, const char *key, int64_t value);
void json_unsigned(struct json_line *line, const char *key, uint64_t value);
void json_bool(struct json_line *line, const char *key, int value);
void json_hex(struct json_line *line, const char *key, const uint8_t *bytes, size_t size);
// The value is JSON already.
void json_raw(struct json_line *line, const char *key, const char *text, size_t length);

#endif
