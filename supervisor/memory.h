// SPDX-License-Identifier: ISC
// Resident memory of a process and all its descendants, from /proc.
#ifndef CRENEL_SUPERVISOR_MEMORY_H
#define CRENEL_SUPERVISOR_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

struct memory {
    uint64_t processes;
    uint64_t rss_bytes; // shared pages count once for each process
    uint64_t pss_bytes; // shared pages divided among those that share them
    int is_pss_known;   // the kernel lets us read it for all of them
};

struct memory memory_of(pid_t pid);

#endif
