// SPDX-License-Identifier: ISC
// The kernel, TLS and the loop around a courier (tests/fuzz/courier.c): a listener and sockets whose peers the target plays.
#ifndef CRENEL_TESTS_COURIER_WORLD_H
#define CRENEL_TESTS_COURIER_WORLD_H

#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "courier/courier.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define FD_FIRST 5000
#define FDS 16u
#define FD_LISTENER (FD_FIRST + (int)FDS)
#define FD_LINK (FD_LISTENER + 1)
#define WORDS 16384u

struct peer { // a socket, and who is at its other end
    int is_there, is_shut, is_full, has_failed;
    uint8_t manner;       // of its handshake
    int shakes;           // steps of it
    int is_forged;        // it has said raw bytes
    int has_agreed;       // its HELLO was good
    struct loop_watch *watch;
    uint8_t in[WORDS];    // what it says
    size_t in_size, in_at;
    uint8_t out[WORDS];   // what it is told, until that is a whole frame
    size_t out_size, frames;
    uint64_t said, brought; // sequences of its messages: the last one, the last one that went to the router
    uint64_t told[512];     // sequences of messages to it that it has not acknowledged
    unsigned told_count;
    uint64_t told_last;
};

static struct {
    struct take take;
    struct peer peers[FDS];
    struct loop_watch *listener, *link;
    unsigned callers; // at the listener
    int reading;      // index of the peer whose bytes are being read, -1: none
    int64_t now_ms;
} world;
static struct loop loop;

static void judge_frame(struct peer *peer, const struct session_frame *frame, const uint8_t *body);

static struct peer *peer_of(int fd)
{
    must(fd >= FD_FIRST && fd < FD_FIRST + (int)FDS && world.peers[fd - FD_FIRST].is_there);
    return &world.peers[fd - FD_FIRST];
}

static struct courier *courier; // of this input

static uint16_t name_of(const struct peer *peer) { return courier->is->peer_count > 1 ? peer->manner >> 7 : 0; }

static int peer_new(void)
{
    for (unsigned i = 0; i < FDS; i++) {
        struct peer *peer = &world.peers[i];
        if (peer->is_there)
            continue;
        memset(peer, 0, offsetof(struct peer, in));
        peer->in_size = peer->in_at = peer->out_size = peer->frames = 0;
        peer->said = peer->brought = peer->told_last = peer->told_count = 0;
        peer->is_there = 1;
        peer->manner = take_byte(&world.take);
        peer->has_failed = peer->manner == 0xfd;
        return FD_FIRST + (int)i;
    }
    errno = EMFILE;
    return -1;
}

enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready, void *context);
void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events);
void __wrap_loop_remove(struct loop *l, struct loop_watch *watch);
void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms);
int64_t __wrap_loop_clock_ms(void);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_shutdown(int fd, int how);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
int __wrap_close(int fd);
int __real_close(int fd);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
struct tls *__wrap_tls_new(struct tls_context *context, int fd, const struct system_courier *named);
void __wrap_tls_destroy(struct tls *tls);
enum status __wrap_tls_handshake(struct tls *tls, uint16_t *peer, int *wants_write);
enum status __wrap_tls_read(struct tls *tls, uint8_t *bytes, size_t capacity, size_t *done);
enum status __wrap_tls_write(struct tls *tls, const uint8_t *bytes, size_t size, size_t *done);
const char *__wrap_tls_why(const struct tls *tls);

int64_t __wrap_loop_clock_ms(void) { return loop.now_ms; }
void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms) { timer->at_ms = l->now_ms + in_ms; }

static struct loop_watch **place_of(int fd)
{
    return fd == FD_LISTENER ? &world.listener : fd == FD_LINK ? &world.link : &peer_of(fd)->watch;
}

enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready, void *context)
{
    (void)l;
    must(*place_of(fd) == NULL);
    *watch = (struct loop_watch){ready, context, fd, events};
    *place_of(fd) = watch;
    return STATUS_OK;
}

void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events)
{
    (void)l;
    must(*place_of(watch->fd) == watch);
    watch->events = events;
}

void __wrap_loop_remove(struct loop *l, struct loop_watch *watch)
{
    (void)l;
    must(*place_of(watch->fd) == watch);
    *place_of(watch->fd) = NULL;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void)address, (void)size, (void)flags;
    must(fd == FD_LISTENER && world.callers != 0);
    world.callers--;
    return peer_new();
}

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return peer_new();
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)address, (void)size;
    errno = peer_of(fd)->manner == 0xfe ? ENETUNREACH : EINPROGRESS;
    return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    (void)level, (void)name, (void)size;
    *(int *)value = peer_of(fd)->has_failed ? ECONNREFUSED : 0;
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    (void)level, (void)name, (void)value, (void)size;
    must(peer_of(fd) != NULL);
    return 0;
}

int __wrap_shutdown(int fd, int how)
{
    (void)how;
    must(peer_of(fd) != NULL);
    return 0;
}

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    struct peer *peer = peer_of(fd);
    (void)flags, (void)bytes;
    if (peer->in_at != peer->in_size) {
        size_t part = peer->in_size - peer->in_at < size ? peer->in_size - peer->in_at : size;
        peer->in_at += part;
        return (ssize_t)part;
    }
    errno = EAGAIN;
    return peer->is_shut ? 0 : -1;
}

int __wrap_close(int fd)
{
    if (fd < FD_FIRST || fd > FD_LINK)
        return fd < 0 ? 0 : __real_close(fd);
    must(peer_of(fd)->watch == NULL);
    peer_of(fd)->is_there = 0;
    return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    memset(bytes, 0x11, size);
    return (ssize_t)size;
}

static struct peer *of_tls(struct tls *tls)
{
    struct peer *peer = (struct peer *)(void *)tls;
    must(peer >= world.peers && peer < world.peers + FDS && peer->is_there);
    return peer;
}

struct tls *__wrap_tls_new(struct tls_context *context, int fd, const struct system_courier *named)
{
    (void)context, (void)named;
    return peer_of(fd)->manner == 0xff ? NULL : (struct tls *)(void *)peer_of(fd);
}

void __wrap_tls_destroy(struct tls *tls) { must(of_tls(tls)->watch == NULL); }
const char *__wrap_tls_why(const struct tls *tls) { return tls == NULL ? "" : "it failed"; }

enum status __wrap_tls_handshake(struct tls *tls, uint16_t *peer, int *wants_write)
{
    struct peer *with = of_tls(tls);
    if (with->is_shut)
        return STATUS_CLOSED;
    if ((with->manner & 7) == 7)
        return STATUS_DENIED;
    if ((with->manner & 7) == 6 && with->shakes++ < 2) {
        *wants_write = with->shakes & 1;
        return STATUS_AGAIN;
    }
    *peer = name_of(with);
    return STATUS_OK;
}

enum status __wrap_tls_read(struct tls *tls, uint8_t *bytes, size_t capacity, size_t *done)
{
    struct peer *peer = of_tls(tls);
    size_t left = peer->in_size - peer->in_at;
    world.reading = (int)(peer - world.peers);
    if (left == 0)
        return peer->is_shut ? STATUS_CLOSED : STATUS_AGAIN;
    *done = left < capacity ? left : capacity;
    if (*done > 40 && (peer->manner & 8) != 0)
        *done = 40;
    memcpy(bytes, peer->in + peer->in_at, *done);
    peer->in_at += *done;
    return STATUS_OK;
}

enum status __wrap_tls_write(struct tls *tls, const uint8_t *bytes, size_t size, size_t *done)
{
    struct peer *peer = of_tls(tls);
    must(size != 0);
    if (peer->is_shut)
        return STATUS_CLOSED;
    if (peer->is_full)
        return STATUS_AGAIN;
    *done = size < sizeof peer->out - peer->out_size ? size : sizeof peer->out - peer->out_size;
    if (*done > 24 && (peer->manner & 16) != 0)
        *done = 24;
    memcpy(peer->out + peer->out_size, bytes, *done);
    peer->out_size += *done;
    size_t at = 0;
    struct session_frame frame;
    while (peer->out_size - at >= sizeof frame) {
        memcpy(&frame, peer->out + at, sizeof frame);
        must(frame.size >= sizeof frame && frame.size <= SESSION_FRAME_MAX);
        if (frame.size > peer->out_size - at)
            break;
        judge_frame(peer, &frame, peer->out + at + sizeof frame);
        at += frame.size;
    }
    peer->out_size -= at;
    memmove(peer->out, peer->out + at, peer->out_size);
    return STATUS_OK;
}

#endif
