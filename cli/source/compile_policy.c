// SPDX-License-Identifier: ISC
// What must hold of the system as a whole: no cycle of flows that could wait for ever, and every `never`.
#include "cli/source/compile_state.h"

#include "cli/report.h"

#include <stdio.h>
#include <string.h>

#define PATH_TEXT_BYTES 480

// Where each step of a path that must not be was allowed.
static void steps_report(const struct compile *compile, const struct policy_path *path)
{
    char text[2 * POLICY_NAME_BYTES + 48];
    for (size_t i = 0; i + 1 < path->count; i++) {
        const struct yaml_node *node;
        size_t space;
        uint16_t edge = path->edges[i];
        if (edge == POLICY_EDGE_READ || edge == POLICY_EDGE_WRITE) {
            (void)policy_node_kind(path->nodes[edge == POLICY_EDGE_READ ? i : i + 1], &space);
            node = compile->namespace_nodes[space];
        } else {
            node = compile->flow_nodes[edge];
        }
        policy_step_text(&compile->graph, path, i, text, sizeof text);
        report_progress("  %s:%d: %s", compile->file.path, node->line, text);
    }
}

static void cycles_check(struct compile *compile)
{
    struct policy_set reported = {{0}};
    struct policy_path path;
    char text[PATH_TEXT_BYTES];
    for (;;) {
        policy_cycle_find(&compile->graph, &reported, &path);
        if (path.count == 0)
            return;
        policy_path_text(&compile->graph, &path, text, sizeof text);
        yaml_error(&compile->file, compile->flow_nodes[path.edges[0]],
                   "let one of these flows be durable: {cap: N, keep: newest}, or with a time_to_live",
                   "a cycle in which every queue could wait for the next: %s",
                   text);
        steps_report(compile, &path);
        for (size_t i = 0; i < path.count; i++)
            reported.has[path.nodes[i]] = 1;
    }
}

// A name or a list of names under `key` into the set; 0 if something was refused.
static int read_set(struct compile *compile, struct yaml_node *rule, const char *key, int is_list,
                    struct policy_set *set)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *child =
        yaml_child(file, rule, key, is_list ? YAML_SEQUENCE : YAML_SCALAR, !is_list);
    int before = file->error_count;
    if (child == NULL)
        return is_list;
    for (size_t i = 0; i < (is_list ? child->count : 1); i++) {
        const struct yaml_node *name = is_list ? child->children[i] : child;
        if (name->kind == YAML_SCALAR && !policy_set_add(&compile->graph, set, name->text))
            yaml_error(file, name, "use outside, a unikernel, gateway:X, service:X, courier:X, namespace:X or topic:FILTER",
                       "there is no '%s'", name->text);
        if (name->kind != YAML_SCALAR)
            yaml_error(file, name, "write a name", "not a name");
    }
    return file->error_count == before;
}

static void rule_check(struct compile *compile, struct yaml_node *rule)
{
    struct yaml_file *file = &compile->file;
    struct policy_set from = {{0}}, to = {{0}}, without = {{0}};
    struct policy_path path;
    char text[PATH_TEXT_BYTES];
    int is_good = read_set(compile, rule, "from", 0, &from);
    is_good &= read_set(compile, rule, "to", 0, &to);
    is_good &= read_set(compile, rule, "unless_through", 1, &without);
    if (!is_good)
        return;
    for (size_t i = 0; i < POLICY_NODES_MAX; i++) {
        size_t index;
        if (without.has[i] && policy_node_kind((uint16_t)i, &index) == POLICY_TOPIC) {
            yaml_error(file, rule, "name what lies between the two: a unikernel, service or namespace",
                       "'unless_through' holds a topic, at which every path ends");
            return;
        }
        if ((from.has[i] || to.has[i]) && without.has[i]) {
            yaml_error(file, rule, "name what lies between the two", "'unless_through' holds an end of the rule itself");
            return;
        }
    }
    policy_path_find(&compile->graph, &from, &to, &without, &path);
    if (path.count == 0)
        return;
    policy_path_text(&compile->graph, &path, text, sizeof text);
    yaml_error(file, rule, "remove a flow of this path, or lead it through what the rule names",
               "this must never be, but is possible: %s", text);
    steps_report(compile, &path);
}

static void text_add(char *text, size_t *used, const struct yaml_node *name, char end)
{
    const char *from = name != NULL && name->kind == YAML_SCALAR ? name->text : "?";
    size_t length = strlen(from);
    // What does not fit, or is not printable, names nothing and was reported or will be.
    if (*used + length + 1 > SYSTEM_NEVER_BYTES_MAX)
        return;
    for (size_t i = 0; i < length; i++)
        text[*used + i] = (uint8_t)from[i] < 0x20 || from[i] == 0x7f ? '?' : from[i];
    *used += length;
    text[(*used)++] = end;
}

size_t compile_never(struct compile *compile, char text[SYSTEM_NEVER_BYTES_MAX])
{
    size_t used = 0;
    struct yaml_file *file = &compile->file;
    compile->never = yaml_child(file, file->root, "never", YAML_SEQUENCE, 0);
    for (size_t i = 0; compile->never != NULL && i < compile->never->count; i++) {
        struct yaml_node *rule = compile->never->children[i];
        if (rule->kind != YAML_MAPPING) {
            yaml_error(file, rule, "write {from: .., to: .., unless_through: [..]}", "not a rule");
            continue;
        }
        const struct yaml_node *through = yaml_child(file, rule, "unless_through", YAML_SEQUENCE, 0);
        text_add(text, &used, yaml_child(file, rule, "from", YAML_SCALAR, 1), '\t');
        text_add(text, &used, yaml_child(file, rule, "to", YAML_SCALAR, 1), '\t');
        for (size_t j = 0; through != NULL && j < through->count; j++)
            text_add(text, &used, through->children[j], '\t');
        if (used == 0 || used + 2 * POLICY_NAME_BYTES > SYSTEM_NEVER_BYTES_MAX) {
            yaml_error(file, rule, "write fewer rules", "the 'never' rules are over %u bytes", SYSTEM_NEVER_BYTES_MAX);
            return 0;
        }
        text[used - 1] = '\n'; // in place of the last tab
    }
    return used;
}

void compile_policy(struct compile *compile)
{
    if (compile->bytes == NULL)
        return; // there were errors before; paths are judged in the next run
    policy_graph_init(&compile->graph, &compile->view);
    cycles_check(compile);
    for (size_t i = 0; compile->never != NULL && i < compile->never->count; i++) {
        if (compile->never->children[i]->kind == YAML_MAPPING)
            rule_check(compile, compile->never->children[i]);
    }
}
