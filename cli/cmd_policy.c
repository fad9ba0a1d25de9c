// SPDX-License-Identifier: ISC
// crenel policy SUBCOMMAND: what a system allows, drawn, explained, compared, exported (cli/policy/).
#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/policy/policy.h"
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

static const struct subcommand {
    const char *name;
    int (*run)(const struct policy_system *systems, const struct policy_options *options);
    size_t systems, words, words_most; // words: systems, and what follows them
    int exit_unreadable;   // when one of the systems cannot be read
} subcommands[] = {
    {"check", policy_check, 1, 1, 1, EXIT_FAILED}, {"explain", policy_explain, 1, 3, 3, EXIT_FAILED},
    {"graph", policy_graph, 1, 1, 1, EXIT_FAILED}, {"diff", policy_diff, 2, 2, 2, EXIT_ABSENT},
    {"learn", policy_learn, 1, 1, 2, EXIT_FAILED}, {"mud", policy_mud, 1, 1, 2, EXIT_FAILED},
};

static const struct subcommand *subcommand_find(const char *name)
{
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
        if (name != NULL && strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    return NULL;
}

int cmd_policy(int argc, char **argv)
{
    struct policy_options options = {.is_json = 0};
    const struct argument table[] = {
        {"--json", &options.is_json, NULL}, {"--dot", &options.is_dot, NULL}, {"--build", NULL, &options.build_folder},
        {"--state", NULL, &options.state}, {"--output", NULL, &options.output}};
    const struct subcommand *subcommand = subcommand_find(argc > 1 ? argv[1] : NULL);
    if (subcommand == NULL)
        return EXIT_USAGE;
    int code = arguments_read(argc - 1, argv + 1, table, sizeof table / sizeof table[0], options.words, 4,
                              &options.word_count);
    if (code != 0 || options.word_count < subcommand->words ||
        options.word_count > subcommand->words_most)
        return EXIT_USAGE;
    struct policy_system systems[2] = {{.bytes = NULL}, {.bytes = NULL}};
    for (size_t i = 0; i < subcommand->systems && code == EXIT_OK; i++)
        if (policy_system_open(&systems[i], options.words[i], options.build_folder, options.state) != STATUS_OK)
            code = subcommand->exit_unreadable;
    if (code == EXIT_OK)
        code = subcommand->run(systems, &options);
    policy_system_close(&systems[0]);
    policy_system_close(&systems[1]);
    return code;
}
