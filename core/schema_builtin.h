// SPDX-License-Identifier: ISC
// The schemas that the host's own endpoints speak.
#ifndef CRENEL_CORE_SCHEMA_BUILTIN_H
#define CRENEL_CORE_SCHEMA_BUILTIN_H

#include "core/schema.h"

// NULL if the schema is the built-in of that name ("wire/1"), else what differs.
const char *schema_builtin_differs(const struct schema *schema, const char *name);

// The envelope of a schema NAME is called authentic-NAME and has its fields, labels and relations, and behind its
// struct two more (struct builtin_signature): serial, a u64, and tag, 32 bytes.
#define SCHEMA_ENVELOPE_PREFIX "authentic-"
int schema_is_envelope(const struct schema *envelope, const struct schema *inner);
// Bytes of the message in a checked envelope.
size_t schema_envelope_inner_bytes(const struct schema *inner, const uint8_t *envelope, size_t size);

#endif
