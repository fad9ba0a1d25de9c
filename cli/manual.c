// SPDX-License-Identifier: ISC
// crenel(1): the commands come from the table, the rest stands here.
#include "cli/manual.h"

#include <stdio.h>

struct item { // a tagged paragraph
    const char *name, *text;
};

static const struct item options[] = {
    {"--json", "Print JSON instead of text."},
    {"--state DIR", "Where systems keep their state; see FILES."},
};

static const struct item files[] = {
    {"DIR/unikernel.yaml", "a unikernel project, for build; docs/files.md describes it"},
    {"DIR/system.yaml", "a system, for up and policy"},
    {"build/NAME.img", "an image; NAME.debug beside it holds its symbols, NAME.d what was generated"},
    {"--state DIR, $CRENEL_STATE, /var/lib/crenel (root), $XDG_STATE_HOME/crenel, ~/.local/state/crenel",
     "the first of these that applies holds a folder for each system: keys, compiled system, store, audit log, logs"},
};

static const struct item environment[] = {
    {"CRENEL_STATE", "the folder of the state of all systems"},
    {"XDG_STATE_HOME, HOME", "where that folder lies when nothing else says so"},
    {"CRENEL_CC", "the compiler for build, instead of gcc"},
    {"CRENEL_GUEST", "the folder with the library OS, instead of the one beside the program"},
};

static const struct item codes[] = {
    {"0", "done"},
    {"1", "failed"},
    {"2", "wrong usage"},
    {"3", "no such thing"},
    {"4", "conflict: it exists already, or changed meanwhile"},
    {"5", "denied"},
};

// Text in which nothing is a request, an escape or a hyphen that a terminal would change.
static void text_print(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != 0; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
    putchar('\n');
}

static void items_print(const char *title, const struct item *items, size_t count)
{
    printf(".SH %s\n", title);
    for (size_t i = 0; i < count; i++) {
        fputs(".TP\n.B ", stdout);
        text_print(items[i].name);
        text_print(items[i].text);
    }
}
#define ITEMS_PRINT(title, items) items_print(title, items, sizeof(items) / sizeof(items)[0])

void manual_print(const struct command *commands, size_t count, const char *version)
{
    printf(".\\\" Written by: crenel help --man\n.TH CRENEL 1 \"\" \"crenel %s\" \"Crenel\"\n", version);
    fputs(".SH NAME\ncrenel \\- builds, runs and governs unikernels\n"
          ".SH SYNOPSIS\n.B crenel\n.I COMMAND\n[arguments]\n"
          ".SH DESCRIPTION\n"
          "A unikernel is an application linked with a library OS into one small image. Its instances can do\n"
          "nothing but exchange messages, each checked against a declared schema and policy. A system is what one\n"
          "system.yaml declares: unikernels, the flows between them, gateways, what the store keeps.\n"
          ".PP\n"
          "Where a command takes [SYSTEM], it is a name or a folder with system.yaml, and may be left out when\n"
          "exactly one system runs. Results go to standard output, errors and progress to standard error; an error\n"
          "names the thing, the reason and the mend.\n"
          ".SH COMMANDS\n",
          stdout);
    for (size_t i = 0; i < count; i++) {
        printf(".TP\n\\fB%s\\fR ", commands[i].name);
        text_print(commands[i].arguments);
        text_print(commands[i].help);
    }
    ITEMS_PRINT("OPTIONS", options);
    ITEMS_PRINT("FILES", files);
    ITEMS_PRINT("ENVIRONMENT", environment);
    ITEMS_PRINT("EXIT STATUS", codes);
}
