// SPDX-License-Identifier: ISC
// What an instance may ask the kernel for, and why.
//
// Written by hand and not through libseccomp because each rule pins an instruction address. The
// zygote installs the filter; instances inherit it, which costs nothing. A guest reaches the two
// rules of the gate page only: the zygote's page is unmapped before the first guest instruction, and
// nothing can be mapped there again. So the kernel carries out no system call of a guest's at all: one is
// handed to the tender, the other finds nothing to unmap.
#include "tender/process/filter.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "tender/guest_memory.h"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define WORDS (sizeof(struct seccomp_data) / sizeof(uint32_t))

void filter_calls(const struct layout *layout, struct zygote_call calls[ZYGOTE_CALLS_MAX])
{
    const uint64_t unmap = MECHANISM(UNMAP_TENDER) ? UINT64_MAX : LAYOUT_PAGE, above = LAYOUT_USER_END - layout->end;
    const uint64_t run = MECHANISM(DATA_NO_EXECUTE) ? 0 : PROT_EXEC, write = MECHANISM(INPUT_READ_ONLY) ? 0 : PROT_WRITE;
    const struct zygote_call zygote[] = {
        // It says that the filter stands, by closing its pipe; the host log too.
        {SYS_close_range, {2, UINT32_MAX}, 0},
        // It forgets the tender's thread block,
        {SYS_arch_prctl, {ARCH_SET_FS}, 0},
        // and unmaps what lies below and above the region.
        {SYS_munmap, {0, layout->base & unmap}, 0},
        {SYS_munmap, {layout->end, above & unmap}, 0},
        // It forks an instance; 0 in the instance,
        [ZYGOTE_FORK] = {SYS_clone, {CLONE_PARENT | SIGCHLD}, 0},
    };
    // which maps its slice, boot block and input read-only,
    struct layout_part parts[1 + LAYOUT_PARTS] = {{layout->boot, GUEST_MEMORY_OUTPUT}};
    struct zygote_call *call = calls + sizeof zygote / sizeof zygote[0];
    layout_parts(layout, parts + 1);
    memcpy(calls, zygote, sizeof zygote);
    for (uint64_t i = 0, offset = 0; i < 1 + LAYOUT_PARTS; offset += parts[i++].bytes)
        if (parts[i].bytes != 0)
            *call++ = (struct zygote_call){
                SYS_mmap,
                {parts[i].address, parts[i].bytes, PROT_READ | run | (i == 0 ? write : PROT_WRITE),
                 MAP_SHARED | MAP_FIXED, ZYGOTE_POOL_FD, offset},
                parts[i].address};
    // and holds no descriptor.
    *call++ = (struct zygote_call){SYS_close_range, {MECHANISM(NO_DESCRIPTORS) ? 0 : UINT32_MAX, UINT32_MAX}, 0};
    check(call < calls + ZYGOTE_CALLS_MAX);
    *call = (struct zygote_call){0};
}

static struct filter_rule rule(uint64_t instruction, uint64_t number, unsigned pinned, uint32_t verdict)
{
    return (struct filter_rule){{.nr = (int)number, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = instruction},
                                pinned, verdict};
}

size_t filter_rules(const struct layout *layout, struct filter_rule rules[FILTER_RULES_MAX])
{
    const uint64_t gate = layout->gate - (uint64_t)(uintptr_t)gate_begin;
    const uint64_t zygote = layout->zygote - (uint64_t)(uintptr_t)zygote_begin;
    struct zygote_call calls[ZYGOTE_CALLS_MAX];
    size_t count = 3;
    filter_calls(layout, calls);
    // From the gate page, for the life of the instance: wait(), which tells the tender and stays until it answers;
    rules[0] = rule(gate + (uint64_t)(uintptr_t)gate_after_wait, GATE_CALL, 0, SECCOMP_RET_USER_NOTIF);
    // to lose the zygote's page.
    rules[1] = rule(gate + (uint64_t)(uintptr_t)gate_after_munmap, SYS_munmap, 2, SECCOMP_RET_ALLOW);
    rules[1].call.args[0] = layout->zygote;
    rules[1].call.args[1] = LAYOUT_PAGE;
    // From the zygote's page: to take a command from the tender; and the calls of its list. The last argument is a
    // part's place in the pool, which differs with the slot.
    rules[2] = rule(zygote + (uint64_t)(uintptr_t)zygote_after_command, GATE_CALL, 0, SECCOMP_RET_USER_NOTIF);
    for (const struct zygote_call *call = calls; call->number != 0; call++) {
        rules[count] = rule(zygote + (uint64_t)(uintptr_t)zygote_after_call, call->number, 5, SECCOMP_RET_ALLOW);
        memcpy(rules[count++].call.args, call->arguments, sizeof call->arguments);
    }
    return count;
}

// For each rule: words of struct seccomp_data that must be what they are in `call`, then the verdict. One that is not
// leads behind the verdict.
size_t filter_compile(const struct filter_rule *rules, size_t rule_count,
                      struct sock_filter code[FILTER_CODE_MAX])
{
    const uint32_t number = MECHANISM(FILTER_NUMBER) ? 1 : 0, abi = 2, address = MECHANISM(FILTER_ADDRESS) ? 12 : 0;
    size_t size = 0;
    for (size_t i = 0; i < rule_count; i++) {
        uint32_t words[WORDS], arguments = MECHANISM(FILTER_ARGUMENTS) ? ((1u << 2 * rules[i].pinned) - 1) << 4 : 0;
        uint32_t wanted = number | abi | address | arguments;
        size_t verdict = size + 2 * (size_t)__builtin_popcount(wanted);
        check(verdict - size <= UINT8_MAX && verdict + 1 < FILTER_CODE_MAX);
        memcpy(words, &rules[i].call, sizeof words);
        for (uint32_t at = 0; at < WORDS; at++)
            if ((wanted >> at & 1) != 0) {
                code[size++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at * 4);
                code[size] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, words[at], 0, (uint8_t)(verdict - size));
                size++;
            }
        code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, rules[i].verdict);
    }
    code[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, MECHANISM(FILTER) ? SECCOMP_RET_TRAP : SECCOMP_RET_ALLOW);
    return size;
}
