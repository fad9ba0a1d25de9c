// SPDX-License-Identifier: ISC
// The schemas that the host's own endpoints speak.
#ifndef CRENEL_CORE_SCHEMA_BUILTIN_H
#define CRENEL_CORE_SCHEMA_BUILTIN_H

#include "core/schema.h"

// NULL if the schema is the built-in of that name ("wire/1"), else what differs.
const char *schema_builtin_differs(const struct schema *schema, const char *name);

#endif
