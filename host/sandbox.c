// SPDX-License-Identifier: ISC
// Stepping into the sandbox for good, and looking from outside whether a process did.
#include "host/sandbox.h"

#include "proto/control.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((noreturn)) static void stop(const char *what)
{
    fprintf(stderr, "crenel: sandbox: cannot %s: %s\n", what, strerror(errno));
    exit(1);
}

int sandbox_leave_chroot(void)
{
    int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -1;
    int result = setns(own, CLONE_NEWNS);
    int error = errno;
    close(own);
    errno = error;
    return result;
}

// 0: the working directory is the root, and the old root lies on top of it. In a chroot pivot_root wants the root
// of the namespace back first.
static int pivot(void)
{
    if (syscall(SYS_pivot_root, ".", ".") == 0)
        return 0;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return -1;
    int left = sandbox_leave_chroot();
    int result = fchdir(here) == 0 && left == 0 ? (int)syscall(SYS_pivot_root, ".", ".") : -1;
    close(here);
    return result;
}

// The supervisor left an empty root as the working directory.
static void change_root(void)
{
    if (pivot() == 0) {
        // The old root now lies on top of the new one.
        if (umount2(".", MNT_DETACH) != 0)
            stop("let go of the old root");
    } else if (mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0) {
        // On an initramfs pivot_root is refused; moving the mount over "/" hides it as well.
        stop("enter an empty root");
    }
    if (chdir("/") != 0 || mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID |
                                                      MS_NODEV | MS_NOEXEC, NULL) != 0)
        stop("make the empty root read-only");
}

static void drop_privileges(void)
{
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (uid != 0) { // system mode: become the real user; rootless: user 0 is the caller outside
        if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0)
            stop("change the group");
    }
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            stop("drop the bounding set");
    if (uid != 0 && setresuid(uid, uid, uid) != 0)
        stop("change the user");
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &header, none) != 0)
        stop("drop its capabilities");
}

void sandbox_enter(enum filter_role role)
{
    if (getpid() == 1) {
        change_root();
        drop_privileges();
        // Changing the user cleared it. The supervisor may have died in between: then its link has hung up.
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
            stop("tie itself to the supervisor");
        struct pollfd control = {.fd = CONTROL_FD, .events = POLLIN};
        if (poll(&control, 1, 0) > 0 && (control.revents & POLLHUP) != 0)
            exit(0);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        stop("set no_new_privs");
    if (filter_install(role) != STATUS_OK)
        stop("install its system call filter");
}

enum status sandbox_change_directory(int fd)
{
    struct stat handed, inside;
    if (fstat(fd, &handed) != 0)
        return STATUS_SYSTEM;
    if (stat(SANDBOX_DIRECTORY, &inside) == 0 && inside.st_dev == handed.st_dev &&
        inside.st_ino == handed.st_ino)
        return chdir(SANDBOX_DIRECTORY) == 0 ? STATUS_OK : STATUS_SYSTEM;
    return fchdir(fd) == 0 ? STATUS_OK : STATUS_SYSTEM;
}

enum status sandbox_verify(pid_t pid, uid_t uid, const char **why)
{
    char path[40], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        *why = "it is gone";
        return STATUS_SYSTEM;
    }
    unsigned long real = ~0ul, effective = ~0ul, no_new_privs = 0, seccomp = 0;
    uint64_t permitted = ~(uint64_t)0;
    while (fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "Uid: %lu %lu", &real, &effective);
        (void)sscanf(line, "CapPrm: %" SCNx64, &permitted);
        (void)sscanf(line, "NoNewPrivs: %lu", &no_new_privs);
        (void)sscanf(line, "Seccomp: %lu", &seccomp);
    }
    fclose(file);
    if (real != uid || effective != uid)
        *why = "it did not change its user id";
    else if (permitted != 0)
        *why = "it kept capabilities";
    else if (no_new_privs != 1)
        *why = "it did not set no_new_privs";
    else if (seccomp != 2)
        *why = "it has no system call filter";
    else
        return STATUS_OK;
    return STATUS_DENIED;
}
