// SPDX-License-Identifier: ISC
// Makes a zygote out of a fork of the tender.
//
// In order: give up descriptors and signals, map the image at its base, give up rights, copy gate and
// zygote page, install the filter, jump. Nothing here touches guest code; the image's bytes were
// checked by image_open. From the jump on only the zygote's page runs (zygote_page.c), which unmaps
// all this.
#include "tender/process/zygote.h"

#include "tender/process/filter.h"
#include "tender/process/gate.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

// 1 and 2 are the zygote page's: the two munmaps.
enum step { STEP_LOW = 1, STEP_HIGH = 2, STEP_DESCRIPTORS, STEP_PARENT, STEP_RIGHTS, STEP_MAP, STEP_FILTER };

const char *zygote_step(uint64_t step)
{
    static const char *const names[] = {
        "?", "unmapping the tender (below)", "unmapping the tender (above; does the kernel seal "
        "the vdso? boot without CONFIG_MSEAL_SYSTEM_MAPPINGS)",
        "arranging descriptors", "finding its parent", "giving up rights", "mapping the image",
        "installing the filter"};
    return step < sizeof names / sizeof names[0] ? names[step] : names[0];
}

static _Noreturn void fail(enum step step)
{
    struct zygote_reply reply = {.pid = -(errno != 0 ? errno : EINVAL), .slot = step};
    ssize_t written = write(ZYGOTE_REPLY_FD, &reply, sizeof reply);
    _exit(written == sizeof reply ? 1 : 2);
}

static int arrange_descriptors(int command_fd, int reply_fd, unsigned slot_count)
{
    return dup2(command_fd, ZYGOTE_COMMAND_FD) < 0 || dup2(reply_fd, ZYGOTE_REPLY_FD) < 0 ||
           close_range(0, ZYGOTE_POOL_FD - 1, 0) != 0 ||
           close_range(ZYGOTE_EVENT_FD + 2 * slot_count, ~0u, 0) != 0;
}

static int give_up_rights(const char *name)
{
    const struct rlimit none = {0, 0};
    sigset_t nothing;
    sigemptyset(&nothing);
    if (sigprocmask(SIG_SETMASK, &nothing, NULL) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || // the tender traces instances
        prctl(PR_SET_NAME, name, 0, 0, 0) != 0 ||  // `ps` shows whose instances these are
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) != 0)
        return 1;
    // What not every CPU can. CPUID could be made to fault, too, but that costs 15 to 50 us at each switch
    // between a process that has it and one that has not; image_open refuses the instruction instead.
    (void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0, 0);
    (void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
    // The C library registered an area that the kernel writes at each switch; it will be unmapped.
    if (__rseq_size != 0) {
        uintptr_t area = (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset;
        if (syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) != 0)
            return 1;
    }
    return 0;
}

// The whole region, guards too, must be free: what the tender has in a guard would stay there for guests to
// read. EEXIST: the draw of the base hit something; the tender draws again.
static int is_region_free(const struct layout *layout)
{
    uint64_t bytes = layout->end + LAYOUT_PAGE - layout->base;
    void *wanted = (void *)(uintptr_t)layout->base;
    void *at = mmap(wanted, bytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    return at == wanted && munmap(at, bytes) == 0;
}

static uint8_t *map(uint64_t address, uint64_t bytes)
{
    void *at = mmap((void *)(uintptr_t)address, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return at == (void *)(uintptr_t)address ? at : NULL;
}

static int map_image(const struct image *image, const struct layout *layout)
{
    static const int protections[] = {PROT_READ, PROT_READ | PROT_EXEC, PROT_READ,
                                      PROT_READ | PROT_WRITE};
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        uint64_t bytes = ((uint64_t)segment->memory_bytes + LAYOUT_PAGE - 1) & -(uint64_t)LAYOUT_PAGE;
        uint8_t *at = map(layout->image + segment->address, bytes);
        if (at == NULL)
            return 1;
        memcpy(at, image->bytes + segment->file_offset, segment->file_bytes);
        for (size_t r = 0; segment->kind == IMAGE_RELRO && r < image->relocation_count; r++) {
            uint8_t *word = at + (image->relocations[r] - segment->address);
            uint64_t value;
            memcpy(&value, word, sizeof value);
            value += layout->image;
            memcpy(word, &value, sizeof value);
        }
        if (mprotect(at, bytes, protections[segment->kind]) != 0)
            return 1;
    }
    return (layout->arena_bytes != 0 && map(layout->arena, layout->arena_bytes) == NULL) ||
           map(layout->stack, layout->stack_bytes) == NULL;
}

static int map_code(uint64_t address, const uint8_t *begin, const uint8_t *end,
                    const uint8_t *parameters, const void *values, size_t size)
{
    uint8_t *page = map(address, LAYOUT_PAGE);
    if (page == NULL || (size_t)(end - begin) > LAYOUT_PAGE)
        return 1;
    memcpy(page, begin, (size_t)(end - begin));
    memcpy(page + (parameters - begin), values, size);
    return mprotect(page, LAYOUT_PAGE, PROT_READ | PROT_EXEC) != 0;
}

static int map_pages(const struct image *image, const struct layout *layout, pid_t tender)
{
    struct gate_parameters gate = {layout->zygote, layout->stack + layout->stack_bytes - 8,
                                   layout->boot, layout->image + image->entry};
    struct zygote_parameters page = {
        .scratch = layout->output,
        .low_bytes = layout->base,
        .high = layout->end,
        .high_bytes = LAYOUT_USER_END - layout->end,
        .boot = layout->boot,
        .output = layout->output,
        .enter = layout->gate + (uint64_t)(gate_enter - gate_begin),
        .tender = (uint64_t)tender,
    };
    return map(layout->output, LAYOUT_PAGE) == NULL ||
           map_code(layout->gate, gate_begin, gate_end, gate_parameters, &gate, sizeof gate) ||
           map_code(layout->zygote, zygote_begin, zygote_end, zygote_parameters, &page, sizeof page);
}

static _Noreturn void become_zygote(const struct image *image, const struct layout *layout,
                                    const int fds[2], unsigned slot_count, pid_t tender)
{
    static struct sock_filter code[FILTER_CODE_MAX];
    struct filter_rule rules[FILTER_RULES_MAX];
    if (arrange_descriptors(fds[0], fds[1], slot_count))
        fail(STEP_DESCRIPTORS);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != tender)
        fail(STEP_PARENT);
    if (!is_region_free(layout) || map_image(image, layout) || map_pages(image, layout, tender))
        fail(STEP_MAP);
    if (give_up_rights(image->manifest.header->name))
        fail(STEP_RIGHTS);
    size_t rule_count = filter_rules(layout, rules);
    struct sock_fprog program = {(unsigned short)filter_compile(rules, rule_count, code), code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        fail(STEP_FILTER);
    ((void (*)(void))(uintptr_t)layout->zygote)();
    __builtin_trap();
}

enum status zygote_start(struct zygote *zygote, const struct image *image,
                         const struct layout *layout, unsigned slot_count)
{
    int command[2], reply[2];
    if (pipe2(command, O_CLOEXEC) != 0)
        return STATUS_SYSTEM;
    if (pipe2(reply, O_CLOEXEC) != 0) {
        close(command[0]);
        close(command[1]);
        return STATUS_SYSTEM;
    }
    pid_t tender = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_zygote(image, layout, (int[2]){command[0], reply[1]}, slot_count, tender);
    close(command[0]);
    close(reply[1]);
    if (pid < 0) {
        close(command[1]);
        close(reply[0]);
        return STATUS_SYSTEM;
    }
    *zygote = (struct zygote){pid, command[1], reply[0]};
    return STATUS_OK;
}
