// SPDX-License-Identifier: ISC
// crenel: the command table. Help comes from it; so does "did you mean".
#include "cli/command.h"
#include "cli/manual.h"
#include "cli/report.h"
#include "cli/source/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRENEL_VERSION "0.1.0"

static int cmd_help(int argc, char **argv);

// One row per command, in the order in which people meet them.
static const struct command commands[] = {
    {"new", cmd_new, "NAME", "write a unikernel project that builds and runs at once"},
    {"build", cmd_build, "DIR [-o FILE]", "build a unikernel into one image"},
    {"run", cmd_run, "IMAGE [--configuration FILE] [--deadline MS] [--isolation auto|process|kvm]",
     "one unikernel alone: events in, effects out, as JSON lines"},
    {"inspect", cmd_inspect, "IMAGE [--json]", "what an image is, may say and is made of"},
    {"symbolize", cmd_symbolize, "IMAGE ADDRESS...", "function and line of an address in a crash report"},
    {"schema", cmd_schema, "show|cddl FILE | encode|decode|check FILE [--raw] [INPUT]", "the layout of messages, as CDDL; messages from JSON and to it; are they valid"},
    {"policy", cmd_policy, "check|graph SYSTEM | explain SYSTEM FROM TO | diff OLD NEW | learn SYSTEM [FLOW] | mud SYSTEM [URL] [--output FILE] [--dot] [--state DIR] [--json]",
     "is a system sound; drawn; what may flow, and why not; what a new version opens"},
    {"up", cmd_up, "[DIR] [--detach] [--yes] [--state DIR] [--json]", "compile, compare, sign and start a system; Ctrl-C ends it"},
    {"down", cmd_down, "[SYSTEM] [--state DIR] [--json]", "end a system in order, its state stays"},
    {"ps", cmd_ps, "[SYSTEM] [--state DIR] [--json]", "systems, their unikernels and processes"},
    {"status", cmd_status, "[SYSTEM] [--state DIR] [--json]", "what became of the messages, flow by flow"},
    {"logs", cmd_logs, "[SYSTEM] [-f] [--unikernel NAME] [--host] [--state DIR] [--json]", "what unikernels logged"},
    {"stop", cmd_stop, "[SYSTEM] UNIKERNEL [--state DIR] [--json]", "end one unikernel; its messages wait"},
    {"restart", cmd_restart, "[SYSTEM] UNIKERNEL|courier:X|gateway:X|service:X [--state DIR] [--json]", "start one of its processes anew"},
    {"query", cmd_query, "[SYSTEM] NAMESPACE [--from JSON] [--to JSON] [--index] [--limit N] [--state DIR] [--json]",
     "records of a namespace, in order of key or index"},
    {"deadletter", cmd_deadletter, "list|show|resubmit|drop [SYSTEM] [ID] [--flow FLOW] [--state DIR] [--json]",
     "messages whose event failed"},
    {"state", cmd_state, "list|forget [SYSTEM] FLOW [KEY] [--yes] [--state DIR] [--json]",
     "what the checks of a durable flow remember of its keys; forget one key, which opens a replay"},
    {"audit", cmd_audit, "show|verify [SYSTEM|DIR] [--from N] [--limit N] [--key VKEY|FILE] [--state DIR] [--json]",
     "the tamper-evident log: read it, check all of it offline"},
    {"doctor", cmd_doctor, "[--json]", "what this host can and cannot enforce, and the mend"},
    {"passwd", cmd_passwd, "SYSTEM USER | --file FILE USER", "set the password of a user; asks for it, or reads one line"},
    {"key", cmd_key, "new FILE", "make a key for services that seal or sign between two ends"},
    {"help", cmd_help, "[COMMAND | --man]", "this list; the arguments of a command; the manual page"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int command_unknown(const char *name)
{
    const char *names[COMMAND_COUNT];
    char mend[96] = "crenel help lists the commands";

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    const char *nearest = yaml_nearest(name, names, COMMAND_COUNT);
    if (nearest != NULL)
        snprintf(mend, sizeof mend, "did you mean '%s'? crenel help lists the commands", nearest);
    report_error(NULL, 0, mend, "there is no command '%s'", name);
    return EXIT_USAGE;
}

static int cmd_help(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--man") == 0) {
        manual_print(commands, COMMAND_COUNT, CRENEL_VERSION);
        return EXIT_OK;
    }
    if (argc > 1) {
        const struct command *command = command_find(argv[1]);
        if (command == NULL)
            return command_unknown(argv[1]);
        printf("usage: crenel %s %s\n%s\n", command->name, command->arguments, command->help);
        return EXIT_OK;
    }
    puts("crenel: builds, runs and governs unikernels\n\ncommands:");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].help);
    puts("\ncrenel help COMMAND names its arguments.\nexit codes: 0 done, 1 failed, 2 wrong usage, 3 no such thing, 4 conflict, 5 denied");
    return EXIT_OK;
}

static int is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || is_help(argv[1]))
        return cmd_help(1, argv);
    if (strcmp(argv[1], "--version") == 0) {
        puts("crenel " CRENEL_VERSION);
        return EXIT_OK;
    }
    const struct command *command = command_find(argv[1]);
    if (command == NULL)
        return command_unknown(argv[1]);
    if (argc > 2 && is_help(argv[2]))
        return cmd_help(2, argv);

    int code = command->run(argc - 1, argv + 1);
    if (code == EXIT_USAGE)
        fprintf(stderr, "usage: crenel %s %s\n", command->name, command->arguments);
    if (fflush(stdout) != 0 && code == EXIT_OK) {
        report_error(NULL, 0, NULL, "standard output: cannot write");
        return EXIT_FAILED;
    }
    return code;
}
