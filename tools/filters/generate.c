// SPDX-License-Identifier: ISC
// Writes the filters of our own programs as C, when Crenel is built: filter_generate >FILE.
//
// One table for what every program does, one for what glibc does, one for each role. A row that needs an argument
// pinned names which and to what. PROT_EXEC is refused everywhere; the tender alone may make memory executable
// that it wrote before, and never both at once. libseccomp makes BPF of it (a binary tree: its cost does not grow
// with the rows), and only this program links libseccomp.
#include "host/filter.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS // Linux 6.6
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

struct row {
    int call;
    const char *reason;
    unsigned is_pinned, argument; // if pinned: the only value of which argument
    uint64_t value;
    uint64_t mask; // of the argument's bits that the kernel looks at
};

#define CALL(name, why) {SCMP_SYS(name), why, 0, 0, 0, 0}
#define PINNED(name, argument, value, why) {SCMP_SYS(name), why, 1, argument, value, UINT64_MAX}
#define IOCTL(request, why) {SCMP_SYS(ioctl), why, 1, 1, request, UINT32_MAX}

static const struct row every_role[] = {
    CALL(read, "pipes, eventfds, its own files"),
    CALL(write, "host log, eventfds, its own files"),
    CALL(writev, "the same in parts; stdio"),
    CALL(recvmsg, "channels, and descriptors that the supervisor hands over"),
    CALL(sendmsg, "channels"),
    CALL(close, "what it was handed"),
    CALL(fcntl, "non-blocking channels; SQLite's file locks"),
    CALL(epoll_create1, "the event loop"),
    CALL(epoll_ctl, "the event loop"),
    CALL(epoll_pwait, "the event loop"),
    CALL(poll, "waiting for one descriptor"),
    CALL(clock_gettime, "time, where the vDSO does not answer"),
    CALL(eventfd2, "waking its own parts"),
    CALL(getrandom, "hash seeds, canaries, nonces"),
    CALL(fstat, "size of a memfd it was handed; stdio"),
    CALL(munmap, "memory"),
    CALL(madvise, "memory"),
    CALL(brk, "memory"),
    CALL(futex, "glibc's locks"),
    CALL(rt_sigreturn, "the end of a signal handler"),
    CALL(rt_sigaction, "SIGPIPE is ignored; abort()"),
    CALL(rt_sigprocmask, "abort()"),
    CALL(gettid, "abort()"),
    CALL(getpid, "abort(); SQLite"),
    CALL(restart_syscall, "the kernel's own, after a stop"),
    CALL(exit, "the end"),
    CALL(exit_group, "the end"),
};

// All but the tender, whose C library is a smaller one.
static const struct row with_glibc[] = {
    CALL(readv, "the same in parts"),
    CALL(recvfrom, "operator sockets"),
    CALL(sendto, "operator sockets"),
    CALL(shutdown, "the end of an operator's or connection's stream"),
    CALL(getsockopt, "state of a socket it holds"),
    CALL(setsockopt, "send buffers, TCP_NODELAY"),
    CALL(socketpair, "a channel between its own parts"),
    CALL(epoll_wait, "the event loop"),
    CALL(ppoll, "waiting for one descriptor"),
    CALL(gettimeofday, "time, where the vDSO does not answer"),
    CALL(time, "time, where the vDSO does not answer"),
    CALL(clock_nanosleep, "back-off"),
    CALL(nanosleep, "back-off"),
    CALL(timerfd_create, "timers"),
    CALL(timerfd_settime, "timers"),
    CALL(newfstatat, "the same, as glibc calls it"),
    CALL(mremap, "memory"),
    CALL(sched_yield, "waiting for its own parts"),
    CALL(tgkill, "abort()"),
};

static const struct row own_files[] = { // store, audit, password: their directory is all they see
    CALL(open, "their own files"),
    CALL(openat, "their own files"),
    CALL(stat, "their own files"),
    CALL(lstat, "their own files"),
    CALL(statx, "their own files"),
    CALL(access, "their own files"),
    CALL(faccessat, "their own files"),
    CALL(faccessat2, "their own files"),
    CALL(statfs, "free space"),
    CALL(fstatfs, "free space"),
    CALL(lseek, "stdio; who may not move in a file can only append to the host log"),
    CALL(pread64, "database pages, tiles"),
    CALL(pwrite64, "database pages, tiles"),
    CALL(preadv, "database pages, tiles"),
    CALL(pwritev, "database pages, tiles"),
    CALL(fsync, "durability"),
    CALL(fdatasync, "durability"),
    CALL(sync_file_range, "durability"),
    CALL(ftruncate, "a file's torn end"),
    CALL(fallocate, "space before it is needed"),
    CALL(rename, "atomic replacement"),
    CALL(renameat, "atomic replacement"),
    CALL(renameat2, "atomic replacement"),
    CALL(link, "atomic replacement"),
    CALL(linkat, "atomic replacement"),
    CALL(unlink, "journals and temporary files"),
    CALL(unlinkat, "journals and temporary files"),
    CALL(mkdir, "folders of tiles"),
    CALL(mkdirat, "folders of tiles"),
    CALL(rmdir, "folders of tiles"),
    CALL(readlink, "SQLite resolves its file's name"),
    CALL(readlinkat, "SQLite resolves its file's name"),
    CALL(getdents64, "what is there at start"),
    CALL(getcwd, "SQLite makes its file's name absolute"),
    CALL(chdir, "the directory it was handed"),
    CALL(fchdir, "the directory it was handed"),
    CALL(flock, "one writer"),
    CALL(fchmod, "SQLite gives its files the database's mode"),
    CALL(fchown, "SQLite gives its files the database's owner"),
    CALL(umask, "modes of its files"),
    CALL(utimensat, "SQLite's -shm file"),
    CALL(geteuid, "SQLite"),
    CALL(getuid, "SQLite"),
    CALL(dup, "fdopen of a directory"),
    CALL(sysinfo, "glibc's qsort"),
    CALL(getrusage, "SQLite"),
};

static const struct row gateway_calls[] = {
    CALL(accept4, "connections on the listener it was handed"),
    CALL(getpeername, "the peer's address for OPEN"),
    CALL(getsockname, "its own address"),
};

static const struct row courier_listen_calls[] = {
    CALL(accept4, "peers, on the listener it was handed"),
    CALL(sysinfo, "glibc's qsort, in OpenSSL"),
};

static const struct row courier_connect_calls[] = {
    CALL(sysinfo, "glibc's qsort, in OpenSSL"),
    PINNED(socket, 0, AF_INET, "the link to its peer"),
    PINNED(socket, 0, AF_INET6, "the link to its peer"),
    CALL(connect, "the link to its peer"),
    PINNED(socketpair, 0, AF_UNIX, "a stream through a broker, and its line"),
};

static const struct row tender_calls[] = {
    CALL(wait4, "their end"),
    CALL(waitid, "an instance that was told to stop"),
    CALL(memfd_create, "memory of instances"),
    CALL(pread64, "the image"),
    CALL(getppid, "is the parent still there"),
    CALL(dup2, "descriptors of the zygote"),
    CALL(pidfd_open, "the listener of a zygote's filter"),
    CALL(pidfd_getfd, "the same"),
    {0x3fffffff, "wait(), which the guest's filter hands to the tender; no kernel has this call", 0, 0, 0, 0},
    IOCTL(SECCOMP_IOCTL_NOTIF_RECV, "who waits"),
    IOCTL(SECCOMP_IOCTL_NOTIF_SEND, "wakes it"),
    IOCTL(SECCOMP_IOCTL_NOTIF_SET_FLAGS, "wakes it on this processor"),
    CALL(pipe2, "pipes to the zygote"),
    CALL(close_range, "a guest has no descriptor that it does not need"),
    CALL(mincore, "which pages of an instance are in use"),
    CALL(signalfd4, "their end"),
    PINNED(clone, 0, SIGCHLD, "the zygote; no namespace"),
    PINNED(clone, 0, CLONE_PARENT | SIGCHLD, "instances"),
    PINNED(kill, 1, SIGKILL, "an instance past its deadline"),
    PINNED(ptrace, 0, PTRACE_SEIZE, "no instance outlives the tender, none runs on after a fault"),
    PINNED(ptrace, 0, PTRACE_INTERRUPT, "where it is when its deadline passes"),
    PINNED(ptrace, 0, PTRACE_CONT, "it goes on when the host had not let it run"),
    PINNED(ptrace, 0, PTRACE_GETSIGINFO, "what it did; nothing is ever written to it"),
    PINNED(ptrace, 0, PTRACE_GETREGS, "where it did it"),
    PINNED(ptrace, 0, PTRACE_PEEKDATA, "by which instruction, called from where"),
    PINNED(seccomp, 0, SECCOMP_SET_MODE_FILTER, "the guest's filter"),
    PINNED(prctl, 0, PR_SET_PDEATHSIG, "a guest dies with the tender"),
    PINNED(prctl, 0, PR_SET_DUMPABLE, "the tender may trace it"),
    PINNED(prctl, 0, PR_SET_NAME, "ps shows whose it is"),
    PINNED(prctl, 0, PR_SET_NO_NEW_PRIVS, "the guest's filter"),
    PINNED(prctl, 0, PR_SET_SPECULATION_CTRL, "a guest does not steer what the processor guesses"),
    PINNED(arch_prctl, 0, ARCH_SET_FS, "the zygote forgets the tender's thread block"),
    PINNED(mprotect, 2, PROT_READ | PROT_EXEC, "text of an image, once it was written"),
};

// What musl's pthread_create asks for: a thread, and no other kind of process.
#define THREAD                                                                                     \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |  \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

static const struct row tender_kvm_calls[] = {
    CALL(pread64, "an instance's memory after its init"),
    CALL(mincore, "which pages of an instance are in use"),
    CALL(tkill, "hurrying a thread that runs a guest"),
    PINNED(clone, 0, THREAD, "a thread for each instance"),
    PINNED(getrusage, 0, RUSAGE_THREAD, "how much memory an instance touched"),
    IOCTL(KVM_CHECK_EXTENSION, "what this KVM has"),
    IOCTL(KVM_GET_VCPU_MMAP_SIZE, "what this KVM has"),
    IOCTL(KVM_GET_SUPPORTED_CPUID, "what this KVM has"),
    IOCTL(KVM_CREATE_VM, "an instance"),
    IOCTL(KVM_SET_USER_MEMORY_REGION, "an instance's memory"),
    IOCTL(KVM_CREATE_VCPU, "an instance's processor"),
    IOCTL(KVM_SET_CPUID2, "what that processor has"),
    IOCTL(KVM_SET_MSRS, "cpuid faults"),
    IOCTL(KVM_SET_XSAVE, "no vector state is left of an earlier event"),
    IOCTL(KVM_RUN, "the guest's turn"),
    IOCTL(KVM_GET_SREGS, "the address of a page fault"),
};

struct part {
    const struct row *rows;
    size_t count;
};
#define PART(table) {table, sizeof(table) / sizeof(table)[0]}
static const struct part parts[FILTER_ROLES] = {
    [FILTER_ROUTER] = {NULL, 0},
    [FILTER_STORE] = PART(own_files),
    [FILTER_AUDIT] = PART(own_files),
    [FILTER_PASSWORD] = PART(own_files),
    [FILTER_GATEWAY] = PART(gateway_calls),
    [FILTER_COURIER_LISTEN] = PART(courier_listen_calls),
    [FILTER_COURIER_CONNECT] = PART(courier_connect_calls),
    [FILTER_TENDER] = PART(tender_calls),
    [FILTER_TENDER_KVM] = PART(tender_kvm_calls),
};

static int allow(scmp_filter_ctx filter, const struct part *part)
{
    for (size_t i = 0; i < part->count; i++) {
        const struct row *row = &part->rows[i];
        int code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, row->is_pinned,
                                    SCMP_CMP(row->argument, SCMP_CMP_MASKED_EQ, row->mask, row->value));
        if (code != 0 && code != -EEXIST)
            return code;
    }
    return 0;
}

static int allow_memory(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    for (size_t i = 0; i < 2; i++) {
        int code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        if (code != 0)
            return code;
    }
    return 0;
}

static _Noreturn void fail(const char *what, int code)
{
    fprintf(stderr, "filter_generate: %s: %s\n", what, strerror(-code));
    exit(1);
}

static void write_filter(const char *name, enum filter_role role)
{
    static const struct part base = PART(every_role), larger = PART(with_glibc);
    int is_tender = role == FILTER_TENDER || role == FILTER_TENDER_KVM;
    static struct sock_filter program[4096];
    // Instances inherit the tender's filter. TRAP ends a tender as surely, but lets it read a guest that tried a
    // call: a kill would win over the guest filter's own trap and leave nothing to report.
    uint32_t verdict = role == FILTER_TENDER ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
    scmp_filter_ctx filter = seccomp_init(verdict);
    if (filter == NULL)
        fail(name, -ENOMEM);
    int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (code == 0)
        code = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, verdict);
    if (code == 0)
        code = allow(filter, &base);
    if (code == 0 && !is_tender)
        code = allow(filter, &larger);
    if (code == 0)
        code = allow(filter, &parts[role]);
    if (code == 0)
        code = allow_memory(filter);
    FILE *file = tmpfile();
    if (code == 0)
        code = file == NULL ? -errno : seccomp_export_bpf(filter, fileno(file));
    seccomp_release(filter);
    if (code != 0)
        fail(name, code);
    rewind(file);
    size_t size = fread(program, sizeof program[0], sizeof program / sizeof program[0], file);
    fclose(file);
    printf("static const struct sock_filter %s[] = {\n", name);
    for (size_t i = 0; i < size; i++)
        printf("    {0x%02x, %u, %u, 0x%08x},\n", program[i].code, program[i].jt, program[i].jf, program[i].k);
    printf("};\n");
}

int main(void)
{
    printf("// Made by tools/filters/generate.c.\n");
    write_filter("router", FILTER_ROUTER);
    write_filter("store", FILTER_STORE);
    write_filter("audit", FILTER_AUDIT);
    write_filter("password", FILTER_PASSWORD);
    write_filter("gateway", FILTER_GATEWAY);
    write_filter("courier_listen", FILTER_COURIER_LISTEN);
    write_filter("courier_connect", FILTER_COURIER_CONNECT);
    write_filter("tender", FILTER_TENDER);
    write_filter("tender_kvm", FILTER_TENDER_KVM);
    return 0;
}
