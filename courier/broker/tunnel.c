// SPDX-License-Identifier: ISC
// Streams through a broker.
#include "courier/broker/tunnel.h"

#include "core/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static void turn(struct tunnel *tunnel);

// ---- Streams ----

static int say(struct tunnel *tunnel, enum tunnel_kind kind, uint64_t stream, uint64_t number, const uint8_t *bytes, size_t size)
{
    struct tunnel_head head = {TUNNEL_MAGIC, stream, number, kind, 0};
    if (!mqtt5_may_publish(&tunnel->mqtt))
        return 0;
    mqtt5_publish(&tunnel->mqtt, &head, sizeof head, bytes, size);
    return 1;
}

static struct tunnel_stream *find(struct tunnel *tunnel, uint64_t id)
{
    for (size_t i = 0; i < TUNNEL_STREAMS_MAX; i++)
        if (tunnel->streams[i].id == id)
            return &tunnel->streams[i];
    return NULL;
}

static void stream_free(struct tunnel_stream *stream)
{
    loop_remove(stream->tunnel->loop, &stream->watch);
    close(stream->fd);
    stream->id = 0;
}

// What the line says goes out, as far as the broker takes it.
static void stream_pump(struct tunnel_stream *stream)
{
    static uint8_t bytes[MQTT5_PAYLOAD_MAX - sizeof(struct tunnel_head)];
    struct tunnel *tunnel = stream->tunnel;
    while (mqtt5_may_publish(&tunnel->mqtt)) {
        ssize_t got = recv(stream->fd, bytes, sizeof bytes, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            (void)say(tunnel, TUNNEL_END, stream->id, 0, NULL, 0);
            stream_free(stream);
            return;
        }
        check(say(tunnel, TUNNEL_DATA, stream->id, stream->given++, bytes, (size_t)got));
        stream->said_ms = tunnel->loop->now_ms;
    }
}

static void on_stream(void *context, uint32_t events)
{
    struct tunnel_stream *stream = context;
    struct tunnel *tunnel = stream->tunnel;
    if ((events & EPOLLIN) != 0)
        stream_pump(stream);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0) // and the broker takes no END now; ALIVE will have one for its answer
        stream_free(stream);
    turn(tunnel);
}

// Returns the line's end, or -1.
static int stream_new(struct tunnel *tunnel, uint64_t id)
{
    struct tunnel_stream *stream = find(tunnel, 0);
    int ends[2];
    if (stream == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    *stream = (struct tunnel_stream){.tunnel = tunnel, .id = id, .heard_ms = loop_clock_ms(), .said_ms = loop_clock_ms(), .fd = ends[0]};
    check(loop_add(tunnel->loop, &stream->watch, ends[0], EPOLLIN, on_stream, stream) == STATUS_OK);
    return ends[1];
}

int tunnel_open(struct tunnel *tunnel)
{
    uint64_t id = 0;
    if (!mqtt5_may_publish(&tunnel->mqtt) || getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        return -1;
    id = id == 0 ? 1 : id;
    int fd = stream_new(tunnel, id);
    if (fd >= 0)
        check(say(tunnel, TUNNEL_OPEN, id, 0, NULL, 0));
    turn(tunnel);
    return fd;
}

// 1: taken (or the stream is gone). 0: the line has not read what came before.
static int stream_take(struct tunnel_stream *stream, const uint8_t *bytes, size_t size)
{
    while (stream->held < size) {
        ssize_t put = send(stream->fd, bytes + stream->held, size - stream->held, MSG_NOSIGNAL);
        if (put < 0 && errno == EAGAIN)
            return 0;
        if (put < 0)
            break; // the line has ended; its end of the pair says so
        stream->held += (size_t)put;
    }
    stream->held = 0;
    stream->taken++;
    return 1;
}

// ---- What comes from the broker ----

static void take_knock(struct tunnel *tunnel)
{
    int is_here = 0;
    for (size_t i = 0; i < TUNNEL_STREAMS_MAX; i++) {
        struct tunnel_stream *stream = &tunnel->streams[i];
        is_here |= stream->id != 0;
        if (stream->id != 0)
            (void)say(tunnel, TUNNEL_ALIVE, stream->id, stream->given, NULL, 0);
    }
    if (!is_here)
        tunnel->owner.ready(tunnel->owner.context);
}

static void take_open(struct tunnel *tunnel, uint64_t id)
{
    if (find(tunnel, id) != NULL)
        return; // it came twice
    int fd = stream_new(tunnel, id);
    if (fd >= 0)
        tunnel->owner.accept(tunnel->owner.context, fd);
    else
        tunnel->page->refused++;
}

static int is_sound(const struct tunnel *tunnel, const struct tunnel_head *head, size_t size)
{
    int is_numbered = head->kind == TUNNEL_DATA || head->kind == TUNNEL_ALIVE;
    if (head->magic != TUNNEL_MAGIC || head->zero != 0 || head->kind < TUNNEL_KNOCK || head->kind > TUNNEL_END)
        return 0;
    if ((head->kind == TUNNEL_KNOCK) != (head->stream == 0) || (!is_numbered && head->number != 0) ||
        (head->kind == TUNNEL_DATA) != (size != 0))
        return 0;
    return tunnel->is_listening ? head->kind != TUNNEL_KNOCK : head->kind != TUNNEL_OPEN;
}

static int take_numbered(struct tunnel *tunnel, const struct tunnel_head *head, const uint8_t *bytes, size_t size)
{
    struct tunnel_stream *stream = find(tunnel, head->stream);
    if (stream == NULL || head->number > stream->taken) { // made up, of before, or a gap
        tunnel->page->refused++;
        (void)say(tunnel, TUNNEL_END, head->stream, 0, NULL, 0);
        if (stream != NULL)
            stream_free(stream);
        return 1;
    }
    stream->heard_ms = tunnel->loop->now_ms;
    return head->kind == TUNNEL_ALIVE || head->number < stream->taken || stream_take(stream, bytes, size);
}

static int on_payload(void *context, const uint8_t *payload, size_t size)
{
    struct tunnel *tunnel = context;
    struct tunnel_head head;
    size_t behind = size < sizeof head ? 0 : size - sizeof head;
    if (size < sizeof head || (memcpy(&head, payload, sizeof head), !is_sound(tunnel, &head, behind))) {
        tunnel->page->refused++;
        return 1;
    }
    if (head.kind == TUNNEL_KNOCK) {
        take_knock(tunnel);
    } else if (head.kind == TUNNEL_OPEN) {
        take_open(tunnel, head.stream);
    } else if (head.kind == TUNNEL_END) {
        struct tunnel_stream *stream = find(tunnel, head.stream);
        if (stream != NULL)
            stream_free(stream);
    } else {
        return take_numbered(tunnel, &head, payload + sizeof head, behind);
    }
    return 1;
}

static void on_ready(void *context)
{
    struct tunnel *tunnel = context;
    tunnel->deadline_ms = 0;
    tunnel->retry_ms = RETRY_LEAST_MS;
    if (tunnel->is_listening)
        (void)say(tunnel, TUNNEL_KNOCK, 0, 0, NULL, 0);
    else
        tunnel->owner.ready(tunnel->owner.context);
}

// ---- The connection to the broker ----

static void connect_later(struct tunnel *tunnel)
{
    loop_timer_set(tunnel->loop, &tunnel->retry, retry_wait_ms(&tunnel->retry_ms));
}

static void lose(struct tunnel *tunnel, const char *why)
{
    loop_remove(tunnel->loop, &tunnel->watch);
    close(tunnel->fd);
    tunnel->fd = -1;
    tunnel->mqtt.state = MQTT5_ENDED;
    for (size_t i = 0; i < TUNNEL_STREAMS_MAX; i++)
        if (tunnel->streams[i].id != 0)
            stream_free(&tunnel->streams[i]);
    tunnel->owner.lost(tunnel->owner.context, why);
    if (tunnel->tls != NULL)
        tls_destroy(tunnel->tls); // and with it perhaps `why`
    tunnel->tls = NULL;
    connect_later(tunnel);
}

// So many bytes came; or only: what the owner did not take is offered again.
static enum status offer(struct tunnel *tunnel, size_t size)
{
    tunnel->is_receiving = 1;
    enum status status = mqtt5_received(&tunnel->mqtt, size);
    tunnel->is_receiving = 0;
    if (status != STATUS_OK)
        lose(tunnel, tunnel->mqtt.why);
    return status;
}

static enum status receive(struct tunnel *tunnel, uint8_t *at, size_t room, size_t *size, const char **why)
{
    if (tunnel->tls != NULL) {
        *why = tls_why(tunnel->tls);
        return tls_read(tunnel->tls, at, room, size);
    }
    ssize_t got = recv(tunnel->fd, at, room, 0);
    *size = got > 0 ? (size_t)got : 0;
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return got > 0 ? STATUS_OK : STATUS_AGAIN;
    int is_first = tunnel->mqtt.state == MQTT5_CONNECTING && (got == 0 || errno == ECONNRESET);
    *why = is_first ? "the broker ends the connection at once: it may want TLS (`broker_authority`)"
           : got < 0 ? strerror(errno) : "the broker closed the connection";
    return STATUS_CLOSED;
}

static enum status transmit(struct tunnel *tunnel, const uint8_t *bytes, size_t size, size_t *done, const char **why)
{
    if (tunnel->tls != NULL) {
        *why = tls_why(tunnel->tls);
        return tls_write(tunnel->tls, bytes, size, done);
    }
    ssize_t put = send(tunnel->fd, bytes, size, MSG_NOSIGNAL);
    *done = put > 0 ? (size_t)put : 0;
    *why = put < 0 ? strerror(errno) : NULL;
    return put >= 0 ? STATUS_OK : errno == EAGAIN ? STATUS_AGAIN : STATUS_CLOSED;
}

static enum status read_in(struct tunnel *tunnel)
{
    const char *why;
    uint8_t *at;
    size_t got, room = mqtt5_room(&tunnel->mqtt, &at);
    enum status status = room == 0 ? STATUS_AGAIN : receive(tunnel, at, room, &got, &why);
    if (status == STATUS_AGAIN)
        return STATUS_OK;
    if (status != STATUS_OK) {
        lose(tunnel, why);
        return STATUS_CLOSED;
    }
    tunnel->heard_ms = tunnel->loop->now_ms;
    return offer(tunnel, got);
}

// After anything happened: what the lines can take now, what they may say now, and what the broker is to get.
static void turn(struct tunnel *tunnel)
{
    const char *why;
    const uint8_t *bytes;
    uint8_t *at;
    size_t size, done;
    if (tunnel->fd < 0 || !tunnel->is_connected || tunnel->is_receiving || offer(tunnel, 0) != STATUS_OK)
        return;
    while (tunnel->tls != NULL && tls_has_more(tunnel->tls) && mqtt5_room(&tunnel->mqtt, &at) != 0)
        if (read_in(tunnel) != STATUS_OK)
            return;
    while ((size = mqtt5_output(&tunnel->mqtt, &bytes)) != 0) {
        enum status status = transmit(tunnel, bytes, size, &done, &why);
        if (status == STATUS_AGAIN)
            break;
        if (status != STATUS_OK) {
            lose(tunnel, why);
            return;
        }
        mqtt5_sent(&tunnel->mqtt, done);
    }
    for (size_t i = 0; i < TUNNEL_STREAMS_MAX; i++) {
        struct tunnel_stream *stream = &tunnel->streams[i];
        if (stream->id != 0)
            loop_change(tunnel->loop, &stream->watch, (mqtt5_may_publish(&tunnel->mqtt) ? EPOLLIN : 0u) | (stream->held != 0 ? EPOLLOUT : 0u));
    }
    loop_change(tunnel->loop, &tunnel->watch, (mqtt5_room(&tunnel->mqtt, &at) != 0 ? EPOLLIN : 0u) | (size != 0 ? EPOLLOUT : 0u));
}

// A step on the way to the broker: TCP is there, then TLS.
static void reach(struct tunnel *tunnel)
{
    int error = 0, wants_write = 0;
    uint16_t peer;
    socklen_t size = sizeof error;
    if (getsockopt(tunnel->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0 && tunnel->context != NULL && tunnel->tls == NULL) {
        tunnel->tls = tls_new_for_broker(tunnel->context, tunnel->fd, tunnel->address);
        error = tunnel->tls == NULL ? ENOMEM : 0;
    }
    if (error != 0) {
        lose(tunnel, strerror(error));
        return;
    }
    enum status status = tunnel->tls == NULL ? STATUS_OK : tls_handshake(tunnel->tls, &peer, &wants_write);
    tunnel->is_connected = status == STATUS_OK;
    if (status == STATUS_AGAIN)
        loop_change(tunnel->loop, &tunnel->watch, wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
    else if (status != STATUS_OK)
        lose(tunnel, tls_why(tunnel->tls));
}

static void on_broker(void *context, uint32_t events)
{
    struct tunnel *tunnel = context;
    if (!tunnel->is_connected)
        reach(tunnel);
    if (!tunnel->is_connected)
        return;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || read_in(tunnel) == STATUS_OK)
        turn(tunnel);
}

static void connect_broker(void *context)
{
    struct tunnel *tunnel = context;
    tunnel->owner.dial(tunnel->owner.context);
}

void tunnel_unreachable(struct tunnel *tunnel) { connect_later(tunnel); }

void tunnel_connect(struct tunnel *tunnel, const struct sockaddr_storage *address, socklen_t size)
{
    const struct mqtt5_owner owner = {tunnel, on_ready, on_payload};
    tunnel->fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (tunnel->fd < 0) {
        connect_later(tunnel);
        return;
    }
    tunnel->is_connected = 0;
    tunnel->heard_ms = tunnel->pinged_ms = loop_clock_ms();
    tunnel->deadline_ms = loop_clock_ms() + TUNNEL_BROKER_MS;
    mqtt5_begin(&tunnel->mqtt, &tunnel->terms, &owner);
    check(loop_add(tunnel->loop, &tunnel->watch, tunnel->fd, EPOLLIN | EPOLLOUT, on_broker, tunnel) == STATUS_OK);
    if (connect(tunnel->fd, (const struct sockaddr *)address, size) != 0 && errno != EINPROGRESS)
        lose(tunnel, strerror(errno));
}

static void on_tick(void *context)
{
    struct tunnel *tunnel = context;
    int64_t now = tunnel->loop->now_ms, alive_ms = tunnel->mqtt.keep_alive_s != 0 ? tunnel->mqtt.keep_alive_s * 1000 / 2 : INT32_MAX;
    loop_timer_set(tunnel->loop, &tunnel->tick, TUNNEL_TICK_MS);
    if (tunnel->fd < 0)
        return;
    if (tunnel->deadline_ms != 0 && now >= tunnel->deadline_ms) {
        lose(tunnel, tunnel->is_connected  ? "the broker does not answer as one of MQTT 5"
                     : tunnel->tls != NULL ? "the broker does not answer as one that speaks TLS"
                                           : "nobody answers there");
        return;
    }
    if (now - tunnel->heard_ms > TUNNEL_SILENT_MS + alive_ms) {
        lose(tunnel, "the broker is silent");
        return;
    }
    if (now - tunnel->pinged_ms >= alive_ms) {
        mqtt5_ping(&tunnel->mqtt);
        tunnel->pinged_ms = now;
    }
    for (size_t i = 0; i < TUNNEL_STREAMS_MAX; i++) {
        struct tunnel_stream *stream = &tunnel->streams[i];
        if (stream->id != 0 && now - stream->heard_ms > TUNNEL_SILENT_MS)
            stream_free(stream);
        else if (stream->id != 0 && now - stream->said_ms >= TUNNEL_ALIVE_MS &&
                 say(tunnel, TUNNEL_ALIVE, stream->id, stream->given, NULL, 0))
            stream->said_ms = now;
    }
    turn(tunnel);
}

static enum status read_password(struct mqtt5_terms *terms, int fd)
{
    ssize_t got = read(fd, terms->password, sizeof terms->password);
    close(fd);
    while (got > 0 && (terms->password[got - 1] == '\n' || terms->password[got - 1] == '\r'))
        got--;
    if (got <= 0 || got == (ssize_t)sizeof terms->password)
        return STATUS_MALFORMED;
    terms->password_bytes = (size_t)got;
    return STATUS_OK;
}

enum status tunnel_begin(struct tunnel *tunnel, struct loop *loop, const struct system_courier *courier, struct tls_context *context,
                         int password_fd, struct courier_page *page, const struct tunnel_owner *owner)
{
    *tunnel = (struct tunnel){.loop = loop, .page = page, .owner = *owner, .is_listening = courier->is_listening, .fd = -1,
                              .address = courier->address, .context = context, .retry_ms = RETRY_LEAST_MS};
    tunnel->mqtt.state = MQTT5_ENDED;
    snprintf(tunnel->terms.publish, sizeof tunnel->terms.publish, "%s/%s", courier->topic, courier->is_listening ? "down" : "up");
    snprintf(tunnel->terms.subscribe, sizeof tunnel->terms.subscribe, "%s/%s", courier->topic, courier->is_listening ? "up" : "down");
    snprintf(tunnel->terms.user, sizeof tunnel->terms.user, "%s", courier->user);
    if (password_fd >= 0 && read_password(&tunnel->terms, password_fd) != STATUS_OK)
        return STATUS_MALFORMED;
    loop_timer_add(loop, &tunnel->tick, on_tick, tunnel);
    loop_timer_set(loop, &tunnel->tick, TUNNEL_TICK_MS);
    loop_timer_add(loop, &tunnel->retry, connect_broker, tunnel);
    connect_broker(tunnel);
    return STATUS_OK;
}
