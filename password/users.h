// SPDX-License-Identifier: ISC
// The users of the password file, and the question whether one may enter.
#ifndef CRENEL_PASSWORD_USERS_H
#define CRENEL_PASSWORD_USERS_H

#include "core/status.h"
#include "core/system.h"
#include "proto/password.h"

#include <sys/stat.h>

struct user {
    char name[PASSWORD_USER_BYTES_MAX + 1];
    char hash[PASSWORD_HASH_BYTES];
};

struct users {
    int directory_fd;
    struct stat seen; // of the file as it was read
    unsigned count;
    struct user users[PASSWORD_USERS_MAX];
    char decoy[PASSWORD_HASH_BYTES]; // the hash that a user who is not there is measured against
};

// Makes the decoy and reads the file once. Takes directory_fd. STATUS_SYSTEM: no memory for a hash.
enum status users_init(struct users *users, int directory_fd) MUST_USE;

// Reads the file again if it has changed. A file that is missing, too large, writable by others or
// not valid leaves no user at all, and says so on standard error.
void users_refresh(struct users *users);

// Principal (index in system + 1) if name is a user with that password and a principal of the system, else 0.
// Takes the same time for every name.
uint16_t users_check(const struct users *users, const struct system_view *system,
                     const uint8_t *name, size_t name_bytes, const uint8_t *password,
                     size_t password_bytes);

#endif
