// SPDX-License-Identifier: ISC
// The zygote's page: the loop that forks instances, in assembly because nothing else is mapped.
//
// It runs when the zygote has mapped the image and installed the filter (zygote.c). It uses no
// memory but its own page. The zygote itself never runs guest code: init of the guest runs in
// an instance, because a process that may clone must not be one that a guest can take over.
//
// All that it does are the calls of a list (filter.c), one after the other, from one instruction. From the call that
// forks on, what returns something else than the list says goes to the tender (the gate's call, from here: "this
// returned, from this call"): an error, which ends the tender; in the zygote a child's number. The answer is a slot + 1,
// and the list goes on at the call that forks, with the tender as parent. The child goes on behind it, and ends with
// gate_enter and the slot. A child that fails ends in ud2: the tender sees its end.
#include "tender/process/gate.h"

#include <stddef.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

// clang-format off
__asm__(
    ".pushsection .rodata.zygote, \"a\"\n"
    ".balign 64\n"
    ".global zygote_begin, zygote_end, zygote_parameters, zygote_after_call, zygote_after_command\n"
    "zygote_begin:\n"
    "    lea zygote_parameters+16(%rip), %rbx\n"
    "    lea " TEXT(ZYGOTE_FORK) "*64(%rbx), %r15\n"
    "    xor %r13d, %r13d\n"          // where the slot's slice begins
    "1:  mov (%rbx), %rax\n"
    "    test %rax, %rax\n"
    "    jz 3f\n"
    "    mov 8(%rbx), %rdi\n"
    "    mov 16(%rbx), %rsi\n"
    "    mov 24(%rbx), %rdx\n"
    "    mov 32(%rbx), %r10\n"
    "    mov 40(%rbx), %r8\n"
    "    mov 48(%rbx), %r9\n"
    "    add %r13, %r9\n"
    "    syscall\n"
    "zygote_after_call:\n"
    "    cmp 56(%rbx), %rax\n"
    "    jne 2f\n"
    "    add $64, %rbx\n"
    "    cmp %r15, %rbx\n"
    "    jne 1b\n"
    "2:  cmp %r15, %rbx\n"
    "    ja 4f\n"
    "    mov %rax, %rdi\n"
    "    mov (%rbx), %rsi\n"
    "    mov $" TEXT(GATE_CALL) ", %eax\n"
    "    syscall\n"
    "zygote_after_command:\n"
    "    sub $1, %rax\n"
    "    js 4f\n"                     // the tender is gone
    "    mov %rax, %r12\n"
    "    mov %rax, %r13\n"
    "    imul zygote_parameters+8(%rip), %r13\n"
    "    mov %r15, %rbx\n"
    "    jmp 1b\n"
    "3:  jmp *zygote_parameters(%rip)\n"
    "4:  ud2\n"
    "    .balign 8\n"
    "zygote_parameters:\n"
    "    .fill 2 + 8 * " TEXT(ZYGOTE_CALLS_MAX) ", 8, 0\n"
    "zygote_end:\n"
    ".popsection\n");
// clang-format on

_Static_assert(sizeof(struct zygote_call) == 64 && offsetof(struct zygote_call, result) == 56, "zygote_call");
_Static_assert(sizeof(struct zygote_parameters) == 8 * (2 + 8 * ZYGOTE_CALLS_MAX), "zygote_parameters");
