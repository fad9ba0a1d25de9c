// SPDX-License-Identifier: ISC
// Files of the state folder.
#include "supervisor/folder.h"

#include "host/sealed_file.h"
#include "host/users.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum status folder_make(int folder_fd, const char *name, uid_t uid)
{
    if (mkdirat(folder_fd, name, 0700) != 0 && errno != EEXIST)
        return STATUS_SYSTEM;
    if (uid != (uid_t)-1 && fchownat(folder_fd, name, uid, (gid_t)uid, AT_SYMLINK_NOFOLLOW) != 0)
        return STATUS_SYSTEM;
    return STATUS_OK;
}

enum status folder_read_number(int folder_fd, const char *name, uint64_t *value)
{
    char text[32] = "";
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *value = 0;
        return STATUS_OK;
    }
    if (fd < 0)
        return STATUS_SYSTEM;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (got <= 0 || errno != 0 || end == text || *end != '\n') {
        errno = EINVAL;
        return STATUS_MALFORMED;
    }
    *value = number;
    return STATUS_OK;
}

enum status folder_write_number(int folder_fd, const char *name, uint64_t value)
{
    char temporary[80], text[32];
    snprintf(temporary, sizeof temporary, "%.60s.new", name);
    int length = snprintf(text, sizeof text, "%llu\n", (unsigned long long)value);
    int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return STATUS_SYSTEM;
    int is_written = write(fd, text, (size_t)length) == length && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (is_written && renameat(folder_fd, temporary, folder_fd, name) == 0 && fsync(folder_fd) == 0)
        return STATUS_OK;
    errno = is_written ? errno : error;
    return STATUS_SYSTEM;
}

static int is_taken(int root_fd, ino_t own, uint64_t base)
{
    int copy = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
    if (directory == NULL)
        return 0;
    int taken = 0;
    struct dirent *entry;
    while (!taken && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || entry->d_ino == own)
            continue;
        int fd = openat(root_fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        uint64_t value = 0;
        if (fd >= 0 && folder_read_number(fd, "user_base", &value) == STATUS_OK)
            taken = value == base;
        if (fd >= 0)
            close(fd);
    }
    closedir(directory);
    return taken;
}

enum status folder_user_base(int folder_fd, const char *system, uid_t *base)
{
    uint64_t value;
    enum status status = folder_read_number(folder_fd, "user_base", &value);
    if (status != STATUS_OK)
        return status;
    uint32_t slot = 2166136261u; // FNV-1a of the name: where the search begins
    for (const char *at = system; *at != 0; at++)
        slot = (slot ^ (uint8_t)*at) * 16777619u;
    struct stat own;
    int root_fd = openat(folder_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 || fstat(folder_fd, &own) != 0)
        return STATUS_SYSTEM;
    (void)flock(root_fd, LOCK_EX); // two systems that start at once
    for (uint32_t tried = 0; value == 0 && tried < USERS_SLOTS; tried++) {
        uint64_t candidate = USERS_FIRST + (uint64_t)((slot + tried) % USERS_SLOTS) * USERS_PER_SYSTEM;
        if (!is_taken(root_fd, own.st_ino, candidate)) {
            value = candidate;
            status = folder_write_number(folder_fd, "user_base", value);
        }
    }
    close(root_fd);
    if (status != STATUS_OK)
        return status;
    if (value < USERS_FIRST || value >= USERS_FIRST + USERS_SLOTS * USERS_PER_SYSTEM)
        return STATUS_MALFORMED;
    *base = (uid_t)value;
    return STATUS_OK;
}

enum status folder_open_log(int folder_fd, const char *name, uid_t uid, int *fd)
{
    int opened = openat(folder_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (opened < 0)
        return STATUS_SYSTEM;
    if (uid != (uid_t)-1)
        (void)!fchown(opened, uid, (gid_t)uid);
    *fd = opened;
    return STATUS_OK;
}

int folder_log_is_large(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 && stat.st_size > LOG_BYTES_MAX;
}

enum status folder_rotate_log(int folder_fd, const char *name)
{
    char old[80];
    snprintf(old, sizeof old, "%.70s.1", name);
    return renameat(folder_fd, name, folder_fd, old) == 0 || errno == ENOENT ? STATUS_OK : STATUS_SYSTEM;
}

enum status folder_empty_log(int folder_fd, const char *name)
{
    char old[80], bytes[65536];
    snprintf(old, sizeof old, "%.70s.1", name);
    int from = openat(folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int to = openat(folder_fd, old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t got = from < 0 || to < 0 ? -1 : 1;
    while (got > 0 && (got = read(from, bytes, sizeof bytes)) > 0)
        if (write(to, bytes, (size_t)got) != got)
            got = 0; // a full disk: what did not fit is given up, the log must not grow for ever
    enum status status = got == 0 && ftruncate(from, 0) == 0 ? STATUS_OK : STATUS_SYSTEM;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return status;
}

static enum status read_all(int fd, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, bytes + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? STATUS_SYSTEM : STATUS_TRUNCATED;
        at += (size_t)got;
    }
    return STATUS_OK;
}

enum status folder_seal_file(const char *path, size_t size_max, int *memfd, uint8_t **bytes, size_t *size)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return STATUS_SYSTEM;
    enum status status = STATUS_SYSTEM;
    uint8_t *read = NULL;
    if (fstat(fd, &stat) != 0)
        goto out;
    status = STATUS_MALFORMED;
    if (!S_ISREG(stat.st_mode) || stat.st_size == 0)
        goto out;
    status = STATUS_TOO_LARGE;
    if ((uint64_t)stat.st_size > size_max)
        goto out;
    status = STATUS_SYSTEM;
    read = malloc((size_t)stat.st_size);
    if (read == NULL)
        goto out;
    status = read_all(fd, read, (size_t)stat.st_size);
    if (status == STATUS_OK)
        status = sealed_file(read, (size_t)stat.st_size, memfd);
    if (status == STATUS_OK) {
        *bytes = read;
        *size = (size_t)stat.st_size;
        read = NULL;
    }
out:
    free(read);
    close(fd);
    return status;
}
