// SPDX-License-Identifier: ISC
// The manual page crenel(1), written from the command table.
#ifndef CRENEL_CLI_MANUAL_H
#define CRENEL_CLI_MANUAL_H

#include "cli/command.h"

#include <stddef.h>

// Prints the page as roff on standard output. docs/crenel.1 is what it prints (`make man`).
void manual_print(const struct command *commands, size_t count, const char *version);

#endif
