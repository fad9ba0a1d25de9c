// SPDX-License-Identifier: ISC
// Asking a supervisor over its control socket (proto/control.h).
#ifndef CRENEL_CLI_CLIENT_H
#define CRENEL_CLI_CLIENT_H

#include "core/status.h"

#include <cjson/cJSON.h>

// Sends the request (an object with "op") to the system whose state lies in folder. On STATUS_OK *reply is the
// answer (caller deletes) and *fd a descriptor that came with it, or -1 (fd may be NULL: closed). *connection
// (may be NULL) stays open, its end of file tells that the supervisor has ended. Errors, those that the
// supervisor answers among them, are reported; STATUS_ABSENT: it does not run, STATUS_DENIED.
enum status client_request(const char *folder, const cJSON *request, cJSON **reply, int *fd,
                           int *connection) MUST_USE;

// The same for {"op": op} with one text member (name may be NULL).
enum status client_ask(const char *folder, const char *op, const char *name, const char *value,
                       cJSON **reply, int *fd, int *connection) MUST_USE;

// Exit code of a command that ends with that status.
int client_exit_code(enum status status);

#endif
