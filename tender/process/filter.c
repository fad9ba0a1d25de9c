// SPDX-License-Identifier: ISC
// What an instance may ask the kernel for, and why.
//
// Written by hand and not through libseccomp because each rule pins an instruction address. The
// zygote installs the filter; instances inherit it, which costs nothing. A guest reaches the three
// rules of the gate page only: the zygote's page is unmapped before the first guest instruction, and
// nothing can be mapped there again.
#include "tender/process/filter.h"

#include "abi/abi.h"
#include "core/check.h"
#include "tender/process/gate.h"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ANY 0u
#define ALL(n) ((1u << (n)) - 1u)

size_t filter_rules(const struct layout *layout, struct filter_rule rules[FILTER_RULES_MAX])
{
#define GATE(label) (layout->gate + (uint64_t)(gate_after_##label - gate_begin))
#define ZYGOTE(label) (layout->zygote + (uint64_t)(zygote_after_##label - zygote_begin))
    const struct filter_rule table[] = {
        // From the gate page, for the life of the instance.
        {GATE(write), SYS_write, 5, {GATE_PUBLISH_FD, ANY, 8}, "wait(): tell the host"},
        {GATE(read), SYS_read, 5, {GATE_WAKE_FD, ANY, 8}, "wait(): block until it answers"},
        {GATE(munmap), SYS_munmap, ALL(2), {layout->zygote, LAYOUT_PAGE}, "lose the zygote's page"},
        // From the zygote's page: the zygote itself.
        {ZYGOTE(command), SYS_read, ALL(3), {ZYGOTE_COMMAND_FD, layout->output, 8},
         "take a command from the tender"},
        {ZYGOTE(clone), SYS_clone, ALL(5), {CLONE_PARENT | SIGCHLD}, "fork an instance"},
        {ZYGOTE(reply), SYS_write, ALL(3), {ZYGOTE_REPLY_FD, layout->output, 16},
         "tell the tender its process id"},
        {ZYGOTE(fs), SYS_arch_prctl, ALL(2), {ARCH_SET_FS, 0}, "forget the tender's thread block"},
        {ZYGOTE(low), SYS_munmap, ALL(2), {0, layout->base}, "unmap what lies below the region"},
        {ZYGOTE(high), SYS_munmap, ALL(2), {layout->end, LAYOUT_USER_END - layout->end},
         "unmap what lies above the region"},
        // From the zygote's page: an instance that is being born.
        {ZYGOTE(death), SYS_prctl, ALL(2), {PR_SET_PDEATHSIG, SIGKILL}, "die with the tender"},
        {ZYGOTE(parent), SYS_getppid, 0, {0}, "see that the tender still lives"},
        {ZYGOTE(boot), SYS_mmap, ALL(5),
         {layout->boot, ABI_BOOT_BYTES + ABI_INPUT_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED,
          ZYGOTE_POOL_FD},
         "boot block and input, which the guest cannot write"},
        {ZYGOTE(output), SYS_mmap, ALL(5),
         {layout->output, ABI_OUTPUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
          ZYGOTE_POOL_FD},
         "output"},
        {ZYGOTE(wake), SYS_dup2, 2, {ANY, GATE_WAKE_FD}, "its eventfd from the host"},
        {ZYGOTE(publish), SYS_dup2, 2, {ANY, GATE_PUBLISH_FD}, "its eventfd to the host"},
        {ZYGOTE(close), SYS_close_range, ALL(3), {2, UINT32_MAX, 0}, "hold nothing else"},
        {ZYGOTE(go), SYS_read, ALL(3), {GATE_WAKE_FD, layout->output, 8},
         "wait until the tender traces it"},
    };
#undef GATE
#undef ZYGOTE
    size_t count = sizeof table / sizeof table[0];
    check(count <= FILTER_RULES_MAX);
    for (size_t i = 0; i < count; i++)
        rules[i] = table[i];
    return count;
}

struct assembler {
    struct sock_filter *code;
    size_t size;
};

static void emit(struct assembler *to, uint16_t code, uint8_t yes, uint8_t no, uint32_t k)
{
    check(to->size < FILTER_CODE_MAX);
    to->code[to->size++] = (struct sock_filter){code, yes, no, k};
}

// Loads 32 bits of struct seccomp_data at `offset` and ends in SIGSYS unless they equal `value`.
static void require(struct assembler *to, size_t offset, uint32_t value)
{
    emit(to, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
    emit(to, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
    emit(to, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
}

static void require_argument(struct assembler *to, unsigned index, uint64_t value)
{
    size_t offset = offsetof(struct seccomp_data, args) + index * sizeof(uint64_t);
    require(to, offset, (uint32_t)value);
    require(to, offset + 4, (uint32_t)(value >> 32));
}

size_t filter_compile(const struct filter_rule *rules, size_t rule_count,
                      struct sock_filter code[FILTER_CODE_MAX])
{
    struct assembler to = {code, 0};
    size_t low = offsetof(struct seccomp_data, instruction_pointer);
    require(&to, offsetof(struct seccomp_data, arch), AUDIT_ARCH_X86_64);
    require(&to, low + 4, (uint32_t)(rules[0].instruction >> 32));
    for (size_t i = 0; i < rule_count; i++) {
        // All rules lie in one region that starts at a multiple of 2 MiB: one upper half.
        check(rules[i].instruction >> 32 == rules[0].instruction >> 32);
        emit(&to, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)low);
        size_t jump = to.size;
        emit(&to, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, (uint32_t)rules[i].instruction);
        require(&to, offsetof(struct seccomp_data, nr), rules[i].call);
        for (unsigned k = 0; k < 6; k++)
            if ((rules[i].pinned >> k & 1) != 0)
                require_argument(&to, k, rules[i].arguments[k]);
        emit(&to, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
        check(to.size - jump - 1 <= UINT8_MAX);
        code[jump].jf = (uint8_t)(to.size - jump - 1);
    }
    emit(&to, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
    return to.size;
}
