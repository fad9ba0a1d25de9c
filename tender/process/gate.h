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

struct zygote_call {
    uint64_t number; // 0: the list ends, an instance is there
    uint64_t arguments[6], result;
};

#define ZYGOTE_FORK 4       // the call of the list that forks
#define ZYGOTE_CALLS_MAX 12 // with the end

struct zygote_parameters {
    uint64_t enter; // gate_enter in the gate page
    uint64_t slice_bytes;
    struct zygote_call calls[ZYGOTE_CALLS_MAX];
};

// Labels of assembly; not variables.
extern const uint8_t gate_begin[], gate_end[], gate_parameters[], gate_enter[];
extern const uint8_t gate_after_wait[], gate_after_munmap[];
extern const uint8_t zygote_begin[], zygote_end[], zygote_parameters[], zygote_after_call[], zygote_after_command[];

#endif
