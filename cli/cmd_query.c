// SPDX-License-Identifier: ISC
// crenel query: the records of a namespace, by key or by its secondary index.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/message_json.h"
#include "cli/report.h"
#include "cli/state.h"
#include "cli/store_client.h"

#include "proto/system.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 256u

struct query {
    int is_json, is_index;
    const char *name_space, *from, *to, *limit;
    struct store_client client;
    uint8_t *block;
    struct schema schema;
    uint16_t fields[SYSTEM_KEY_FIELDS_MAX]; // of the key, or of the index
    size_t field_count;
};

// What the namespace holds: its schema, and the fields that make the key asked for.
static enum status describe(struct query *query)
{
    cJSON *request = cJSON_CreateObject();
    int is_last;
    cJSON_AddStringToObject(request, "op", "describe");
    cJSON_AddStringToObject(request, "namespace", query->name_space);
    enum status status = store_client_ask(&query->client, request);
    cJSON *reply = status == STATUS_OK ? store_client_next(&query->client, &is_last) : NULL;
    if (reply == NULL)
        return STATUS_ABSENT;
    status = store_client_schema(reply, &query->block, &query->schema);
    const cJSON *fields = cJSON_GetObjectItemCaseSensitive(reply, query->is_index ? "index" : "key");
    int count = cJSON_GetArraySize(fields);
    if (status != STATUS_OK) {
        report_error(NULL, 0, NULL, "the store's schema of %s is malformed", query->name_space);
    } else if (count == 0 || count > (int)SYSTEM_KEY_FIELDS_MAX) {
        report_error(NULL, 0, "name fields under `index:` of the namespace in system.yaml",
                     "namespace %s has no index", query->name_space);
        status = STATUS_ABSENT;
    }
    for (int i = 0; i < count && status == STATUS_OK; i++) {
        double field = cJSON_GetNumberValue(cJSON_GetArrayItem(fields, i));
        if (field >= 0 && field < query->schema.header->field_count)
            query->fields[query->field_count++] = (uint16_t)field;
        else
            status = STATUS_MALFORMED;
    }
    cJSON_Delete(reply);
    return status;
}

// {"sensor":7} becomes the key that begins there, in hex.
static enum status add_key(const struct query *query, cJSON *request, const char *name,
                           const char *option)
{
    if (option == NULL)
        return STATUS_OK;
    cJSON *json = cJSON_Parse(option);
    const char *why = "it is not a JSON object";
    uint8_t *message = calloc(1, 65536), key[KEY_BYTES];
    char hex[2 * KEY_BYTES + 1];
    size_t size = 0, key_bytes = 0;
    enum status status = STATUS_MALFORMED;
    if (cJSON_IsObject(json) && message != NULL)
        status = message_from_json(&query->schema, json, message, 65536, &size, &why);
    if (status == STATUS_OK) {
        key_bytes = schema_key(&query->schema, query->fields, query->field_count, message, size, key,
                               sizeof key);
        sodium_bin2hex(hex, sizeof hex, key, key_bytes);
        cJSON_AddStringToObject(request, name, hex);
    } else {
        report_error(NULL, 0, "--from and --to take key fields as JSON: '{\"sensor\":7}'",
                     "--%s %s: %s", name, option, why);
    }
    free(message);
    cJSON_Delete(json);
    return status;
}

static void print_row(const struct query *query, const cJSON *reply)
{
    cJSON *record = store_client_message(reply, "value", &query->schema);
    char *text;
    if (query->is_json) {
        cJSON *row = cJSON_CreateObject();
        const cJSON *version = cJSON_GetObjectItemCaseSensitive(reply, "version");
        cJSON_AddItemToObject(row, "record", record);
        cJSON_AddNumberToObject(row, "version", cJSON_IsNumber(version) ? version->valuedouble : 0);
        text = cJSON_PrintUnformatted(row);
        cJSON_Delete(row);
    } else {
        text = cJSON_PrintUnformatted(record);
        cJSON_Delete(record);
    }
    if (text != NULL)
        puts(text);
    cJSON_free(text);
}

static void print_count(double count) { report_progress("%.0f record%s", count, count == 1 ? "" : "s"); }

static enum status run(struct query *query)
{
    enum status status = describe(query);
    if (status != STATUS_OK)
        return status;
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", "query");
    cJSON_AddStringToObject(request, "namespace", query->name_space);
    cJSON_AddBoolToObject(request, "index", query->is_index);
    if (query->limit != NULL)
        cJSON_AddNumberToObject(request, "limit", strtod(query->limit, NULL));
    status = add_key(query, request, "from", query->from);
    if (status == STATUS_OK)
        status = add_key(query, request, "to", query->to);
    if (status != STATUS_OK) {
        cJSON_Delete(request);
        return status;
    }
    status = store_client_ask(&query->client, request);
    for (int is_last = 0; status == STATUS_OK && !is_last;) {
        cJSON *reply = store_client_next(&query->client, &is_last);
        if (reply == NULL)
            status = STATUS_CLOSED;
        else if (!is_last)
            print_row(query, reply);
        else if (!query->is_json)
            print_count(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(reply, "count")));
        cJSON_Delete(reply);
    }
    return status;
}

int cmd_query(int argc, char **argv)
{
    struct query query = {0};
    const char *state = NULL, *operands[2] = {NULL, NULL};
    size_t count;
    const struct argument table[] = {{"--json", &query.is_json, NULL}, {"--state", NULL, &state},
                                     {"--index", &query.is_index, NULL}, {"--from", NULL, &query.from},
                                     {"--to", NULL, &query.to},          {"--limit", NULL, &query.limit}};
    char folder[PATH_MAX];
    int code = arguments_read(argc, argv, table, 6, operands, 2, &count);
    if (code != 0)
        return code;
    if (count == 0) {
        report_error(NULL, 0, NULL, "which namespace?");
        return EXIT_USAGE;
    }
    if (query.limit != NULL && (*query.limit == 0 || query.limit[strspn(query.limit, "0123456789")] != 0)) {
        report_error(NULL, 0, "a number: --limit 10", "--limit %s", query.limit);
        return EXIT_USAGE;
    }
    query.name_space = operands[count - 1];
    enum status status = state_find(state, count == 2 ? operands[0] : NULL, folder);
    if (status == STATUS_OK)
        status = store_client_open(&query.client, folder, "query");
    if (status == STATUS_OK)
        status = run(&query);
    free(query.block);
    store_client_close(&query.client);
    return client_exit_code(status);
}
