// SPDX-License-Identifier: ISC
// Opening a system by what a person calls it.
#include "cli/policy/policy_system.h"

#include "cli/report.h"
#include "cli/source/compile.h"
#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status read_whole(const char *path, uint8_t **bytes, size_t *size)
{
    struct stat stat_of;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? STATUS_ABSENT : STATUS_SYSTEM;
    enum status status = fstat(fd, &stat_of) == 0 ? STATUS_OK : STATUS_SYSTEM;
    if (status == STATUS_OK && (!S_ISREG(stat_of.st_mode) || stat_of.st_size > (off_t)SYSTEM_BYTES_MAX))
        status = STATUS_MALFORMED;
    uint8_t *read_bytes = status == STATUS_OK ? malloc((size_t)stat_of.st_size + 1) : NULL;
    if (read_bytes != NULL && read(fd, read_bytes, (size_t)stat_of.st_size) == stat_of.st_size) {
        *bytes = read_bytes;
        *size = (size_t)stat_of.st_size;
    } else {
        free(read_bytes);
        status = status == STATUS_OK ? STATUS_SYSTEM : status;
    }
    close(fd);
    return status;
}

static enum status graph_make(struct policy_system *system)
{
    system->graph = malloc(sizeof *system->graph);
    if (system->graph == NULL)
        return STATUS_SYSTEM;
    policy_graph_init(system->graph, &system->view);
    return STATUS_OK;
}

enum status policy_system_read(struct policy_system *system, const char *path)
{
    size_t size;
    const char *why;
    *system = (struct policy_system){0};
    enum status status = read_whole(path, &system->bytes, &size);
    if (status == STATUS_ABSENT)
        return status;
    if (status != STATUS_OK) {
        report_error(path, 0, "name a compiled system (system.bin)", "cannot be read: %s",
                     status == STATUS_SYSTEM ? strerror(errno) : "it is no compiled system");
        return status;
    }
    status = system_open(&system->view, system->bytes, size, &why);
    if (status != STATUS_OK) {
        report_error(path, 0, "compile its source again with this version of crenel", "it is not accepted: %s", why);
        return status;
    }
    snprintf(system->title, sizeof system->title, "%s", path);
    return graph_make(system);
}

static enum status open_source(struct policy_system *system, const char *which, const char *build_folder)
{
    char name[32], folder[48];
    if (build_folder == NULL) {
        if (system_name(which, name) != STATUS_OK)
            return STATUS_MALFORMED;
        snprintf(folder, sizeof folder, "build/%s", name);
        build_folder = folder;
    }
    system->compile = system->owned = malloc(sizeof *system->owned);
    if (system->owned == NULL)
        return STATUS_SYSTEM;
    enum status status = compile_open(system->owned, which, build_folder);
    if (status != STATUS_OK)
        return status;
    system->view = system->owned->view;
    snprintf(system->title, sizeof system->title, "%s", system->owned->file.path);
    return graph_make(system);
}

enum status policy_system_open(struct policy_system *system, const char *which, const char *build_folder,
                               const char *state)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    struct stat stat_of;
    *system = (struct policy_system){0};
    size_t length = strlen(which);
    int is_there = stat(which, &stat_of) == 0;
    if ((is_there && S_ISDIR(stat_of.st_mode)) || (length > 5 && strcmp(which + length - 5, ".yaml") == 0))
        return open_source(system, which, build_folder);
    if (is_there)
        return policy_system_read(system, which);
    enum status status = state_find(state, which, folder);
    if (status != STATUS_OK)
        return status;
    snprintf(path, sizeof path, "%s/system.bin", folder);
    status = policy_system_read(system, path);
    if (status == STATUS_ABSENT)
        report_error(path, 0, "`crenel up DIR` writes it", "nothing is installed there");
    return status;
}

void policy_system_close(struct policy_system *system)
{
    if (system->owned != NULL) {
        compile_close(system->owned);
        free(system->owned);
    }
    free(system->graph);
    free(system->bytes);
    *system = (struct policy_system){0};
}

int policy_flow_line(const struct policy_system *system, size_t flow)
{
    return system->compile != NULL ? system->compile->flow_nodes[flow]->line : 0;
}
