// SPDX-License-Identifier: ISC
// The gate: the only code of ours that a guest can reach. Assembly, less than 60 instructions.
//
// gate_wait, at offset 0, is wait(): tell the host, block until it answers, return with every
// register that a function may change loaded with a constant, so that nothing of the kernel's, the
// host's or an earlier event's is left in one. xrstor from an area of zeroes puts x87, SSE, AVX and
// whatever else the CPU keeps into its initial state in one instruction.
//
// gate_enter is how an instance becomes guest: it removes the page that can fork, then starts
// the image with nothing in its registers but the boot block's address.
//
// A guest may jump anywhere in here with any registers. The filter therefore pins calls and
// arguments (filter.c): read(0, any, 8), write(1, any, 8), munmap(the zygote's page). None of them gives
// a guest more than calling wait() does.
#include "tender/process/gate.h"

#include <asm/unistd.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

// clang-format off
__asm__(
    ".pushsection .rodata.gate, \"a\"\n"
    ".balign 64\n"
    ".global gate_begin, gate_end, gate_parameters, gate_enter\n"
    ".global gate_after_write, gate_after_read, gate_after_munmap\n"
    "gate_begin:\n"
    "    endbr64\n"
    "    mov $" TEXT(__NR_write) ", %eax\n"
    "    mov $" TEXT(GATE_PUBLISH_FD) ", %edi\n"
    "    lea gate_one(%rip), %rsi\n"
    "    mov $8, %edx\n"
    "    syscall\n"
    "gate_after_write:\n"
    "    mov $" TEXT(__NR_read) ", %eax\n"
    "    mov $" TEXT(GATE_WAKE_FD) ", %edi\n"
    "    lea -8(%rsp), %rsi\n"
    "    mov $8, %edx\n"
    "    syscall\n"
    "gate_after_read:\n"
    "    movq $0, -8(%rsp)\n"
    "gate_clear:\n"
    "    mov $-1, %eax\n"
    "    mov $-1, %edx\n"
    "    xrstor64 gate_state(%rip)\n"
    "    xor %eax, %eax\n"
    "    xor %ecx, %ecx\n"
    "    xor %edx, %edx\n"
    "    xor %esi, %esi\n"
    "    xor %edi, %edi\n"
    "    xor %r8d, %r8d\n"
    "    xor %r9d, %r9d\n"
    "    xor %r10d, %r10d\n"
    "    xor %r11d, %r11d\n"
    "    push $0x202\n"                // flags: interrupts, nothing else
    "    popfq\n"
    "    ret\n"
    "gate_enter:\n"
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    mov gate_parameters(%rip), %rdi\n"
    "    mov $4096, %esi\n"
    "    syscall\n"
    "gate_after_munmap:\n"
    "    test %rax, %rax\n"
    "    jnz 1f\n"
    "    mov gate_parameters+8(%rip), %rsp\n"
    "    xor %ebx, %ebx\n"
    "    xor %ebp, %ebp\n"
    "    xor %r12d, %r12d\n"
    "    xor %r13d, %r13d\n"
    "    xor %r14d, %r14d\n"
    "    xor %r15d, %r15d\n"
    // The tail of wait() clears the rest; it returns to gate_start, and that to the image's entry.
    "    push gate_parameters+24(%rip)\n"
    "    lea gate_start(%rip), %rax\n"
    "    push %rax\n"
    "    jmp gate_clear\n"
    "gate_start:\n"
    "    mov gate_parameters+16(%rip), %rdi\n"
    "    ret\n"
    "1:  ud2\n"
    "    .balign 8\n"
    "gate_one:\n"
    "    .quad 1\n"
    "gate_parameters:\n"
    "    .fill 4, 8, 0\n"
    // An XSAVE area whose header says "all components initial"; MXCSR is loaded all the same.
    "    .balign 64\n"
    "gate_state:\n"
    "    .fill 24, 1, 0\n"
    "    .long 0x1f80\n"
    "    .fill 548, 1, 0\n"
    "gate_end:\n"
    ".popsection\n");
// clang-format on

_Static_assert(sizeof(struct gate_parameters) == 32, "gate_parameters");
