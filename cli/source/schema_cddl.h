// SPDX-License-Identifier: ISC
// Schemas as CDDL (RFC 8610).
#ifndef CRENEL_CLI_SCHEMA_CDDL_H
#define CRENEL_CLI_SCHEMA_CDDL_H

#include "core/schema.h"

#include <stdio.h>

// Writes rules whose first one describes a message as message_to_json() gives it (cli/message_json.h), in JSON or in CBOR
// of the same data model. What CDDL cannot say stands beside it as a comment: relations, denied sinks, and that a number
// has no more decimals than its field.
void schema_emit_cddl(const struct schema *schema, FILE *out);

#endif
