// SPDX-License-Identifier: ISC
// Starting one of our programs inside fresh namespaces, limits and cgroups.
//
// What happens, in order, between clone3 and execve (everything else is host/sandbox.h's):
//   joins the cgroups · maps itself to user 0 of its own user namespace (rootless) · makes all mounts
//   private, mounts an empty tmpfs on `root`, binds `directory` to SANDBOX_DIRECTORY in it and makes it
//   the working directory · limits and scheduling · SIGKILL when the supervisor dies · descriptors · bounding set ·
//   real user id = `uid` (system mode) · execve with an empty environment.
// The program is still privileged inside its namespaces until it calls sandbox_enter().
#ifndef CRENEL_HOST_SPAWN_H
#define CRENEL_HOST_SPAWN_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPAWN_FDS_MAX 8u
#define SPAWN_CGROUPS_MAX 3u

struct spawn {
    const char *path;  // of the executable
    char *const *argv; // ends in NULL
    int fds[SPAWN_FDS_MAX]; // descriptor i of the new process; fds[0] -1: /dev/null
    size_t fd_count;
    uint64_t namespaces; // CLONE_NEW*
    int is_rootless;     // 1: also a user namespace, and no user id of its own
    uid_t uid;           // system mode: whom sandbox_enter() makes it
    const char *root;      // absolute, an empty folder: becomes its root
    const char *directory; // absolute, bound into the root; or NULL
    const int *cgroup_fds; // open cgroup.procs files that it joins
    size_t cgroup_count;
    uint64_t nofile_max; // open descriptors
    int is_batch; // who wakes it goes on first (SCHED_BATCH); where the supervisor has a policy of its own, that stays
};

// Starts it. *pidfd is owned by the caller. On STATUS_SYSTEM errno is the child's or ours and *step names
// what failed ("mount an empty root").
enum status spawn_start(const struct spawn *spawn, pid_t *pid, int *pidfd, const char **step) MUST_USE;

#endif
