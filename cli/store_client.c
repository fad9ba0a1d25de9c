// SPDX-License-Identifier: ISC
// Lines to and from the store.
#include "cli/store_client.h"

#include "cli/client.h"
#include "cli/message_json.h"
#include "cli/printable.h"
#include "cli/report.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum status store_client_open(struct store_client *client, const char *folder, const char *op)
{
    cJSON *reply = NULL;
    int fd = -1;
    *client = (struct store_client){0};
    enum status status = client_ask(folder, op, NULL, NULL, &reply, &fd, NULL);
    if (status != STATUS_OK)
        return status;
    cJSON_Delete(reply);
    client->lines = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (client->lines == NULL) {
        if (fd >= 0)
            close(fd);
        report_error(NULL, 0, "crenel and crenel-supervisor must be of the same version",
                     "the supervisor gave no line to the store");
        return STATUS_SYSTEM;
    }
    return STATUS_OK;
}

void store_client_close(struct store_client *client)
{
    if (client->lines != NULL)
        fclose(client->lines);
    free(client->line);
    *client = (struct store_client){0};
}

enum status store_client_ask(struct store_client *client, cJSON *request)
{
    char *text = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    size_t length = text != NULL ? strlen(text) : 0;
    int is_sent = 0;
    if (text != NULL) {
        text[length] = '\n'; // in place of the zero
        is_sent = send(fileno(client->lines), text, length + 1, MSG_NOSIGNAL) == (ssize_t)(length + 1);
    }
    cJSON_free(text);
    if (!is_sent)
        report_error(NULL, 0, "see logs/host.log in the state folder", "the store does not answer");
    return is_sent ? STATUS_OK : STATUS_CLOSED;
}

cJSON *store_client_next(struct store_client *client, int *is_last)
{
    ssize_t length = getline(&client->line, &client->capacity, client->lines);
    cJSON *reply = length > 0 ? cJSON_ParseWithLength(client->line, (size_t)length) : NULL;
    if (!cJSON_IsObject(reply)) {
        cJSON_Delete(reply);
        report_error(NULL, 0, "see logs/host.log in the state folder", "the store gave no answer");
        return NULL;
    }
    printable_clean_json(reply); // a text may be what a guest, or its tender, made of it
    *is_last = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "end"));
    if (!*is_last || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok")))
        return reply;
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, "error"));
    report_error(NULL, 0, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, "mend")), "%s",
                 error != NULL ? error : "the store refused");
    cJSON_Delete(reply);
    return NULL;
}

uint8_t *store_client_hex(const cJSON *reply, const char *name, size_t *size)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, name));
    if (text == NULL)
        return NULL;
    size_t length = strlen(text);
    uint8_t *bytes = malloc(length / 2 + 1); // aligned for any message
    if (bytes != NULL && sodium_hex2bin(bytes, length / 2, text, length, NULL, size, NULL) != 0) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

enum status store_client_schema(const cJSON *reply, uint8_t **block, struct schema *schema)
{
    size_t size = 0;
    uint8_t *bytes = store_client_hex(reply, "schema", &size);
    if (bytes == NULL)
        return STATUS_ABSENT;
    enum status status = schema_open(schema, bytes, size);
    if (status != STATUS_OK)
        free(bytes);
    else
        *block = bytes;
    return status;
}

cJSON *store_client_message(const cJSON *reply, const char *name, const struct schema *schema)
{
    size_t size = 0;
    uint8_t *bytes = store_client_hex(reply, name, &size);
    uint16_t field;
    cJSON *json = NULL;
    if (bytes != NULL && schema != NULL && schema_check(schema, bytes, size, &field) == REASON_DONE)
        json = message_to_json(schema, bytes, size);
    free(bytes);
    if (json != NULL)
        return json;
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, name));
    json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "hex", text != NULL ? text : "");
    return json;
}
