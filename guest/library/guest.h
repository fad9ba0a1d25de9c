// SPDX-License-Identifier: ISC
// What the parts of the library OS share: the state of one instance, and records in its output.
#ifndef CRENEL_GUEST_LIBRARY_GUEST_H
#define CRENEL_GUEST_LIBRARY_GUEST_H

#include "abi/abi.h"
#include "guest/include/crenel.h"

// Room in the output that only fail() and the END record use.
#define GUEST_RESERVE_BYTES (sizeof(struct abi_log) + ABI_LOG_BYTES_MAX + sizeof(struct abi_end))
#define GUEST_OUTPUTS_MAX 32u

struct guest {
    const struct abi_boot *boot;
    uint32_t event_at; // where the records of this event begin; those before it are of events that have ended
    size_t arena_used;
    uint32_t waits;  // READ rounds of this event
    uint32_t writes; // of this event
    uint16_t sent[GUEST_OUTPUTS_MAX]; // messages of this event, by output
    bool is_in_event;
    bool is_failing;
    uint16_t refusal; // code given to event_refuse
    void *unwind[5];  // __builtin_setjmp: where event_refuse returns to
};

struct guest *guest_state(void);

// Room for a record of `size` bytes (a multiple of 8) in the output, its header filled, already counted as
// published. Too large: the event fails; `what` names the effect.
void *guest_record(uint16_t kind, size_t size, const char *what);

// Calls the gate: publishes the records so far, returns with the host's next record in the input.
const struct abi_record *guest_wait(void);

// Fails the event if a block of the arena was overrun.
void arena_check(void);

// Copies and pads with zero to a multiple of 8; returns the end.
uint8_t *guest_copy(uint8_t *to, const void *from, size_t bytes);

#endif
