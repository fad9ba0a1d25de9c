// SPDX-License-Identifier: ISC
// A virtual machine that runs a few instructions in ring 3, to see what this host's KVM lets them do.
//
// It is built the way a tender builds one: no devices, no interrupt controller, page tables that no user page
// maps, code in a read-only slot, and nothing in ring 0 but one halt for each exception vector. What the tender has
// not: a hole in the address space, whose store is the call to the host and carries a value.
#ifndef CRENEL_HOST_KVM_GUEST_H
#define CRENEL_HOST_KVM_GUEST_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define KVM_GUEST_CODE_MAX 256u

// What the instructions find in registers; every other one is zero.
#define KVM_GUEST_HOLE 0x30000u       // rdi: nothing is there; a store is the call to the host
#define KVM_GUEST_DATA 0x20000u       // rsi: one page to read and write
#define KVM_GUEST_CODE 0x10000u       // rbx: their own page; its page table entry permits writing, its slot does not
#define KVM_GUEST_SUPERVISOR 0x1000u  // rbp: the page tables
// rsp: near the top of the data page.

enum kvm_guest_wall { // bits; each can be left out, to see that a look at it notices
    KVM_GUEST_TSD = 1,       // CR4.TSD: ring 3 has no clock
    KVM_GUEST_CPUID = 2,     // a table of our own: vendor "CrenelCrenel", no feature beyond SSE2
    KVM_GUEST_READONLY = 4,  // the slot of the code
    KVM_GUEST_NX = 8,        // EFER.NXE and the bit of the data page
    KVM_GUEST_NO_XSAVE = 16, // CR4.OSXSAVE and XCR0 hold no AVX
    KVM_GUEST_USER = 32,     // page tables are for ring 0 only
    KVM_GUEST_RING_3 = 64,
    KVM_GUEST_CPUID_FAULTS = 128, // ring 3 may not ask for that table either
    KVM_GUEST_ALL = 255,
};

enum kvm_guest_end {
    KVM_GUEST_CALLED,  // store to the hole: value
    KVM_GUEST_STORED,  // store elsewhere that the host was asked about: address
    KVM_GUEST_FAULTED, // vector; error_code, address (of a page fault)
    KVM_GUEST_OTHER,   // any other exit: reason
};

struct kvm_guest_outcome {
    enum kvm_guest_end end;
    uint32_t value, vector, error_code, reason;
    uint64_t address;
};

struct kvm_guest {
    int vm, vcpu;
    uint8_t *memory;
    void *run; // struct kvm_run
    size_t run_bytes;
    unsigned walls; // those of the processor, but its CPUID table, count from the next load on
};

// Makes the machine on an open /dev/kvm. STATUS_SYSTEM: errno, and *step names what was refused.
enum status kvm_guest_open(struct kvm_guest *guest, int kvm, unsigned walls, const char **step) MUST_USE;
void kvm_guest_close(struct kvm_guest *guest);

// Puts everything back and the code in its place; the next run starts there.
enum status kvm_guest_load(struct kvm_guest *guest, const uint8_t *code, size_t size) MUST_USE;

// Runs up to the first exit. After KVM_GUEST_CALLED it may be run on.
enum status kvm_guest_run(struct kvm_guest *guest, struct kvm_guest_outcome *outcome) MUST_USE;

#endif
