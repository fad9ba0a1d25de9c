// SPDX-License-Identifier: ISC
// What this host's KVM is: capabilities, flags, and each thing that a guest must not do, tried.
#ifndef CRENEL_HOST_KVM_PROBE_H
#define CRENEL_HOST_KVM_PROBE_H

#include "host/isolation.h"
#include "host/kvm_guest.h"

// One thing that the design of the kvm wall relies on: a few instructions, and what must become of them.
struct kvm_row {
    const char *name;
    const uint8_t *code, *code_end;
    uint32_t vectors; // bit i: it may fault with vector i; 0: it must not fault
    uint32_t error_code; // of a page fault (vector 14)
    uint64_t stores_to;  // not 0: the host must be asked about a store there
    uint32_t calls_with; // neither fault nor such a store: it must call the host with this
    int asks_cpuid;      // it may, for once
};

const struct kvm_row *kvm_probe_rows(size_t *count);

// Runs one row. False: not enforced, and outcome says what happened instead.
int kvm_probe_row(struct kvm_guest *guest, const struct kvm_row *row, struct kvm_guest_outcome *outcome);

// "vector 13", "a call with 0x1" ...
void kvm_probe_text(const struct kvm_guest_outcome *outcome, char *text, size_t capacity);

// Looks at what must be known to choose for somebody who asks so (enum manifest_isolation; ISOLATION_KVM: everything).
// Rows run in a child process that a stuck machine cannot outlive: some ms, at most 10 s. For `any` they do not run
// where the flags alone say that this is no hardware KVM.
void kvm_probe(struct isolation_facts *facts, uint8_t asked);

#endif
