// SPDX-License-Identifier: ISC
// The password file in memory. One attempt costs exactly one argon2id, whoever is named.
#include "password/users.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(PASSWORD_HASH_BYTES == crypto_pwhash_STRBYTES, "hash");

static int is_name(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_' && c != '.')
            return 0;
    }
    return size >= 1 && size <= PASSWORD_USER_BYTES_MAX;
}

static int line_read(struct users *users, const char *line, size_t size)
{
    if (size == 0 || line[0] == '#')
        return 1;
    const char *colon = memchr(line, ':', size);
    if (colon == NULL || users->count == PASSWORD_USERS_MAX)
        return 0;
    size_t name_bytes = (size_t)(colon - line), hash_bytes = size - name_bytes - 1;
    if (!is_name(line, name_bytes) || hash_bytes >= PASSWORD_HASH_BYTES ||
        memchr(colon + 1, 0, hash_bytes) != NULL)
        return 0;
    struct user *user = &users->users[users->count];
    memset(user, 0, sizeof *user);
    memcpy(user->name, line, name_bytes);
    memcpy(user->hash, colon + 1, hash_bytes);
    for (unsigned i = 0; i < users->count; i++)
        if (strcmp(users->users[i].name, user->name) == 0)
            return 0;
    // -1: no argon2 string at all; 1: made with another cost, which is the file's choice.
    if (crypto_pwhash_str_needs_rehash(user->hash, PASSWORD_HASH_PASSES,
                                       PASSWORD_HASH_MEMORY_BYTES) < 0)
        return 0;
    users->count++;
    return 1;
}

static const char *file_read(struct users *users, int fd, const struct stat *stat)
{
    static char text[PASSWORD_FILE_BYTES];
    static char why[64];
    if (!S_ISREG(stat->st_mode))
        return "it is no file";
    if ((stat->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return "others than its owner may write it";
    size_t size = 0;
    ssize_t got;
    while (size < sizeof text && (got = read(fd, text + size, sizeof text - size)) > 0)
        size += (size_t)got;
    if (size == sizeof text)
        return "it is too large";
    unsigned line = 1;
    for (size_t at = 0; at < size; line++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - (text + at));
        if (!line_read(users, text + at, length)) {
            snprintf(why, sizeof why, "line %u is not NAME:HASH of a new user", line);
            return why;
        }
        at += length + 1;
    }
    return NULL;
}

void users_refresh(struct users *users)
{
    struct stat stat = {0};
    int fd = openat(users->directory_fd, PASSWORD_FILE_NAME,
                    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_ino == users->seen.st_ino &&
        stat.st_size == users->seen.st_size && stat.st_mode == users->seen.st_mode &&
        stat.st_mtim.tv_sec == users->seen.st_mtim.tv_sec &&
        stat.st_mtim.tv_nsec == users->seen.st_mtim.tv_nsec) {
        close(fd);
        return;
    }
    users->count = 0;
    users->seen = stat;
    const char *why = fd < 0 ? "it cannot be opened" : file_read(users, fd, &stat);
    if (why != NULL) {
        users->count = 0;
        fprintf(stderr, "crenel-password: the password file: %s; nobody may enter\n", why);
    }
    if (fd >= 0)
        close(fd);
}

enum status users_init(struct users *users, int directory_fd)
{
    memset(users, 0, sizeof *users);
    users->directory_fd = directory_fd;
    char nobody[16];
    randombytes_buf(nobody, sizeof nobody);
    if (crypto_pwhash_str(users->decoy, nobody, sizeof nobody, PASSWORD_HASH_PASSES,
                          PASSWORD_HASH_MEMORY_BYTES) != 0)
        return STATUS_SYSTEM;
    sodium_memzero(nobody, sizeof nobody);
    users_refresh(users);
    return STATUS_OK;
}

static uint16_t principal_of(const struct system_view *system, const char *name)
{
    for (size_t i = 0; i < system->principal_count; i++)
        if (strcmp(system->principals[i].name, name) == 0)
            return (uint16_t)(i + 1);
    return 0;
}

uint16_t users_check(const struct users *users, const struct system_view *system,
                     const uint8_t *name, size_t name_bytes, const uint8_t *password,
                     size_t password_bytes)
{
    char wanted[PASSWORD_USER_BYTES_MAX + 1] = {0};
    if (name_bytes > PASSWORD_USER_BYTES_MAX || password_bytes > PASSWORD_BYTES_MAX)
        return 0;
    memcpy(wanted, name, name_bytes);
    const struct user *user = NULL;
    for (unsigned i = 0; i < users->count; i++)
        if (sodium_memcmp(users->users[i].name, wanted, sizeof wanted) == 0)
            user = &users->users[i];
    const char *hash = user != NULL ? user->hash : users->decoy;
    int is_right = crypto_pwhash_str_verify(hash, (const char *)password, password_bytes) == 0;
    uint16_t principal = principal_of(system, wanted);
    return is_right && user != NULL ? principal : 0;
}
