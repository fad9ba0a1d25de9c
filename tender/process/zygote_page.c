// SPDX-License-Identifier: ISC
// The zygote's page: the loop that forks instances, in assembly because nothing else is mapped.
//
// It runs when the zygote has mapped the image and installed the filter (zygote.c). It uses no
// memory but its own page. The zygote itself never runs guest code: init of the guest runs in
// an instance, because a process that may clone must not be one that a guest can take over.
//
//   close the host log, and the pipe that says that the filter stands; unmap everything but the region
//   repeat: ask the tender (the gate's call, from here): "done, or minus errno, at step"; the answer is a slot + 1.
//           clone with the tender as parent
//   child:  map the slot's slice; close all descriptors; gate_enter with the slot
//
// A child that fails ends in ud2: the tender sees its end.
#include "tender/process/gate.h"

#include "core/mechanism.h"

#include <asm/unistd.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

// clang-format off
__asm__(
    ".pushsection .rodata.zygote, \"a\"\n"
    ".balign 64\n"
    ".global zygote_begin, zygote_end, zygote_parameters\n"
    ".global zygote_after_pipe, zygote_after_fs, zygote_after_low, zygote_after_high, zygote_after_command\n"
    ".global zygote_after_clone, zygote_after_map, zygote_after_close\n"
    "zygote_begin:\n"
    "    mov $" TEXT(__NR_close_range) ", %eax\n"
    "    mov $2, %edi\n"
    "    mov $0xffffffff, %esi\n"
    "    xor %edx, %edx\n"
    "    syscall\n"
    "zygote_after_pipe:\n"
    // arch_prctl(ARCH_SET_FS, 0): forget the tender's thread block
    "    mov $" TEXT(__NR_arch_prctl) ", %eax\n"
    "    mov $0x1002, %edi\n"
    "    xor %esi, %esi\n"
    "    syscall\n"
    "zygote_after_fs:\n"
#if MECHANISM(UNMAP_TENDER)
    // munmap(0, low), munmap(high, to the end of user addresses)
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    xor %edi, %edi\n"
    "    mov zygote_parameters(%rip), %rsi\n"
    "    syscall\n"
    "zygote_after_low:\n"
    "    mov $1, %r12d\n"              // step 1, should it have failed
    "    test %rax, %rax\n"
    "    jnz zygote_loop\n"
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    mov zygote_parameters+8(%rip), %rdi\n"
    "    mov zygote_parameters+16(%rip), %rsi\n"
    "    syscall\n"
    "zygote_after_high:\n"
    "    mov $2, %r12d\n"
#else
    "zygote_after_low: zygote_after_high: xor %eax, %eax\n"
#endif
    "zygote_loop:\n"
    "    mov %rax, %rdi\n"
    "    mov %r12, %rsi\n"
    "    mov $" TEXT(GATE_CALL) ", %eax\n"
    "    syscall\n"
    "zygote_after_command:\n"
    "    sub $1, %rax\n"
    "    js zygote_die\n"              // the tender is gone
    "    mov %rax, %r13\n"             // slot
    "    mov $" TEXT(__NR_clone) ", %eax\n"
    "    mov $0x8011, %edi\n"          // CLONE_PARENT | SIGCHLD
    "    xor %esi, %esi\n"
    "    xor %edx, %edx\n"
    "    xor %r10d, %r10d\n"
    "    xor %r8d, %r8d\n"
    "    syscall\n"
    "zygote_after_clone:\n"
    "    mov $3, %r12d\n"
    "    test %rax, %rax\n"
    "    jnz zygote_loop\n"
    // mmap(address, bytes, protection, MAP_SHARED | MAP_FIXED, pool, slot * slice_bytes + offset) for each part
    "    mov %r13, %r12\n"
    "    imul zygote_parameters+32(%rip), %r13\n"
    "    mov zygote_parameters+40(%rip), %r14\n"
    "    lea zygote_parameters+48(%rip), %r15\n"
    "1:  mov $" TEXT(__NR_mmap) ", %eax\n"
    "    mov (%r15), %rdi\n"
    "    mov 8(%r15), %rsi\n"
    "    mov 16(%r15), %rdx\n"
    "    mov $0x11, %r10d\n"
    "    mov $" TEXT(ZYGOTE_POOL_FD) ", %r8d\n"
    "    mov 24(%r15), %r9\n"
    "    add %r13, %r9\n"
    "    syscall\n"
    "zygote_after_map:\n"
    "    cmp (%r15), %rax\n"
    "    jne zygote_die\n"
    "    add $32, %r15\n"
    "    dec %r14\n"
    "    jnz 1b\n"
#if MECHANISM(NO_DESCRIPTORS)
    "    mov $" TEXT(__NR_close_range) ", %eax\n"
    "    xor %edi, %edi\n"
    "    mov $0xffffffff, %esi\n"
    "    xor %edx, %edx\n"
    "    syscall\n"
    "zygote_after_close:\n"
    "    test %rax, %rax\n"
    "    jnz zygote_die\n"
#else
    "zygote_after_close:\n"
#endif
    "    jmp *zygote_parameters+24(%rip)\n"
    "zygote_die:\n"
    "    ud2\n"
    "    .balign 8\n"
    "zygote_parameters:\n"
    "    .fill 26, 8, 0\n"
    "zygote_end:\n"
    ".popsection\n");
// clang-format on

_Static_assert(sizeof(struct zygote_parameters) == 26 * 8, "zygote_parameters");
