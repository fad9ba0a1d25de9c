// SPDX-License-Identifier: ISC
// The operator's side of a replacement (supervisor/replace.h).
#ifndef CRENEL_CLI_REPLACE_H
#define CRENEL_CLI_REPLACE_H

#include "cli/up/install.h"

// Hands the new version to the supervisor of the running system and waits for the outcome. Refused before anything
// changes when the store holds something that the new version has no place for. Returns an exit code: EXIT_OK when the
// new version serves, EXIT_CONFLICTS, EXIT_FAILED. Errors are reported.
int replace_run(const struct install *install);

#endif
