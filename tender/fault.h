// SPDX-License-Identifier: ISC
// The facts of a stopped instance, the same for every wall; core/crash.h makes words of them.
#ifndef CRENEL_TENDER_FAULT_H
#define CRENEL_TENDER_FAULT_H

#include "proto/link.h"
#include "tender/guest_memory.h"

// Where the slot's instance stands: instruction and frames.
void fault_place(const struct guest_memory *memory, unsigned slot, const struct image *image,
                 const struct layout *layout, uint64_t rip, uint64_t rsp, uint64_t rbp, struct link_crash *crash);

#endif
