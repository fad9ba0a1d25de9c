// SPDX-License-Identifier: ISC
// crenel deadletter: messages whose event failed: list them, look at one, send it again, drop it.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/printable.h"
#include "cli/report.h"
#include "cli/state.h"
#include "cli/store_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const actions[] = {"list", "show", "resubmit", "drop"};

static int is_action(const char *text)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (text != NULL && strcmp(text, actions[i]) == 0)
            return 1;
    return 0;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text != NULL ? text : "-";
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void print_json(const cJSON *reply)
{
    char *text = cJSON_PrintUnformatted(reply);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
}

static void print_row(const cJSON *row)
{
    char when[32];
    printable_time(number_of(row, "time_ms"), when);
    printf("%-8.0f %-20s %-12s %-14s %-14s %s\n", number_of(row, "id"), when, text_of(row, "reason"),
           text_of(row, "unikernel"), text_of(row, "flow"), text_of(row, "text"));
}

static void print_one(cJSON *reply, const char *action, int is_json)
{
    uint8_t *block = NULL;
    struct schema schema;
    int has_schema = store_client_schema(reply, &block, &schema) == STATUS_OK;
    cJSON_DeleteItemFromObject(reply, "ok");
    cJSON_DeleteItemFromObject(reply, "end");
    cJSON_DeleteItemFromObject(reply, "schema");
    if (strcmp(action, "show") == 0) {
        cJSON *message = store_client_message(reply, "payload", has_schema ? &schema : NULL);
        cJSON_DeleteItemFromObjectCaseSensitive(reply, "payload");
        cJSON_AddItemToObject(reply, "payload", message);
    }
    if (is_json) {
        cJSON_AddStringToObject(reply, "action", action);
        print_json(reply);
    } else if (strcmp(action, "show") == 0) {
        const cJSON *item;
        cJSON_ArrayForEach(item, reply)
        {
            if (cJSON_IsString(item)) {
                printf("%-12s %s\n", item->string, item->valuestring);
                continue;
            }
            if (strcmp(item->string, "time_ms") == 0) {
                char when[32];
                printable_time(cJSON_IsNumber(item) ? item->valuedouble : -1, when);
                printf("%-12s %s\n", "time", when);
                continue;
            }
            char *text = cJSON_PrintUnformatted(item);
            printf("%-12s %s\n", item->string, text != NULL ? text : "");
            cJSON_free(text);
        }
    } else {
        printf("dead letter %.0f: %s\n", number_of(reply, "id"),
               strcmp(action, "drop") == 0 ? "dropped" : "sent again");
    }
    free(block);
}

static cJSON *request_make(const char *action, const char *flow)
{
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", "deadletter");
    cJSON_AddStringToObject(request, "action", action);
    if (flow != NULL)
        cJSON_AddStringToObject(request, "flow", flow);
    return request;
}

// All of a flow: the store changes some with each request, and says where to go on.
static enum status run_all(struct store_client *client, const char *action, const char *flow, int is_json)
{
    double count = 0, kept = 0, after = 0, left = 0;
    char why[128] = "";
    for (int is_more = 1; is_more;) {
        cJSON *request = request_make(action, flow);
        cJSON_AddNumberToObject(request, "after", after);
        enum status status = store_client_ask(client, request);
        int is_last = 0;
        cJSON *reply = status == STATUS_OK ? store_client_next(client, &is_last) : NULL;
        if (reply == NULL)
            return status == STATUS_OK ? STATUS_ABSENT : status;
        count += number_of(reply, "count");
        kept += number_of(reply, "kept");
        after = number_of(reply, "after");
        left = number_of(reply, "left");
        is_more = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "is_more"));
        snprintf(why, sizeof why, "%s", text_of(reply, "why"));
        cJSON_Delete(reply);
    }
    const char *done = strcmp(action, "drop") == 0 ? "dropped" : "sent again";
    if (is_json) {
        cJSON *sums = cJSON_CreateObject();
        cJSON_AddStringToObject(sums, "action", action);
        cJSON_AddStringToObject(sums, "flow", flow);
        cJSON_AddNumberToObject(sums, "count", count);
        cJSON_AddNumberToObject(sums, "kept", kept);
        cJSON_AddNumberToObject(sums, "left", left);
        cJSON_AddStringToObject(sums, "why", why);
        print_json(sums);
        cJSON_Delete(sums);
    } else if (why[0] != 0)
        printf("flow %s: %.0f %s; %.0f stay: %s\n", flow, count, done, left, why);
    else
        printf("flow %s: %.0f %s\n", flow, count, done);
    return STATUS_OK;
}

static enum status run(struct store_client *client, const char *action, const char *id, const char *flow, int is_json)
{
    int is_list = strcmp(action, "list") == 0;
    if (!is_list && flow != NULL)
        return run_all(client, action, flow, is_json);
    cJSON *request = request_make(action, flow);
    if (!is_list)
        cJSON_AddNumberToObject(request, "id", strtod(id, NULL));
    enum status status = store_client_ask(client, request);
    if (status == STATUS_OK && is_list && !is_json)
        printf("%-8s %-20s %-12s %-14s %-14s %s\n", "ID", "TIME", "REASON", "UNIKERNEL", "FLOW", "DETAIL");
    for (int is_last = 0; status == STATUS_OK && !is_last;) {
        cJSON *reply = store_client_next(client, &is_last);
        if (reply == NULL)
            status = is_list ? STATUS_CLOSED : STATUS_ABSENT;
        else if (!is_list)
            print_one(reply, action, is_json);
        else if (!is_last && is_json)
            print_json(reply);
        else if (!is_last)
            print_row(reply);
        cJSON_Delete(reply);
    }
    return status;
}

// deadletter ACTION [SYSTEM] [ID] [--flow FLOW]; the action may also stand behind the system.
int cmd_deadletter(int argc, char **argv)
{
    int is_json = 0;
    const char *state = NULL, *flow = NULL, *operands[3] = {NULL, NULL, NULL};
    size_t count;
    const struct argument table[] = {{"--json", &is_json, NULL}, {"--state", NULL, &state}, {"--flow", NULL, &flow}};
    char folder[PATH_MAX];
    int code = arguments_read(argc, argv, table, 3, operands, 3, &count);
    if (code != 0)
        return code;
    if (is_action(operands[1]) && !is_action(operands[0])) {
        const char *action = operands[1];
        operands[1] = operands[0];
        operands[0] = action;
    }
    if (!is_action(operands[0])) {
        report_error(NULL, 0, "list, show, resubmit or drop", "what to do with dead letters?");
        return EXIT_USAGE;
    }
    if (flow != NULL && strcmp(operands[0], "show") == 0) {
        report_error(NULL, 0, "crenel deadletter list --flow shows the ids", "show takes one dead letter, not a flow");
        return EXIT_USAGE;
    }
    int needs_id = strcmp(operands[0], "list") != 0 && flow == NULL;
    if (count - 1 > 1u + (needs_id ? 1u : 0u))
        return EXIT_USAGE;
    const char *id = needs_id ? operands[count - 1] : NULL;
    const char *system = count - 1 > (needs_id ? 1u : 0u) ? operands[1] : NULL;
    if (needs_id && (count < 2 || *id == 0 || id[strspn(id, "0123456789")] != 0)) {
        report_error(NULL, 0, "crenel deadletter list shows the ids; --flow FLOW means all of a flow", "which dead letter?");
        return EXIT_USAGE;
    }
    struct store_client client = {0};
    enum status status = state_find(state, system, folder);
    if (status == STATUS_OK)
        status = store_client_open(&client, folder, "deadletter");
    if (status == STATUS_OK)
        status = run(&client, operands[0], id, flow, is_json);
    store_client_close(&client);
    return client_exit_code(status);
}
