// SPDX-License-Identifier: ISC
// The host's clock, as far as what waits in the outbox goes by it: timers, and the age of messages.
//
// The host's clock (wall) may be set; the time since the boot passes whatever it shows. So the store keeps which boot it
// was and how far the two were apart, and when that changes by more than a second the clock was set: what waits is
// moved by as much, and has the time left that it had. This holds over starts of the store within one boot, too.
// From one boot to the next nobody knows how long it was, so the clock is taken as it is. A message from before that is of a
// time that has not come by the clock, which was not yet right when the host started, stays as it is when the clock
// is set right.
#ifndef CRENEL_STORE_CLOCK_H
#define CRENEL_STORE_CLOCK_H

#include "store/router_link.h"

#define CLOCK_SET_MS 1000 // by more than that it was set

struct clock_reading {
    uint64_t boot; // identity of this boot; 0: not known
    int64_t boot_ms; // since then, also while the host was asleep
    int64_t wall_ms;
};

// Called before anything that goes by the clock. *wall_ms: what to go by: the clock, or, while the disk is too full to move
// what waits, what it showed before it was set.
enum status clock_follow(struct store *store, struct router_link *link, const struct clock_reading *now,
                         int64_t *wall_ms) MUST_USE;

#endif
