// SPDX-License-Identifier: ISC
// Schemas as people write them (YAML) into schema blocks (core/schema.h), and into C for guests.
//
//   schema: reading/1
//   fields:
//     - {name: sensor,   type: u32, min: 1, max: 4096}
//     - {name: value,    type: i32, decimals: 3, min: -40.000, max: 125.000, unit: Cel}
//     - {name: state,    type: enum, of: [ok, stale, fault]}
//     - {name: is_test,  type: bool}
//     - {name: history,  type: array, of: i16, most: 8, min: -100, max: 100}
//     - {name: site,     type: string, most: 16, class: token}      # utf8 token host printable topic
//     - {name: payload,  type: bytes, most: 1024}
//   relations: [low <= high, count == history]                       # < <= == !=
//
// min and max are mandatory for integers; most for strings, bytes and arrays; class for strings.
#ifndef CRENEL_CLI_SCHEMA_SOURCE_H
#define CRENEL_CLI_SCHEMA_SOURCE_H

#include "core/schema.h"

#include <stdio.h>

// Reads one schema file into a block that the caller frees. Errors are reported with file and line.
enum status schema_source_read(const char *path, uint8_t **block, size_t *size) MUST_USE;

// SHA-256 over the block with the digest field zero.
void schema_digest(const uint8_t *block, size_t size, uint8_t digest[SCHEMA_DIGEST_BYTES]);

// "-40.000" of a type with 3 decimals is -40000. 0 when it is no number, has more decimals, or does not
// fit 64 bits (or is negative and the type unsigned); narrower types are not looked at.
int schema_number_read(const char *text, unsigned type, unsigned decimals, int64_t *value);

// "reading/1" -> "reading" is the C name (the part before '/', '-' becomes '_').
void schema_c_name(const struct schema *schema, char *name, size_t capacity);

// Writes `struct NAME { ... };` with natural alignment, explicit padding members, an enum for each
// enumeration field (NAME_FIELD_LABEL), #defines for minima, maxima and capacities, and a static
// assert for the size and each offset.
void schema_emit_c(const struct schema *schema, FILE *out);

#endif
