// SPDX-License-Identifier: ISC
// The subcommands of `crenel policy`: one file each, one row each in the table in cmd_policy.c.
#ifndef CRENEL_CLI_POLICY_H
#define CRENEL_CLI_POLICY_H

#include "cli/policy/policy_system.h"

struct policy_options {
    const char *words[4]; // behind the subcommand
    size_t word_count;
    int is_json, is_dot;
    const char *build_folder, *state, *output;
};

// Each returns an exit code. `systems` are the first words, opened: as many as the table says.
int policy_check(const struct policy_system *systems, const struct policy_options *options);
int policy_explain(const struct policy_system *systems, const struct policy_options *options);
int policy_graph(const struct policy_system *systems, const struct policy_options *options);
int policy_learn(const struct policy_system *systems, const struct policy_options *options);
int policy_mud(const struct policy_system *systems, const struct policy_options *options);
int policy_diff(const struct policy_system *systems, const struct policy_options *options);

#endif
