// SPDX-License-Identifier: ISC
// The zygote's page: the loop that forks instances, in assembly because nothing else is mapped.
//
// It runs when the zygote has mapped the image and installed the filter (zygote.c). It uses no
// stack, and of memory only 16 bytes of the output region's placeholder, over which an instance maps
// its own slice. The zygote itself never runs guest code: init of the guest runs in each instance,
// because a process that may clone must not be one that a guest can take over.
//
//   unmap everything but the region
//   repeat: read a slot; clone with the tender as parent; tell it {pid, slot}
//   child:  die with the tender; map boot+input read-only and output read-write; move the slot's
//           two eventfds to 0 and 1; close the rest; wait until the tender traces it; gate_enter
//
// Any failure ends in ud2: the process dies and the tender sees it.
#include "tender/process/gate.h"

#include <asm/unistd.h>

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)

// clang-format off
__asm__(
    ".pushsection .rodata.zygote, \"a\"\n"
    ".balign 64\n"
    ".global zygote_begin, zygote_end, zygote_parameters\n"
    ".global zygote_after_fs, zygote_after_low, zygote_after_high, zygote_after_command\n"
    ".global zygote_after_clone, zygote_after_reply, zygote_after_death, zygote_after_parent\n"
    ".global zygote_after_boot, zygote_after_output, zygote_after_wake, zygote_after_publish\n"
    ".global zygote_after_close, zygote_after_go\n"
    "zygote_begin:\n"
    "    mov zygote_scratch(%rip), %rbx\n"
    // arch_prctl(ARCH_SET_FS, 0): forget the tender's thread block
    "    mov $" TEXT(__NR_arch_prctl) ", %eax\n"
    "    mov $0x1002, %edi\n"
    "    xor %esi, %esi\n"
    "    syscall\n"
    "zygote_after_fs:\n"
    // munmap(0, low), munmap(high, to the end of user addresses)
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    xor %edi, %edi\n"
    "    mov zygote_low_bytes(%rip), %rsi\n"
    "    syscall\n"
    "zygote_after_low:\n"
    "    mov $1, %r12d\n"              // step 1, should it have failed
    "    test %rax, %rax\n"
    "    jnz zygote_failed\n"
    "    mov $" TEXT(__NR_munmap) ", %eax\n"
    "    mov zygote_high(%rip), %rdi\n"
    "    mov zygote_high_bytes(%rip), %rsi\n"
    "    syscall\n"
    "zygote_after_high:\n"
    "    mov $2, %r12d\n"
    "    test %rax, %rax\n"
    "    jnz zygote_failed\n"
    "zygote_loop:\n"
    "    mov $" TEXT(__NR_read) ", %eax\n"
    "    mov $" TEXT(ZYGOTE_COMMAND_FD) ", %edi\n"
    "    mov %rbx, %rsi\n"
    "    mov $8, %edx\n"
    "    syscall\n"
    "zygote_after_command:\n"
    "    cmp $8, %rax\n"               // 0: the tender closed the pipe, this zygote is retired
    "    jne zygote_die\n"
    "    mov (%rbx), %r12\n"           // slot
    "    movq $0, (%rbx)\n"
    "    mov $" TEXT(__NR_clone) ", %eax\n"
    "    mov $0x8011, %edi\n"          // CLONE_PARENT | SIGCHLD
    "    xor %esi, %esi\n"
    "    xor %edx, %edx\n"
    "    xor %r10d, %r10d\n"
    "    xor %r8d, %r8d\n"
    "    syscall\n"
    "zygote_after_clone:\n"
    "    test %rax, %rax\n"
    "    jz zygote_child\n"
    "zygote_failed:\n"                 // pid, or minus errno and the step
    "    mov %rax, (%rbx)\n"
    "    mov %r12, 8(%rbx)\n"
    "    mov $" TEXT(__NR_write) ", %eax\n"
    "    mov $" TEXT(ZYGOTE_REPLY_FD) ", %edi\n"
    "    mov %rbx, %rsi\n"
    "    mov $16, %edx\n"
    "    syscall\n"
    "zygote_after_reply:\n"
    "    cmp $16, %rax\n"
    "    jne zygote_die\n"
    "    cmpq $0, (%rbx)\n"
    "    jg zygote_loop\n"
    "zygote_die:\n"
    "    ud2\n"
    "zygote_child:\n"
    // prctl(PR_SET_PDEATHSIG, SIGKILL); then the parent must still be the tender
    "    mov $" TEXT(__NR_prctl) ", %eax\n"
    "    mov $1, %edi\n"
    "    mov $9, %esi\n"
    "    syscall\n"
    "zygote_after_death:\n"
    "    mov $" TEXT(__NR_getppid) ", %eax\n"
    "    syscall\n"
    "zygote_after_parent:\n"
    "    cmp zygote_tender(%rip), %rax\n"
    "    jne zygote_die\n"
    // mmap(boot, 32 KiB, PROT_READ, MAP_SHARED | MAP_FIXED, pool, slot * 64 KiB)
    "    mov %r12, %r13\n"
    "    shl $16, %r13\n"
    "    mov $" TEXT(__NR_mmap) ", %eax\n"
    "    mov zygote_boot(%rip), %rdi\n"
    "    mov $0x8000, %esi\n"
    "    mov $1, %edx\n"
    "    mov $0x11, %r10d\n"
    "    mov $" TEXT(ZYGOTE_POOL_FD) ", %r8d\n"
    "    mov %r13, %r9\n"
    "    syscall\n"
    "zygote_after_boot:\n"
    "    cmp zygote_boot(%rip), %rax\n"
    "    jne zygote_die\n"
    // mmap(output, 32 KiB, PROT_READ | PROT_WRITE, the same, slot * 64 KiB + 32 KiB)
    "    mov $" TEXT(__NR_mmap) ", %eax\n"
    "    mov zygote_output(%rip), %rdi\n"
    "    mov $0x8000, %esi\n"
    "    mov $3, %edx\n"
    "    mov $0x11, %r10d\n"
    "    mov $" TEXT(ZYGOTE_POOL_FD) ", %r8d\n"
    "    lea 0x8000(%r13), %r9\n"
    "    syscall\n"
    "zygote_after_output:\n"
    "    cmp zygote_output(%rip), %rax\n"
    "    jne zygote_die\n"
    // dup2(events + 2 * slot, 0), dup2(events + 2 * slot + 1, 1), close_range(2, all)
    "    mov $" TEXT(__NR_dup2) ", %eax\n"
    "    lea " TEXT(ZYGOTE_EVENT_FD) "(%r12,%r12), %rdi\n"
    "    mov $" TEXT(GATE_WAKE_FD) ", %esi\n"
    "    syscall\n"
    "zygote_after_wake:\n"
    "    test %rax, %rax\n"
    "    jnz zygote_die\n"
    "    mov $" TEXT(__NR_dup2) ", %eax\n"
    "    lea " TEXT(ZYGOTE_EVENT_FD) "+1(%r12,%r12), %rdi\n"
    "    mov $" TEXT(GATE_PUBLISH_FD) ", %esi\n"
    "    syscall\n"
    "zygote_after_publish:\n"
    "    cmp $1, %rax\n"
    "    jne zygote_die\n"
    "    mov $" TEXT(__NR_close_range) ", %eax\n"
    "    mov $2, %edi\n"
    "    mov $0xffffffff, %esi\n"
    "    xor %edx, %edx\n"
    "    syscall\n"
    "zygote_after_close:\n"
    "    test %rax, %rax\n"
    "    jnz zygote_die\n"
    // Not a single guest instruction before the tender traces this process.
    "    mov $" TEXT(__NR_read) ", %eax\n"
    "    mov $" TEXT(GATE_WAKE_FD) ", %edi\n"
    "    mov %rbx, %rsi\n"
    "    mov $8, %edx\n"
    "    syscall\n"
    "zygote_after_go:\n"
    "    movq $0, (%rbx)\n"
    "    jmp *zygote_enter(%rip)\n"
    "    .balign 8\n"
    "zygote_parameters:\n"
    "zygote_scratch:    .quad 0\n"
    "zygote_low_bytes:  .quad 0\n"
    "zygote_high:       .quad 0\n"
    "zygote_high_bytes: .quad 0\n"
    "zygote_boot:       .quad 0\n"
    "zygote_output:     .quad 0\n"
    "zygote_enter:      .quad 0\n"
    "zygote_tender:     .quad 0\n"
    "zygote_end:\n"
    ".popsection\n");
// clang-format on

_Static_assert(sizeof(struct zygote_parameters) == 64, "zygote_parameters");
