// SPDX-License-Identifier: ISC
// The gate: the only code of ours that a guest can reach. Assembly, less than 60 instructions.
//
// gate_wait, at offset 0, is wait(): one `syscall` that the filter hands to the tender. The kernel does
// not carry it out; it tells the tender who called from where, and holds the caller until the
// tender answers. So an instance that the tender was told of is blocked here, and only the tender moves it.
//
// It returns with every register that a function may change loaded with a constant, so that
// nothing of the kernel's, the host's or an earlier event's is left in one. xrstor from an area of zeroes
// puts x87, SSE, AVX and whatever else the CPU keeps into its initial state in one instruction. The
// registers that a function must preserve lie on the guest's stack while it waits. So a pristine instance
// needs nothing but pristine memory and its stack pointer, which the host leaves in the boot block.
//
// gate_enter is how an instance begins: it removes the page that can fork, then waits (rdi: its slot).
//
// A guest may jump anywhere in here with any registers. The filter therefore pins both calls to
// their address and munmap to its arguments (filter.c), and the tender believes nothing of a waiting
// instance but that it waits.
#include "tender/process/gate.h"

#include "abi/abi.h"
#include "core/mechanism.h"

#include <asm/unistd.h>
#include <stddef.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)
#define BOOT_RESUME 80 // offsetof(struct abi_boot, resume)

// clang-format off
__asm__(
    ".pushsection .rodata.gate, \"a\"\n"
    ".balign 64\n"
    ".global gate_begin, gate_end, gate_parameters, gate_enter\n"
    ".global gate_after_wait, gate_after_munmap\n"
    "gate_begin:\n"
    "    endbr64\n"
    "    push %rbp\n"
    "    push %rbx\n"
    "    push %r12\n"
    "    push %r13\n"
    "    push %r14\n"
    "    push %r15\n"
    "    mov %rsp, %rdi\n"
    "gate_call:\n"
    "    mov $" TEXT(GATE_CALL) ", %eax\n"
    "    syscall\n"
    "gate_after_wait:\n"
    "    test %rax, %rax\n"
    "    jnz 1f\n"                     // the tender is gone
    "    mov gate_parameters+8(%rip), %rdi\n"
    "    mov " TEXT(BOOT_RESUME) "(%rdi), %rcx\n"
    "    test %rcx, %rcx\n"
    "    cmovnz %rcx, %rsp\n"
#if MECHANISM(CLEAN_REGISTERS)
    "    mov %eax, %ds\n"
    "    mov %eax, %es\n"
    "    mov %eax, %fs\n"
    "    mov %eax, %gs\n"
    "    mov $-1, %eax\n"
    "    mov $-1, %edx\n"
    "    xrstor64 gate_state(%rip)\n"
    "    xor %eax, %eax\n"
    "    xor %ecx, %ecx\n"
    "    xor %edx, %edx\n"
    "    xor %esi, %esi\n"
    "    xor %r8d, %r8d\n"
    "    xor %r9d, %r9d\n"
    "    xor %r10d, %r10d\n"
    "    xor %r11d, %r11d\n"
#endif
    "    pop %r15\n"
    "    pop %r14\n"
    "    pop %r13\n"
    "    pop %r12\n"
    "    pop %rbx\n"
    "    pop %rbp\n"
#if MECHANISM(CLEAN_REGISTERS)
    "    push $0x202\n"                // flags: interrupts, nothing else
    "    popfq\n"
#endif
    "    ret\n"
    "gate_enter:\n"
#if MECHANISM(UNMAP_ZYGOTE)
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    mov gate_parameters(%rip), %rdi\n"
    "    mov $4096, %esi\n"
    "    syscall\n"
    "gate_after_munmap:\n"
#else
    "    xor %eax, %eax\n"
    "gate_after_munmap:\n"
#endif
    "    mov %r12, %rdi\n"
    "    test %rax, %rax\n"
    "    jz gate_call\n"
    "1:  ud2\n"
    "    .balign 8\n"
    "gate_parameters:\n"
    "    .fill 2, 8, 0\n"
    // An XSAVE area whose header says "all components initial"; MXCSR is loaded all the same.
    "    .balign 64\n"
    "gate_state:\n"
    "    .fill 24, 1, 0\n"
    "    .long 0x1f80\n"
    "    .fill 548, 1, 0\n"
    "gate_end:\n"
    ".popsection\n");
// clang-format on

_Static_assert(offsetof(struct abi_boot, resume) == BOOT_RESUME, "BOOT_RESUME");
_Static_assert(sizeof(struct gate_parameters) == 16, "gate_parameters");
