// SPDX-License-Identifier: ISC
// Status pages: shared memory that a process writes and the supervisor reads, so that counts survive
// the process and nobody has to ask. One memfd per process, created by the supervisor, mapped
// writable by the process. Numbers are written with relaxed 64-bit stores; a report is written before its
// `count` rises. The supervisor trusts none of it beyond showing it.
#ifndef CRENEL_PROTO_STATUS_PAGE_H
#define CRENEL_PROTO_STATUS_PAGE_H

#include "core/reason.h"
#include "proto/link.h"
#include "proto/system.h"

#define STATUS_PAGE_BYTES 131072u

struct tender_page {
    uint64_t created;   // instances
    uint64_t destroyed;
    uint64_t live;
    uint64_t events;    // that ended, however
    uint64_t faults;
    uint64_t deadlines;
    uint64_t killed;    // instances that something outside ended
    uint64_t busy;      // instances that have an event now
    uint64_t instance_bytes; // memory of one instance: private pages touched by the last one that ended
    uint64_t fault_count; // rises after last_fault was written
    int64_t fault_time_ms;
    struct link_crash last_fault; // core/crash.h makes words of it
};

// Counter index of the router page, also used in COMMIT and in the store's counters table.
#define COUNTER_FLOW(flow, reason) ((uint32_t)(flow) * REASON_COUNT + (uint32_t)(reason))
#define COUNTER_REFUSAL(unikernel, code) \
    (SYSTEM_FLOWS_MAX * REASON_COUNT + (uint32_t)(unikernel) * 16u + (uint32_t)(code))
#define COUNTERS_MAX (SYSTEM_FLOWS_MAX * REASON_COUNT + SYSTEM_UNIKERNELS_MAX * 16u)

// Faults (crashes and missed deadlines) are rationed: of one sender a unikernel takes FAULTS_MAX, and one more each
// FAULT_FORGOTTEN_MS. A sender is a principal, or for what nobody stands behind the unikernel or service that sent it.
// What is kept of them is one moment: when the last of them will be forgotten.
#define FAULTS_MAX 3
#define FAULT_FORGOTTEN_MS 20000
#define SENDERS_MAX (SYSTEM_PRINCIPALS_MAX + SYSTEM_PLACES_MAX) // indices in that order

// How long its messages will not be shown yet; 0: they are.
static inline int64_t fault_ration_ms(int64_t forgotten_ms, int64_t now_ms)
{
    int64_t most_ms = now_ms + (FAULTS_MAX - 1) * FAULT_FORGOTTEN_MS; // with which one more may come
    return forgotten_ms > most_ms ? forgotten_ms - most_ms : 0;
}

struct check_page { // of one check; since the router's start
    uint64_t refused;  // by it, or on a flow that only observes: would have been
    uint64_t measured; // messages of a flow that only observes
    uint64_t peak;     // the most that they came to (core/flow_check.h)
};

struct router_page {
    uint64_t epoch;
    uint64_t in_flight; // events with a tender or in commit
    uint64_t connections;
    uint64_t waiting[SYSTEM_UNIKERNELS_MAX]; // messages in the router for that unikernel
    uint64_t spooled[SYSTEM_FLOWS_MAX];      // durable messages of the flow not yet consumed
    uint64_t counters[COUNTERS_MAX];
    struct check_page checks[SYSTEM_CHECKS_MAX];
    int64_t faults_ms[SYSTEM_UNIKERNELS_MAX][SENDERS_MAX]; // monotonic clock; 0: none
};

struct store_page {
    uint64_t commits;
    uint64_t transactions; // commits / transactions = how many share a flush
    uint64_t conflicts;
    uint64_t audit_waiting; // rows not yet acknowledged by the audit log
    uint64_t dead_letters;
    uint64_t not_now;
    uint64_t is_full; // the last transaction found no room on the disk
    uint64_t spooled[SYSTEM_FLOWS_MAX]; // messages of a durable flow that wait, never more than its cap
    uint64_t spooled_bytes[SYSTEM_FLOWS_MAX]; // that they take, never more than its bytes
};

struct audit_page {
    uint64_t size;    // entries under the last checkpoint
    int64_t time_ms;  // of it
    uint8_t root[32];
};

struct gateway_page {
    uint64_t accepted, refused, open, bytes_in, bytes_out;
};

struct courier_page {
    uint64_t links; // peers that are connected and agreed
    uint64_t sent, received; // messages that the other side acknowledged; that came in, whatever became of them
    uint64_t connects; // links that were made
    uint64_t refused;  // packets from a broker that were made up, repeat what is gone, or show a gap
    char last[160];    // why the last one ended, or is not made
};

_Static_assert(sizeof(struct router_page) <= STATUS_PAGE_BYTES, "router_page");

#endif
