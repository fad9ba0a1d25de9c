// SPDX-License-Identifier: ISC
// What is installed in the state folder.
#include "supervisor/installed.h"

#include "core/image.h"
#include "host/system_file.h"
#include "supervisor/folder.h"
#include "supervisor/report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_key(const char *path, uint8_t key[32])
{
    char text[80] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    size_t size = 0;
    if (got < 64 || sodium_hex2bin(key, 32, text, 64, NULL, &size, NULL) != 0 || size != 32) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

enum status installed_open(struct supervisor *s, const uint8_t *bytes, size_t size, struct system_view *view,
                           char why[512])
{
    const char *reason = "no key was given";
    uint8_t key[32];
    uint64_t floor = 0;
    enum status status = STATUS_SIGNATURE;
    for (int i = 0; i < s->key_count && status != STATUS_OK; i++) {
        if (read_key(s->keys[i], key) != 0) {
            snprintf(why, 512, "public key %.400s: %s", s->keys[i], strerror(errno));
            return STATUS_SYSTEM;
        }
        status = system_verify(bytes, size, key, &reason);
    }
    if (status == STATUS_OK)
        status = system_open(view, bytes, size, &reason);
    if (status == STATUS_OK && (status = folder_read_number(s->state_fd, "security_version", &floor)) != STATUS_OK)
        reason = "the file security_version beside it cannot be read";
    if (status == STATUS_OK && view->header->security_version < floor) {
        snprintf(why, 512, "its security_version %u is below %llu, which served here", view->header->security_version,
                 (unsigned long long)floor);
        return STATUS_DENIED;
    }
    if (status != STATUS_OK)
        snprintf(why, 512, "%s", reason);
    return status;
}

enum status installed_image(struct supervisor *s, const struct system_unikernel *unikernel, int *fd, char why[512])
{
    uint8_t *bytes = NULL, digest[32];
    size_t size = 0;
    char path[PATH_MAX + 80], hex[65];
    report_hex(unikernel->image_digest, sizeof unikernel->image_digest, hex);
    snprintf(path, sizeof path, "%s/images/%s", s->state_path, hex);
    enum status status = folder_seal_file(path, IMAGE_BYTES_MAX, fd, &bytes, &size);
    if (status != STATUS_OK) {
        snprintf(why, 512, "image of unikernel %s, %.300s: %s", unikernel->name, path,
                 status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
        return status;
    }
    crypto_hash_sha256(digest, bytes, size);
    free(bytes);
    if (sodium_memcmp(digest, unikernel->image_digest, sizeof digest) == 0)
        return STATUS_OK;
    snprintf(why, 512, "image of unikernel %s, %.300s: it is not the image that the system was signed with",
             unikernel->name, path);
    return STATUS_SIGNATURE;
}

static int is_used(const struct system_view *system, const char *name)
{
    char hex[65];
    for (size_t i = 0; i < system->unikernel_count; i++) {
        report_hex(system->unikernels[i].image_digest, sizeof system->unikernels[i].image_digest, hex);
        if (strcmp(hex, name) == 0)
            return 1;
    }
    return 0;
}

void installed_remove_images(struct supervisor *s)
{
    int fd = openat(s->state_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && !is_used(&s->system, entry->d_name))
            (void)unlinkat(fd, entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    else if (fd >= 0)
        close(fd);
}
