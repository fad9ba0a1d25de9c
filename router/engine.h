// SPDX-License-Identifier: ISC
// The router without its system calls: packets from endpoints in, packets to endpoints out.
//
// The shell (main.c) owns descriptors, clock and loop; tests drive the engine with fake endpoints.
// All memory is taken by engine_create; its size follows from the compiled system. Nothing is
// allocated afterwards. Endpoints are hostile: a packet that breaks its protocol costs its link.
//
// Exact counts. For each flow, at any moment between two calls:
//   counters[ENTERED] = counters[DONE] + sum of failures + messages waiting (queued or in flight)
// What a durable event counts is part of its COMMIT, and changes in the page when that is DONE. All
// others change in the page at once, and once a second a COMMIT without an event takes what is new
// to the store.
#ifndef CRENEL_ROUTER_ENGINE_H
#define CRENEL_ROUTER_ENGINE_H

#include "core/system.h"
#include "host/channel.h"
#include "proto/status_page.h"

enum engine_peer {
    ENGINE_STORE,    // index 0
    ENGINE_RECEIVER, // index: place (core/system.h)
    ENGINE_GATEWAY,  // index: gateway
};

// What the engine asks of its shell. None of them calls back into the engine.
struct engine_io {
    void *context;
    uint64_t seed[2]; // of the hash of keys: nobody else knows it
    // One packet in at most 4 parts, never blocking. STATUS_FULL only for COMMIT packets to the store:
    // the engine offers it again later. A link that fails otherwise is reported by engine_closed.
    enum status (*send)(void *context, enum engine_peer peer, uint32_t index,
                        const struct channel_part *parts, size_t count);
    void (*log)(void *context, const char *line, size_t size); // with its newline
};

struct engine;

// NULL: no memory. system and page outlive the engine. epoch >= 1.
struct engine *engine_create(const struct system_view *system, struct router_page *page,
                             const struct engine_io *io, uint64_t epoch);
void engine_destroy(struct engine *engine);

// The last thing before the process ends in order: what the store was not told yet is on its link. Without it messages
// that were done in the last second would count as lost.
void engine_end(struct engine *engine);

// Sets both clocks; call before any of the following. now_ms is monotonic and > 0; boot_ms goes on while the host
// is asleep, so wall_ms moves against it only when it is set.
void engine_clock(struct engine *engine, int64_t now_ms, int64_t boot_ms, int64_t wall_ms);

// A link exists now. The store's comes first: HELLO goes out at once.
void engine_attached(struct engine *engine, enum engine_peer peer, uint32_t index);
// A link ended: events of a receiver are delivered again, connections end.
void engine_closed(struct engine *engine, enum engine_peer peer, uint32_t index);
// One packet, 8-byte aligned. Anything but STATUS_OK: the peer broke its protocol; close the link,
// then call engine_closed (for the store: end the process). What can start now starts in engine_schedule.
enum status engine_receive(struct engine *engine, enum engine_peer peer, uint32_t index,
                           const uint8_t *bytes, size_t size) MUST_USE;
// Lets go on what was judged, and starts what can start; once after any number of packets.
void engine_schedule(struct engine *engine);
// Does what is due, that among it. Returns milliseconds until the next call is needed, or -1.
int engine_tick(struct engine *engine);
// Events of kept messages (proto/commit.h) are under way: COMMITs that follow soon could share a transaction with those that
// wait to leave.
int engine_is_settling(const struct engine *engine);
// The store said READY.
int engine_is_ready(const struct engine *engine);

#endif
