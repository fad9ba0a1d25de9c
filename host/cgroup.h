// SPDX-License-Identifier: ISC
// Control groups: one per unikernel, with limits of memory, CPU and processes.
//
// Versions 1, 2 and mixtures of both: each controller is found on its own mount. Where we may not
// write at the top of a mount, our own cgroup is taken instead (delegation, for rootless use). The group of a
// unikernel is <mount>/crenel/<system>/<unikernel> on each mount that carries one of its controllers.
#ifndef CRENEL_HOST_CGROUP_H
#define CRENEL_HOST_CGROUP_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_PATH_BYTES 384u

enum cgroup_controller { CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_CONTROLLERS };

struct cgroup_host { // what this host gives us
    struct cgroup_mount {
        char base[CGROUP_PATH_BYTES]; // where crenel/ is made; empty: controller not mounted
        int version;                  // 1 or 2; 0: not mounted
        int is_usable;
        char why[160]; // when it is not usable: what is missing
    } controllers[CGROUP_CONTROLLERS];
};

struct cgroup { // of one unikernel
    char paths[CGROUP_CONTROLLERS][CGROUP_PATH_BYTES]; // distinct folders
    int procs_fds[CGROUP_CONTROLLERS];                 // their cgroup.procs, for spawn
    size_t count;
};

struct cgroup_limits {
    uint64_t memory_bytes;
    uint32_t cpu_percent; // of one CPU
    uint32_t pids_max;
};

const char *cgroup_controller_name(enum cgroup_controller controller);

// Reads the mounts of this process (`mountinfo`, `own`: /proc/self/mountinfo and /proc/self/cgroup; tests hand others) and tries
// each controller out by making and removing a group.
void cgroup_probe(struct cgroup_host *host, const char *mountinfo, const char *own);

// Makes the group with every usable controller and sets its limits. *why says what failed.
enum status cgroup_create(struct cgroup *cgroup, const struct cgroup_host *host, const char *system,
                          const char *unikernel, const struct cgroup_limits *limits,
                          const char **why) MUST_USE;
void cgroup_close(struct cgroup *cgroup); // closes procs_fds

// Kills what is left in the system's groups and removes them, waiting at most wait_ms for the dead to go.
enum status cgroup_remove_system(const struct cgroup_host *host, const char *system, int wait_ms) MUST_USE;

#endif
