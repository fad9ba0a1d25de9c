// SPDX-License-Identifier: ISC
// What an event of `crenel run` made: judged by the manifest, applied, printed as JSON lines.
//
//   {"flow":"NAME","message":{...}}        a message on an output; "context", "delay_ms", "reply" where it has one
//   {"log":{"level":"info","text":"..."}}
//   {"write":{"namespace":"NAME","record":{...}}} or {"delete":{"namespace":"NAME","key":"hex"}}
//   {"refused":{"reason":"range","where":"reading.value"}}    effects dropped, or an input that is not valid
//   {"fault":{...}}, {"deadline":{...}}, {"contract":{...}}, {"lost":{...}}
#ifndef CRENEL_CLI_RUN_EVENT_H
#define CRENEL_CLI_RUN_EVENT_H

#include "cli/run_store.h"
#include "proto/link.h"

struct run_timer {
    int64_t due_ms;
    uint64_t order; // of those due at the same time
    uint64_t connection; // whose instance set it
    uint16_t input;
    uint32_t context_bytes, payload_bytes;
    uint8_t bytes[ABI_CONTEXT_BYTES_MAX + ABI_PAYLOAD_BYTES_MAX]; // context padded, payload
};

#define RUN_TIMERS_MAX 256u

struct run_timers {
    struct run_timer *timers; // RUN_TIMERS_MAX
    size_t count;
    uint64_t order;
    int64_t now_ms; // of the event being served
    uint64_t connection;
};

// Takes one EFFECTS packet. Returns 1 if the event ended well, 0 if it failed. Timers it sets are
// added to `timers`; NULL: they are only printed.
int run_event_take(const struct manifest *manifest, const uint8_t *packet, size_t size,
                   struct run_store *store, struct run_timers *timers);

void run_print_refused(const char *reason, const char *where, const char *what);

#endif
