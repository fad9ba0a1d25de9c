// SPDX-License-Identifier: ISC
// The connector: accepting, the link to the router, time limits.
//
// A connection's id is a serial number (starting at random, so that a restarted gateway does not repeat one)
// above 16 bits that hold its slot.
#include "gateway/gateway.h"

#include "core/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOT_BITS 16
#define SERIAL_MASK ((1ull << 46) - 1) // leaves room to count

void gateway_say(struct gateway *gateway, enum link_kind kind, uint64_t id, const void *bytes,
                 size_t size)
{
    struct link_header header = {.size = (uint32_t)(sizeof header + size),
                                 .kind = (uint16_t)kind,
                                 .handle = id};
    struct channel_part parts[] = {{&header, sizeof header}, {bytes, size}};
    if (channel_send_parts(&gateway->link, parts, size != 0 ? 2 : 1) != STATUS_OK)
        loop_stop(gateway->loop);
}

void gateway_watch_time(struct gateway *gateway)
{
    if (gateway->sweep.at_ms == 0)
        loop_timer_set(gateway->loop, &gateway->sweep, GATEWAY_SWEEP_MS);
}

static void on_sweep(void *context)
{
    struct gateway *gateway = context;
    int is_needed = 0;
    for (unsigned i = 0; i < gateway->limits.connections_max; i++) {
        struct connection *connection = &gateway->connections[i];
        if (connection->id == 0 || connection->deadline_ms == 0)
            continue;
        if (connection->deadline_ms <= gateway->loop->now_ms)
            connection_expire(connection);
        else
            is_needed = 1;
    }
    if (is_needed)
        gateway_watch_time(gateway);
}

static struct connection *slot_of(struct gateway *gateway, uint64_t id)
{
    uint64_t slot = id & ((1u << SLOT_BITS) - 1);
    if (id == 0 || slot >= gateway->limits.connections_max ||
        gateway->connections[slot].id != id)
        return NULL;
    return &gateway->connections[slot];
}

static void peer_text(const struct sockaddr_storage *address, char *text, size_t capacity)
{
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (address->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        port = ntohs(in.sin_port);
    } else if (address->ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
        port = ntohs(in.sin6_port);
    }
    snprintf(text, capacity, address->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
}

static void admit(struct gateway *gateway, int fd, const struct sockaddr_storage *address)
{
    unsigned slot = 0;
    while (gateway->connections[slot].id != 0)
        slot++;
    int on = 1, idle_s = 60, interval_s = 15, probes = 4; // a peer that vanished is noticed in two minutes
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    char peer[INET6_ADDRSTRLEN + 16];
    peer_text(address, peer, sizeof peer);
    uint64_t id = ++gateway->serial << SLOT_BITS | slot;
    gateway->page->accepted++;
    gateway->page->open = ++gateway->open_count;
    gateway_say(gateway, LINK_OPEN, id, peer, strlen(peer));
    connection_open(&gateway->connections[slot], fd, id);
}

static void on_listener(void *context, uint32_t events)
{
    (void)events;
    struct gateway *gateway = context;
    for (int i = 0; i < GATEWAY_ACCEPTS_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(gateway->listener_fd, (struct sockaddr *)&address, &size,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            // Out of descriptors or memory: the listener stays ready, so look away for a moment.
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                loop_change(gateway->loop, &gateway->listener_watch, 0);
                loop_timer_set(gateway->loop, &gateway->pause, GATEWAY_PAUSE_MS);
            }
            return;
        }
        if (gateway->open_count == gateway->limits.connections_max) {
            gateway->page->refused++;
            close(fd);
        } else {
            admit(gateway, fd, &address);
        }
    }
}

static void on_pause(void *context)
{
    struct gateway *gateway = context;
    loop_change(gateway->loop, &gateway->listener_watch, EPOLLIN);
}

// 0: the record is malformed.
static int handle(struct gateway *gateway, const uint8_t *record, size_t size)
{
    struct link_header header;
    if (size < sizeof header)
        return 0;
    memcpy(&header, record, sizeof header);
    if (header.size != size || (header.kind != LINK_OUTPUT && size != sizeof header))
        return 0;
    struct connection *connection = slot_of(gateway, header.handle);
    switch (header.kind) {
    case LINK_TAKEN:
        if (connection != NULL && !connection->is_taken)
            connection_taken(connection);
        return 1;
    case LINK_OUTPUT:
        if (connection != NULL)
            connection_take_output(connection, record + sizeof header, size - sizeof header);
        return 1;
    case LINK_END:
        if (connection != NULL)
            connection_end(connection);
        return 1;
    default:
        return 0;
    }
}

static void on_link(void *context, uint32_t events)
{
    (void)events;
    struct gateway *gateway = context;
    static uint8_t record[LINK_BYTES_MAX];
    for (int i = 0; (i < 64 || channel_has_more(&gateway->link)) && !gateway->loop->is_stopping; i++) {
        size_t size;
        enum status status = channel_receive(&gateway->link, record, sizeof record, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK && handle(gateway, record, size))
            continue;
        if (status != STATUS_CLOSED)
            fprintf(stderr, "crenel-gateway: the router sent what breaks the protocol\n");
        loop_stop(gateway->loop);
    }
    while (gateway->written != NULL) {
        struct connection *connection = gateway->written;
        gateway->written = connection->next_written;
        connection_write(connection);
    }
}

enum status gateway_turn(struct gateway *gateway, int timeout_ms)
{
    enum status status = loop_once(gateway->loop, timeout_ms);
    if (status == STATUS_OK && channel_flush(&gateway->link) != STATUS_OK)
        loop_stop(gateway->loop);
    return status;
}

enum status gateway_init(struct gateway *gateway, struct loop *loop, int listener_fd, int link_fd,
                         const struct gateway_limits *limits, struct gateway_page *page)
{
    *gateway = (struct gateway){
        .limits = *limits, .page = page, .loop = loop, .listener_fd = listener_fd};
    channel_init(&gateway->link, link_fd, NULL, 0);
    channel_gather(&gateway->link, gateway->gathered, gateway->inbox, CHANNEL_PACKET_BYTES);
    // One event's output may come on top of what already waits.
    size_t capacity = limits->output_bytes_max + (size_t)LINK_INPUT_BYTES_MAX;
    gateway->connections = calloc(limits->connections_max, sizeof *gateway->connections);
    gateway->buffers = calloc(limits->connections_max, capacity); // untouched pages cost nothing
    if (gateway->connections == NULL || gateway->buffers == NULL ||
        getrandom(&gateway->serial, sizeof gateway->serial, 0) != sizeof gateway->serial)
        return STATUS_SYSTEM;
    gateway->serial &= SERIAL_MASK;
    for (unsigned i = 0; i < limits->connections_max; i++)
        gateway->connections[i] = (struct connection){.gateway = gateway,
                                                      .fd = -1,
                                                      .buffer = gateway->buffers + i * capacity,
                                                      .capacity = capacity};
    loop_timer_add(loop, &gateway->sweep, on_sweep, gateway);
    loop_timer_add(loop, &gateway->pause, on_pause, gateway);
    enum status status =
        loop_add(loop, &gateway->link_watch, link_fd, EPOLLIN, on_link, gateway);
    if (status == STATUS_OK)
        status = loop_add(loop, &gateway->listener_watch, listener_fd, EPOLLIN, on_listener, gateway);
    return status;
}

void gateway_clean_up(struct gateway *gateway)
{
    for (unsigned i = 0; gateway->connections != NULL && i < gateway->limits.connections_max; i++)
        if (gateway->connections[i].id != 0)
            connection_close(&gateway->connections[i]);
    loop_remove(gateway->loop, &gateway->link_watch);
    loop_remove(gateway->loop, &gateway->listener_watch);
    channel_close(&gateway->link);
    if (gateway->listener_fd >= 0)
        close(gateway->listener_fd);
    free(gateway->connections);
    free(gateway->buffers);
    gateway->connections = NULL;
    gateway->buffers = NULL;
}
