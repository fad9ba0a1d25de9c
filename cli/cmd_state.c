// SPDX-License-Identifier: ISC
// crenel state: what the checks of a durable flow remember of each key; to forget one key.
//
// To forget is to open what the checks closed: sequences begin anew, so messages of that key that were taken before can be
// taken again; so it asks, and the audit log names the key. For a device that was exchanged and counts from 1 again.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/consent.h"
#include "cli/key_state.h"
#include "cli/report.h"
#include "cli/state.h"
#include "cli/store_client.h"

#include <stdio.h>
#include <string.h>

struct job {
    int is_json, is_yes;
    const char *flow, *key; // key NULL: list
    char folder[PATH_MAX];
    struct policy_system system;
    const struct system_flow *of;
    struct store_client client;
};

static cJSON *request_make(const struct job *job, const char *action)
{
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", "state");
    cJSON_AddStringToObject(request, "action", action);
    cJSON_AddStringToObject(request, "flow", job->flow);
    return request;
}

static void print_row(const struct job *job, const cJSON *reply)
{
    cJSON *row = key_state_describe(&job->system.view, job->of, reply);
    const cJSON *key = cJSON_GetObjectItemCaseSensitive(row, "key"), *part;
    char *text = cJSON_PrintUnformatted(job->is_json ? row : key);
    printf("%s", text != NULL ? text : "?");
    cJSON_free(text);
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(row, "state"))
        if (!job->is_json)
            printf("  %s: %s", part->string, cJSON_GetStringValue(part));
    puts("");
    cJSON_Delete(row);
}

static enum status list(struct job *job)
{
    enum status status = store_client_ask(&job->client, request_make(job, "list"));
    for (int is_last = 0; status == STATUS_OK && !is_last;) {
        cJSON *reply = store_client_next(&job->client, &is_last);
        if (reply == NULL)
            status = STATUS_CLOSED;
        else if (!is_last)
            print_row(job, reply);
        else if (!job->is_json)
            report_progress("%.0f of %u keys", cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(reply, "count")),
                            job->of->keys_max);
        cJSON_Delete(reply);
    }
    return status;
}

static enum status consent(const struct job *job)
{
    if (job->is_yes)
        return STATUS_OK;
    report_progress("The checks of flow %s begin anew for %s: its messages that were taken before can be taken again.", job->flow,
                    job->key);
    return consent_ask("nobody is there to ask", "if it is meant, run the command again with --yes", "nothing was forgotten");
}

static enum status forget(struct job *job)
{
    char hex[2 * SYSTEM_KEY_BYTES_MAX + 1];
    int is_last;
    enum status status = key_state_key(&job->system.view, job->of, job->key, hex);
    if (status == STATUS_OK)
        status = consent(job);
    if (status != STATUS_OK)
        return status;
    cJSON *request = request_make(job, "forget");
    cJSON_AddStringToObject(request, "key", hex);
    status = store_client_ask(&job->client, request);
    cJSON *reply = status == STATUS_OK ? store_client_next(&job->client, &is_last) : NULL;
    if (reply == NULL)
        return status == STATUS_OK ? STATUS_ABSENT : status;
    cJSON_Delete(reply);
    if (job->is_json)
        printf("{\"action\":\"forget\",\"flow\":\"%s\",\"key\":\"%s\"}\n", job->flow, hex);
    else
        printf("flow %s: the state of %s is forgotten\n", job->flow, job->key);
    return STATUS_OK;
}

static enum status run(struct job *job)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/system.bin", PATH_MAX - 16, job->folder);
    enum status status = policy_system_read(&job->system, path);
    if (status == STATUS_ABSENT)
        report_error(path, 0, "`crenel up DIR` writes it", "there is no such file");
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < job->system.view.flow_count; i++)
        if (strcmp(job->system.view.flows[i].name, job->flow) == 0)
            job->of = &job->system.view.flows[i];
    if (job->of == NULL) {
        report_error(NULL, 0, "`crenel policy check` lists the flows", "there is no flow %s", job->flow);
        return STATUS_ABSENT;
    }
    status = store_client_open(&job->client, job->folder, "state");
    if (status == STATUS_OK)
        status = job->key != NULL ? forget(job) : list(job);
    return status;
}

// state list [SYSTEM] FLOW, state forget [SYSTEM] FLOW KEY
int cmd_state(int argc, char **argv)
{
    static struct job job;
    const char *state = NULL, *operands[4] = {NULL, NULL, NULL, NULL};
    size_t count;
    const struct argument table[] = {{"--json", &job.is_json, NULL}, {"--yes", &job.is_yes, NULL}, {"--state", NULL, &state}};
    int code = arguments_read(argc, argv, table, 3, operands, 4, &count);
    if (code != 0)
        return code;
    int is_forget = count != 0 && strcmp(operands[0], "forget") == 0;
    size_t needed = is_forget ? 3 : 2;
    if (count < needed || count > needed + 1 || (!is_forget && strcmp(operands[0], "list") != 0)) {
        report_error(NULL, 0, "crenel state list [SYSTEM] FLOW, or crenel state forget [SYSTEM] FLOW KEY",
                     "which states of keys, and what with them?");
        return EXIT_USAGE;
    }
    job.flow = operands[count - (is_forget ? 2 : 1)];
    job.key = is_forget ? operands[count - 1] : NULL;
    enum status status = state_find(state, count > needed ? operands[1] : NULL, job.folder);
    if (status == STATUS_OK)
        status = run(&job);
    store_client_close(&job.client);
    policy_system_close(&job.system);
    return client_exit_code(status);
}
