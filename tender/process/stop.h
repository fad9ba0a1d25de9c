// SPDX-License-Identifier: ISC
// A stopped, traced instance, looked at through ptrace.
#ifndef CRENEL_TENDER_PROCESS_STOP_H
#define CRENEL_TENDER_PROCESS_STOP_H

#include "tender/fault.h"

#include <signal.h>
#include <sys/types.h>

// fault_place of it; false, too, if it is gone.
int stop_place(pid_t pid, const struct layout *layout, const struct image *image, struct link_crash *crash);

// What it did, from the signal that stopped it; stop_place included.
void stop_describe(pid_t pid, const siginfo_t *info, const struct layout *layout, const struct image *image,
                   struct link_crash *crash);

#endif
