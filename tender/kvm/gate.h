// SPDX-License-Identifier: ISC
// The gate page of a virtual machine: the only code of ours in a guest's reach.
#ifndef CRENEL_TENDER_KVM_GATE_H
#define CRENEL_TENDER_KVM_GATE_H

#include <stdint.h>

// What wait() leaves on the guest's stack, from its stack pointer up; a fresh instance starts with the same.
struct kvm_gate_frame {
    uint64_t r15, r14, r13, r12, rbx, rbp;
    uint64_t after; // where it goes on: the caller of wait(), or the image's entry
};

// Labels of assembly; not variables.
extern const uint8_t kvm_gate_begin[], kvm_gate_return[], kvm_gate_end[];

#endif
