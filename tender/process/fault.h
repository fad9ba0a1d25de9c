// SPDX-License-Identifier: ISC
// From a stopped, traced instance to a crash report.
#ifndef CRENEL_TENDER_PROCESS_FAULT_H
#define CRENEL_TENDER_PROCESS_FAULT_H

#include "proto/link.h"
#include "tender/layout.h"

#include <signal.h>
#include <sys/types.h>

// Where the instance stands: instruction and frames, as offsets into the image. True if it is in the image's text.
int fault_place(pid_t pid, const struct layout *layout, const struct image *image,
                struct link_crash *crash);

// What it did, from the signal that stopped it; fault_place included.
void fault_describe(pid_t pid, const siginfo_t *info, const struct layout *layout,
                    const struct image *image, struct link_crash *crash);

// Whether the x86-64 instruction in code[0..16) stores to memory (1), loads (0), or who knows (-1).
int fault_is_store(const uint8_t code[16]);

#endif
