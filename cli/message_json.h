// SPDX-License-Identifier: ISC
// Messages as JSON for people: `crenel schema encode` and `decode`, run, query, deadletter.
// Integers as numbers (of more than 15 digits as strings), fixed point as decimal numbers, enumerations as labels,
// strings as strings, bytes as "text" when printable ASCII, else {"hex":"..."} (read is {"base64":"..."}, too); arrays as
// arrays, records as objects.
#ifndef CRENEL_CLI_MESSAGE_JSON_H
#define CRENEL_CLI_MESSAGE_JSON_H

#include "core/schema.h"

#include <cjson/cJSON.h>

// A checked message as a new JSON object (caller deletes), NULL when it does not fit the schema.
cJSON *message_to_json(const struct schema *schema, const uint8_t *message, size_t size);

// Encodes; missing fields are zero/empty. On a bad member STATUS_MALFORMED and *why (static or in a
// static buffer) names it. The result is not yet judged: call schema_check.
enum status message_from_json(const struct schema *schema, const cJSON *json, uint8_t *message,
                              size_t capacity, size_t *size, const char **why) MUST_USE;
// The same, but every field has to be there.
enum status message_from_whole_json(const struct schema *schema, const cJSON *json, uint8_t *message,
                                    size_t capacity, size_t *size, const char **why) MUST_USE;

#endif
