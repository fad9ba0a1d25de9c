// SPDX-License-Identifier: ISC
// The kernel and the loop around a tunnel (tests/fuzz/tunnel.c): a socket to a broker, and pairs of sockets whose other ends
// are lines. Who reads, and what is there to be read, the target says; what goes out is judged here, packet by packet.
#ifndef CRENEL_TESTS_TUNNEL_WORLD_H
#define CRENEL_TESTS_TUNNEL_WORLD_H

#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "courier/broker/tunnel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FD_FIRST 5000
#define FDS 34u // the broker's, and pairs: lines may stay open behind streams that are over
#define IN_BYTES 65536u

static struct tunnel tunnel;
static struct loop loop;
static struct courier_page page;

enum end { NONE, BROKER, OURS, LINE };
struct descriptor {
    enum end end;
    int is_shut; // the other side of it has closed
    struct loop_watch *watch;
    uint64_t stream; // OURS
    uint64_t got_number; // OURS: what the line was given: so many whole DATA, and so much of the next
    size_t got_bytes;
    unsigned pending, spoken; // OURS: that the line has said; of them read
    unsigned heard; // OURS: of them that went out
    uint64_t numbers; // OURS: DATA that went out
    int is_full;
    int is_second; // another stream had its number: what is said of it may be of that one
};

static struct {
    struct take take;
    struct descriptor fds[FDS];
    unsigned fds_used; // the rest was never there
    uint8_t in[IN_BYTES]; // broker -> us
    size_t in_size, in_at;
    uint8_t out[MQTT5_OUTPUT_BYTES + 64]; // us -> broker, until it is whole packets
    size_t out_size;
    uint8_t acks[MQTT5_WINDOW + 1]; // packet identifiers that wait for PUBACK
    unsigned ack_count;
    int is_forged;  // raw bytes were said: what a line gets is unknown
    int is_full;    // the broker reads nothing
    int opens_when_ready, has_failed;
    uint64_t ids; // of random numbers
    unsigned was_there[32]; // by number: streams that had it
    uint16_t packet;
    unsigned losses;
} world;

static int is_made(int fd) { return fd >= FD_FIRST && fd < FD_FIRST + (int)FDS; }

static struct descriptor *of(int fd)
{
    must(is_made(fd));
    return &world.fds[fd - FD_FIRST];
}

static int fd_new(enum end end)
{
    for (unsigned i = 0; i < FDS; i++)
        if (world.fds[i].end == NONE) {
            world.fds[i] = (struct descriptor){.end = end};
            world.fds_used = world.fds_used > i ? world.fds_used : i + 1;
            return FD_FIRST + (int)i;
        }
    must(!"descriptors leak");
    return -1;
}

// The other one of a pair: they are made side by side, ours at an even place.
static struct descriptor *peer_of(struct descriptor *descriptor)
{
    return &world.fds[(size_t)(descriptor - world.fds) ^ 1];
}

// ---- What the tunnel asks of the kernel and the loop ----
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
int __wrap_close(int fd);
int __real_close(int fd);
enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready, void *context);
void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events);
void __wrap_loop_remove(struct loop *l, struct loop_watch *watch);
void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms);
int64_t __wrap_loop_clock_ms(void);

int64_t __wrap_loop_clock_ms(void) { return loop.now_ms; }

void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms) { timer->at_ms = l->now_ms + in_ms; }

enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready, void *context)
{
    (void)l;
    must(of(fd)->end != NONE && of(fd)->watch == NULL);
    *watch = (struct loop_watch){ready, context, fd, events};
    of(fd)->watch = watch;
    return STATUS_OK;
}

void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events)
{
    (void)l;
    must(of(watch->fd)->watch == watch);
    watch->events = events;
}

void __wrap_loop_remove(struct loop *l, struct loop_watch *watch)
{
    (void)l;
    must(of(watch->fd)->watch == watch);
    of(watch->fd)->watch = NULL;
}

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return fd_new(BROKER);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)address, (void)size;
    must(of(fd)->end == BROKER);
    world.in_size = world.in_at = world.out_size = world.ack_count = 0;
    world.is_full = 0;
    world.has_failed = take_byte(&world.take) % 8 == 7;
    errno = world.has_failed && take_byte(&world.take) % 2 != 0 ? ECONNREFUSED : EINPROGRESS;
    return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    (void)fd, (void)level, (void)name, (void)size;
    *(int *)value = world.has_failed ? ECONNREFUSED : 0;
    return 0;
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
    (void)domain, (void)type, (void)protocol;
    for (unsigned i = 2; i + 1 < FDS; i += 2)
        if (world.fds[i].end == NONE && world.fds[i + 1].end == NONE) {
            world.fds[i] = (struct descriptor){.end = OURS};
            world.fds[i + 1] = (struct descriptor){.end = LINE};
            world.fds_used = world.fds_used > i + 1 ? world.fds_used : i + 2;
            fds[0] = FD_FIRST + (int)i;
            fds[1] = fds[0] + 1;
            return 0;
        }
    errno = EMFILE;
    return -1;
}

static int is_stream(uint64_t id)
{
    for (unsigned i = 0; i < TUNNEL_STREAMS_MAX; i++)
        if (tunnel.streams[i].id == id)
            return 1;
    return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    uint64_t id; // one that was there, but is not now
    (void)flags;
    if (size != sizeof id) { // the chance in a wait (courier/retry.h)
        memset(bytes, 0, size);
        return (ssize_t)size;
    }
    do
        id = 1 + world.ids++ % 16;
    while (is_stream(id));
    memcpy(bytes, &id, sizeof id);
    return (ssize_t)size;
}

static struct descriptor *stream_of(uint64_t id)
{
    for (unsigned i = 0; i < world.fds_used; i++)
        if (world.fds[i].end == OURS && world.fds[i].stream == id)
            return &world.fds[i];
    return NULL;
}

// Ours, as far as the tunnel knows: its streams name their descriptors.
static void name_streams(void)
{
    for (unsigned i = 0; i < TUNNEL_STREAMS_MAX; i++) {
        struct descriptor *ours = tunnel.streams[i].id != 0 ? of(tunnel.streams[i].fd) : NULL;
        if (ours != NULL && ours->stream == 0) {
            ours->stream = tunnel.streams[i].id;
            ours->is_second = world.was_there[ours->stream % 32]++ != 0;
        }
    }
}

int __wrap_close(int fd)
{
    if (!is_made(fd))
        return fd < 0 ? 0 : __real_close(fd);
    struct descriptor *descriptor = of(fd);
    must(descriptor->end != NONE && descriptor->watch == NULL);
    if (descriptor->end != BROKER)
        peer_of(descriptor)->is_shut = 1;
    descriptor->end = NONE;
    return 0;
}

static uint8_t spoken_byte(unsigned at) { return (uint8_t)(at * 7 + 3); }

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    struct descriptor *descriptor = of(fd);
    (void)flags;
    must(descriptor->end == BROKER || descriptor->end == OURS);
    if (descriptor->end == BROKER) {
        size_t left = world.in_size - world.in_at, part = left < size ? left : size;
        if (left == 0 && descriptor->is_shut)
            return 0;
        if (left == 0 || size == 0) {
            must(size != 0);
            errno = EAGAIN;
            return -1;
        }
        memcpy(bytes, world.in + world.in_at, part);
        world.in_at += part;
        return (ssize_t)part;
    }
    if (descriptor->pending == 0) {
        errno = EAGAIN;
        return descriptor->is_shut ? 0 : -1;
    }
    size_t part = descriptor->pending < size ? descriptor->pending : size;
    for (size_t i = 0; i < part; i++)
        ((uint8_t *)bytes)[i] = spoken_byte(descriptor->spoken++);
    descriptor->pending -= (unsigned)part;
    return (ssize_t)part;
}

static size_t data_bytes(uint64_t number) { return 1 + number * 37 % 200; }

static void line_takes(struct descriptor *descriptor, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && !world.is_forged; i++) {
        must(bytes[i] == (uint8_t)(descriptor->got_number + 1));
        if (++descriptor->got_bytes == data_bytes(descriptor->got_number))
            descriptor->got_number++, descriptor->got_bytes = 0;
    }
}

static void judge_payload(const uint8_t *bytes, size_t size)
{
    struct tunnel_head head;
    must(size >= sizeof head);
    memcpy(&head, bytes, sizeof head);
    must(head.magic == TUNNEL_MAGIC && head.zero == 0 && head.kind >= TUNNEL_KNOCK && head.kind <= TUNNEL_END);
    must(head.kind != (tunnel.is_listening ? TUNNEL_OPEN : TUNNEL_KNOCK));
    must((head.kind == TUNNEL_KNOCK) == (head.stream == 0) || world.is_forged);
    must((head.kind == TUNNEL_DATA) == (size > sizeof head));
    name_streams();
    struct descriptor *stream = stream_of(head.stream);
    if (stream == NULL || stream->is_second || head.kind != TUNNEL_DATA)
        return;
    must(head.number == stream->numbers++);
    for (size_t i = sizeof head; i < size; i++)
        must(bytes[i] == spoken_byte(stream->heard++));
}

// Whole packets at the front of what went out.
static void judge_output(void)
{
    size_t at = 0;
    while (at + 2 <= world.out_size) {
        size_t length = 0, shift = 0, i = at + 1;
        do {
            if (i >= world.out_size)
                goto out;
            length |= (size_t)(world.out[i] & 127) << shift;
            shift += 7;
        } while ((world.out[i++] & 128) != 0);
        if (length > world.out_size - i)
            break;
        if (world.out[at] >> 4 == 3) {
            size_t topic = world.out[i] * 256u + world.out[i + 1];
            must(topic == strlen(tunnel.terms.publish) && world.ack_count < MQTT5_WINDOW);
            world.acks[world.ack_count++] = world.out[i + 2 + topic + 1];
            judge_payload(world.out + i + 2 + topic + 3, length - 2 - topic - 3);
        }
        at = i + length;
    }
out:
    world.out_size -= at;
    memmove(world.out, world.out + at, world.out_size);
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    struct descriptor *descriptor = of(fd);
    must((descriptor->end == BROKER || descriptor->end == OURS) && flags == MSG_NOSIGNAL && size != 0);
    if (descriptor->is_shut) {
        errno = EPIPE;
        return -1;
    }
    if (descriptor->end == BROKER ? world.is_full : descriptor->is_full) {
        errno = EAGAIN;
        return -1;
    }
    if (descriptor->end == OURS) {
        size_t part = size > 16 ? size - size / 3 : size;
        line_takes(descriptor, bytes, part);
        return (ssize_t)part;
    }
    size = size < sizeof world.out - world.out_size ? size : sizeof world.out - world.out_size;
    memcpy(world.out + world.out_size, bytes, size);
    world.out_size += size;
    judge_output();
    return (ssize_t)size;
}

#endif
