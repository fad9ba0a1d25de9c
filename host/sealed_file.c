// SPDX-License-Identifier: ISC
// Sealing and mapping.
#include "host/sealed_file.h"

#include "core/mechanism.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

enum status sealed_file(const uint8_t *bytes, size_t size, int *memfd)
{
    int fd = memfd_create("crenel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return STATUS_SYSTEM;
    for (size_t at = 0; at < size;) {
        ssize_t wrote = write(fd, bytes + at, size - at);
        if (wrote <= 0) {
            close(fd);
            return STATUS_SYSTEM;
        }
        at += (size_t)wrote;
    }
    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        close(fd);
        return STATUS_SYSTEM;
    }
    *memfd = fd;
    return STATUS_OK;
}

enum status sealed_file_map(int fd, size_t size_max, const uint8_t **bytes, size_t *size)
{
    struct stat stat;
    int seals = fcntl(fd, F_GET_SEALS);
    if (MECHANISM(IMAGE_SEALED) && (seals < 0 || (seals & SEALS) != SEALS))
        return STATUS_DENIED;
    if (fstat(fd, &stat) != 0)
        return STATUS_SYSTEM;
    if (stat.st_size <= 0 || (uint64_t)stat.st_size > size_max)
        return STATUS_TOO_LARGE;
    void *mapped = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
        return STATUS_SYSTEM;
    *bytes = mapped;
    *size = (size_t)stat.st_size;
    return STATUS_OK;
}
