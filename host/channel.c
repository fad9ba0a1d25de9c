// SPDX-License-Identifier: ISC
// Channels over SOCK_SEQPACKET.
//
// Outgoing buffer: a ring of packets, each a uint32_t size and the bytes, all modulo capacity.
// Invariant: while used != 0 nothing is sent directly, so order is kept.
// What is gathered comes behind the ring: a packet that is full goes the way that a record goes without gathering.
#include "host/channel.h"

#include "core/check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHANNEL_SOCKET_BYTES (1024 * 1024)
#define CHANNEL_PARTS_MAX 8u

enum status channel_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return STATUS_SYSTEM;
    int bytes = CHANNEL_SOCKET_BYTES;
    for (int i = 0; i < 2; i++) {
        // FORCE needs CAP_NET_ADMIN; the plain call is cut at net.core.wmem_max, which still holds a record.
        if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0)
            (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    return STATUS_OK;
}

void channel_init(struct channel *channel, int fd, uint8_t *buffer, size_t capacity)
{
    *channel = (struct channel){.fd = fd, .buffer = buffer, .capacity = capacity};
    int flags = fcntl(fd, F_GETFL);
    int wanted = buffer != NULL ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (flags >= 0 && wanted != flags)
        (void)fcntl(fd, F_SETFL, wanted);
}

void channel_gather(struct channel *channel, uint8_t *packet, uint8_t *inbox, size_t packet_most)
{
    check(packet_most % 8 == 0);
    channel->packet = packet;
    channel->inbox = inbox;
    channel->packet_most = packet_most;
    channel->packet_bytes = channel->inbox_bytes = channel->inbox_at = 0;
}

void channel_close(struct channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
    channel->used = channel->head = 0;
    channel->packet_bytes = channel->inbox_bytes = channel->inbox_at = 0;
}

static void ring_copy_in(struct channel *channel, const void *bytes, size_t size)
{
    size_t at = (channel->head + channel->used) % channel->capacity;
    size_t first = size < channel->capacity - at ? size : channel->capacity - at;
    if (size != 0) {
        memcpy(channel->buffer + at, bytes, first);
        memcpy(channel->buffer, (const uint8_t *)bytes + first, size - first);
    }
    channel->used += size;
}

static void ring_copy_out(const struct channel *channel, size_t offset, void *bytes, size_t size)
{
    size_t at = (channel->head + offset) % channel->capacity;
    size_t first = size < channel->capacity - at ? size : channel->capacity - at;
    memcpy(bytes, channel->buffer + at, first);
    memcpy((uint8_t *)bytes + first, channel->buffer, size - first);
}

static enum status send_error(void)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
        return STATUS_AGAIN;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
        return STATUS_CLOSED;
    return STATUS_SYSTEM;
}

static enum status send_vector(int fd, const struct iovec *vector, size_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)vector, .msg_iovlen = count};
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? send_error() : STATUS_OK;
}

static enum status send_packet(struct channel *channel, const struct channel_part *parts, size_t count)
{
    struct iovec vector[CHANNEL_PARTS_MAX];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        vector[i].iov_base = (void *)(uintptr_t)parts[i].bytes;
        vector[i].iov_len = parts[i].size;
        total += parts[i].size;
    }
    if (channel->used == 0) {
        enum status status = send_vector(channel->fd, vector, count);
        if (status != STATUS_AGAIN || channel->buffer == NULL)
            return status;
    }
    if (total + sizeof(uint32_t) > channel->capacity - channel->used)
        return STATUS_FULL;
    uint32_t size = (uint32_t)total;
    ring_copy_in(channel, &size, sizeof size);
    for (size_t i = 0; i < count; i++)
        ring_copy_in(channel, parts[i].bytes, parts[i].size);
    return STATUS_OK;
}

static enum status send_gathered(struct channel *channel)
{
    struct channel_part part = {channel->packet, channel->packet_bytes};
    channel->packet_bytes = 0;
    return part.size != 0 ? send_packet(channel, &part, 1) : STATUS_OK;
}

enum status channel_send_parts(struct channel *channel, const struct channel_part *parts,
                               size_t count)
{
    check(count <= CHANNEL_PARTS_MAX);
    if (channel->fd < 0)
        return STATUS_CLOSED;
    if (channel->packet == NULL)
        return send_packet(channel, parts, count);
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].size;
    check(total <= channel->packet_most);
    enum status status = STATUS_OK;
    if (total > channel->packet_most - channel->packet_bytes)
        status = send_gathered(channel);
    uint8_t *at = channel->packet + channel->packet_bytes;
    for (size_t i = 0; i < count; i++)
        if (parts[i].size != 0) {
            memcpy(at, parts[i].bytes, parts[i].size);
            at += parts[i].size;
        }
    size_t padding = (8 - total % 8) % 8;
    memset(at, 0, padding);
    channel->packet_bytes += total + padding;
    return status;
}

enum status channel_send(struct channel *channel, const void *record, size_t size)
{
    return channel_send_parts(channel, &(struct channel_part){record, size}, 1);
}

enum status channel_flush(struct channel *channel)
{
    enum status gathered = send_gathered(channel);
    if (gathered != STATUS_OK)
        return gathered;
    while (channel->used != 0) {
        uint32_t size;
        ring_copy_out(channel, 0, &size, sizeof size);
        size_t at = (channel->head + sizeof size) % channel->capacity;
        size_t first = size < channel->capacity - at ? size : channel->capacity - at;
        struct iovec vector[2] = {{channel->buffer + at, first},
                                  {channel->buffer, size - first}};
        enum status status = send_vector(channel->fd, vector, size > first ? 2 : 1);
        if (status != STATUS_OK)
            return status;
        channel->head = (channel->head + sizeof size + size) % channel->capacity;
        channel->used -= sizeof size + size;
    }
    return STATUS_OK;
}

static enum status receive_packet(struct channel *channel, void *bytes, size_t capacity, size_t *size,
                                  int wait)
{
    int fd = -1;
    enum status status = channel_receive_fd(channel->fd, bytes, capacity, size, &fd, wait);
    if (fd >= 0)
        close(fd); // nobody asked for one
    return status;
}

// The next record of the packet in the inbox.
static enum status receive_gathered(struct channel *channel, void *bytes, size_t capacity, size_t *size)
{
    size_t left = channel->inbox_bytes - channel->inbox_at;
    const uint8_t *record = channel->inbox + channel->inbox_at;
    uint32_t record_bytes = 0;
    if (left >= sizeof record_bytes)
        memcpy(&record_bytes, record, sizeof record_bytes);
    if (record_bytes < sizeof record_bytes || record_bytes > left) {
        channel->inbox_at = channel->inbox_bytes;
        return STATUS_MALFORMED;
    }
    size_t padded = (record_bytes + (size_t)7) / 8 * 8;
    channel->inbox_at += padded < left ? padded : left;
    if (record_bytes > capacity)
        return STATUS_TOO_LARGE;
    memcpy(bytes, record, record_bytes);
    *size = record_bytes;
    return STATUS_OK;
}

enum status channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size,
                            int wait)
{
    if (channel->fd < 0)
        return STATUS_CLOSED;
    if (channel->inbox == NULL)
        return receive_packet(channel, bytes, capacity, size, wait);
    if (channel->inbox_at == channel->inbox_bytes) {
        size_t packet_bytes = 0;
        enum status status = receive_packet(channel, channel->inbox, channel->packet_most, &packet_bytes, wait);
        if (status != STATUS_OK)
            return status;
        channel->inbox_bytes = packet_bytes;
        channel->inbox_at = 0;
    }
    return receive_gathered(channel, bytes, capacity, size);
}

enum status channel_send_fd(int channel_fd, const void *record, size_t size, int fd)
{
    struct iovec vector = {(void *)(uintptr_t)record, size};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    ssize_t sent;
    do
        sent = sendmsg(channel_fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? send_error() : STATUS_OK;
}

enum status channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd,
                               int wait)
{
    struct iovec vector = {bytes, capacity};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t got;
    do
        got = recvmsg(channel_fd, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    *fd = -1;
    if (got < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return STATUS_AGAIN;
        return errno == ECONNRESET ? STATUS_CLOSED : STATUS_SYSTEM;
    }
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int received;
            memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof received);
            if (*fd < 0)
                *fd = received;
            else
                close(received);
        }
    }
    if (got == 0)
        return STATUS_CLOSED;
    if ((message.msg_flags & MSG_TRUNC) != 0)
        return STATUS_TOO_LARGE;
    *size = (size_t)got;
    return STATUS_OK;
}
