// SPDX-License-Identifier: ISC
// tmp, fsync, rename, fsync of the folder.
#include "host/durable_file.h"

#include "core/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return STATUS_SYSTEM;
        bytes += written;
        size -= (size_t)written;
    }
    return STATUS_OK;
}

static void close_keeping_errno(int fd)
{
    int kept = errno;
    close(fd);
    errno = kept;
}

static enum status flush_folder(int directory, const char *path)
{
    int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return STATUS_SYSTEM;
    enum status status = fsync(fd) != 0 ? STATUS_SYSTEM : STATUS_OK;
    close_keeping_errno(fd);
    return status;
}

// The folder part of path, "." when it has none.
static void folder_of(char folder[DURABLE_PATH_BYTES], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (length == 0)
        memcpy(folder, ".", 2);
}

static enum status create_folders(int directory, const char *path)
{
    char folder[DURABLE_PATH_BYTES], parent[DURABLE_PATH_BYTES];
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
        if (mkdirat(directory, folder, 0700) != 0) {
            if (errno != EEXIST)
                return STATUS_SYSTEM;
            continue;
        }
        folder_of(parent, folder);
        if (flush_folder(directory, parent) != STATUS_OK)
            return STATUS_SYSTEM;
    }
    return STATUS_OK;
}

enum status durable_write(int directory, const char *path, const void *bytes, size_t size,
                          mode_t mode)
{
    size_t length = strlen(path);
    check(length + sizeof ".tmp" <= DURABLE_PATH_BYTES && path[0] != '/');
    char temporary[DURABLE_PATH_BYTES], folder[DURABLE_PATH_BYTES];
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".tmp", sizeof ".tmp");
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(directory, temporary, flags, mode);
    if (fd < 0 && errno == ENOENT && create_folders(directory, path) == STATUS_OK)
        fd = openat(directory, temporary, flags, mode);
    if (fd < 0)
        return STATUS_SYSTEM;
    enum status status = write_all(fd, bytes, size);
    // The mode holds whatever the umask and an older .tmp say.
    if (status == STATUS_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        status = STATUS_SYSTEM;
    close_keeping_errno(fd);
    if (status != STATUS_OK)
        return status;
    if (renameat(directory, temporary, directory, path) != 0)
        return STATUS_SYSTEM;
    folder_of(folder, path);
    return flush_folder(directory, folder);
}

enum status durable_read(int directory, const char *path, void *bytes, size_t capacity,
                         size_t *size)
{
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? STATUS_ABSENT : STATUS_SYSTEM;
    size_t used = 0;
    enum status status = STATUS_OK;
    for (;;) {
        uint8_t probe; // is there more than fits?
        ssize_t got = used < capacity ? read(fd, (uint8_t *)bytes + used, capacity - used)
                                      : read(fd, &probe, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = STATUS_SYSTEM;
        else if (got > 0 && used == capacity)
            status = STATUS_TOO_LARGE;
        if (got <= 0 || status != STATUS_OK)
            break;
        used += (size_t)got;
    }
    close_keeping_errno(fd);
    if (status == STATUS_OK)
        *size = used;
    return status;
}
