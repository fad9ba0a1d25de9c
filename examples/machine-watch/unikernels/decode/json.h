// SPDX-License-Identifier: ISC
// Reads one flat JSON object out of bytes that may be anything.
//
// Strict RFC 8259: no comments, no trailing comma, no bare control character, shortest-form UTF-8, nothing
// behind the object. Values of unknown members are checked and skipped, nested at most JSON_DEPTH_MAX deep.
// Nothing is copied and nothing allocated: a value is a slice of the input. Never reads outside it.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 4u // the object itself is the first level

enum json_type { JSON_NONE = 0, JSON_NUMBER, JSON_STRING, JSON_OTHER };

struct json_value {
    enum json_type type;     // JSON_NONE: the object has no such member
    const uint8_t *bytes;    // a number as written; a string without its quotes, escapes as written
    size_t size;
};

enum json_result { JSON_OK = 0, JSON_MALFORMED, JSON_DUPLICATE };

// Takes the members named in names[0..count) into values[0..count); names are compared as written, so
// one with an escape in it matches none. JSON_DUPLICATE: one of them is there twice. values is written
// only on JSON_OK.
enum json_result json_object(const uint8_t *bytes, size_t size, const char *const names[],
                             struct json_value values[], size_t count);

#define JSON_MEMBERS_MAX 16u // most that `count` may be

#endif
