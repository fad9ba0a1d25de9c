// SPDX-License-Identifier: ISC
// Layout and filter: what lies where, and what a guest may call from where.
#include "tests/unit/test.h"

#include "abi/abi.h"
#include "tender/process/filter.h"
#include "tender/process/gate.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

static struct manifest_header header = {.arena_bytes = 8192, .stack_bytes = 16384};
static const struct image image = {
    .span_bytes = 12288,
    .segment_count = 2,
    .segments = {{IMAGE_TEXT, 0, 5000, 0, 5000}, {IMAGE_DATA, 8192, 100, 5000, 0}},
    .manifest = {.header = &header},
};
static struct layout layout;
static struct filter_rule rules[FILTER_RULES_MAX];
static size_t rule_count;
static struct sock_filter code[FILTER_CODE_MAX];
static size_t code_size;

// The kernel's interpreter, as far as the filter needs it.
static uint32_t run(const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t at = 0; at < code_size;) {
        const struct sock_filter *i = &code[at++];
        if (i->code == (BPF_LD | BPF_W | BPF_ABS))
            memcpy(&a, (const uint8_t *)data + i->k, sizeof a);
        else if (i->code == (BPF_JMP | BPF_JEQ | BPF_K))
            at += a == i->k ? i->jt : i->jf;
        else if (i->code == (BPF_RET | BPF_K))
            return i->k;
        else
            return 1;
    }
    return 2;
}

static uint32_t verdict(uint64_t instruction, uint32_t call, const uint64_t arguments[6])
{
    struct seccomp_data data = {.nr = (int)call, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = instruction};
    for (int i = 0; i < 6; i++)
        data.args[i] = arguments[i];
    return run(&data);
}

static int allows(uint64_t instruction, uint32_t call, const uint64_t arguments[6])
{
    return verdict(instruction, call, arguments) != SECCOMP_RET_TRAP;
}

TEST(layout_has_guards)
{
    for (uint64_t random = 0; random < 64; random++) {
        struct layout made;
        layout_make(&made, &image, random * 0x9e3779b97f4a7c15u);
        expect(made.base % LAYOUT_ALIGNMENT == 0 && made.base >= LAYOUT_BASE_MIN);
        expect(made.end + LAYOUT_PAGE < LAYOUT_USER_END);
        const uint64_t parts[][2] = {
            {made.zygote, made.zygote + LAYOUT_PAGE},
            {made.gate, made.gate + LAYOUT_PAGE},
            {made.image, made.image + made.image_bytes},
            {made.arena, made.arena + made.arena_bytes},
            {made.stack, made.stack + made.stack_bytes},
            {made.boot, made.input + ABI_INPUT_BYTES},
            {made.output, made.end},
        };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            expect(parts[i][0] % LAYOUT_PAGE == 0 &&
                   parts[i][0] >= (i == 0 ? made.base : parts[i - 1][1]) + LAYOUT_PAGE);
    }
}

// The call of another rule of the same instruction.
static int is_anothers(size_t of, const uint64_t arguments[6])
{
    for (size_t i = 0; i < rule_count; i++)
        if (i != of && rules[i].call.instruction_pointer == rules[of].call.instruction_pointer &&
            rules[i].call.nr == rules[of].call.nr &&
            memcmp(rules[i].call.args, arguments, rules[i].pinned * sizeof arguments[0]) == 0)
            return 1;
    return 0;
}

// Each rule allows its call, and nothing else at that address that no other rule allows: another call, another argument.
TEST(each_rule_pins)
{
    for (size_t i = 0; i < rule_count; i++) {
        uint64_t instruction = rules[i].call.instruction_pointer, arguments[6];
        uint32_t own = (uint32_t)rules[i].call.nr;
        memcpy(arguments, rules[i].call.args, sizeof arguments);
        expect(verdict(instruction, own, arguments) == rules[i].verdict);
        expect(!allows(instruction + 1, own, arguments));
        expect(!allows(instruction + (1ull << 32), own, arguments));
        for (uint32_t call = 0; call < 600; call++)
            expect(allows(instruction, call, arguments) == (call == own));
        expect(!allows(instruction, own | 0x40000000u, arguments)); // x32
        for (unsigned k = 0; k < 6; k++)
            for (unsigned bit = 0; bit < 64; bit++) {
                arguments[k] ^= 1ull << bit;
                expect(allows(instruction, own, arguments) == (k >= rules[i].pinned || is_anothers(i, arguments)));
                arguments[k] ^= 1ull << bit;
            }
    }
}

// One is told to the tender, the other unmaps a page that is gone: the kernel does nothing for a guest.
TEST(a_guest_reaches_two_rules)
{
    unsigned reachable = 0;
    for (size_t i = 0; i < rule_count; i++)
        reachable += rules[i].call.instruction_pointer - layout.gate < LAYOUT_PAGE;
    expect(reachable == 2);
    expect(rules[0].call.nr == GATE_CALL && rules[0].verdict == SECCOMP_RET_USER_NOTIF);
    expect(rules[1].call.nr == SYS_munmap && rules[1].call.args[0] == layout.zygote);
    uint64_t none[6] = {0};
    for (uint32_t call = 0; call < 600; call++)
        expect(!allows(layout.image + 16, call, none) && !allows(layout.arena, call, none));
}

TEST(another_abi_is_refused)
{
    struct seccomp_data data = {.nr = GATE_CALL, .arch = AUDIT_ARCH_I386,
                                .instruction_pointer = rules[0].call.instruction_pointer};
    expect(run(&data) == SECCOMP_RET_TRAP);
    data.arch = AUDIT_ARCH_X86_64;
    expect(run(&data) == SECCOMP_RET_USER_NOTIF);
}

// `syscall` instructions of the gate, at any offset: exactly the two that rules name.
TEST(gate_has_two_system_calls)
{
    unsigned found = 0;
    for (const uint8_t *at = gate_begin; at + 1 < gate_end; at++)
        if (at[0] == 0x0f && at[1] == 0x05) {
            found++;
            expect(at + 2 == gate_after_wait || at + 2 == gate_after_munmap);
        }
    expect(found == 2);
    expect(gate_end - gate_begin < 4096 && zygote_end - zygote_begin < 4096);
}

int main(void)
{
    layout_make(&layout, &image, 12345);
    rule_count = filter_rules(&layout, rules);
    code_size = filter_compile(rules, rule_count, code);
    RUN(layout_has_guards);
    RUN(each_rule_pins);
    RUN(a_guest_reaches_two_rules);
    RUN(another_abi_is_refused);
    RUN(gate_has_two_system_calls);
    TEST_END();
}
