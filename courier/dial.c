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

static void on_listener(void *context, uint32_t events)
{
    struct courier *courier = context;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char text[64];
    (void)events;
    int fd = accept4(courier->listener_fd, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct line *line = line_free(courier);
    if (line == NULL) {
        close(fd);
        return;
    }
    address_text(&address, text, sizeof text);
    line_open(line, fd, text, 1);
}

// The address of a compiled system: "192.0.2.7:8883" or "[2001:db8::7]:8883". 0: it is none.
static socklen_t address_read(const char *text, struct sockaddr_storage *address)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return 0;
    int is_v6 = text[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (is_v6 ? 2 : 0), text + is_v6);
    in.sin_port = in6.sin6_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, host, is_v6 ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) != 1)
        return 0;
    memset(address, 0, sizeof *address);
    memcpy(address, is_v6 ? (const void *)&in6 : (const void *)&in, is_v6 ? sizeof in6 : sizeof in);
    return is_v6 ? sizeof in6 : sizeof in;
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
    struct sockaddr_storage address;
    if (courier->is->transport == SYSTEM_MQTT5) {
        dial_tunnel(courier);
        return;
    }
    struct line *line = line_free(courier);
    socklen_t size = address_read(courier->is->address, &address);
    int fd = line == NULL || size == 0 ? -1
                                       : socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        loop_timer_set(courier->loop, &courier->retry, COURIER_RETRY_MS);
        return;
    }
    if (connect(fd, (const struct sockaddr *)&address, size) == 0 || errno == EINPROGRESS) {
        line_open(line, fd, courier->is->address, 0);
        return;
    }
    close(fd);
    loop_timer_set(courier->loop, &courier->retry, courier->retry_ms);
}

// ---- Through a broker ----

static int on_dial(void *context, struct sockaddr_storage *address)
{
    const struct courier *courier = context;
    return (int)address_read(courier->is->address, address);
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
    if (strcmp(courier->page->last, text) != 0)
        fprintf(stderr, "crenel-courier: %s: no broker at %s: %s\n", courier->is->name, courier->is->address, why);
    memcpy(courier->page->last, text, sizeof text);
}

enum status dial_begin(struct courier *courier)
{
    loop_timer_add(courier->loop, &courier->retry, dial, courier);
    if (courier->is->transport == SYSTEM_MQTT5) {
        const struct tunnel_owner owner = {courier, on_dial, dial, on_accept, on_lost};
        return tunnel_begin(&courier->tunnel, courier->loop, courier->is, courier->password_fd, courier->page, &owner);
    }
    if (courier->listener_fd >= 0)
        return loop_add(courier->loop, &courier->listener_watch, courier->listener_fd, EPOLLIN, on_listener, courier);
    dial(courier);
    return STATUS_OK;
}
