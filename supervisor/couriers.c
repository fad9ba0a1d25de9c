// SPDX-License-Identifier: ISC
// What couriers and services that seal need of the operator: keys and certificates, and a courier a port to listen on.
//
// The files are looked at before anything starts, so that what is missing is said at once, and read for each start of the
// courier, so that a renewed certificate needs no more than `crenel restart courier:NAME`. The courier gets sealed copies.
#include "supervisor/supervisor.h"

#include "supervisor/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_BYTES_MAX (64u * 1024u)

struct file {
    const char *what, *path;
    enum control_what attachment;
};

#define FILES_MAX 7
// Returns how many there are.
static int files_of(const struct system_courier *courier, struct file files[FILES_MAX])
{
    files[0] = (struct file){"certificate", courier->certificate, CONTROL_CERTIFICATE};
    files[1] = (struct file){"key", courier->key, CONTROL_KEY};
    files[2] = (struct file){"authority", courier->authority, CONTROL_AUTHORITY};
    files[3] = (struct file){"password", courier->password, CONTROL_PASSWORD};
    int count = courier->password[0] != 0 ? 4 : 3;
    if (courier->broker_authority[0] != 0)
        files[count++] = (struct file){"broker authority", courier->broker_authority, CONTROL_BROKER_AUTHORITY};
    if (courier->is_named)
        files[count++] = (struct file){"name", "/etc/hosts", CONTROL_HOSTS};
    if (courier->is_named && courier->resolver[0] == 0)
        files[count++] = (struct file){"name server", "/etc/resolv.conf", CONTROL_SERVERS};
    return count;
}

static enum status seal(const struct file *file, int *fd)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum status status = folder_seal_file(file->path, PEM_BYTES_MAX, fd, &bytes, &size);
    if (status == STATUS_OK && bytes != NULL)
        explicit_bzero(bytes, size); // it may be the key
    free(bytes);
    if (status == STATUS_OK && lseek(*fd, 0, SEEK_SET) != 0)
        return STATUS_SYSTEM;
    return status;
}

// Others may not read a key.
static enum status check_mode(struct supervisor *s, const char *what, const char *name, const char *path)
{
    struct stat key;
    if (stat(path, &key) == 0 && (key.st_mode & 077) == 0)
        return STATUS_OK;
    fail(s, "chmod 600 it; if others may have read it, make a new one", "%s %s: others may read its secret file %s", what, name, path);
    return STATUS_DENIED;
}

enum status key_open(struct supervisor *s, struct member *m)
{
    const struct system_service *service = &s->system.services[m->index];
    struct file file = {"key", service->path, CONTROL_KEY};
    int fd = -1;
    enum status status = seal(&file, &fd);
    if (fd >= 0)
        close(fd);
    if (status == STATUS_OK)
        return check_mode(s, "service", service->name, service->path);
    fail(s, "make it with `crenel key new FILE`, and give it to the other end", "service %s: key file %s: %s", service->name,
         service->path, status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
    return status;
}

static void give(struct member *m, const struct file *file)
{
    int fd = -1;
    if (seal(file, &fd) == STATUS_OK)
        member_give(m, file->attachment, m->index, 0, fd);
    else // it says that it lacks it, and is started again
        fprintf(stderr, "crenel-supervisor: %s: %s file %s: %s\n", m->name, file->what, file->path, strerror(errno));
}

void key_give(struct member *m)
{
    const struct file file = {"key", m->supervisor->system.services[m->index].path, CONTROL_KEY};
    give(m, &file);
}

enum status courier_open(struct supervisor *s, struct member *m)
{
    const struct system_courier *courier = &s->system.couriers[m->index];
    struct file files[FILES_MAX];
    int count = files_of(courier, files);
    for (int i = 0; i < count; i++) {
        int fd = -1;
        enum status status = seal(&files[i], &fd);
        if (fd >= 0)
            close(fd);
        if (status != STATUS_OK) {
            fail(s, files[i].attachment < CONTROL_SERVERS ? "docs/nodes.md shows how to make it" : "or write an address for the name",
                 "courier %s: %s file %s: %s", courier->name,
                 files[i].what, files[i].path, status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
            return status;
        }
    }
    enum status status = check_mode(s, "courier", courier->name, courier->key);
    if (status == STATUS_OK && courier->password[0] != 0)
        status = check_mode(s, "courier", courier->name, courier->password);
    if (status != STATUS_OK || !courier->is_listening || courier->transport != SYSTEM_TLS)
        return status;
    status = resources_listener(s, courier->address, &m->resource_fd);
    if (status != STATUS_OK)
        fail(s, errno == EADDRINUSE ? "stop the program that listens there (ss -ltnp), or change `listen` of the courier"
                : errno == EACCES   ? "take a port above 1023, or run as root"
                                    : NULL,
             "courier %s: cannot listen on %s: %s", courier->name, courier->address, strerror(errno));
    return status;
}

void courier_give_files(struct member *m)
{
    struct file files[FILES_MAX];
    int count = files_of(&m->supervisor->system.couriers[m->index], files);
    for (int i = 0; i < count; i++)
        give(m, &files[i]);
}
