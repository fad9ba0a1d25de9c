// SPDX-License-Identifier: ISC
// Where systems keep their state, and the operator's key.
//
// State root: --state DIR, else $CRENEL_STATE, else /var/lib/crenel (root), else $XDG_STATE_HOME/crenel, else
// ~/.local/state/crenel. Each system has a folder of its name in it; supervisor/folder.h lists its files.
// The operator's key pair lies in ROOT/SYSTEM/keys: operator.key (0600; 128 hex digits, libsodium's secret key) and operator.pub
// (64 hex digits).
#ifndef CRENEL_CLI_STATE_H
#define CRENEL_CLI_STATE_H

#include "core/status.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

// The state root; `option` is the value of --state or NULL. Not created. Errors are reported.
enum status state_root(const char *option, char root[PATH_MAX]) MUST_USE;

// The state folder of a system. `which`: a name, a folder with system.yaml, or NULL: the one system that runs.
// STATUS_ABSENT when there is none, STATUS_DENIED when this user may not look into it (reported).
enum status state_find(const char *option, const char *which, char folder[PATH_MAX]) MUST_USE;

// Makes folder (and its parents) and keys/ in it. Errors are reported.
enum status state_make(const char *folder) MUST_USE;

// Is a supervisor running on it (its lock is held)?
int state_is_running(const char *folder);

// The operator's key pair, generated at first use. public_path gets the path of operator.pub. Errors are reported.
enum status state_operator_key(const char *folder, uint8_t secret_key[64],
                               char public_path[PATH_MAX]) MUST_USE;

// Replaces folder/name durably: a new file, flushed, renamed over the old one. Errors are reported.
enum status state_write(const char *folder, const char *name, const void *bytes, size_t size,
                        unsigned mode) MUST_USE;

// Calls `each` for every system folder in root, until it returns non-zero; returns that.
int state_each(const char *root, int (*each)(const char *folder, const char *name, void *context),
               void *context);

#endif
