// SPDX-License-Identifier: ISC
// The checks of flow state (proto/system.h: struct system_check): what each measures of a message.
//
// A check measures one thing and compares it with its `most`; how far away `most` was is what `crenel policy
// learn` builds on. Most of them measure against what earlier messages of the same key left: the key's *state*, an
// array of 64-bit words. Word 0 holds a bit for each check of the flow that has a part in it, bit i for the
// i-th; the parts follow in the order of the checks, all zero until the first message of the key:
//   ORDER    the highest number; with a window, a bit for each of the last `window` numbers, at number % window
//   STEP     the last value, and when it came by the host's clock
//   SLOPE    the last value and its time; the value and time from which it is measured: the last of an earlier time
//   MACHINE  the state, by its name's hash
//   RATE     thousandths of tokens (of BYTES: bytes) that are used up, and when that was
// Whoever holds a state keeps it as it was until the message counts: a refused message leaves no trace.
#ifndef CRENEL_CORE_FLOW_CHECK_H
#define CRENEL_CORE_FLOW_CHECK_H

#include "core/system.h"

#define FLOW_STATE_WORDS_MAX (1u + SYSTEM_FLOW_CHECKS_MAX * 4u + SYSTEM_WINDOW_MAX / 64u)

struct flow_clock {
    int64_t now_ms;  // monotonic
    int64_t wall_ms; // the host's clock
    int64_t sent_ms; // the host's clock when the message was sent, however long it had to wait since
};

// Words of a key's state that are the check's part; 0: it needs none.
uint32_t flow_check_words(const struct system_check *check);
// Words of a key's state; 0: no check of the flow needs one.
uint32_t flow_state_words(const struct system_view *system, const struct system_flow *flow);
// What the router sets aside for the keys of a flow, about.
uint64_t flow_state_bytes(const struct system_view *system, const struct system_flow *flow);
// The longest that schema_key() makes of its key field; 0: it has none.
uint32_t flow_key_bytes(const struct system_view *system, const struct system_flow *flow);
// Are the flow's keys integers, each with a place of its own among keys_max? *first is then the lowest
// (flow_ordered). Without a key field there is one key.
int flow_keys_are_direct(const struct system_view *system, const struct system_flow *flow, uint64_t *first);

// The index of the first check of the flow that refuses a message that its schema accepts, or SYSTEM_NONE. `state`
// (NULL if the flow needs none) becomes what it is after the message, and is of no use if that is refused. With
// `measured`, one for each check of the flow, all are made even so, and it gets what they measured.
uint16_t flow_check(const struct system_view *system, const struct system_flow *flow, const uint8_t *message,
                    size_t size, const struct flow_clock *clock, uint64_t *state, uint64_t *measured);

// May the state be forgotten: does no verdict go by it any more? Then it refuses nothing that a new key's would not, now and
// later: a drained bucket, a value that is too old for its step or that its slope lets move anywhere, a machine in its
// start. A number that was seen is too old when `fresh` refuses all messages that were taken with it, for an
// hour more since the last of the key, which a bucket knows; without `fresh` and a rate it never is.
int flow_state_is_spent(const struct system_view *system, const struct system_flow *flow, const uint64_t *state,
                        const struct flow_clock *clock);

// Integers of a field in one order, whatever their type: of signed ones the sign bit is flipped.
uint64_t flow_ordered(const struct schema_field *field, int64_t value);
// FNV-1a, of names in the compiled system.
uint32_t flow_name_hash(uint32_t hash, const char *name);
#define FLOW_NAME_HASH 2166136261u // of nothing
// Name of a machine's state, or NULL.
const char *flow_state_name(const struct system_machine *machine, uint64_t state);

#endif
