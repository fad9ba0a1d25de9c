// SPDX-License-Identifier: ISC
// From a source to what a supervisor takes: compiled, compared with what is installed, consented to, signed.
#ifndef CRENEL_CLI_INSTALL_H
#define CRENEL_CLI_INSTALL_H

#include "cli/policy/policy_system.h"

struct install {
    const char *folder;            // state folder of the system
    struct policy_system new, old; // old.view.bytes is NULL: nothing is installed that can be compared
    char public_path[PATH_MAX];    // of the operator's key
    int is_same;                   // byte for byte what is installed
};

// Compiles the source into build/NAME, shows what is more open than the installed system and asks on the terminal
// whether that is meant (is_yes: it is), signs, and puts the images where the supervisor takes them from. Nothing of
// the installed system is touched. STATUS_DENIED: no consent. Errors are reported. The caller closes in any case.
enum status install_prepare(struct install *install, const char *source, const char *name, const char *folder,
                            int is_yes) MUST_USE;
void install_close(struct install *install);

// Puts it in place of the installed one. Only for a system that does not run.
enum status install_first(const struct install *install) MUST_USE;

// Writes the signed system into the state folder under this name, durably.
enum status install_write(const struct install *install, const char *file) MUST_USE;

#endif
