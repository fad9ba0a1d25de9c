// SPDX-License-Identifier: ISC
// Accepting and connecting. Strangers are few at a time: a handshake costs, and nobody is known before its end.
#include "courier/dial.h"

#include "core/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct line *line_free(struct courier *courier)
{
    uint32_t strangers = 0;
    struct line *found = NULL;
    for (uint32_t i = 0; i < courier->line_count; i++) {
        struct line *line = &courier->lines[i];
        strangers += line->state == LINE_CONNECTING || line->state == LINE_SHAKING || line->state == LINE_CLOSING;
        if (line->state == LINE_FREE)
            found = line;
    }
    return strangers < COURIER_STRANGERS_MAX ? found : NULL;
}

static void address_text(const struct sockaddr_storage *address, char *text, size_t capacity)
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    memcpy(&in, address, sizeof in);
    memcpy(&in6, address, sizeof in6);
    if (address->ss_family == AF_INET) {
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(text, capacity, "%s:%u", host, ntohs(in.sin_port));
    } else {
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        snprintf(text, capacity, "[%s]:%u", host, ntohs(in6.sin6_port));
    }
}

// Who connects and then says little must not keep others out: the stranger that has had the longest time gives way to a new one.
static void make_room(struct courier *courier)
{
    struct line *oldest = NULL;
    for (uint32_t i = 0; i < courier->line_count; i++) {
        struct line *line = &courier->lines[i];
        if (line->state == LINE_SHAKING && (oldest == NULL || line->deadline_ms < oldest->deadline_ms))
            oldest = line;
    }
    if (oldest != NULL)
        line_end(oldest, "it does not go on, and others come");
}

static void on_listener(void *context, uint32_t events)
{
    struct courier *courier = context;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char text[64];
    (void)events;
    int fd = accept4(courier->files.listener_fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct line *line = line_free(courier);
    if (line == NULL) {
        make_room(courier);
        line = line_free(courier);
    }
    if (line == NULL) {
        close(fd);
        return;
    }
    address_text(&address, text, sizeof text);
    line_open(line, fd, text, 1);
}

void dial_later(struct courier *courier)
{
    if (resolve_has_more(&courier->resolve)) {
        loop_timer_set(courier->loop, &courier->retry, 1);
        return;
    }
    loop_timer_set(courier->loop, &courier->retry, retry_wait_ms(&courier->retry_ms));
}

// Nobody could be tried. What is said already is not said again.
static void say_no_way(struct courier *courier, const char *where, const char *why)
{
    if (strncmp(courier->page->last, why, sizeof courier->page->last - 1) != 0)
        fprintf(stderr, "crenel-courier: %s: no way to %s: %s\n", courier->is->name, where, why);
    snprintf(courier->page->last, sizeof courier->page->last, "%s", why);
}

static void dial_tunnel(struct courier *courier)
{
    struct line *line = line_free(courier);
    for (uint32_t i = 0; i < courier->line_count; i++)
        if (courier->lines[i].state != LINE_FREE && courier->lines[i].state != LINE_CLOSING)
            return; // when it ends, another one is made
    int fd = line == NULL ? -1 : tunnel_open(&courier->tunnel);
    if (fd >= 0)
        line_open(line, fd, courier->is->address, 0);
    // Without a broker on_ready() follows.
}

static void dial(void *context)
{
    struct courier *courier = context;
    if (courier->is->transport == SYSTEM_MQTT5)
        dial_tunnel(courier);
    else if (line_free(courier) == NULL)
        loop_timer_set(courier->loop, &courier->retry, RETRY_LEAST_MS);
    else
        resolve_next(&courier->resolve); // on_found() or on_unresolved() follows
}

static void dial_address(struct courier *courier, const struct resolve_address *address)
{
    char text[64];
    struct line *line = line_free(courier);
    int fd = line == NULL ? -1 : socket(address->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address_text(&address->bytes, text, sizeof text);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&address->bytes, address->size) == 0 || errno == EINPROGRESS)) {
        line_open(line, fd, text, 0);
        return;
    }
    say_no_way(courier, text, strerror(errno));
    if (fd >= 0)
        close(fd);
    dial_later(courier);
}

static void on_found(void *context, const struct resolve_address *address)
{
    struct courier *courier = context;
    if (courier->is->transport == SYSTEM_MQTT5)
        tunnel_connect(&courier->tunnel, &address->bytes, address->size);
    else
        dial_address(courier, address);
}

static void on_unresolved(void *context, const char *why)
{
    struct courier *courier = context;
    say_no_way(courier, courier->is->address, why);
    if (resolve_is_stale(&courier->resolve)) {
        fprintf(stderr, "crenel-courier: %s: starts again, to know the host's name servers of now\n", courier->is->name);
        loop_stop(courier->loop);
    }
    if (courier->is->transport == SYSTEM_MQTT5)
        tunnel_unreachable(&courier->tunnel);
    else
        dial_later(courier);
}

// ---- Through a broker ----

static void on_dial(void *context)
{
    struct courier *courier = context;
    resolve_next(&courier->resolve);
}

static void on_accept(void *context, int fd)
{
    struct courier *courier = context;
    struct line *line = line_free(courier);
    if (line != NULL)
        line_open(line, fd, courier->is->address, 1);
    else
        close(fd);
}

static void on_lost(void *context, const char *why)
{
    struct courier *courier = context;
    char text[sizeof courier->page->last];
    snprintf(text, sizeof text, "no broker: %.140s", why);
    say_no_way(courier, courier->is->address, text);
}

enum status dial_begin(struct courier *courier)
{
    const struct resolve_owner resolve_owner = {courier, on_found, on_unresolved};
    int is_connecting = !courier->is->is_listening || courier->is->transport == SYSTEM_MQTT5;
    loop_timer_add(courier->loop, &courier->retry, dial, courier);
    if (is_connecting && resolve_begin(&courier->resolve, courier->loop, courier->is, courier->files.servers_fd, courier->files.hosts_fd,
                                       &resolve_owner) != STATUS_OK)
        return STATUS_VERSION;
    if (courier->is->transport == SYSTEM_MQTT5) {
        const struct tunnel_owner owner = {courier, on_dial, dial, on_accept, on_lost};
        return tunnel_begin(&courier->tunnel, courier->loop, courier->is, courier->files.broker, courier->files.password_fd, courier->page,
                            &owner);
    }
    if (courier->files.listener_fd >= 0)
        return loop_add(courier->loop, &courier->listener_watch, courier->files.listener_fd, EPOLLIN, on_listener, courier);
    dial(courier);
    return STATUS_OK;
}
