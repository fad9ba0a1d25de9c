// SPDX-License-Identifier: ISC
// The doors that the processor has beside `syscall`, and the one door that the tender gives: the gate, entered
// anywhere, with anything in the registers and on the stack.
#include "tests/attack/attack.h"

#include <stdio.h>
#include <sys/syscall.h>

GUEST(sysenter)
{
    (void)next_act(boot);
    __asm__ volatile("mov %%rsp, %%rbp\n sysenter" : : "a"(20) : "memory");
    escaped(boot, 1);
}

// To the 32-bit code segment, where `syscall` and `int 0x80` mean other calls.
GUEST(far_return)
{
    (void)next_act(boot);
    __asm__ volatile("push $0x23\n lea 1f(%%rip), %%rax\n push %%rax\n lretq\n1: nop" : : : "rax", "memory");
    escaped(boot, 1);
}

GUEST(far_jump)
{
    (void)next_act(boot);
    uint64_t pointer[2] = {(uint64_t)(uintptr_t)__start_attack_far_jump, 0x23};
    __asm__ volatile("ljmp *%0" : : "m"(pointer) : "memory");
    escaped(boot, 1);
}

// iretq to the kernel's own code and stack segments.
GUEST(iret_to_ring_0)
{
    (void)next_act(boot);
    __asm__ volatile("mov %%rsp, %%rcx\n push $0x18\n push %%rcx\n push $0x202\n push $0x10\n"
                     "lea 1f(%%rip), %%rax\n push %%rax\n iretq\n1: nop" : : : "rax", "rcx", "memory");
    escaped(boot, 1);
}

GUEST(single_step)
{
    (void)next_act(boot);
    __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop" : : : "memory", "cc");
    escaped(boot, 1);
}

// I/O privilege asked for in the flags.
GUEST(io_privilege)
{
    (void)next_act(boot);
    __asm__ volatile("pushfq\n orl $0x3000, (%%rsp)\n popfq\n out %%al, $0x80" : : "a"(0) : "memory", "cc");
    escaped(boot, 1);
}

// int N for the vector in word 1: the instruction is written out for each of them.
GUEST(interrupt)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t target;
    __asm__ volatile("lea 1f(%%rip), %0\n lea (%0,%1,4), %0\n jmp *%0\n"
                     "1: .set vector, 0\n .rept 256\n .byte 0xcd, vector, 0xeb, 0xfe\n .set vector, vector + 1\n .endr"
                     : "=&r"(target) : "r"(words[1]) : "memory");
    escaped(boot, 1);
}

GUEST(vsyscall)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t result = ((uint64_t (*)(uint64_t))(uintptr_t)words[1])(boot->output + 1024);
    escaped(boot, result);
}

// Jumps to the offset in the gate's page with hostile registers: word 1 offset, 2 rax, 3 rdi, 4 rsi, 5 rdx.
// All others point into the guest's own output.
GUEST(gate_jump)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t pointer = boot->output + 4096, rax = words[2];
    register uint64_t a4 __asm__("r10") = pointer;
    register uint64_t a5 __asm__("r8") = words[6];
    register uint64_t a6 __asm__("r9") = pointer;
    __asm__ volatile("mov %[p], %%r12\n mov %[p], %%r13\n mov %[p], %%r14\n mov %[p], %%r15\n"
                     "push %%rbp\n mov %%rcx, %%rbp\n call *%%rbx\n pop %%rbp"
                     : "+a"(rax)
                     : "D"(words[3]), "S"(words[4]), "d"(words[5]), "r"(a4), "r"(a5), "r"(a6), "b"(boot->gate + words[1]),
                       [p] "c"(pointer)
                     : "r11", "r12", "r13", "r14", "r15", "memory");
    escaped(boot, 0x900d);
}

// A stack of return addresses into the gate, each at the offset in word 1: one wait() after the other, or a chain
// of its pieces.
GUEST(gate_chain)
{
    const volatile uint64_t *words = next_act(boot);
    volatile uint64_t *stack = (volatile uint64_t *)(uintptr_t)(boot->arena + 4096);
    for (unsigned i = 0; i < 64; i++)
        stack[i] = boot->gate + words[1];
    __asm__ volatile("mov %0, %%rsp\n ret" : : "r"(stack), "a"(words[2]), "D"(words[3]), "S"(words[4]) : "memory");
    escaped(boot, 1);
}

// wait() with a stack that is not there.
GUEST(gate_without_stack)
{
    const volatile uint64_t *words = next_act(boot);
    __asm__ volatile("mov %0, %%rsp\n jmp *%1" : : "r"(words[1]), "r"(boot->gate + 4) : "memory");
    escaped(boot, 1);
}

#define GATE_BYTES 1200u // code and constants of the gate, and some behind
#define GATE_CODE_BYTES 128u // under kvm, where each fault costs a machine

// Any outcome but a process, a message or a tender that is gone: of those the stage tells by itself.
static void play_every_byte(struct stage *stage, const struct attack *attack)
{
    unsigned faults = 0, waits = 0, returns = 0;
    unsigned bytes_tried = stage->wall == ATTACK_KVM ? GATE_CODE_BYTES : GATE_BYTES;
    for (uint64_t at = 0; at < bytes_tried; at++) {
        uint64_t words[ACT_WORDS] = {1, at, attack->words[2], attack->words[3], attack->words[4], attack->words[5],
                                     attack->words[6]};
        stage_event(stage, words);
        faults += stage->effects.outcome == LINK_FAULT;
        waits += stage->effects.outcome == LINK_CONTRACT || stage->effects.outcome == LINK_DEADLINE;
        returns += stage->effects.outcome == LINK_ENDED;
        size_t bytes = 0;
        const uint64_t *message = stage_message(stage, &bytes);
        if (message != NULL && message[0] != 0x900d)
            stage_fail(stage, "NOT CONTAINED: a message of another's");
        if (stage->effects.outcome == LINK_LOST || stage->effects.outcome == LINK_REFUSED)
            stage_fail(stage, "NOT CONTAINED: offset %u is lost", (unsigned)at);
        if (stage->has_failed)
            return;
    }
    stage_note(stage, "%u offsets: %u faults, %u waits that say nothing, %u returns", bytes_tried, faults, waits, returns);
}

static void play_interrupts(struct stage *stage, const struct attack *attack)
{
    unsigned ignored = 0;
    for (uint64_t vector = 0; vector < 256; vector++) {
        char what[32];
        uint64_t words[ACT_WORDS] = {1, vector};
        stage_event(stage, words);
        snprintf(what, sizeof what, "int 0x%x", (unsigned)vector);
        stage_judge(stage, attack_expected(stage, attack), what);
        ignored += stage->effects.outcome == LINK_DEADLINE;
    }
    if (!stage->has_failed)
        stage_note(stage, "%u vectors fault, %u do nothing", 256 - ignored, ignored);
}

static void play_vsyscall(struct stage *stage, const struct attack *attack)
{
    static const uint64_t places[] = {0xffffffffff600000, 0xffffffffff600400, 0xffffffffff600800, 0xffffffffff600009,
                                      0xffffffffff600ffe, 0xffffffffff601000};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint64_t words[ACT_WORDS] = {1, places[i]};
        stage_event(stage, words);
        stage_judge(stage, attack_expected(stage, attack), "");
    }
}

#define ANY_END {.is_fault = 1, .is_contract = 1, .is_deadline = 1, .is_ended = 1}
#define STOPPED {.is_fault = 1, .is_contract = 1, .is_deadline = 1}
#define FAULT(...) {.is_fault = 1, .signals = __VA_ARGS__}
#define SEGV (1u << SIGSEGV)
#define ILL (1u << SIGILL)
#define DEVICES (1u << SIGSYS | SEGV | ILL | 1u << SIGTRAP | 1u << SIGFPE | 1u << SIGBUS)
#define EVERY_BYTE(NAME, ...)                                                                      \
    {                                                                                              \
        .name = NAME, .mechanism = {"filter at one address", "gate without code"}, .guest = &guest_gate_jump, \
        .options = {.deadline_ms = 50}, .words = {1, 0, __VA_ARGS__}, .process = ANY_END,          \
        .kvm = ANY_END, .play = play_every_byte                                                    \
    }

static const struct attack attacks[] = {
    {.name = "sysenter", .mechanism = {"filter, or the processor", "ring 3"}, .guest = &guest_sysenter, .options = {.is_unscanned = 1},
     .process = FAULT(1u << SIGSYS | SEGV | ILL), .kvm = FAULT(0)},
    {.name = "far_return_to_32_bit", .mechanism = {"base above 4 GiB", "base above 4 GiB"}, .guest = &guest_far_return,
     .process = FAULT(SEGV), .kvm = FAULT(0)},
    {.name = "far_jump_to_32_bit", .mechanism = {"base above 4 GiB", "base above 4 GiB"}, .guest = &guest_far_jump,
     .process = FAULT(SEGV), .kvm = FAULT(0)},
    {.name = "iret_to_ring_0", .mechanism = {"ring 3", "ring 3"}, .guest = &guest_iret_to_ring_0,
     .process = FAULT(SEGV | 1u << SIGBUS), .kvm = FAULT(0)},
    {.name = "single_step", .mechanism = {"traced by the tender", "exception stub"}, .guest = &guest_single_step,
     .process = FAULT(1u << SIGTRAP), .kvm = FAULT(0)},
    {.name = "io_privilege_in_flags", .mechanism = {"ring 3", "ring 3"}, .guest = &guest_io_privilege,
     .process = FAULT(SEGV), .kvm = FAULT(0)},
    {.name = "every_interrupt_vector", .mechanism = {"ring 3, and the filter", "ring 3"}, .guest = &guest_interrupt,
     .options = {.deadline_ms = 100}, .process = FAULT(DEVICES), .kvm = {.is_fault = 1, .is_deadline = 1},
     .play = play_interrupts},
    {.name = "vsyscall_page", .mechanism = {"FILTER", "not mapped"}, .guest = &guest_vsyscall,
     .process = FAULT(1u << SIGSYS | SEGV), .kvm = FAULT(0), .play = play_vsyscall},
    EVERY_BYTE("gate_every_byte_clone", SYS_clone, 0x8011),
    EVERY_BYTE("gate_every_byte_mmap", SYS_mmap, 0, 0x100000, 7, (uint64_t)-1),
    {.name = "rop_chain_of_waits", .mechanism = {"a wait needs a READ or an END", "a wait needs a READ or an END"}, .guest = &guest_gate_chain, .words = {1, 0},
     .options = {.deadline_ms = 100}, .process = STOPPED, .kvm = STOPPED},
    {.name = "rop_chain_into_the_middle", .mechanism = {"filter at one address", "gate without code"},
     .guest = &guest_gate_chain, .words = {1, 4, SYS_execve}, .options = {.deadline_ms = 100}, .process = STOPPED,
     .kvm = STOPPED},
    {.name = "gate_with_a_kernel_stack", .mechanism = {"page tables", "page tables"}, .guest = &guest_gate_without_stack,
     .words = {1, 0xffffffffff600800}, .options = {.deadline_ms = 100}, .process = STOPPED, .kvm = STOPPED},
    {.name = "gate_with_a_stack_at_0", .mechanism = {"page tables", "page tables"}, .guest = &guest_gate_without_stack,
     .words = {1, 8}, .options = {.deadline_ms = 100}, .process = STOPPED, .kvm = STOPPED},
};

struct attack_table attacks_doors(void)
{
    return (struct attack_table){"the processor's doors, and the gate", attacks, sizeof attacks / sizeof attacks[0]};
}
