// SPDX-License-Identifier: ISC
// crenel policy check SYSTEM: does it compile, does every `never` hold, what is allowed.
//   --output FILE writes the compiled system, not signed, for those who want to look at it or sign elsewhere.
// crenel policy explain SYSTEM FROM TO: is that allowed, by which line, with which checks; else why not.
#include "cli/command.h"
#include "cli/source/compile.h"
#include "cli/source/compile_state.h"
#include "cli/source/policy_checks.h"
#include "cli/source/policy_graph.h"
#include "cli/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_TEXT_BYTES 480

// ---- What a flow is, in words ----

static void end_text(const struct system_view *system, const struct system_flow *flow, int receiver,
                     char text[80])
{
    unsigned kind = receiver < 0 ? flow->sender_kind : flow->receivers[receiver].kind;
    unsigned index = receiver < 0 ? flow->sender : flow->receivers[receiver].index;
    switch (kind) {
    case SYSTEM_UNIKERNEL:
        snprintf(text, 80, "%s", system->unikernels[index].name);
        return;
    case SYSTEM_GATEWAY:
        snprintf(text, 80, "gateway:%s", system->gateways[index].name);
        return;
    case SYSTEM_SERVICE:
        snprintf(text, 80, "service:%s", system->services[index].name);
        return;
    default:
        snprintf(text, 80, "router:subscription");
    }
}

static void receivers_text(const struct system_view *system, const struct system_flow *flow,
                           char *text, size_t capacity)
{
    char one[80];
    size_t used = 0;
    for (int i = 0; i < flow->receiver_count && used < capacity; i++) {
        end_text(system, flow, i, one);
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", i == 0 ? "" : ", ", one);
    }
}

static void principals_text(const struct system_view *system, const struct system_flow *flow,
                            char *text, size_t capacity)
{
    size_t used = 0;
    snprintf(text, capacity, "anyone");
    for (size_t i = 0; i < system->principal_count && used < capacity; i++)
        if ((flow->principals >> i & 1) != 0)
            used += (size_t)snprintf(text + used, capacity - used, "%s%s", used == 0 ? "" : ", ",
                                     system->principals[i].name);
}

// The checks of one flow, as name and text.
static void checks_add(const struct compile *compile, const struct system_flow *flow, cJSON *checks)
{
    const struct system_view *system = &compile->view;
    const struct schema *schema = &system->schemas[flow->schema];
    char text[512];
    cJSON_AddStringToObject(checks, "schema", schema->header->name);
    snprintf(text, sizeof text, "%u a second, burst %u%s", flow->rate_per_second, flow->rate_burst,
             flow->is_rate_per_connection ? ", for each connection" : "");
    cJSON_AddStringToObject(checks, "rate", text);
    if (flow->bytes_per_second != 0) {
        snprintf(text, sizeof text, "%u bytes a second, burst %u%s", flow->bytes_per_second, flow->bytes_burst,
                 flow->is_bytes_per_connection ? ", for each connection" : "");
        cJSON_AddStringToObject(checks, "bytes", text);
    }
    principals_text(system, flow, text, sizeof text);
    cJSON_AddStringToObject(checks, "principals", text);
    snprintf(text, sizeof text, "at most %u for each event of the sender", flow->count_max);
    cJSON_AddStringToObject(checks, "count", text);
    if (flow->key_field != SYSTEM_NONE)
        cJSON_AddStringToObject(checks, "order", schema->fields[flow->key_field].name);
    policy_checks_add(system, flow, checks);
    size_t used = (size_t)snprintf(text, sizeof text, "volatile");
    if (flow->is_durable)
        used = (size_t)snprintf(text, sizeof text, "durable, at most %u messages or %llu bytes wait in the store; a full one %s",
                                flow->cap, (unsigned long long)flow->bytes_max,
                                flow->is_newest_kept ? "leaves out the oldest" : "makes senders wait");
    if (flow->live_ms != 0)
        snprintf(text + used, sizeof text - used, "; what waits for %llu s is ended",
                 (unsigned long long)(flow->live_ms + 999) / 1000);
    cJSON_AddStringToObject(checks, "keeping", text);
}

// ---- check ----

static void check_print(const struct compile *compile)
{
    const struct system_view *system = &compile->view;
    printf("%-16s %-20s %-28s %-20s %-9s %s\n", "FLOW", "FROM", "TO", "SCHEMA", "KEPT", "PRINCIPALS");
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        char from[80], to[256], principals[256];
        end_text(system, flow, -1, from);
        receivers_text(system, flow, to, sizeof to);
        principals_text(system, flow, principals, sizeof principals);
        printf("%-16s %-20s %-28s %-20s %-9s %s\n", flow->name, from, to,
               system->schemas[flow->schema].header->name, flow->is_durable ? "durable" : "volatile",
               principals);
    }
    policy_checks_warn(&compile->view);
    size_t rules = compile->never == NULL ? 0 : compile->never->count;
    printf("\n%s: %zu unikernels, %zu flows, %zu namespaces; %zu of %zu 'never' rules hold\n",
           system->header->name, system->unikernel_count, system->flow_count,
           system->namespace_count, rules, rules);
}

static void check_json(const struct compile *compile)
{
    const struct system_view *system = &compile->view;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "system", system->header->name);
    cJSON *flows = cJSON_AddArrayToObject(root, "flows");
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        char text[256];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "flow", flow->name);
        end_text(system, flow, -1, text);
        cJSON_AddStringToObject(row, "from", text);
        receivers_text(system, flow, text, sizeof text);
        cJSON_AddStringToObject(row, "to", text);
        cJSON_AddNumberToObject(row, "line", compile->flow_nodes[i]->line);
        checks_add(compile, flow, cJSON_AddObjectToObject(row, "checks"));
        cJSON_AddItemToArray(flows, row);
    }
    cJSON_AddNumberToObject(root, "never_rules", compile->never == NULL ? 0 : (double)compile->never->count);
    char *text = cJSON_Print(root);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

// ---- explain ----

// Does the flow go from a node of one set to a node of the other?
static int flow_joins(const struct system_view *system, const struct system_flow *flow,
                      const struct policy_set *from, const struct policy_set *to)
{
    char text[80];
    struct policy_set sender = {{0}}, receivers = {{0}};
    end_text(system, flow, -1, text);
    policy_set_add(system, &sender, text);
    for (int i = 0; i < flow->receiver_count; i++) {
        end_text(system, flow, i, text);
        policy_set_add(system, &receivers, text);
    }
    int is_from = 0, is_to = 0;
    for (size_t i = 0; i < POLICY_NODES_MAX; i++) {
        is_from |= from->has[i] && sender.has[i];
        is_to |= to->has[i] && receivers.has[i];
    }
    return is_from && is_to;
}

static cJSON *explain(const struct compile *compile, const char *from_name, const char *to_name)
{
    const struct system_view *system = &compile->view;
    struct policy_set from = {{0}}, to = {{0}}, without = {{0}};
    struct policy_path path;
    char text[PATH_TEXT_BYTES];
    policy_set_add(system, &from, from_name);
    policy_set_add(system, &to, to_name);
    cJSON *root = cJSON_CreateObject();
    cJSON *flows = cJSON_CreateArray();
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        if (!flow_joins(system, flow, &from, &to))
            continue;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "flow", flow->name);
        cJSON_AddStringToObject(row, "file", compile->file.path);
        cJSON_AddNumberToObject(row, "line", compile->flow_nodes[i]->line);
        checks_add(compile, flow, cJSON_AddObjectToObject(row, "checks"));
        cJSON_AddItemToArray(flows, row);
    }
    policy_path_find(system, &from, &to, &without, &path);
    policy_path_text(system, &path, text, sizeof text);
    // Reading or writing a namespace is an edge without a flow.
    int is_allowed = cJSON_GetArraySize(flows) > 0 || path.count == 2;
    cJSON_AddBoolToObject(root, "allowed", is_allowed);
    cJSON_AddItemToObject(root, "flows", flows);
    if (path.count != 0)
        cJSON_AddStringToObject(root, "path", text);
    else
        cJSON_AddNullToObject(root, "path");
    return root;
}

static void explain_print(const cJSON *root, const char *from, const char *to)
{
    const cJSON *flow, *check, *flows = cJSON_GetObjectItem(root, "flows");
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(root, "path"));
    int is_allowed = cJSON_IsTrue(cJSON_GetObjectItem(root, "allowed"));
    printf("%s: %s to %s\n", is_allowed ? "allowed" : "refused", from, to);
    cJSON_ArrayForEach(flow, flows) {
        printf("  by flow '%s' (%s:%d)\n", cJSON_GetStringValue(cJSON_GetObjectItem(flow, "flow")),
               cJSON_GetStringValue(cJSON_GetObjectItem(flow, "file")),
               cJSON_GetObjectItem(flow, "line")->valueint);
        cJSON_ArrayForEach(check, cJSON_GetObjectItem(flow, "checks"))
            printf("    %-11s %s\n", check->string, check->valuestring);
    }
    if (is_allowed && cJSON_GetArraySize(flows) == 0)
        printf("  by the namespace's grant: %s\n", path);
    if (is_allowed)
        return;
    printf("  no flow goes from %s to %s, and what is not written is not allowed\n", from, to);
    if (path != NULL)
        printf("  nearest allowed path: %s\n", path);
    else
        printf("  nor is there a path over others: %s cannot influence %s\n", from, to);
}

// ---- The command ----

struct options {
    const char *words[4];
    int word_count, is_json;
    const char *build_folder, *output;
};

static int options_read(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            options->is_json = 1;
        else if (strcmp(argv[i], "--build") == 0 && i + 1 < argc)
            options->build_folder = argv[++i];
        else if (strcmp(argv[i], "--output") == 0 && i + 1 < argc)
            options->output = argv[++i];
        else if (argv[i][0] == '-' || options->word_count == 4)
            return 0;
        else
            options->words[options->word_count++] = argv[i];
    }
    if (options->output != NULL && options->word_count != 2)
        return 0;
    int is_check = options->word_count == 2 && strcmp(options->words[0], "check") == 0;
    return is_check || (options->word_count == 4 && strcmp(options->words[0], "explain") == 0);
}

static int explain_run(const struct compile *compile, const struct options *options)
{
    for (int i = 2; i < 4; i++) {
        struct policy_set set = {{0}};
        if (!policy_set_add(&compile->view, &set, options->words[i])) {
            report_error(compile->file.path, 0,
                         "use outside, a unikernel, gateway:X, service:X or namespace:X",
                         "there is no '%s'", options->words[i]);
            return EXIT_ABSENT;
        }
    }
    cJSON *root = explain(compile, options->words[2], options->words[3]);
    int code = cJSON_IsTrue(cJSON_GetObjectItem(root, "allowed")) ? EXIT_OK : EXIT_DENIED;
    if (options->is_json) {
        char *text = cJSON_Print(root);
        puts(text);
        cJSON_free(text);
    } else {
        explain_print(root, options->words[2], options->words[3]);
    }
    cJSON_Delete(root);
    return code;
}

static int output_write(const struct compile *compile, const char *path)
{
    FILE *out = fopen(path, "we");
    int is_written = out != NULL && fwrite(compile->bytes, 1, compile->size, out) == compile->size;
    if (out != NULL && fclose(out) != 0)
        is_written = 0;
    if (!is_written)
        report_error(path, 0, "name a file that you may write", "cannot write: %s", strerror(errno));
    return is_written ? EXIT_OK : EXIT_FAILED;
}

int cmd_policy(int argc, char **argv)
{
    struct options options = {.is_json = 0};
    char build_folder[PATH_MAX], name[32];
    if (!options_read(&options, argc, argv))
        return EXIT_USAGE;
    if (system_name(options.words[1], name) != STATUS_OK)
        return EXIT_FAILED;
    snprintf(build_folder, sizeof build_folder, "build/%s", name);
    if (options.build_folder == NULL)
        options.build_folder = build_folder;
    struct compile *compile = malloc(sizeof *compile);
    if (compile == NULL)
        return EXIT_FAILED;
    int code = EXIT_FAILED;
    if (compile_open(compile, options.words[1], options.build_folder) == STATUS_OK) {
        code = options.output == NULL ? EXIT_OK : output_write(compile, options.output);
        if (options.word_count == 4)
            code = explain_run(compile, &options);
        else if (options.is_json)
            check_json(compile);
        else
            check_print(compile);
    }
    compile_close(compile);
    free(compile);
    return code;
}
