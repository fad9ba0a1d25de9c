// SPDX-License-Identifier: ISC
// One connection to a peer.
#include "courier/line.h"

#include "core/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_TURN 16
#define READ_BYTES 16384u // a whole TLS record: none of it stays in OpenSSL, where epoll does not see it

static void ready(void *context, uint32_t events);

static void watch(struct line *line)
{
    const uint8_t *bytes;
    int wants_write = line->state == LINE_CONNECTING || line->wants_write ||
                      (line->state >= LINE_OPEN && !line->is_shut && session_output(&line->session, &bytes) != 0);
    loop_change(line->loop, &line->watch, wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void release(struct line *line)
{
    loop_remove(line->loop, &line->watch);
    if (line->tls != NULL)
        tls_destroy(line->tls);
    close(line->fd);
    line->tls = NULL;
    line->fd = -1;
    line->state = LINE_FREE;
    line->deadline_ms = 0;
}

void line_end(struct line *line, const char *why)
{
    int is_known = line->state == LINE_OPEN;
    char text[SESSION_WHY_BYTES];
    snprintf(text, sizeof text, "%s", why);
    if (line->state == LINE_FREE || line->state == LINE_CLOSING)
        return;
    release(line);
    line->owner->ended(line->owner->context, line, text, is_known);
}

// The session has said its last word: it goes out before the line is released.
static void close_softly(struct line *line)
{
    line->state = LINE_CLOSING;
    line->deadline_ms = loop_clock_ms() + LINE_CLOSING_MS;
    line->owner->ended(line->owner->context, line, line->session.why, 1);
    line_flush(line);
}

void line_flush(struct line *line)
{
    const uint8_t *bytes;
    size_t size, done;
    if (line->state != LINE_OPEN && line->state != LINE_CLOSING)
        return;
    while ((size = session_output(&line->session, &bytes)) != 0 && !line->is_shut) {
        enum status status = tls_write(line->tls, bytes, size, &done);
        if (status == STATUS_AGAIN)
            break;
        if (status != STATUS_OK) {
            if (line->state == LINE_CLOSING)
                release(line);
            else
                line_end(line, tls_why(line->tls));
            return;
        }
        session_sent(&line->session, done);
    }
    if (line->state == LINE_CLOSING && size == 0 && !line->is_shut) {
        line->is_shut = 1;
        (void)shutdown(line->fd, SHUT_WR); // the other side reads what is there, then closes
    }
    watch(line);
}

static void on_agreed(void *context)
{
    struct line *line = context;
    line->is_agreed = 1;
    line->deadline_ms = 0;
    line->owner->agreed(line->owner->context, line);
}

static void on_take(void *context, uint16_t flow, const struct session_message *message, const uint8_t *payload)
{
    struct line *line = context;
    if (line->state == LINE_OPEN)
        line->owner->take(line->owner->context, line, flow, message, payload);
}

static void on_acknowledged(void *context, uint16_t flow, const struct session_ack *ack)
{
    struct line *line = context;
    if (line->state == LINE_OPEN)
        line->owner->acknowledged(line->owner->context, line, flow, ack);
}

static void shake(struct line *line)
{
    enum status status = tls_handshake(line->tls, &line->peer, &line->wants_write);
    if (status == STATUS_AGAIN) {
        watch(line);
        return;
    }
    if (status != STATUS_OK) {
        line_end(line, tls_why(line->tls));
        return;
    }
    const struct session_owner owner = {line, on_agreed, on_take, on_acknowledged};
    line->wants_write = 0;
    line->state = LINE_OPEN;
    line->owner->known(line->owner->context, line);
    session_begin(&line->session, line->terms, &owner);
    line_flush(line);
}

static void connected(struct line *line)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(line->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0) {
        line_end(line, strerror(error));
        return;
    }
    line->state = LINE_SHAKING;
    shake(line);
}

static void read_in(struct line *line)
{
    static uint8_t bytes[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN && line->state == LINE_OPEN; i++) {
        size_t done = 0;
        enum status status = tls_read(line->tls, bytes, sizeof bytes, &done);
        if (status == STATUS_AGAIN)
            break;
        if (status != STATUS_OK) {
            line_end(line, tls_why(line->tls));
            return;
        }
        if (session_receive(&line->session, bytes, done) != STATUS_OK && line->state == LINE_OPEN) {
            close_softly(line);
            return;
        }
    }
    line_flush(line);
}

static void drain(struct line *line)
{
    uint8_t bytes[4096];
    ssize_t got = recv(line->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        release(line);
}

static void ready(void *context, uint32_t events)
{
    struct line *line = context;
    switch (line->state) {
    case LINE_CONNECTING:
        connected(line);
        break;
    case LINE_SHAKING:
        shake(line);
        break;
    case LINE_OPEN:
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            read_in(line);
        else
            line_flush(line);
        break;
    case LINE_CLOSING:
        if ((events & EPOLLOUT) != 0)
            line_flush(line);
        if (line->state == LINE_CLOSING && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            drain(line);
        break;
    case LINE_FREE:
        break;
    }
    line->owner->settled(line->owner->context);
}

void line_open(struct line *line, int fd, const char *address, int is_connected)
{
    int on = 1, idle_s = 15, interval_s = 5, probes = 3;
    unsigned silent_ms = LINE_SILENT_MS;
    check(line->state == LINE_FREE);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof silent_ms);
    line->fd = fd;
    line->state = is_connected ? LINE_SHAKING : LINE_CONNECTING;
    line->wants_write = line->is_agreed = line->is_shut = 0;
    line->deadline_ms = loop_clock_ms() + LINE_HANDSHAKE_MS;
    snprintf(line->address, sizeof line->address, "%s", address);
    memset(line->brought, 0, sizeof line->brought);
    line->tls = tls_new(line->context, fd, line->courier);
    check(loop_add(line->loop, &line->watch, fd, is_connected ? EPOLLIN : EPOLLIN | EPOLLOUT, ready, line) == STATUS_OK);
    if (line->tls == NULL)
        line_end(line, "no memory");
}

void line_expire(struct line *line)
{
    if (line->state == LINE_CLOSING)
        release(line);
    else
        line_end(line, line->state == LINE_CONNECTING ? "nobody answers there" : "the other side does not go on");
}
