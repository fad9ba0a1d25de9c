// SPDX-License-Identifier: ISC
// A channel: one end of a SOCK_SEQPACKET socket pair that carries whole records between processes.
//
// The kernel copies, bounds, and tells when the peer is gone. A channel may own an outgoing buffer
// for packets that the socket does not take at once: the router must never block on a peer, so it
// gives each channel one; others send blocking.
//
// A record is a packet, but on a channel that gathers: there a packet holds any number of records, each at 8 bytes
// and beginning with its own size (uint32_t), so that a busy link costs one system call and one wake-up for many.
// What is sent waits for channel_flush, which its owner calls before it waits itself.
#ifndef CRENEL_HOST_CHANNEL_H
#define CRENEL_HOST_CHANNEL_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

struct channel {
    int fd; // -1: closed; owned
    uint8_t *buffer; // outgoing ring of packets (length-prefixed), or NULL; not owned
    size_t capacity, used, head;
    uint8_t *packet;     // outgoing: records that are gathered, or NULL; not owned
    size_t packet_bytes; // of them
    size_t packet_most;  // capacity of packet and inbox each
    uint8_t *inbox;      // incoming: the packet whose records are handed out, or NULL; not owned
    size_t inbox_bytes, inbox_at;
};

#define CHANNEL_PACKET_BYTES 65536u // room for packets of links (proto/link.h)

// Two connected ends, close-on-exec, with socket buffers large enough for COMMIT_BYTES_MAX packets.
enum status channel_pair(int fds[2]) MUST_USE;

// Takes fd. With a buffer the descriptor becomes non-blocking and channel_send never blocks.
void channel_init(struct channel *channel, int fd, uint8_t *buffer, size_t capacity);
// From now on it gathers: both ways, or only what it receives (packet NULL). Packets are of packet_most bytes at most, a
// multiple of 8, and so are records. packet and inbox have that room, 8-byte aligned, and are this channel's alone.
void channel_gather(struct channel *channel, uint8_t *packet, uint8_t *inbox, size_t packet_most);
void channel_close(struct channel *channel);

// Sends one record. STATUS_CLOSED: peer gone. STATUS_FULL: the outgoing buffer has no room (only with a buffer).
enum status channel_send(struct channel *channel, const void *record, size_t size) MUST_USE;
// The same for a record in parts (at most 8).
struct channel_part {
    const void *bytes;
    size_t size;
};
enum status channel_send_parts(struct channel *channel, const struct channel_part *parts,
                               size_t count) MUST_USE;
// Sends what is gathered and tries to empty the outgoing buffer; STATUS_AGAIN while something is left. Call on
// EPOLLOUT, and when records were gathered.
enum status channel_flush(struct channel *channel) MUST_USE;
static inline int channel_is_waiting(const struct channel *channel) { return channel->used != 0; }
static inline int channel_has_gathered(const struct channel *channel) { return channel->packet_bytes != 0; }
// Records of a packet are left: epoll does not tell of them.
static inline int channel_has_more(const struct channel *channel) { return channel->inbox_at != channel->inbox_bytes; }

// Receives one record into bytes; *size is its length. STATUS_AGAIN: nothing there (when `wait` is 0).
// STATUS_CLOSED: end of file. STATUS_TOO_LARGE: the record did not fit and was dropped. STATUS_MALFORMED: a packet
// that is not made of records.
enum status channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size,
                            int wait) MUST_USE;

// With one file descriptor (or -1). Received descriptors are close-on-exec and owned by the caller.
enum status channel_send_fd(int channel_fd, const void *record, size_t size, int fd) MUST_USE;
enum status channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd,
                               int wait) MUST_USE;

#endif
