// SPDX-License-Identifier: ISC
// The two pages of machine code that an instance is given: the gate, and the zygote's page.
//
// Both are position-independent blobs, copied into their page by the zygote, which fills the
// parameter block at their end and makes them read-only. The labels below are places in the
// blobs; *_after_* are the instructions behind each `syscall`, which is what the
// kernel shows a filter as instruction pointer.
#ifndef CRENEL_TENDER_PROCESS_GATE_H
#define CRENEL_TENDER_PROCESS_GATE_H

#include <stdint.h>

// The number of a call that is no call: the filter hands it to the tender (SECCOMP_RET_USER_NOTIF) and
// the kernel never carries it out. Kernels give numbers in sequence, so none has this one.
#define GATE_CALL 0x3fffffff

// Descriptors of a zygote; an instance has none.
#define ZYGOTE_POOL_FD 0     // memfd: one slice per slot
#define ZYGOTE_LISTENER_FD 1 // of the filter; the tender takes it from here
#define ZYGOTE_PIPE_FD 3     // to the tender; closed when the filter stands. 2: the host log

struct gate_parameters {
    uint64_t zygote; // address of the zygote's page
    uint64_t boot;
};

#define ZYGOTE_MAPS_MAX 5u // boot with input; output, data, arena, stack

struct zygote_map {
    uint64_t address, bytes, protection, offset; // in the slice
};

struct zygote_parameters {
    uint64_t low_bytes;  // everything from 0 to here is unmapped
    uint64_t high;       // and everything from here ...
    uint64_t high_bytes; // ... to the end of user addresses
    uint64_t enter;      // gate_enter in the gate page
    uint64_t slice_bytes;
    uint64_t map_count;
    struct zygote_map maps[ZYGOTE_MAPS_MAX];
};

// Labels of assembly; not variables.
extern const uint8_t gate_begin[], gate_end[], gate_parameters[], gate_enter[];
extern const uint8_t gate_after_wait[], gate_after_munmap[];
extern const uint8_t zygote_begin[], zygote_end[], zygote_parameters[];
extern const uint8_t zygote_after_pipe[], zygote_after_fs[], zygote_after_low[],
    zygote_after_high[], zygote_after_command[], zygote_after_clone[], zygote_after_map[], zygote_after_close[];

#endif
