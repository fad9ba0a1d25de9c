// SPDX-License-Identifier: ISC
// The steps between clone3 and execve. The child makes system calls only; a failed step is told to the
// parent over a pipe that execve closes, so spawn_start knows the outcome before it returns.
#include "host/spawn.h"

#include "core/check.h"
#include "host/kernel_file.h"
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPAWN_FD_FLOOR 64 // descriptors are moved above this before they take their places

struct failure {
    int error;
    char step[60];
};

static int fail(int report_fd, const char *step)
{
    struct failure failure = {.error = errno};
    strncpy(failure.step, step, sizeof failure.step - 1);
    (void)!write(report_fd, &failure, sizeof failure);
    _exit(127);
}

// User 0 inside is the caller outside; no other user exists inside.
static int map_user(uid_t uid, gid_t gid)
{
    char map[64];
    if (kernel_file_write("/proc/self/setgroups", "deny") != 0 && errno != ENOENT)
        return -1;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    if (kernel_file_write("/proc/self/uid_map", map) != 0)
        return -1;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
    return kernel_file_write("/proc/self/gid_map", map);
}

// No mount made here may reach the host. In a chroot "/" is no mount point: leave it for the moment of the call.
static int make_private(void)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return 0;
    int root = errno == EINVAL ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root < 0)
        return -1;
    int done = sandbox_leave_chroot() == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               fchdir(root) == 0 && chroot(".") == 0;
    int error = errno;
    close(root);
    errno = error;
    return done ? 0 : -1;
}

static int prepare_root(const struct spawn *spawn)
{
    if (make_private() != 0)
        return -1;
    // A name for the directory that stays valid when the new root covers its old one.
    int directory = -1;
    if (spawn->directory != NULL &&
        (directory = open(spawn->directory, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        return -1;
    if (mount("tmpfs", spawn->root, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=64k,nr_inodes=16,mode=755") != 0 ||
        chdir(spawn->root) != 0)
        return -1;
    if (directory < 0)
        return 0;
    char source[40];
    snprintf(source, sizeof source, "/proc/self/fd/%d", directory);
    if (mkdir(&SANDBOX_DIRECTORY[1], 0755) != 0 ||
        mount(source, &SANDBOX_DIRECTORY[1], NULL, MS_BIND, NULL) != 0)
        return -1;
    // Rootless, flags that the source was locked with may not be dropped; then the plain bind stays.
    (void)mount(NULL, &SANDBOX_DIRECTORY[1], NULL,
                MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    return 0;
}

static int set_limit(int what, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)what, &limit) != 0)
        return -1;
    if (limit.rlim_max != RLIM_INFINITY && value > limit.rlim_max)
        value = limit.rlim_max; // an unprivileged supervisor cannot raise it
    limit.rlim_cur = limit.rlim_max = value;
    return setrlimit((__rlimit_resource_t)what, &limit);
}

static int place_descriptors(const struct spawn *spawn)
{
    int moved[SPAWN_FDS_MAX];
    for (size_t i = 0; i < spawn->fd_count; i++) {
        int from = spawn->fds[i] >= 0 ? spawn->fds[i] : open("/dev/null", O_RDONLY | O_CLOEXEC);
        moved[i] = from < 0 ? -1 : fcntl(from, F_DUPFD_CLOEXEC, SPAWN_FD_FLOOR);
        if (moved[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < spawn->fd_count; i++)
        if (dup2(moved[i], (int)i) < 0)
            return -1;
    return 0;
}

// What sandbox_enter() needs, and nothing more, survives execve.
static int drop_bounding_set(void)
{
    static const int kept[] = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID, CAP_SETPCAP};
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        int is_kept = 0;
        for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
            is_kept |= kept[i] == cap;
        if (!is_kept && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            return -1;
    }
    return 0;
}

static void run_child(const struct spawn *spawn, int report_fd, uid_t uid, gid_t gid)
{
    for (size_t i = 0; i < spawn->cgroup_count; i++)
        if (write(spawn->cgroup_fds[i], "0", 1) != 1)
            fail(report_fd, "join its cgroup");
    if (spawn->is_rootless && map_user(uid, gid) != 0)
        fail(report_fd, "map its user namespace");
    if ((spawn->namespaces & CLONE_NEWNS) != 0 && spawn->root != NULL && prepare_root(spawn) != 0)
        fail(report_fd, "mount an empty root");
    if (set_limit(RLIMIT_CORE, 0) != 0 || set_limit(RLIMIT_NOFILE, spawn->nofile_max) != 0)
        fail(report_fd, "set its limits");
    if (spawn->is_batch && sched_getscheduler(0) == SCHED_OTHER) // a container that forbids it only makes it slower
        (void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int signal_number = 1; signal_number < 32; signal_number++)
        (void)signal(signal_number, SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        fail(report_fd, "tie it to the supervisor");
    if (drop_bounding_set() != 0)
        fail(report_fd, "drop its capabilities");
    if (!spawn->is_rootless && (setresgid(spawn->uid, 0, spawn->uid) != 0 ||
                                setresuid(spawn->uid, 0, spawn->uid) != 0))
        fail(report_fd, "set its user id");
    int report = fcntl(report_fd, F_DUPFD_CLOEXEC, SPAWN_FD_FLOOR * 2);
    if (report < 0 || place_descriptors(spawn) != 0)
        fail(report_fd, "place its descriptors");
    // Everything else, pidfds and sockets of the supervisor among it, closes at execve.
    if (syscall(SYS_close_range, (unsigned)spawn->fd_count, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
        fail(report, "close descriptors");
    char *const environment[] = {NULL};
    execve(spawn->path, spawn->argv, environment);
    fail(report, "execute the program");
}

enum status spawn_start(const struct spawn *spawn, pid_t *pid, int *pidfd, const char **step)
{
    static struct failure failure;
    check(spawn->fd_count <= SPAWN_FDS_MAX && spawn->cgroup_count <= SPAWN_CGROUPS_MAX);
    int report[2];
    *step = "make a pipe";
    if (pipe2(report, O_CLOEXEC) != 0)
        return STATUS_SYSTEM;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int fd = -1;
    struct clone_args arguments = {
        .flags = spawn->namespaces | CLONE_PIDFD | (spawn->is_rootless ? CLONE_NEWUSER : 0),
        .pidfd = (uint64_t)(uintptr_t)&fd,
        .exit_signal = SIGCHLD};
    fflush(NULL);
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        run_child(spawn, report[1], uid, gid);
    int error = errno;
    close(report[1]);
    if (child < 0) {
        close(report[0]);
        errno = error;
        *step = "create its namespaces (crenel doctor says why)";
        return STATUS_SYSTEM;
    }
    ssize_t got;
    do
        got = read(report[0], &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    close(report[0]);
    if (got != 0) {
        siginfo_t info;
        (void)waitid(P_PIDFD, (id_t)fd, &info, WEXITED);
        close(fd);
        failure.step[sizeof failure.step - 1] = 0;
        *step = got == (ssize_t)sizeof failure ? failure.step : "start";
        errno = got == (ssize_t)sizeof failure ? failure.error : EIO;
        return STATUS_SYSTEM;
    }
    *pid = (pid_t)child;
    *pidfd = fd;
    return STATUS_OK;
}
