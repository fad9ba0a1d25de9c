// SPDX-License-Identifier: ISC
// Asking the store of a running system (the lines of store/operator.h).
#ifndef CRENEL_CLI_STORE_CLIENT_H
#define CRENEL_CLI_STORE_CLIENT_H

#include "core/schema.h"

#include <cjson/cJSON.h>
#include <stdio.h>

struct store_client {
    FILE *lines;
    char *line; // the buffer of getline
    size_t capacity;
};

// Gets a line to the store from the supervisor; op is "query", "deadletter" or "state". Errors are reported.
enum status store_client_open(struct store_client *client, const char *folder, const char *op) MUST_USE;
void store_client_close(struct store_client *client);

// Sends a request, which it deletes. Errors are reported.
enum status store_client_ask(struct store_client *client, cJSON *request) MUST_USE;

// The next line of the reply (caller deletes). *is_last: it is the reply's last. NULL after an error,
// which was reported: the store's own refusal among them.
cJSON *store_client_next(struct store_client *client, int *is_last);

// Opens the schema block of a reply's member "schema"; *block holds it (caller frees). STATUS_ABSENT: there is none.
enum status store_client_schema(const cJSON *reply, uint8_t **block, struct schema *schema) MUST_USE;

// A hex member as bytes (caller frees); NULL when it is none.
uint8_t *store_client_hex(const cJSON *reply, const char *name, size_t *size);

// The message in a hex member as JSON by schema (may be NULL); {"hex":...} when it does not fit.
cJSON *store_client_message(const cJSON *reply, const char *name, const struct schema *schema);

#endif
