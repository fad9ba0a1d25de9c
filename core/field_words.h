// SPDX-License-Identifier: ISC
// The words of the schema language, and what a field may be in words.
#ifndef CRENEL_CORE_FIELD_WORDS_H
#define CRENEL_CORE_FIELD_WORDS_H

#include "core/schema.h"

#include <stddef.h>

// For an enum schema_type, an enum schema_class, and the bit'th of enum schema_deny (NULL behind the last).
const char *field_type_name(unsigned type);
const char *field_class_name(unsigned class);
const char *field_sink_name(unsigned bit);
// Indices in the order of these names; -1: there is no such name.
int field_sink_find(const char *name);

// An integer with its decimals: -40000 of 3 is "-40.000". `type` is the field's or its elements'.
void field_number_text(unsigned type, unsigned decimals, int64_t value, char *text, size_t capacity);

// A value of a scalar field: "-40.000", "true", "open".
void field_value_text(const struct schema *schema, const struct schema_field *field, int64_t value, char *text, size_t capacity);

// "-40.000 to 125.000 Cel", "one of ok stale fault", "at most 16 characters of class token".
void field_may_be(const struct schema *schema, const struct schema_field *field, char *text, size_t capacity);

#endif
