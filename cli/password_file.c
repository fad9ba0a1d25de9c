// SPDX-License-Identifier: ISC
// Writing the password file.
#include "cli/password_file.h"

#include "cli/report.h"
#include "cli/state.h"
#include "host/durable_file.h"
#include "proto/password.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

int password_user_is_valid(const char *user)
{
    size_t length = strlen(user);
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    return length >= 1 && length <= PASSWORD_USER_BYTES_MAX && strspn(user, allowed) == length;
}

// Copies every line of another user; returns the new size.
static size_t copy_others(const char *text, size_t size, const char *user, char *out)
{
    size_t written = 0, user_bytes = strlen(user);
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        int is_user = length > user_bytes && text[at + user_bytes] == ':' &&
                      memcmp(text + at, user, user_bytes) == 0;
        if (!is_user) {
            memcpy(out + written, text + at, length);
            written += length;
            out[written++] = '\n';
        }
        at += length + 1;
    }
    return written;
}

enum status password_file_set(const char *path, const char *user, const char *password,
                              size_t password_bytes)
{
    static char old[PASSWORD_FILE_BYTES], new[2 * PASSWORD_FILE_BYTES];
    char hash[PASSWORD_HASH_BYTES], folder[PATH_MAX] = ".";
    size_t size = 0;
    const char *name = strrchr(path, '/');
    if (name != NULL)
        snprintf(folder, sizeof folder, "%.*s", name == path ? 1 : (int)(name - path), path);
    name = name != NULL ? name + 1 : path;
    enum status status = durable_read(AT_FDCWD, path, old, sizeof old, &size);
    if (status != STATUS_OK && status != STATUS_ABSENT) {
        report_error(path, 0, "give a password file that this user may read", "cannot read it: %s",
                     status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
        return status;
    }
    if (crypto_pwhash_str(hash, password, password_bytes, PASSWORD_HASH_PASSES,
                          PASSWORD_HASH_MEMORY_BYTES) != 0) {
        report_error(NULL, 0, "free some memory", "no memory to hash the password");
        return STATUS_SYSTEM;
    }
    size = copy_others(old, size, user, new);
    size += (size_t)snprintf(new + size, sizeof new - size, "%s:%s\n", user, hash);
    if (size > sizeof old - 1) {
        report_error(path, 0, "remove users that are gone", "the file would be over %u bytes",
                     PASSWORD_FILE_BYTES - 1);
        return STATUS_TOO_LARGE;
    }
    return state_write(folder, name, new, size, 0600);
}
