// SPDX-License-Identifier: ISC
// One connector: a listening TCP socket, its connections, and the link to the router (proto/link.h).
//
// The gateway moves bytes. It knows no protocol and decides nothing; it only bounds what the outside can
// take: connections, bytes waiting each way, and time without a byte.
#ifndef CRENEL_GATEWAY_GATEWAY_H
#define CRENEL_GATEWAY_GATEWAY_H

#include "gateway/connection.h"
#include "host/channel.h"
#include "host/loop.h"
#include "proto/link.h"
#include "proto/status_page.h"

#define GATEWAY_FIRST_BYTE_MS 10000 // a connection that says nothing for so long is ended
#define GATEWAY_LINGER_MS 2000      // waiting for the outside to close, after END
#define GATEWAY_LINGER_BYTES (64u * 1024u) // thrown away while waiting
#define GATEWAY_SWEEP_MS 250        // between two looks at the time limits
#define GATEWAY_PAUSE_MS 100        // without accepting, when the system is out of descriptors
#define GATEWAY_ACCEPTS_MAX 16      // in one round of the loop

struct gateway_limits {
    uint16_t connections_max;
    uint32_t output_bytes_max; // the router sends no event's output while more than this waits
    uint32_t slow_ms;          // bytes wait and the outside takes none for so long
    uint32_t first_byte_ms;
    uint32_t linger_ms;
};

struct gateway {
    struct gateway_limits limits;
    struct gateway_page *page;
    struct loop *loop;
    struct channel link; // gathers: gateway_turn
    struct loop_watch link_watch, listener_watch;
    struct loop_timer sweep, pause;
    int listener_fd;
    uint64_t serial; // of the last connection, starts at random
    unsigned open_count;
    struct connection *connections; // connections_max of them
    uint8_t *buffers;               // and their output, allocated once
    struct connection *written;     // list: the router has given them output in this turn
    _Alignas(8) uint8_t gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
};

// Takes both descriptors. All memory is allocated here. STATUS_SYSTEM: errno says why.
enum status gateway_init(struct gateway *gateway, struct loop *loop, int listener_fd, int link_fd,
                         const struct gateway_limits *limits, struct gateway_page *page) MUST_USE;
// One turn of the loop, and what it said to the router.
enum status gateway_turn(struct gateway *gateway, int timeout_ms) MUST_USE;
// Closes everything, connections at once.
void gateway_clean_up(struct gateway *gateway);

// For connection.c: sends to the router. A link that fails stops the loop: the process ends.
void gateway_say(struct gateway *gateway, enum link_kind kind, uint64_t id, const void *bytes,
                 size_t size);
// The connection has a time limit now: the sweep has to run.
void gateway_watch_time(struct gateway *gateway);

#endif
