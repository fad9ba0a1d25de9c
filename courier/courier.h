// SPDX-License-Identifier: ISC
// A courier between the router and its lines to other nodes.
//
// Out: what the router delivers waits in `outgoing` until the peer has acknowledged it; then it is an event that ended (or a
// dead letter with the peer's reason). No line: it waits, and with it what is in the store. In: what comes on a line is
// brought to the router (BRING); what the router answers is acknowledged on the same line, if it is still there. Nothing is
// kept anywhere else: after an end of this process the router delivers again, and the peer sends again.
//
// With `transport: mqtt5` the lines are streams through a broker (courier/broker/tunnel.h), and all else is the same.
//
// Where several peers come, what is sent to one goes over the line that this one made; who it is, its certificate says. What waits
// for one that is away holds up no other: the router has only so much of each flow with a courier.
//
// One line for each peer: a newer one takes the place of an older one, which may have died without a word.
#ifndef CRENEL_COURIER_COURIER_H
#define CRENEL_COURIER_COURIER_H

#include "core/system.h"
#include "courier/broker/tunnel.h"
#include "courier/line.h"
#include "courier/outgoing.h"
#include "courier/resolve.h"
#include "courier/retry.h"
#include "host/channel.h"
#include "proto/link.h"
#include "proto/status_page.h"

#define COURIER_STRANGERS_MAX 8u // accepted lines whose peer is not known yet
#define COURIER_SWEEP_MS 500

struct courier_bring { // that the router has not answered
    struct line *line; // NULL: it ended meanwhile
    uint64_t handle;   // 0: free
    uint64_t sequence;
    uint16_t flow;
};

struct courier_peer { // what is agreed with it: what all peers send here, and what is sent to it
    struct session_terms terms;
    uint16_t flows[SYSTEM_FLOWS_MAX]; // index in the terms -> system's
};

struct courier_files { // -1: there is none, or it was taken
    int listener_fd, password_fd /* for a broker */, hosts_fd, servers_fd;
    struct tls_context *broker; // made of its authority; NULL: there is no TLS to a broker
};

struct courier {
    struct loop *loop;
    const struct system_view *system;
    const struct system_courier *is;
    uint16_t place; // core/system.h
    struct courier_page *page;
    struct channel link;
    struct loop_watch link_watch, listener_watch;
    struct loop_timer sweep, retry;
    struct courier_files files;
    struct resolve resolve; // of where it connects to
    struct courier_peer *peers; // as many as the system names
    struct line_owner owner;
    struct line *lines;
    uint32_t line_count;
    struct courier_bring *brings;
    uint32_t bring_count;
    uint64_t serial; // of brings
    int64_t retry_ms; // courier/retry.h
    struct outgoing outgoing;
    struct tunnel tunnel; // of transport mqtt5
    _Alignas(8) uint8_t gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES]; // of the link to the router
};

// Takes the descriptors. index: of an accepted system.
enum status courier_init(struct courier *courier, struct loop *loop, const struct system_view *system, uint32_t index,
                         struct tls_context *context, int link_fd, const struct courier_files *files,
                         struct courier_page *page) MUST_USE;
// Says HELLO to the router, and begins to connect or to listen.
enum status courier_begin(struct courier *courier) MUST_USE;

#endif
