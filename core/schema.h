// SPDX-License-Identifier: ISC
// Schemas as flat tables, and the checker that runs over every message on every hop.
//
// A message is a C struct of little-endian integers at natural alignment, as the generated header
// shows it. Strings and byte strings are a uint16_t length followed by `capacity` bytes; arrays a
// uint16_t count followed (at the element's alignment) by `capacity` elements. Bytes behind a length
// or count, and padding, are zero. When the *last* field is a string or byte string, its unused tail
// is not sent: the message ends right behind the last used byte, then is padded with zero to a
// multiple of 8. So each value has exactly one encoding.
//
// Schema block (inside manifests and compiled systems): struct schema_header, then field_count
// struct schema_field, relation_count struct schema_relation, label_count struct schema_label.
// A block is valid if and only if schema_open() accepts it. Its digest is SHA-256 over the block
// with the digest field zero.
#ifndef CRENEL_CORE_SCHEMA_H
#define CRENEL_CORE_SCHEMA_H

#include "core/reason.h"
#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define SCHEMA_FIELDS_MAX 64u
#define SCHEMA_RELATIONS_MAX 16u
#define SCHEMA_LABELS_MAX 128u
#define SCHEMA_NAME_BYTES 48u // with the terminating zero: "reading/1"
#define SCHEMA_FIELD_NAME_BYTES 32u
#define SCHEMA_DIGEST_BYTES 32u

enum schema_type {
    SCHEMA_U8 = 1, SCHEMA_U16, SCHEMA_U32, SCHEMA_U64,
    SCHEMA_I8, SCHEMA_I16, SCHEMA_I32, SCHEMA_I64,
    SCHEMA_BOOL,   // one byte, 0 or 1
    SCHEMA_ENUM,   // one byte, index into labels
    SCHEMA_STRING, // uint16_t length, capacity bytes, each in the class
    SCHEMA_BYTES,  // uint16_t length, capacity bytes
    SCHEMA_ARRAY,  // uint16_t count, capacity elements of type `element`
};

// Fixed point: an integer type with `decimals` > 0; the value is integer / 10^decimals.

enum schema_class { // of strings
    SCHEMA_CLASS_UTF8 = 0, // shortest-form UTF-8 without control characters
    SCHEMA_CLASS_TOKEN,    // A-Z a-z 0-9 - _ . :
    SCHEMA_CLASS_HOST,     // a-z 0-9 - .
    SCHEMA_CLASS_PRINTABLE, // 0x20..0x7e
    SCHEMA_CLASS_TOPIC,    // UTF-8 without control characters, + and # : an MQTT topic name
};

struct schema_field {
    char name[SCHEMA_FIELD_NAME_BYTES];
    uint8_t type;     // enum schema_type
    uint8_t element;  // of an array: an integer type
    uint8_t class;    // of a string: enum schema_class
    uint8_t decimals; // of a fixed-point integer
    uint16_t offset;  // in the struct
    uint16_t capacity; // of string, bytes (bytes) and array (elements)
    uint16_t label_first, label_count; // of an enumeration
    uint32_t zero;
    int64_t minimum; // of an integer or of each element; unsigned types: bit pattern of a uint64_t
    int64_t maximum;
    char unit[16];
};

enum schema_operator { SCHEMA_LESS = 1, SCHEMA_LESS_EQUAL, SCHEMA_EQUAL, SCHEMA_NOT_EQUAL };

// left operator right; both integers, or the length or count of a string, bytes or array.
struct schema_relation {
    uint16_t left, right; // field indices
    uint16_t operator;    // enum schema_operator
    uint16_t zero;
};

struct schema_label {
    char text[24];
};

struct schema_header {
    char name[SCHEMA_NAME_BYTES];
    uint8_t digest[SCHEMA_DIGEST_BYTES];
    uint32_t block_bytes; // of the whole block, a multiple of 8
    uint16_t field_count;
    uint16_t relation_count;
    uint16_t label_count;
    uint16_t struct_bytes; // of the C struct = largest message, a multiple of 8, <= ABI_PAYLOAD_BYTES_MAX
    uint16_t is_cut;       // 1: the last field is a string or bytes and its tail is not sent
    uint16_t zero;
};

_Static_assert(sizeof(struct schema_field) == 80, "schema_field");
_Static_assert(sizeof(struct schema_relation) == 8, "schema_relation");
_Static_assert(sizeof(struct schema_label) == 24, "schema_label");
_Static_assert(sizeof(struct schema_header) == 96, "schema_header");

struct schema { // a view into a block that was accepted; the block outlives it
    const struct schema_header *header;
    const struct schema_field *fields;
    const struct schema_relation *relations;
    const struct schema_label *labels;
};

// Checks every offset, count, name and bound of a block (8-byte aligned) and the layout rules above.
enum status schema_open(struct schema *schema, const uint8_t *block, size_t size) MUST_USE;

// Verdict on one message: REASON_DONE if it is valid, else the first reason and the field's index in
// *field (or UINT16_MAX). Reads nothing outside message[0..size).
enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field) MUST_USE;

// Index of a field by name, or -1.
int schema_field_index(const struct schema *schema, const char *name);

// Integer, boolean or enumeration value, or length or count, of a checked message.
int64_t schema_value(const struct schema *schema, uint16_t field, const uint8_t *message,
                     size_t size);

// Bytes of a string or byte string of a checked message; returns their number.
size_t schema_bytes(const struct schema *schema, uint16_t field, const uint8_t *message, size_t size,
                    const uint8_t **bytes);

// Store keys: each key field in order, unsigned integers big-endian at their width, signed ones with
// the sign bit flipped, strings and bytes as they are, ending in a zero byte unless last. Orders as the values do.
// Returns bytes written, or 0 when the key is longer than `capacity`.
size_t schema_key(const struct schema *schema, const uint16_t *fields, size_t field_count,
                  const uint8_t *message, size_t size, uint8_t *key, size_t capacity);

#endif
