// SPDX-License-Identifier: ISC
// What must hold of the system as a whole: no cycle of flows that could wait for ever, and every `never`.
#include "cli/source/compile_state.h"

#include "cli/source/policy_graph.h"

#include <stdio.h>
#include <string.h>

#define PATH_TEXT_BYTES 480

static void cycles_check(struct compile *compile)
{
    struct policy_set reported = {{0}};
    struct policy_path path;
    char text[PATH_TEXT_BYTES];
    for (;;) {
        policy_cycle_find(&compile->view, &reported, &path);
        if (path.count == 0)
            return;
        policy_path_text(&compile->view, &path, text, sizeof text);
        yaml_error(&compile->file, compile->flow_nodes[path.edges[0]],
                   "let one of these flows be durable: {cap: N, keep: newest}, or with a time_to_live",
                   "a cycle in which every queue could wait for the next: %s",
                   text);
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
        // Without a view there were errors before; names are then judged in the next run.
        if (name->kind == YAML_SCALAR && compile->bytes != NULL &&
            !policy_set_add(&compile->view, set, name->text))
            yaml_error(file, name, "use outside, a unikernel, gateway:X, service:X or namespace:X",
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
    if (!is_good || compile->bytes == NULL)
        return;
    for (size_t i = 0; i < POLICY_NODES_MAX; i++)
        if ((from.has[i] || to.has[i]) && without.has[i]) {
            yaml_error(file, rule, "name what lies between the two", "'unless_through' holds an end of the rule itself");
            return;
        }
    policy_path_find(&compile->view, &from, &to, &without, &path);
    if (path.count == 0)
        return;
    policy_path_text(&compile->view, &path, text, sizeof text);
    yaml_error(file, rule, "remove a flow of this path, or lead it through what the rule names",
               "this must never be, but is possible: %s", text);
}

void compile_policy(struct compile *compile)
{
    if (compile->bytes != NULL)
        cycles_check(compile);
    for (size_t i = 0; compile->never != NULL && i < compile->never->count; i++) {
        struct yaml_node *rule = compile->never->children[i];
        if (rule->kind == YAML_MAPPING)
            rule_check(compile, rule);
        else
            yaml_error(&compile->file, rule, "write {from: .., to: .., unless_through: [..]}", "not a rule");
    }
}
