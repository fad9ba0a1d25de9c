// SPDX-License-Identifier: ISC
// Schemas as people write them (YAML) into schema blocks (core/schema.h), and into C for guests.
//
//   schema: reading/2
//   extends: reading/1                   # its first fields are those of reading/1, whose file lies beside this one
//   fields:                              #   as reading-1.yaml: receivers of reading/1 may be sent this one
//     - {name: sensor,   type: u32, min: 1, max: 4096}
//     - {name: value,    type: i32, decimals: 3, min: -40.000, max: 125.000, unit: Cel}
//     - {name: state,    type: enum, of: [ok, stale, fault]}
//     - {name: is_test,  type: bool}
//     - {name: history,  type: array, of: i16, most: 8, min: -100, max: 100}
//     - {name: doors,    type: array, of: enum, most: 4, labels: [open, shut]}   # of: bool has neither
//     - {name: site,     type: string, most: 16, class: token}      # utf8 token host printable topic
//     - {name: note,     type: string, most: 80, class: utf8, deny: [sql, html]}  # sql shell html csv log path
//     - name: position                   # a struct in the struct; its fields are position.x, position.y
//       type: record
//       fields:
//         - {name: x, type: i16, min: -500, max: 500}
//         - {name: y, type: i16, min: -500, max: 500}
//     - name: samples                    # samples_count, and an array of structs
//       type: array
//       of: record
//       most: 16
//       fields:
//         - {name: at, type: u32, min: 0, max: 86400}
//         - {name: value, type: i32, decimals: 3, min: -40.000, max: 125.000}
//     - {name: secret,   type: sealed, most: 64}                    # bytes that the fabric cannot read
//     - {name: payload,  type: bytes, most: 1024}
//   relations: [position.x <= position.y, count == history]         # < <= == !=
//
// min and max are mandatory for integers; most for strings, bytes, sealed fields and arrays; class for strings. Records
// hold no records, and those of an array no arrays. What a class allows and a sink denies: core/schema_text.c.
#ifndef CRENEL_CLI_SCHEMA_SOURCE_H
#define CRENEL_CLI_SCHEMA_SOURCE_H

#include "core/schema.h"

#include <stdio.h>

// Reads one schema file into a block that the caller frees. Errors are reported with file and line.
enum status schema_source_read(const char *path, uint8_t **block, size_t *size) MUST_USE;

// SHA-256 over the block with the digest field zero.
void schema_digest(const uint8_t *block, size_t size, uint8_t digest[SCHEMA_DIGEST_BYTES]);

// "reading/1" is an older version of "reading/2".
int schema_is_older(const char *older, const char *name);

// Reports at `node` why `schema` does not extend `older`; 1 when it does.
struct yaml_file;
struct yaml_node;
int schema_extends_or_error(struct yaml_file *file, const struct yaml_node *node, const struct schema *schema,
                            const struct schema *older);

// "-40.000" of a type with 3 decimals is -40000. 0 when it is no number, has more decimals, or does not
// fit 64 bits (or is negative and the type unsigned); narrower types are not looked at.
int schema_number_read(const char *text, unsigned type, unsigned decimals, int64_t *value);

// "reading/1" -> "reading" is the C name (the part before '/', '-' becomes '_').
void schema_c_name(const struct schema *schema, char *name, size_t capacity);

// "position.x" -> "position_x", for names that are no path into a struct.
void schema_c_field(const struct schema_field *field, char name[SCHEMA_FIELD_NAME_BYTES]);

// Writes `struct NAME { ... };` with natural alignment, explicit padding members, a struct NAME_RECORD for each record
// before it, an enum for each enumeration field (NAME_FIELD_LABEL), #defines for minima, maxima and capacities, and a static
// assert for the size and each offset.
void schema_emit_c(const struct schema *schema, FILE *out);

#endif
