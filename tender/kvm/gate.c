// SPDX-License-Identifier: ISC
// wait() in a virtual machine. Assembly, 20 instructions.
//
// `int3` is the hypercall: the processor enters the stub (pages.c), whose `hlt` ends KVM_RUN. Nothing of the
// guest's is emulated for that, and no address or port leads out of the machine. The host goes on at
// kvm_gate_return, with every register loaded by itself (machine.c); what is left to do here is the state of
// x87 and SSE, segment registers (which a software KVM has been seen to leave as they were), and to take back what
// a function must keep.
//
// A guest may jump anywhere in here, or bring an `int3` of its own: it stands still until the host lets it go on
// at kvm_gate_return, as if it had called wait().
#include "tender/kvm/gate.h"

#include "core/mechanism.h"

// clang-format off
__asm__(
    ".pushsection .rodata.kvm_gate, \"a\"\n"
    ".balign 64\n"
    ".global kvm_gate_begin, kvm_gate_return, kvm_gate_end\n"
    "kvm_gate_begin:\n"
    "    endbr64\n"
    "    push %rbp\n"
    "    push %rbx\n"
    "    push %r12\n"
    "    push %r13\n"
    "    push %r14\n"
    "    push %r15\n"
    "    int3\n"
    "kvm_gate_return:\n"             // eax is 0
#if MECHANISM(CLEAN_REGISTERS)
    "    mov %eax, %ds\n"
    "    mov %eax, %es\n"
    "    mov %eax, %fs\n"
    "    mov %eax, %gs\n"
    "    fxrstor64 kvm_gate_state(%rip)\n"
#endif
    "    pop %r15\n"
    "    pop %r14\n"
    "    pop %r13\n"
    "    pop %r12\n"
    "    pop %rbx\n"
    "    pop %rbp\n"
    "    ret\n"
    // The initial state: FCW 0x37f, MXCSR 0x1f80, all else zero.
    "    .balign 16\n"
    "kvm_gate_state:\n"
    "    .long 0x37f\n"
    "    .fill 20, 1, 0\n"
    "    .long 0x1f80\n"
    "    .fill 484, 1, 0\n"
    "kvm_gate_end:\n"
    ".popsection\n");
// clang-format on
