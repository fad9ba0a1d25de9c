// SPDX-License-Identifier: ISC
// Reads a stopped instance through ptrace. Everything read is the guest's: addresses are only
// compared and subtracted, frames followed for eight steps at most.
#include "tender/process/fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static int peek(pid_t pid, uint64_t address, uint64_t *word)
{
    errno = 0;
    long value = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)address, NULL);
    *word = (uint64_t)value;
    return errno == 0;
}

static void peek_code(pid_t pid, uint64_t address, uint8_t code[16])
{
    uint64_t words[2] = {0};
    (void)(peek(pid, address, &words[0]) && peek(pid, address + 8, &words[1]));
    memcpy(code, words, sizeof words);
}

static void add_frame(struct link_crash *crash, const struct layout *layout,
                      const struct image *image, uint64_t address)
{
    if (crash->frame_count < LINK_FRAMES_MAX && layout_is_text(layout, image, address))
        crash->frames[crash->frame_count++] = (uint32_t)(address - layout->image);
}

static void walk(pid_t pid, const struct user_regs_struct *regs, const struct layout *layout,
                 const struct image *image, struct link_crash *crash)
{
    uint64_t frame = regs->rbp, next, address;
    int is_in_image = layout_is_text(layout, image, regs->rip);
    // In the gate, or after a wild call, the caller's address is on top of the stack.
    if (!is_in_image && peek(pid, regs->rsp, &address))
        add_frame(crash, layout, image, address);
    for (unsigned i = 0; i < LINK_FRAMES_MAX; i++) {
        if (frame % 8 != 0 || frame < layout->stack ||
            frame > layout->stack + layout->stack_bytes - 16)
            return;
        if (!peek(pid, frame, &next) || !peek(pid, frame + 8, &address))
            return;
        add_frame(crash, layout, image, address);
        if (next <= frame)
            return;
        frame = next;
    }
}

int fault_place(pid_t pid, const struct layout *layout, const struct image *image,
                 struct link_crash *crash)
{
    struct user_regs_struct regs;
    crash->instruction = UINT64_MAX;
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
        return 0;
    int is_in_text = layout_is_text(layout, image, regs.rip);
    if (is_in_text)
        crash->instruction = regs.rip - layout->image;
    walk(pid, &regs, layout, image, crash);
    if (crash->instruction == UINT64_MAX && crash->frame_count != 0 &&
        regs.rip >= layout->gate && regs.rip < layout->gate + LAYOUT_PAGE)
        crash->instruction = crash->frames[0]; // it waits: name the caller of wait()
    return is_in_text;
}

int fault_is_store(const uint8_t code[16])
{
    unsigned i = 0;
    // Prefixes: REX, segments, operand and address size, repeat, lock.
    while (i < 8 && ((code[i] & 0xf0) == 0x40 || (code[i] & 0xe7) == 0x26 ||
                     (code[i] & 0xfc) == 0x64 || (code[i] & 0xfe) == 0xf2 || code[i] == 0xf0))
        i++;
    uint8_t op = code[i], second = code[i + 1];
    unsigned reg = code[i + 1] >> 3 & 7;
    if (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7 || op == 0xaa || op == 0xab ||
        (op & 0xf8) == 0x50 || op == 0xe8 || op == 0x86 || op == 0x87)
        return 1; // mov to memory, stos, push, call, xchg
    if (op < 0x40 && (op & 7) < 2)
        return (op & 0x38) != 0x38; // add .. xor to memory; cmp only reads
    if (op == 0x80 || op == 0x81 || op == 0x83)
        return reg != 7;
    if (op == 0xfe || op == 0xff)
        return reg < 2 ? 1 : reg == 6 ? -1 : 0; // inc, dec; push of memory may be either
    if (op == 0x0f && (second == 0x11 || second == 0x29 || second == 0x7f || second == 0xe7 ||
                       second == 0xd6 || second == 0x7e || second == 0x13 || second == 0x17))
        return 1; // vector stores
    if (op == 0x8a || op == 0x8b || op == 0x63 || op == 0x84 || op == 0x85 || (op & 0xf8) == 0x58 ||
        op == 0xc3 || (op < 0x40 && ((op & 7) == 2 || (op & 7) == 3)) ||
        (op == 0x0f && (second == 0xb6 || second == 0xb7 || second == 0xbe || second == 0xbf ||
                        second == 0x10 || second == 0x28 || second == 0x6f)))
        return 0;
    return -1;
}

static void describe_access(pid_t pid, const siginfo_t *info, const struct user_regs_struct *regs,
                            const struct layout *layout, const struct image *image,
                            struct link_crash *crash)
{
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    uint8_t code[16];
    const char *verb = "access to";
    crash->address = address;
    if (address >= layout->image && address < layout->image + layout->image_bytes) {
        crash->address = address - layout->image;
        crash->is_relative = 1;
    }
    peek_code(pid, regs->rip, code);
    if (address == regs->rip && !layout_is_text(layout, image, address))
        verb = "jump to";
    else if (info->si_code == SEGV_ACCERR && layout_is_read_only(layout, image, address))
        verb = "write to";
    else if (fault_is_store(code) >= 0)
        verb = fault_is_store(code) ? "write to" : "read of";
    snprintf(crash->what, sizeof crash->what, "%s 0x%llx %s", verb, (unsigned long long)address,
             layout_place(layout, image, address));
}

// The CPU refused the instruction itself: it gives no address.
static void describe_instruction(pid_t pid, const struct user_regs_struct *regs, char what[64])
{
    static const struct {
        uint8_t bytes[3];
        uint8_t size;
        const char *name;
    } known[] = {
        {{0x0f, 0x31}, 2, "rdtsc"},       {{0x0f, 0x01, 0xf9}, 3, "rdtscp"},
        {{0x0f, 0xa2}, 2, "cpuid"},       {{0xf4}, 1, "hlt"},
        {{0xfa}, 1, "cli"},               {{0xcd}, 1, "int"},
        {{0x0f, 0x33}, 2, "rdpmc"},       {{0xec}, 1, "in"},
        {{0xee}, 1, "out"},
    };
    uint8_t code[16];
    peek_code(pid, regs->rip, code);
    snprintf(what, 64, "%s", "address or instruction that the processor refuses");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (memcmp(code, known[i].bytes, known[i].size) == 0)
            snprintf(what, 64, "forbidden instruction %s", known[i].name);
}

void fault_describe(pid_t pid, const siginfo_t *info, const struct layout *layout,
                    const struct image *image, struct link_crash *crash)
{
    struct user_regs_struct regs = {0};
    uint8_t code[16];
    crash->signal = (uint32_t)info->si_signo;
    (void)fault_place(pid, layout, image, crash);
    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0) {
        snprintf(crash->what, sizeof crash->what, "stopped by signal %d", info->si_signo);
        return;
    }
    switch (info->si_signo) {
    case SIGSYS:
        crash->syscall = (uint32_t)info->si_syscall;
        snprintf(crash->what, sizeof crash->what, "system call %d", info->si_syscall);
        break;
    case SIGSEGV:
    case SIGBUS:
        if (info->si_code == SI_KERNEL)
            describe_instruction(pid, &regs, crash->what);
        else
            describe_access(pid, info, &regs, layout, image, crash);
        break;
    case SIGILL:
        peek_code(pid, regs.rip, code);
        // ud2 is how the library OS stops when it finds a mistake: `what` stays empty.
        if (code[0] != 0x0f || code[1] != 0x0b)
            snprintf(crash->what, sizeof crash->what, "unknown instruction");
        break;
    case SIGFPE:
        snprintf(crash->what, sizeof crash->what, "arithmetic error (division)");
        break;
    default:
        snprintf(crash->what, sizeof crash->what, "signal %d", info->si_signo);
        break;
    }
}
