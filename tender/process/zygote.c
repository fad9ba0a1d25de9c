// SPDX-License-Identifier: ISC
// Makes a zygote out of a fork of the tender.
//
// In order: give up descriptors and signals, map the image at its base, give up rights, copy gate and
// zygote page, install the filter, jump. Nothing here touches guest code; the image's bytes were
// checked by image_open. From the jump on only the zygote's page runs (zygote_page.c), which unmaps
// all this.
#include "tender/process/zygote.h"

#include "core/mechanism.h"
#include "tender/process/filter.h"
#include "tender/process/gate.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CODE (PROT_READ | PROT_EXEC | (MECHANISM(TEXT_READ_ONLY) ? 0 : PROT_WRITE))
#define CONSTANTS                                                                                  \
    (PROT_READ | (MECHANISM(CONSTANTS_READ_ONLY) ? 0 : PROT_WRITE) |                               \
     (MECHANISM(DATA_NO_EXECUTE) ? 0 : PROT_EXEC))
#define START_MS 5000 // a zygote needs microseconds; this one was stopped

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS // Linux 6.6
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ul
#endif

const char *zygote_step(uint64_t call)
{
    return call == SYS_clone ? "forking an instance (is a limit of processes in force?)"
                             : "unmapping the tender (does the kernel seal the vdso? boot without "
                               "CONFIG_MSEAL_SYSTEM_MAPPINGS)";
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "crenel-tender: zygote: %s: %s\n", what, strerror(errno));
    _exit(1);
}

// The pool at its number, the place of the listener free, the host log where it is, the pipe behind.
static int arrange_descriptors(int pool_fd, int pipe_fd)
{
    return dup2(pool_fd, ZYGOTE_POOL_FD) < 0 || dup2(pipe_fd, ZYGOTE_PIPE_FD) < 0 ||
           close(ZYGOTE_LISTENER_FD) != 0 || syscall(SYS_close_range, ZYGOTE_PIPE_FD + 1, ~0u, 0) != 0;
}

static int give_up_rights(const char *name)
{
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || // the tender traces instances
        prctl(PR_SET_NAME, name, 0, 0, 0) != 0 ||  // `ps` shows whose instances these are
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return 1;
    // What not every CPU can. CPUID and RDTSC could be made to fault, too, but that costs up to 50 and 10 us at each
    // switch between a process that has it and one that has not; image_open refuses the instructions instead.
    if (MECHANISM(SPECULATION)) {
        (void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0, 0);
        (void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
    }
    return 0;
}

// The whole region, guards too, must be free: what the tender has in a guard would stay there for guests to
// read. And the addresses in the gate page are data that a guest could jump into: they must hold no
// instruction that images must not hold (core/image.h).
static int is_good(const struct layout *layout, const struct gate_parameters *gate)
{
    const char *name;
    uint8_t code[sizeof *gate + 8] = {0};
    uint64_t bytes = layout->end + LAYOUT_PAGE - layout->base;
    void *wanted = (void *)(uintptr_t)layout->base;
    void *at = mmap(wanted, bytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    memcpy(code + 4, gate, sizeof *gate);
    return at == wanted && munmap(at, bytes) == 0 &&
           image_forbidden(code, sizeof code, 0, &name) == sizeof code;
}

static uint8_t *map(uint64_t address, uint64_t bytes)
{
    void *at = mmap((void *)(uintptr_t)address, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return at == (void *)(uintptr_t)address ? at : NULL;
}

static int map_image(const struct image *image, const struct layout *layout)
{
    static const int protections[] = {CONSTANTS, CODE, CONSTANTS};
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (segment->kind == IMAGE_DATA)
            continue; // each instance has its own
        uint64_t bytes = layout->segments[segment->kind].bytes;
        uint8_t *at = map(layout->segments[segment->kind].address, bytes);
        if (at == NULL)
            return 1;
        image_load(image, segment, layout->image, at);
        if (mprotect(at, bytes, protections[segment->kind]) != 0)
            return 1;
    }
    return 0;
}

static int map_code(uint64_t address, const uint8_t *begin, const uint8_t *end,
                    const uint8_t *parameters, const void *values, size_t size)
{
    uint8_t *page = map(address, LAYOUT_PAGE);
    if (page == NULL || (size_t)(end - begin) > LAYOUT_PAGE)
        return 1;
    memcpy(page, begin, (size_t)(end - begin));
    memcpy(page + (parameters - begin), values, size);
    return mprotect(page, LAYOUT_PAGE, CODE) != 0;
}

static int map_pages(const struct layout *layout, const struct gate_parameters *gate, size_t slice_bytes)
{
    struct zygote_parameters page = {layout->gate + (uint64_t)(gate_enter - gate_begin), slice_bytes, {{0}}};
    filter_calls(layout, page.calls);
    return map_code(layout->gate, gate_begin, gate_end, gate_parameters, gate, sizeof *gate) ||
           map_code(layout->zygote, zygote_begin, zygote_end, zygote_parameters, &page, sizeof page);
}

static _Noreturn void become_zygote(const struct image *image, const struct layout *layout,
                                    const struct gate_parameters *gate, size_t slice_bytes, pid_t tender)
{
    static struct sock_filter code[FILTER_CODE_MAX];
    struct filter_rule rules[FILTER_RULES_MAX];
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != tender)
        fail("finding its parent");
    if (map_image(image, layout) || map_pages(layout, gate, slice_bytes))
        fail("mapping the image");
    if (give_up_rights(image->manifest.header->name))
        fail("giving up rights");
    size_t rule_count = filter_rules(layout, rules);
    struct sock_fprog program = {(unsigned short)filter_compile(rules, rule_count, code), code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) !=
        ZYGOTE_LISTENER_FD)
        fail("installing the filter (busy: this container's runtime has a seccomp listener of its own)");
    ((void (*)(void))(uintptr_t)layout->zygote)();
    __builtin_trap();
}

// From a zygote that has closed its pipe.
static int take_listener(pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -1;
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, ZYGOTE_LISTENER_FD, 0);
    close(pidfd);
    if (fd >= 0) // an answer wakes its instance on this processor; what older kernels do not know
        (void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    return fd;
}

enum status zygote_start(struct zygote *zygote, const struct image *image, const struct layout *layout,
                         int pool_fd, size_t slice_bytes)
{
    const struct gate_parameters gate = {layout->zygote, layout->boot};
    int ends[2];
    uint8_t byte;
    *zygote = (struct zygote){0, -1};
    if (!is_good(layout, &gate))
        return STATUS_AGAIN;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return STATUS_SYSTEM;
    // Not by fork(), whose flags are the C library's affair: the tender's filter pins them.
    pid_t tender = getpid(), pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        if (arrange_descriptors(pool_fd, ends[1]))
            fail("arranging descriptors");
        become_zygote(image, layout, &gate, slice_bytes, tender);
    }
    close(ends[1]);
    struct pollfd end = {.fd = ends[0], .events = POLLIN};
    if (pid > 0 && poll(&end, 1, START_MS) == 1 && read(ends[0], &byte, 1) == 0)
        *zygote = (struct zygote){pid, take_listener(pid)};
    close(ends[0]);
    if (zygote->listener_fd >= 0)
        return STATUS_OK;
    if (pid > 0)
        kill(pid, SIGKILL);
    return STATUS_SYSTEM;
}
