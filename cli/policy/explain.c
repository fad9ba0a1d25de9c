// SPDX-License-Identifier: ISC
// crenel policy explain SYSTEM FROM TO: is that allowed, by which line, with which checks; else why not.
#include "cli/policy/policy.h"
#include "cli/policy/words.h"
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

#define PATH_TEXT_BYTES 2048

// "system.yaml:61", or empty when there is no source.
static void place_text(const struct policy_system *opened, int line, char text[PATH_MAX + 16])
{
    text[0] = 0;
    if (opened->compile != NULL)
        snprintf(text, PATH_MAX + 16, "%s:%d", opened->compile->file.path, line);
}

static void step_place(const struct policy_system *opened, const struct policy_path *path, size_t step,
                       char text[PATH_MAX + 16])
{
    size_t space;
    uint16_t edge = path->edges[step];
    text[0] = 0;
    if (opened->compile == NULL)
        return;
    if (edge < SYSTEM_FLOWS_MAX) {
        place_text(opened, policy_flow_line(opened, edge), text);
        return;
    }
    (void)policy_node_kind(path->nodes[edge == POLICY_EDGE_READ ? step : step + 1], &space);
    place_text(opened, opened->compile->namespace_nodes[space]->line, text);
}

static void flows_add(const struct policy_system *opened, const uint8_t edges[POLICY_EDGES], cJSON *flows)
{
    const struct system_view *system = &opened->view;
    for (size_t i = 0; i < system->flow_count; i++) {
        if (!edges[i])
            continue;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "flow", system->flows[i].name);
        if (opened->compile != NULL) {
            cJSON_AddStringToObject(row, "file", opened->compile->file.path);
            cJSON_AddNumberToObject(row, "line", policy_flow_line(opened, i));
        }
        checks_add(system, &system->flows[i], cJSON_AddObjectToObject(row, "checks"));
        cJSON_AddItemToArray(flows, row);
    }
}

static cJSON *explain(const struct policy_system *opened, const struct policy_set *from, const struct policy_set *to)
{
    struct policy_set without = {{0}};
    struct policy_path path;
    uint8_t edges[POLICY_EDGES];
    char text[PATH_TEXT_BYTES], place[PATH_MAX + 16];
    cJSON *root = cJSON_CreateObject();
    policy_edges_find(opened->graph, from, to, edges);
    int is_allowed = memchr(edges, 1, sizeof edges) != NULL;
    cJSON_AddBoolToObject(root, "allowed", is_allowed);
    flows_add(opened, edges, cJSON_AddArrayToObject(root, "flows"));
    policy_path_find(opened->graph, from, to, &without, &path);
    policy_path_text(opened->graph, &path, text, sizeof text);
    cJSON_AddItemToObject(root, "path", path.count != 0 ? cJSON_CreateString(text) : cJSON_CreateNull());
    cJSON *steps = cJSON_AddArrayToObject(root, "steps");
    for (size_t i = 0; i + 1 < path.count; i++) {
        cJSON *row = cJSON_CreateObject();
        policy_step_text(opened->graph, &path, i, text, sizeof text);
        step_place(opened, &path, i, place);
        cJSON_AddStringToObject(row, "step", text);
        cJSON_AddStringToObject(row, "place", place);
        cJSON_AddItemToArray(steps, row);
    }
    return root;
}

static void steps_print(const cJSON *root)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, cJSON_GetObjectItem(root, "steps"))
        printf("    %-48s %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(step, "step")),
               cJSON_GetStringValue(cJSON_GetObjectItem(step, "place")));
}

static void explain_print(const cJSON *root, const char *from, const char *to)
{
    const cJSON *flow, *check, *flows = cJSON_GetObjectItem(root, "flows");
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(root, "path"));
    int is_allowed = cJSON_IsTrue(cJSON_GetObjectItem(root, "allowed"));
    printf("%s: %s to %s\n", is_allowed ? "allowed" : "refused", from, to);
    cJSON_ArrayForEach(flow, flows) {
        const char *file = cJSON_GetStringValue(cJSON_GetObjectItem(flow, "file"));
        printf("  by flow '%s'", cJSON_GetStringValue(cJSON_GetObjectItem(flow, "flow")));
        if (file != NULL)
            printf(" (%s:%d)", file, cJSON_GetObjectItem(flow, "line")->valueint);
        printf("\n");
        cJSON_ArrayForEach(check, cJSON_GetObjectItem(flow, "checks"))
            printf("    %-11s %s\n", check->string, check->valuestring);
    }
    if (is_allowed && cJSON_GetArraySize(flows) == 0) {
        printf("  by the namespace's grant:\n");
        steps_print(root);
    }
    if (is_allowed)
        return;
    printf("  no flow goes from %s to %s, and what is not written is not allowed\n", from, to);
    if (path == NULL) {
        printf("  nor is there a path over others: %s cannot influence %s\n", from, to);
        return;
    }
    printf("  nearest allowed path: %s\n", path);
    steps_print(root);
}

int policy_explain(const struct policy_system *systems, const struct policy_options *options)
{
    struct policy_set sets[2] = {{{0}}, {{0}}};
    const char *const *names = &options->words[1];
    for (int i = 0; i < 2; i++)
        if (!policy_set_add(systems->graph, &sets[i], names[i])) {
            report_error(systems->title, 0, "use outside, a unikernel, gateway:X, service:X, courier:X, namespace:X or topic:FILTER",
                         "there is no '%s'", names[i]);
            return EXIT_ABSENT;
        }
    cJSON *root = explain(systems, &sets[0], &sets[1]);
    int code = cJSON_IsTrue(cJSON_GetObjectItem(root, "allowed")) ? EXIT_OK : EXIT_DENIED;
    if (options->is_json) {
        char *text = cJSON_Print(root);
        puts(text);
        cJSON_free(text);
    } else {
        explain_print(root, names[0], names[1]);
    }
    cJSON_Delete(root);
    return code;
}
