// SPDX-License-Identifier: ISC
// Finding controllers, making groups, setting limits, taking it all away again.
#include "host/cgroup.h"

#include "host/kernel_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CGROUP_FOLDER "crenel"
#define CPU_PERIOD_US 100000u
#define CPU_QUOTA_MIN_US 1000u // the kernel's own minimum

static const char *const names[CGROUP_CONTROLLERS] = {"memory", "cpu", "pids"};
// The file that proves that a controller works in a group, by version.
static const char *const knobs[CGROUP_CONTROLLERS][2] = {
    {"memory.limit_in_bytes", "memory.max"},
    {"cpu.cfs_quota_us", "cpu.max"},
    {"pids.max", "pids.max"},
};

const char *cgroup_controller_name(enum cgroup_controller controller) { return names[controller]; }

__attribute__((format(printf, 2, 3))) static int make_path(char path[CGROUP_PATH_BYTES],
                                                           const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(path, CGROUP_PATH_BYTES, format, list);
    va_end(list);
    if (length >= 0 && (size_t)length < CGROUP_PATH_BYTES)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

__attribute__((format(printf, 3, 4))) static int write_value(const char *folder, const char *file,
                                                             const char *format, ...)
{
    char path[CGROUP_PATH_BYTES], text[64];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (make_path(path, "%s/%s", folder, file) != 0)
        return -1;
    return kernel_file_write(path, text);
}

static int has_word(const char *list, const char *word, const char *separators)
{
    size_t length = strlen(word);
    for (const char *at = list; *at != 0;) {
        size_t span = strcspn(at, separators);
        if (span == length && memcmp(at, word, length) == 0)
            return 1;
        at += span + (at[span] != 0);
    }
    return 0;
}

static int file_has_word(const char *folder, const char *file, const char *word)
{
    char path[CGROUP_PATH_BYTES], line[512] = "";
    if (make_path(path, "%s/%s", folder, file) != 0)
        return 0;
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return 0;
    (void)!fgets(line, sizeof line, stream);
    fclose(stream);
    return has_word(line, word, " \n");
}

// Our own group on the hierarchy that carries `controller` (version 2: the line that begins "0::").
static void own_group(const char *own, const char *controller, int version,
                      char path[CGROUP_PATH_BYTES])
{
    path[0] = 0;
    FILE *file = fopen(own, "re");
    if (file == NULL)
        return;
    char line[CGROUP_PATH_BYTES + 128];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':');
        char *group = list != NULL ? strchr(list + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *list++ = 0;
        *group++ = 0;
        int is_it = version == 2 ? strcmp(line, "0") == 0 && *list == 0
                                 : has_word(list, controller, ",");
        if (is_it && strcmp(group, "/") != 0 && strstr(group, "..") == NULL)
            (void)make_path(path, "%s", group);
    }
    fclose(file);
}

// Makes a group below base and looks whether the controller's file can be written there.
static void try_out(struct cgroup_mount *mount, enum cgroup_controller controller)
{
    char path[CGROUP_PATH_BYTES], knob[CGROUP_PATH_BYTES];
    if (mount->version == 2) {
        // Enabling it in children can fail only when it is really done; it needs a writable file.
        mount->is_usable = make_path(knob, "%s/cgroup.subtree_control", mount->base) == 0 &&
                           faccessat(AT_FDCWD, knob, W_OK, AT_EACCESS) == 0 &&
                           faccessat(AT_FDCWD, mount->base, W_OK, AT_EACCESS) == 0;
    } else if (make_path(path, "%s/%s-probe-%d", mount->base, CGROUP_FOLDER, (int)getpid()) == 0 &&
               mkdir(path, 0755) == 0) {
        mount->is_usable = make_path(knob, "%s/%s", path, knobs[controller][0]) == 0 &&
                           faccessat(AT_FDCWD, knob, W_OK, AT_EACCESS) == 0;
        rmdir(path);
    }
    if (!mount->is_usable)
        snprintf(mount->why, sizeof mount->why, "no write access below %.100s: %s", mount->base,
                 strerror(errno));
}

static void find_base(struct cgroup_mount *mount, enum cgroup_controller controller,
                      const char *mount_point, const char *own)
{
    char group[CGROUP_PATH_BYTES];
    (void)make_path(mount->base, "%s", mount_point);
    try_out(mount, controller);
    own_group(own, names[controller], mount->version, group);
    if (mount->is_usable || group[0] == 0 || make_path(mount->base, "%s%s", mount_point, group) != 0)
        return;
    mount->why[0] = 0;
    if (mount->version == 2 && !file_has_word(mount->base, "cgroup.controllers", names[controller]))
        snprintf(mount->why, sizeof mount->why, "not delegated to our cgroup %.100s", group);
    else
        try_out(mount, controller);
}

static void look_at_mount(struct cgroup_host *host, const char *mount_point, int version,
                          const char *options, const char *own)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        struct cgroup_mount *mount = &host->controllers[i];
        int is_here = version == 1 ? has_word(options, names[i], ",")
                                   : file_has_word(mount_point, "cgroup.controllers", names[i]);
        if (!is_here || mount->version != 0)
            continue;
        mount->version = version;
        find_base(mount, (enum cgroup_controller)i, mount_point, own);
    }
}

void cgroup_probe(struct cgroup_host *host, const char *mountinfo, const char *own)
{
    memset(host, 0, sizeof *host);
    FILE *file = fopen(mountinfo, "re");
    char line[2048];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        // ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS] - TYPE SOURCE SUPER_OPTIONS
        char mount_point[CGROUP_PATH_BYTES], type[32], options[256];
        char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*s %*s %*s %*s %383s", mount_point) != 1 ||
            sscanf(rest, " - %31s %*s %255s", type, options) != 2)
            continue;
        if (strcmp(type, "cgroup") == 0)
            look_at_mount(host, mount_point, 1, options, own);
        else if (strcmp(type, "cgroup2") == 0)
            look_at_mount(host, mount_point, 2, options, own);
    }
    if (file != NULL)
        fclose(file);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (host->controllers[i].version == 0)
            snprintf(host->controllers[i].why, sizeof host->controllers[i].why,
                     "no cgroup mount carries it");
}

static int make_folder(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

// Version 2: a controller is usable in a group only when every ancestor passes it down, and a group that
// passes controllers down may hold no process. Our own (delegated) group holds us: step into a leaf.
static int pass_down(const char *folder, const char *controller)
{
    if (file_has_word(folder, "cgroup.subtree_control", controller))
        return 0;
    if (write_value(folder, "cgroup.subtree_control", "+%s", controller) == 0)
        return 0;
    char leaf[CGROUP_PATH_BYTES];
    if (errno != EBUSY || make_path(leaf, "%s/%s-supervisor", folder, CGROUP_FOLDER) != 0 ||
        make_folder(leaf) != 0 || write_value(leaf, "cgroup.procs", "%d", (int)getpid()) != 0)
        return -1;
    return write_value(folder, "cgroup.subtree_control", "+%s", controller);
}

static int set_limit(const char *folder, enum cgroup_controller controller, int version,
                     const struct cgroup_limits *limits)
{
    uint64_t quota = (uint64_t)limits->cpu_percent * CPU_PERIOD_US / 100;
    if (quota < CPU_QUOTA_MIN_US)
        quota = CPU_QUOTA_MIN_US;
    unsigned long long memory = limits->memory_bytes;
    switch (controller) {
    case CGROUP_MEMORY:
        if (version == 2) {
            (void)write_value(folder, "memory.swap.max", "0"); // absent without swap accounting
            (void)write_value(folder, "memory.oom.group", "0");
            return write_value(folder, knobs[controller][1], "%llu", memory);
        }
        if (write_value(folder, knobs[controller][0], "%llu", memory) != 0)
            return -1;
        (void)write_value(folder, "memory.memsw.limit_in_bytes", "%llu", memory);
        return 0;
    case CGROUP_CPU:
        if (version == 2)
            return write_value(folder, knobs[controller][1], "%llu %u", (unsigned long long)quota,
                               CPU_PERIOD_US);
        if (write_value(folder, "cpu.cfs_period_us", "%u", CPU_PERIOD_US) != 0)
            return -1;
        return write_value(folder, knobs[controller][0], "%llu", (unsigned long long)quota);
    case CGROUP_PIDS:
        return write_value(folder, knobs[controller][0], "%u", limits->pids_max);
    case CGROUP_CONTROLLERS:
        break;
    }
    errno = EINVAL;
    return -1;
}

static int create_once(const struct cgroup_mount *mount, enum cgroup_controller controller,
                       const char *system, const char *unikernel, char path[CGROUP_PATH_BYTES])
{
    const char *const levels[] = {CGROUP_FOLDER, system, unikernel};
    if (make_path(path, "%s", mount->base) != 0)
        return -1;
    for (size_t i = 0; i < 3; i++) {
        char below[CGROUP_PATH_BYTES];
        if (mount->version == 2 && pass_down(path, names[controller]) != 0)
            return -1;
        if (make_path(below, "%s/%s", path, levels[i]) != 0 || make_folder(below) != 0)
            return -1;
        memcpy(path, below, sizeof below);
    }
    return 0;
}

// Another system that ends may remove the empty folder that all share between our two mkdirs: once more.
static int create_on(const struct cgroup_mount *mount, enum cgroup_controller controller,
                     const char *system, const char *unikernel, char path[CGROUP_PATH_BYTES])
{
    for (int tries = 3; tries > 0; tries--) {
        if (create_once(mount, controller, system, unikernel, path) == 0)
            return 0;
        if (errno != ENOENT)
            break;
    }
    return -1;
}

static int remember(struct cgroup *cgroup, const char *path)
{
    for (size_t i = 0; i < cgroup->count; i++)
        if (strcmp(cgroup->paths[i], path) == 0)
            return 0;
    char procs[CGROUP_PATH_BYTES];
    if (make_path(procs, "%s/cgroup.procs", path) != 0)
        return -1;
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    memcpy(cgroup->paths[cgroup->count], path, CGROUP_PATH_BYTES);
    cgroup->procs_fds[cgroup->count++] = fd;
    return 0;
}

enum status cgroup_create(struct cgroup *cgroup, const struct cgroup_host *host, const char *system,
                          const char *unikernel, const struct cgroup_limits *limits,
                          const char **why)
{
    static char text[CGROUP_PATH_BYTES + 96];
    cgroup->count = 0;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        const struct cgroup_mount *mount = &host->controllers[i];
        char path[CGROUP_PATH_BYTES];
        if (!mount->is_usable)
            continue;
        if (create_on(mount, (enum cgroup_controller)i, system, unikernel, path) != 0 ||
            set_limit(path, (enum cgroup_controller)i, mount->version, limits) != 0 ||
            remember(cgroup, path) != 0) {
            int error = errno;
            snprintf(text, sizeof text, "%s limit at %.300s: %s", names[i], path, strerror(error));
            *why = text;
            cgroup_close(cgroup);
            errno = error;
            return STATUS_SYSTEM;
        }
    }
    return STATUS_OK;
}

void cgroup_close(struct cgroup *cgroup)
{
    for (size_t i = 0; i < cgroup->count; i++)
        close(cgroup->procs_fds[i]);
    cgroup->count = 0;
}

static void kill_all(const char *folder)
{
    char path[CGROUP_PATH_BYTES], line[32];
    if (make_path(path, "%s/cgroup.procs", folder) != 0)
        return;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        long pid = strtol(line, NULL, 10);
        if (pid > 1)
            (void)kill((pid_t)pid, SIGKILL);
    }
    if (file != NULL)
        fclose(file);
}

// 0: the folder and what was below it are gone.
static int remove_tree(const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return errno == ENOENT ? 0 : -1;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char below[CGROUP_PATH_BYTES];
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
            make_path(below, "%s/%s", folder, entry->d_name) == 0)
            (void)remove_tree(below);
    }
    closedir(directory);
    kill_all(folder);
    return rmdir(folder) == 0 || errno == ENOENT ? 0 : -1;
}

enum status cgroup_remove_system(const struct cgroup_host *host, const char *system, int wait_ms)
{
    for (int waited = 0;; waited += 10) {
        int left = 0;
        for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
            char path[CGROUP_PATH_BYTES], parent[CGROUP_PATH_BYTES];
            if (!host->controllers[i].is_usable ||
                make_path(parent, "%s/%s", host->controllers[i].base, CGROUP_FOLDER) != 0 ||
                make_path(path, "%s/%s", parent, system) != 0)
                continue;
            left |= remove_tree(path) != 0;
            (void)rmdir(parent); // stays while another system has groups in it
        }
        if (!left)
            return STATUS_OK;
        if (waited >= wait_ms) {
            errno = EBUSY;
            return STATUS_SYSTEM;
        }
        nanosleep(&(struct timespec){0, 10 * 1000 * 1000}, NULL);
    }
}
