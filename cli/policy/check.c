// SPDX-License-Identifier: ISC
// crenel policy check SYSTEM: does it compile, does every `never` hold, what is allowed.
//   --output FILE writes the compiled system, not signed, for those who want to look at it or sign elsewhere.
#include "cli/policy/policy.h"
#include "cli/policy/words.h"
#include "cli/report.h"
#include "cli/source/policy_checks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// One line of the compiled system for each.
static size_t rule_count(const struct system_view *system)
{
    size_t count = 0;
    for (size_t i = 0; i < system->never_bytes; i++)
        count += system->never[i] == '\n';
    return count;
}

// What only observes does not lead straight to an actuator, but perhaps over others: somebody should know.
static void actuators_print(const struct policy_system *opened)
{
    const struct system_view *system = &opened->view;
    for (size_t i = 0; i < system->flow_count; i++)
        for (size_t j = 0; j < system->flow_count; j++) {
            const struct system_flow *seen = &system->flows[i], *acting = &system->flows[j];
            struct policy_set from = {{0}}, to = {{0}}, without = {{0}};
            struct policy_path path;
            char text[512];
            if (!seen->is_observed || !acting->is_actuator)
                continue;
            for (int k = 0; k < seen->receiver_count; k++) {
                end_text(system, seen, k, text);
                policy_set_add(opened->graph, &from, text);
            }
            end_text(system, acting, -1, text);
            policy_set_add(opened->graph, &to, text);
            policy_path_find(opened->graph, &from, &to, &without, &path);
            policy_path_text(opened->graph, &path, text, sizeof text);
            if (path.count != 0)
                printf("OBSERVED: what passes '%s' reaches who acts by '%s': %s\n", seen->name, acting->name, text);
        }
}

static void check_print(const struct policy_system *opened)
{
    const struct system_view *system = &opened->view;
    printf("%-16s %-20s %-28s %-20s %-9s %s\n", "FLOW", "FROM", "TO", "SCHEMA", "KEPT", "PRINCIPALS");
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        char from[END_BYTES], to[256], principals[256];
        end_text(system, flow, -1, from);
        receivers_text(system, flow, to, sizeof to);
        principals_text(system, flow->principals, principals, sizeof principals);
        printf("%-16s %-20s %-28s %-20s %-9s %s\n", flow->name, from, to,
               system->schemas[flow->schema].header->name, flow->is_durable ? "durable" : "volatile",
               principals);
    }
    policy_checks_warn(system);
    actuators_print(opened);
    size_t rules = rule_count(system);
    printf("\n%s: %zu unikernels, %zu flows, %zu namespaces; %zu of %zu 'never' rules hold\n",
           system->header->name, system->unikernel_count, system->flow_count,
           system->namespace_count, rules, rules);
}

static void check_json(const struct policy_system *opened)
{
    const struct system_view *system = &opened->view;
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
        cJSON_AddNumberToObject(row, "line", policy_flow_line(opened, i));
        checks_add(system, flow, cJSON_AddObjectToObject(row, "checks"));
        cJSON_AddItemToArray(flows, row);
    }
    cJSON_AddNumberToObject(root, "never_rules", (double)rule_count(system));
    char *text = cJSON_Print(root);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

static int output_write(const struct system_view *system, const char *path)
{
    FILE *out = fopen(path, "we");
    int is_written = out != NULL && fwrite(system->bytes, 1, system->size, out) == system->size;
    if (out != NULL && fclose(out) != 0)
        is_written = 0;
    if (!is_written)
        report_error(path, 0, "name a file that you may write", "cannot write: %s", strerror(errno));
    return is_written ? EXIT_OK : EXIT_FAILED;
}

int policy_check(const struct policy_system *systems, const struct policy_options *options)
{
    if (options->is_json)
        check_json(systems);
    else
        check_print(systems);
    return options->output == NULL ? EXIT_OK : output_write(&systems->view, options->output);
}
