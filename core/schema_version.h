// SPDX-License-Identifier: ISC
// Versions of a schema: a newer one that only adds is cut to an older one for receivers that know no other.
#ifndef CRENEL_CORE_SCHEMA_VERSION_H
#define CRENEL_CORE_SCHEMA_VERSION_H

#include "core/schema.h"

// How many of older's fields, in order, are the first of schema's, labels included.
/*@ requires schema_is_valid(schema) && schema_is_valid(older);
    assigns \nothing;
    ensures 0 <= \result <= older->header->field_count; */
unsigned schema_fields_shared(const struct schema *schema, const struct schema *older);

// Is every message of `schema`, cut as schema_cut says, one of `older`? schema begins with all fields, labels and
// relations of older.
/*@ requires schema_is_valid(schema) && schema_is_valid(older);
    assigns \nothing; */
int schema_extends(const struct schema *schema, const struct schema *older);

// A checked message of a schema that extends `older`, as receivers of older are shown it: its first *kept bytes, then
// less than 8 zeros up to the size that is returned.
/*@ requires schema_is_valid(schema) && schema_is_valid(older) && \valid(kept);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns *kept;
    ensures *kept <= size && *kept <= \result <= \old(older->header->struct_bytes); */
size_t schema_cut(const struct schema *schema, const struct schema *older, const uint8_t *message, size_t size,
                  size_t *kept);

#endif
