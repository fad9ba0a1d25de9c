// SPDX-License-Identifier: ISC
// The words of the schema language, and what a field may be in words.
#ifndef CRENEL_CLI_SCHEMA_WORDS_H
#define CRENEL_CLI_SCHEMA_WORDS_H

#include "core/schema.h"

#include <stddef.h>

// For an enum schema_type, an enum schema_class, and the bit'th of enum schema_deny (NULL behind the last).
const char *schema_type_name(unsigned type);
const char *schema_class_name(unsigned class);
const char *schema_sink_name(unsigned bit);
// Indices in the order of these names; -1: there is no such name.
int schema_sink_find(const char *name);

// An integer with its decimals: -40000 of 3 is "-40.000". `type` is the field's or its elements'.
void schema_number_text(unsigned type, unsigned decimals, int64_t value, char *text, size_t capacity);

// "-40.000 to 125.000 Cel", "one of ok stale fault", "at most 16 characters of class token".
void schema_may_be(const struct schema *schema, const struct schema_field *field, char *text, size_t capacity);

#endif
