// SPDX-License-Identifier: ISC
// One connection of the gateway.
//
// Outside -> router: INPUT, then nothing until TAKEN; then whatever came meanwhile. When the outside has
// ended, SHUT after the last TAKEN. Router -> outside: OUTPUT into a bounded buffer, DRAINED as the kernel
// takes it. After END: flush, shut down the sending side, throw away what still comes until the
// outside closes (else the kernel would reset, and the last bytes could be lost), close.
#ifndef CRENEL_GATEWAY_CONNECTION_H
#define CRENEL_GATEWAY_CONNECTION_H

#include "host/loop.h"

#include <stddef.h>
#include <stdint.h>

struct gateway;

struct connection {
    struct gateway *gateway;
    uint64_t id; // 0: free
    int fd;      // -1: closed while the router has not said END
    uint8_t is_taken;    // the router has room for an INPUT
    uint8_t is_over;     // the outside has ended, or was cut off
    uint8_t is_deaf;     // the outside takes nothing any more
    uint8_t is_shut;     // SHUT was sent
    uint8_t is_ending;   // END came
    uint8_t is_half_closed; // our sending side is shut down; the rest is lingering
    uint8_t is_unwatched;   // the descriptor is not in the loop
    uint8_t is_written;     // in the gateway's list
    struct connection *next_written;
    int64_t deadline_ms; // monotonic; 0: none
    size_t discarded_bytes;
    struct loop_watch watch;
    uint8_t *buffer; // output ring
    size_t capacity, head, used;
};

// Takes fd, non-blocking. The slot is free.
void connection_open(struct connection *connection, int fd, uint64_t id);
void connection_take_output(struct connection *connection, const uint8_t *bytes, size_t size);
// The turn's output goes out.
void connection_write(struct connection *connection);
void connection_taken(struct connection *connection);
void connection_end(struct connection *connection);
// Its time limit has passed.
void connection_expire(struct connection *connection);
// Frees the slot at once.
void connection_close(struct connection *connection);

#endif
