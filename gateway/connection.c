// SPDX-License-Identifier: ISC
// One connection. Invariants: nothing is read while the router has not taken the last INPUT, nothing is sent to
// the router after SHUT (but DRAINED) and after END, and the descriptor is watched only for what is wanted now.
#include "gateway/connection.h"

#include "core/check.h"
#include "gateway/gateway.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_ready(void *context, uint32_t events);

static void set_deadline(struct connection *connection, uint32_t in_ms)
{
    connection->deadline_ms = in_ms == 0 ? 0 : loop_clock_ms() + in_ms;
    if (in_ms != 0)
        gateway_watch_time(connection->gateway);
}

static void unwatch(struct connection *connection)
{
    if (!connection->is_unwatched)
        loop_remove(connection->gateway->loop, &connection->watch);
    connection->is_unwatched = 1;
}

// Says in epoll exactly what can be acted on. Without that, a descriptor that has failed would be reported in
// every round.
static void watch(struct connection *connection)
{
    if (connection->fd < 0)
        return;
    int is_reading = connection->is_half_closed ||
                     (connection->is_taken && !connection->is_over && !connection->is_ending);
    uint32_t events = (is_reading ? (uint32_t)EPOLLIN : 0) |
                      (connection->used != 0 ? (uint32_t)EPOLLOUT : 0);
    if (events == 0) {
        unwatch(connection);
    } else if (connection->is_unwatched) {
        // Fails only when the kernel is out of memory; then the connection's time limit ends it.
        if (loop_add(connection->gateway->loop, &connection->watch, connection->fd, events,
                     on_ready, connection) == STATUS_OK)
            connection->is_unwatched = 0;
        else
            set_deadline(connection, GATEWAY_SWEEP_MS);
    } else {
        loop_change(connection->gateway->loop, &connection->watch, events);
    }
}

void connection_open(struct connection *connection, int fd, uint64_t id)
{
    check(connection->id == 0 && id != 0);
    connection->id = id;
    connection->fd = fd;
    connection->is_taken = 1;
    connection->is_over = connection->is_shut = connection->is_ending = 0;
    connection->is_half_closed = connection->is_deaf = 0;
    connection->is_unwatched = 1;
    connection->discarded_bytes = 0;
    connection->head = connection->used = 0;
    set_deadline(connection, connection->gateway->limits.first_byte_ms);
    watch(connection);
}

void connection_close(struct connection *connection)
{
    struct gateway *gateway = connection->gateway;
    if (connection->fd >= 0) {
        unwatch(connection);
        close(connection->fd);
    }
    connection->fd = -1;
    connection->id = 0;
    connection->deadline_ms = 0;
    gateway->open_count--;
    gateway->page->open = gateway->open_count;
}

static void shut(struct connection *connection)
{
    if (connection->is_shut || connection->is_ending || !connection->is_taken)
        return;
    connection->is_shut = 1;
    gateway_say(connection->gateway, LINK_SHUT, connection->id, NULL, 0);
}

// What waits will never be taken; the router's accounts must close all the same.
static void drop_output(struct connection *connection)
{
    uint64_t bytes = connection->used;
    connection->used = connection->head = 0;
    if (bytes != 0 && !connection->is_ending)
        gateway_say(connection->gateway, LINK_DRAINED, connection->id, &bytes, sizeof bytes);
}

// The outside cannot be used any more. With END the connection is done, without it the router is told.
static void cut_off(struct connection *connection)
{
    unwatch(connection);
    close(connection->fd);
    connection->fd = -1;
    connection->is_over = 1;
    connection->deadline_ms = 0;
    drop_output(connection);
    if (connection->is_ending)
        connection_close(connection);
    else
        shut(connection);
}

// After END and with nothing left to send.
static void half_close(struct connection *connection)
{
    if (connection->is_over || connection->is_deaf) {
        connection_close(connection);
        return;
    }
    connection->is_half_closed = 1;
    (void)shutdown(connection->fd, SHUT_WR);
    set_deadline(connection, connection->gateway->limits.linger_ms);
    watch(connection);
}

// Gives the kernel what it takes. 0: the outside takes nothing any more.
static int flush(struct connection *connection)
{
    uint64_t sent_bytes = 0;
    int is_alive = 1;
    while (connection->used != 0) {
        size_t first = connection->capacity - connection->head;
        size_t size = connection->used < first ? connection->used : first;
        ssize_t sent = send(connection->fd, connection->buffer + connection->head, size,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            is_alive = errno == EAGAIN || errno == EWOULDBLOCK;
            break;
        }
        connection->used -= (size_t)sent;
        connection->head = (connection->head + (size_t)sent) % connection->capacity;
        sent_bytes += (uint64_t)sent;
    }
    if (connection->used == 0)
        connection->head = 0; // so that only the first pages of the ring are ever touched
    if (sent_bytes == 0)
        return is_alive;
    connection->gateway->page->bytes_out += sent_bytes;
    set_deadline(connection, connection->used != 0 ? connection->gateway->limits.slow_ms : 0);
    if (!connection->is_ending)
        gateway_say(connection->gateway, LINK_DRAINED, connection->id, &sent_bytes,
                    sizeof sent_bytes);
    return is_alive;
}

static void write_out(struct connection *connection)
{
    if (!flush(connection)) {
        // What the outside sent before may still be read.
        connection->is_deaf = 1;
        drop_output(connection);
    }
    if (connection->is_ending && connection->used == 0)
        half_close(connection);
    else
        watch(connection);
}

// Reads one INPUT if the router has room for it. Over: the end of the outside, noticed.
static void read_in(struct connection *connection)
{
    uint8_t bytes[LINK_INPUT_BYTES_MAX];
    ssize_t got;
    do
        got = recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        watch(connection);
        return;
    }
    if (got < 0) {
        cut_off(connection);
        return;
    }
    if (got == 0) {
        // Half open: what the outside may still want to read goes out until END comes.
        connection->is_over = 1;
        if (connection->used == 0)
            connection->deadline_ms = 0;
        shut(connection);
        watch(connection);
        return;
    }
    if (connection->used == 0)
        connection->deadline_ms = 0; // the limit for a first byte
    connection->is_taken = 0;
    connection->gateway->page->bytes_in += (uint64_t)got;
    gateway_say(connection->gateway, LINK_INPUT, connection->id, bytes, (size_t)got);
    watch(connection);
}

static void discard(struct connection *connection)
{
    uint8_t bytes[4096];
    ssize_t got = recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got > 0)
        connection->discarded_bytes += (size_t)got;
    if (got <= 0 || connection->discarded_bytes > GATEWAY_LINGER_BYTES)
        connection_close(connection);
}

static void on_ready(void *context, uint32_t events)
{
    struct connection *connection = context;
    if (connection->is_half_closed) {
        discard(connection);
        return;
    }
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0 && connection->used != 0) {
        write_out(connection);
        if (connection->id == 0 || connection->fd < 0)
            return;
    }
    if (connection->is_taken && !connection->is_over && !connection->is_ending &&
        (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        read_in(connection);
}

void connection_take_output(struct connection *connection, const uint8_t *bytes, size_t size)
{
    if (connection->is_ending)
        return;
    if (connection->fd < 0 || connection->is_deaf) { // taken, and dropped
        uint64_t dropped = size;
        gateway_say(connection->gateway, LINK_DRAINED, connection->id, &dropped, sizeof dropped);
        return;
    }
    if (size > connection->capacity - connection->used) {
        uint64_t dropped = size;
        gateway_say(connection->gateway, LINK_DRAINED, connection->id, &dropped, sizeof dropped);
        cut_off(connection);
        return;
    }
    if (connection->used == 0 && connection->deadline_ms == 0)
        set_deadline(connection, connection->gateway->limits.slow_ms);
    size_t at = (connection->head + connection->used) % connection->capacity;
    size_t first = size < connection->capacity - at ? size : connection->capacity - at;
    memcpy(connection->buffer + at, bytes, first);
    memcpy(connection->buffer, bytes + first, size - first);
    connection->used += size;
    if (connection->is_written)
        return;
    connection->is_written = 1;
    connection->next_written = connection->gateway->written;
    connection->gateway->written = connection;
}

void connection_write(struct connection *connection)
{
    connection->is_written = 0;
    if (connection->fd >= 0 && connection->used != 0) // not if it has ended meanwhile
        write_out(connection);
}

void connection_taken(struct connection *connection)
{
    connection->is_taken = 1;
    if (connection->is_over)
        shut(connection);
    else if (!connection->is_ending)
        read_in(connection);
}

void connection_end(struct connection *connection)
{
    if (connection->is_ending)
        return;
    connection->is_ending = 1;
    if (connection->fd < 0)
        connection_close(connection);
    else
        write_out(connection);
}

void connection_expire(struct connection *connection)
{
    connection->deadline_ms = 0;
    if (connection->fd >= 0)
        cut_off(connection);
}
