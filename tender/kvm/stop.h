// SPDX-License-Identifier: ISC
// A stopped machine, looked at through its memory slots.
#ifndef CRENEL_TENDER_KVM_STOP_H
#define CRENEL_TENDER_KVM_STOP_H

#include "tender/fault.h"
#include "tender/kvm/machine.h"

// fault_place of it.
int machine_place(const struct machine *machine, const struct machine_memory *memory, const struct image *image,
               struct link_crash *crash);

// What it did, after MACHINE_FAULTS; machine_place included.
void machine_describe(const struct machine *machine, const struct machine_memory *memory, const struct image *image,
                   struct link_crash *crash);

#endif
