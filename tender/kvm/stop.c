// SPDX-License-Identifier: ISC
// From an exception's vector to the signal that Linux gives a process for the same.
#include "tender/kvm/stop.h"

#include <signal.h>

// Vectors.
enum { DIVIDE = 0, DEBUG = 1, INVALID_OPCODE = 6, STACK = 12, X87 = 16, ALIGNMENT = 17, SIMD = 19 };

void machine_place(const struct machine *machine, const struct guest_memory *memory, unsigned slot,
                   const struct layout *layout, const struct image *image, struct link_crash *crash)
{
    static const uint8_t signals[KVM_VECTORS] = {
        [DIVIDE] = SIGFPE, [DEBUG] = SIGTRAP, [KVM_BREAKPOINT] = SIGTRAP, [INVALID_OPCODE] = SIGILL,
        [STACK] = SIGBUS, [X87] = SIGFPE, [ALIGNMENT] = SIGBUS, [SIMD] = SIGFPE};
    struct machine_fault fault;
    machine_fault(machine, &fault);
    int is_exception = fault.vector < KVM_VECTORS;
    crash->cause = is_exception ? LINK_CAUSE_EXCEPTION : LINK_CAUSE_MACHINE;
    crash->number = is_exception ? fault.vector : fault.exit;
    crash->signal = is_exception && signals[fault.vector] != 0 ? signals[fault.vector] : SIGSEGV;
    crash->detail = (uint32_t)fault.error;
    crash->address = fault.address;
    fault_place(memory, slot, image, layout, fault.rip, fault.rsp, fault.rbp, crash);
}
