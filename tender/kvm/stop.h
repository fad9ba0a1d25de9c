// SPDX-License-Identifier: ISC
// A stopped machine, looked at.
#ifndef CRENEL_TENDER_KVM_STOP_H
#define CRENEL_TENDER_KVM_STOP_H

#include "tender/fault.h"
#include "tender/kvm/machine.h"

// fault_place of it, and what it did, if it stopped for a fault.
void machine_place(const struct machine *machine, const struct guest_memory *memory, unsigned slot,
                   const struct layout *layout, const struct image *image, struct link_crash *crash);

#endif
