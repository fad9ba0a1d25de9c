// SPDX-License-Identifier: ISC
// One virtual machine: one processor that runs guest code in ring 3 and nothing else.
#ifndef CRENEL_TENDER_KVM_MACHINE_H
#define CRENEL_TENDER_KVM_MACHINE_H

#include "tender/kvm/pages.h"

#include <linux/kvm.h>

#define MACHINE_CPUID_ENTRIES 5u

struct machine_host { // what this host's KVM has; the same for all machines
    int kvm_fd;
    size_t run_bytes;
    uint64_t cr4;
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[MACHINE_CPUID_ENTRIES];
    } cpuid;
};

// Takes kvm_fd. NULL: done; or what this KVM lacks, with errno.
const char *machine_host_open(struct machine_host *host, int kvm_fd);

struct machine {
    int vm_fd, vcpu_fd;
    struct kvm_run *run; // NULL: no machine
    size_t run_bytes;
    uint8_t *frame; // page of the stub's stack
};

struct machine_memory { // host addresses, each page-aligned
    const struct pages *pages;
    uint8_t *frame;             // one page
    uint8_t *slice;             // boot block and input; behind them what the guest writes
    uint64_t shown_bytes, slice_bytes;
};

// NULL: done; or the step that failed, with errno, and nothing is left open.
const char *machine_open(struct machine *machine, const struct machine_host *host,
                         const struct machine_memory *memory);
void machine_close(struct machine *machine);

// Loads every register with a constant but two: the next machine_run goes on in the gate's return with this
// stack pointer. is_pristine: the state of x87, SSE, and whatever else the processor keeps, too; needed when
// an instance is made pristine (else the gate clears what a guest may have).
enum status machine_enter(struct machine *machine, const struct layout *layout, uint64_t stack_pointer,
                          int is_pristine) MUST_USE;

enum machine_stop {
    MACHINE_WAITS,       // in wait(), by its own doing
    MACHINE_FAULTS,      // by its own doing
    MACHINE_INTERRUPTED, // by a signal, or immediate_exit of `run` was set
    MACHINE_LOST,        // KVM failed: errno
};
enum machine_stop machine_run(struct machine *machine, const struct layout *layout);

// The guest's stack pointer when it came to wait().
uint64_t machine_stack_pointer(const struct machine *machine);

// Why it stopped with MACHINE_FAULTS.
struct machine_fault {
    unsigned vector; // KVM_VECTORS: no exception, but an end of the machine itself; exit says which
    unsigned exit;
    uint64_t error, address; // of a page fault
    uint64_t rip, rsp, rbp;
};
void machine_fault(const struct machine *machine, struct machine_fault *fault);

#endif
