// SPDX-License-Identifier: ISC
// From system.yaml to the compiled system.
#ifndef CRENEL_CLI_COMPILE_H
#define CRENEL_CLI_COMPILE_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

// Compiles the system in `path` (a folder with system.yaml, or the file itself). Unikernels given by
// `source:` are built into build_folder/NAME.img first. *bytes (caller frees) is the compiled system,
// its signature block not yet filled. All errors are reported with file, line and mend.
enum status system_compile(const char *path, const char *build_folder, uint8_t **bytes,
                           size_t *size) MUST_USE;

// Only the system's name (for state folders). Errors are reported.
enum status system_name(const char *path, char name[32]) MUST_USE;

#endif
