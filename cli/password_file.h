// SPDX-License-Identifier: ISC
// Writing the password file (proto/password.h).
#ifndef CRENEL_CLI_PASSWORD_FILE_H
#define CRENEL_CLI_PASSWORD_FILE_H

#include "core/status.h"

#include <stddef.h>

// 1 if and only if the text can stand as a user in the file.
int password_user_is_valid(const char *user);

// Hashes the password and replaces the user's line, or adds one; all other lines stay as they are. The file is
// created if need be, replaced whole, mode 0600. Errors are reported.
enum status password_file_set(const char *path, const char *user, const char *password,
                              size_t password_bytes) MUST_USE;

#endif
