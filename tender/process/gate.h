// SPDX-License-Identifier: ISC
// The two pages of machine code that an instance is given: the gate, and the zygote's page.
//
// Both are position-independent blobs, copied into their page by the zygote, which fills the
// parameter block at their end and makes them read-only. The labels below are places in the
// blobs; GATE_* and ZYGOTE_* are offsets of the instruction behind each `syscall`, which is what the
// kernel shows a filter as instruction pointer.
#ifndef CRENEL_TENDER_PROCESS_GATE_H
#define CRENEL_TENDER_PROCESS_GATE_H

#include <stdint.h>

// Descriptors of an instance, and there are no others: eventfds.
#define GATE_WAKE_FD 0    // host to guest: the next input record lies there
#define GATE_PUBLISH_FD 1 // guest to host: records up to published_bytes are mine no more

// Descriptors of a zygote. Below ZYGOTE_POOL_FD lies what belongs to the tender; the zygote closes it.
#define ZYGOTE_POOL_FD 64    // memfd: one slice per slot
#define ZYGOTE_COMMAND_FD 65 // uint64_t: slot to fork
#define ZYGOTE_REPLY_FD 66   // struct zygote_reply
#define ZYGOTE_EVENT_FD 67   // of slot 0 wake, publish; of slot 1 wake, publish; ...

struct zygote_reply {
    int64_t pid; // or minus errno: the zygote could not start, at step `slot`
    uint64_t slot;
};

struct gate_parameters {
    uint64_t zygote; // address of the zygote's page
    uint64_t stack;  // first value of rsp: 8 below the end, where a return address of 0 lies
    uint64_t boot;
    uint64_t entry;
};

struct zygote_parameters {
    uint64_t scratch;    // 16 writable bytes: the placeholder of the output region
    uint64_t low_bytes;  // everything from 0 to here is unmapped
    uint64_t high;       // and everything from here ...
    uint64_t high_bytes; // ... to the end of user addresses
    uint64_t boot;       // boot and input are mapped here, in one piece
    uint64_t output;
    uint64_t enter;      // gate_enter in the gate page
    uint64_t tender;     // process id that must be an instance's parent
};

// Labels of assembly; not variables.
extern const uint8_t gate_begin[], gate_end[], gate_parameters[], gate_enter[];
extern const uint8_t gate_after_write[], gate_after_read[], gate_after_munmap[];
extern const uint8_t zygote_begin[], zygote_end[], zygote_parameters[];
extern const uint8_t zygote_after_fs[], zygote_after_low[], zygote_after_high[],
    zygote_after_command[], zygote_after_clone[], zygote_after_reply[], zygote_after_death[],
    zygote_after_parent[], zygote_after_boot[], zygote_after_output[], zygote_after_wake[],
    zygote_after_publish[], zygote_after_close[], zygote_after_go[];

#endif
