// SPDX-License-Identifier: ISC
// Arguments of a command: a table of options, the rest are operands.
#ifndef CRENEL_CLI_ARGUMENTS_H
#define CRENEL_CLI_ARGUMENTS_H

#include <stddef.h>

struct argument {
    const char *name;   // "--state"
    int *flag;          // set to 1, or NULL
    const char **value; // takes the next argument ("--state DIR" or "--state=DIR"), or NULL
};

// Reads argv[1..]. Operands go to operands[0..*count), at most `most`. Returns 0, or EXIT_USAGE after reporting.
int arguments_read(int argc, char **argv, const struct argument *table, size_t table_count,
                   const char **operands, size_t most, size_t *count);

#endif
