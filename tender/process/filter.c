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
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ALL(n) ((1u << (n)) - 1u)

size_t filter_maps(const struct layout *layout, struct zygote_map maps[ZYGOTE_MAPS_MAX])
{
    struct layout_part parts[LAYOUT_PARTS];
    size_t count = 1;
    uint64_t offset = GUEST_MEMORY_OUTPUT;
    layout_parts(layout, parts);
    const uint64_t run = MECHANISM(DATA_NO_EXECUTE) ? 0 : PROT_EXEC, write = MECHANISM(INPUT_READ_ONLY) ? 0 : PROT_WRITE;
    maps[0] = (struct zygote_map){layout->boot, GUEST_MEMORY_OUTPUT, PROT_READ | write | run, 0};
    for (size_t i = 0; i < LAYOUT_PARTS; i++) {
        if (parts[i].bytes != 0)
            maps[count++] = (struct zygote_map){parts[i].address, parts[i].bytes, PROT_READ | PROT_WRITE | run, offset};
        offset += parts[i].bytes;
    }
    return count;
}

size_t filter_rules(const struct layout *layout, struct filter_rule rules[FILTER_RULES_MAX])
{
#define GATE(label) (layout->gate + (uint64_t)(gate_after_##label - gate_begin))
#define ZYGOTE(label) (layout->zygote + (uint64_t)(zygote_after_##label - zygote_begin))
    const struct filter_rule table[] = {
        // From the gate page, for the life of the instance.
        {GATE(wait), GATE_CALL, 0, {0}, SECCOMP_RET_USER_NOTIF, "wait(): tell the tender, and stay until it answers"},
        {GATE(munmap), SYS_munmap, ALL(2), {layout->zygote, LAYOUT_PAGE}, SECCOMP_RET_ALLOW,
         "lose the zygote's page"},
        // From the zygote's page: the zygote itself.
        {ZYGOTE(command), GATE_CALL, 0, {0}, SECCOMP_RET_USER_NOTIF, "take a command from the tender"},
        {ZYGOTE(clone), SYS_clone, ALL(5), {CLONE_PARENT | SIGCHLD}, SECCOMP_RET_ALLOW, "fork an instance"},
        {ZYGOTE(pipe), SYS_close_range, ALL(3), {2, UINT32_MAX, 0}, SECCOMP_RET_ALLOW, "say that the filter stands"},
        {ZYGOTE(fs), SYS_arch_prctl, ALL(2), {ARCH_SET_FS, 0}, SECCOMP_RET_ALLOW,
         "forget the tender's thread block"},
        {ZYGOTE(low), SYS_munmap, ALL(2), {0, layout->base}, SECCOMP_RET_ALLOW,
         "unmap what lies below the region"},
        {ZYGOTE(high), SYS_munmap, ALL(2), {layout->end, LAYOUT_USER_END - layout->end}, SECCOMP_RET_ALLOW,
         "unmap what lies above the region"},
        // From the zygote's page: an instance that is being born.
        {ZYGOTE(close), SYS_close_range, ALL(3), {0, UINT32_MAX, 0}, SECCOMP_RET_ALLOW, "hold no descriptor"},
    };
    struct zygote_map maps[ZYGOTE_MAPS_MAX];
    size_t count = sizeof table / sizeof table[0], map_count = filter_maps(layout, maps);
    check(count + map_count <= FILTER_RULES_MAX);
    memcpy(rules, table, sizeof table);
    for (size_t i = 0; i < map_count; i++)
        rules[count + i] = (struct filter_rule){
            ZYGOTE(map), SYS_mmap, ALL(5),
            {maps[i].address, maps[i].bytes, maps[i].protection, MAP_SHARED | MAP_FIXED, ZYGOTE_POOL_FD},
            SECCOMP_RET_ALLOW, "its slice; boot block and input are read-only"};
    return count + map_count;
#undef GATE
#undef ZYGOTE
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

// Loads 32 bits of struct seccomp_data at `offset` and requires that they equal `value`.
static void require(struct assembler *to, size_t offset, uint32_t value)
{
    emit(to, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
    emit(to, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, value);
}

static void require_argument(struct assembler *to, unsigned index, uint64_t value)
{
    size_t offset = offsetof(struct seccomp_data, args) + index * sizeof(uint64_t);
    require(to, offset, (uint32_t)value);
    require(to, offset + 4, (uint32_t)(value >> 32));
}

// Ends a row of requirements that began at `from`: those that do not hold go on behind the verdict.
static void conclude(struct assembler *to, size_t from, uint32_t verdict)
{
    emit(to, BPF_RET | BPF_K, 0, 0, verdict);
    for (size_t i = from; i < to->size; i++)
        if (to->code[i].code == (BPF_JMP | BPF_JEQ | BPF_K)) {
            check(to->size - i - 1 <= UINT8_MAX);
            to->code[i].jf = (uint8_t)(to->size - i - 1);
        }
}

size_t filter_compile(const struct filter_rule *rules, size_t rule_count,
                      struct sock_filter code[FILTER_CODE_MAX])
{
    struct assembler to = {code, 0};
    for (size_t i = 0; i < rule_count; i++) {
        size_t from = to.size, place = offsetof(struct seccomp_data, instruction_pointer);
        if (MECHANISM(FILTER_ADDRESS)) {
            require(&to, place, (uint32_t)rules[i].instruction);
            require(&to, place + 4, (uint32_t)(rules[i].instruction >> 32));
        }
        require(&to, offsetof(struct seccomp_data, arch), AUDIT_ARCH_X86_64);
        if (MECHANISM(FILTER_NUMBER))
            require(&to, offsetof(struct seccomp_data, nr), rules[i].call);
        for (unsigned k = 0; k < 6; k++)
            if (MECHANISM(FILTER_ARGUMENTS) && (rules[i].pinned >> k & 1) != 0)
                require_argument(&to, k, rules[i].arguments[k]);
        conclude(&to, from, rules[i].verdict);
    }
    emit(&to, BPF_RET | BPF_K, 0, 0, MECHANISM(FILTER) ? SECCOMP_RET_TRAP : SECCOMP_RET_ALLOW);
    return to.size;
}
