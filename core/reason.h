// SPDX-License-Identifier: ISC
// Why a message was refused or an event failed: the codes of counters, dead letters and records.
#ifndef CRENEL_CORE_REASON_H
#define CRENEL_CORE_REASON_H

#include <stdint.h>

// Counted per flow. ENTERED counts messages accepted into the flow; DONE those whose event ended
// well; every other code for which reason_is_end() is the end of a message that failed. So at any moment
//   entered = done + sum(failed) + waiting.
// A failure is counted on the flow of the event's *input* (the message that is dead-lettered).
enum reason {
    REASON_ENTERED = 0,
    REASON_DONE = 1,
    // refused by the inspector
    REASON_FLOW = 2,      // no such flow is allowed from here
    REASON_ENVELOPE = 3,  // a record or header breaks the contract
    REASON_LENGTH = 4,    // message length does not fit its schema
    REASON_RANGE = 5,     // a field below its minimum or above its maximum
    REASON_ENUMERATION = 6,
    REASON_CLASS = 7,     // a character outside the field's class
    REASON_PADDING = 8,   // reserved or tail bytes are not zero
    REASON_RELATION = 9,  // a declared relation between fields does not hold
    REASON_REPLAY = 10,   // sequence seen before for this key
    REASON_PRINCIPAL = 11, // the sender outside may not use this flow
    REASON_BUDGET = 12,   // more effects than the manifest declares
    REASON_NAMESPACE = 13, // store access not allowed, or key does not match the record
    REASON_KEY_TABLE = 14, // no room for state of a new key
    // the guest's doing
    REASON_GUEST = 15,    // the unikernel refused it; its own code tells why
    REASON_FAULT = 16,    // the instance crashed
    REASON_DEADLINE = 17, // the event took too long
    REASON_CONFLICT = 18, // conflicts in the store, 8 times
    REASON_ATTEMPTS = 19, // the host failed 3 times
    // nobody's fault; counted all the same
    REASON_NO_SUBSCRIBER = 20, // nobody was there to take it
    REASON_CONNECTION = 21,    // its connection ended first
    REASON_LOST = 22,          // volatile and in flight when the router ended
    // not ends of a message: counters of events that had to wait
    REASON_THROTTLED = 23,
    REASON_REDELIVERED = 24,
    // an end again; stores hold the numbers above
    REASON_RATIONED = 25, // its sender's messages made the unikernel fault too often: it was not shown
    // flow state, refused by the inspector
    REASON_STEP = 26,  // a field moved further than the largest step for this key
    REASON_SLOPE = 27, // a field moved faster than its rate of change for this key
    REASON_STATE = 28, // the key's state machine has no such transition
    REASON_STALE = 29, // the message's own time is too far from the host's clock
    // no end: a check that only observes would have refused it
    REASON_OBSERVED = 30,
    // ends of messages that waited
    REASON_EXPIRED = 31,   // its flow's time to live passed first
    REASON_DISPLACED = 32, // the oldest of a full flow, for a newer one
    REASON_LATE = 33,      // a request that was not answered before its deadline
    REASON_SEAL = 34,      // an end-to-end seal or tag that does not open
    REASON_RATE = 35,      // more messages or bytes of one key than its rate allows
    REASON_COUNT = 36,
};

static inline const char *reason_text(uint32_t reason)
{
    static const char *const texts[REASON_COUNT] = {
        "entered",  "done",      "flow",      "envelope", "length",        "range",
        "enumeration", "class",  "padding",   "relation", "replay",        "principal",
        "budget",   "namespace", "key-table", "refused",  "fault",         "deadline",
        "conflict", "attempts",  "no-subscriber", "connection", "lost",    "throttled",
        "redelivered", "rationed", "step",     "slope",   "state",       "stale",
        "observed", "expired",   "displaced", "late",    "seal",
        "rate"};
    return reason < REASON_COUNT ? texts[reason] : "unknown";
}

static inline int reason_is_end(uint32_t reason)
{
    return (reason >= REASON_DONE && reason <= REASON_LOST) ||
           (reason >= REASON_RATIONED && reason < REASON_COUNT && reason != REASON_OBSERVED);
}

#endif
