// SPDX-License-Identifier: ISC
// What a system file calls itself; compile_state.h compiles it.
#ifndef CRENEL_CLI_COMPILE_H
#define CRENEL_CLI_COMPILE_H

#include "core/status.h"

// The system's name (for state folders) in `path`: a folder with system.yaml, or the file itself. Errors are reported.
enum status system_name(const char *path, char name[32]) MUST_USE;

#endif
