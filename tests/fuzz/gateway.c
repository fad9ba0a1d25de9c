// SPDX-License-Identifier: ISC
// Fuzz target: the gateway between clients who do anything and its router. Sockets, clock and loop are stand-ins; the
// loop is level-triggered as the real one.
//
// Input: steps: a client connects, sends, closes, breaks, takes bytes; the router says TAKEN, OUTPUT, END, or raw bytes;
// time passes.
// What must hold (proto/link.h): one INPUT until TAKEN, one SHUT, nothing after END, never more DRAINED than OUTPUT, and
// exactly as much when a connection is over; nothing is read while nobody has room; the loop comes to rest; at
// the end every descriptor is closed and every slot free.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "gateway/gateway.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CLIENTS 4u // at once
#define FIRST_FD 5000
#define LINK_FD 4000
#define LISTENER_FD 4001

static struct loop loop;
static struct gateway gateway;
static struct gateway_page page;
static int64_t now_ms;

static struct client { // and what the router knows of it
    int is_open; // its descriptor
    uint64_t id; // 0: none
    size_t sends, takes; // bytes it has sent; bytes it is ready to take
    int is_over, is_broken;
    int is_owed, is_shut, is_ended;
    uint64_t output, drained;
} clients[CLIENTS];
static int is_connecting;
static const uint8_t *packet; // from the router
static size_t packet_bytes;

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_close(int fd);
enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
void __wrap_channel_init(struct channel *channel, int fd, uint8_t *buffer, size_t capacity);
enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context);
void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events);
void __wrap_loop_remove(struct loop *l, struct loop_watch *watch);
int64_t __wrap_loop_clock_ms(void);
void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms);

static struct client *client_of(int fd)
{
    must(fd >= FIRST_FD && fd < FIRST_FD + (int)CLIENTS && clients[fd - FIRST_FD].is_open);
    return &clients[fd - FIRST_FD];
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void)address, (void)size, (void)flags;
    must(fd == LISTENER_FD);
    errno = EAGAIN;
    if (!is_connecting)
        return -1;
    is_connecting = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (!clients[i].is_open && clients[i].id == 0) {
            clients[i] = (struct client){.is_open = 1, .takes = 64};
            return FIRST_FD + (int)i;
        }
    return -1;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    (void)fd, (void)level, (void)name, (void)value, (void)size;
    return 0;
}

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    struct client *client = client_of(fd);
    (void)flags;
    must(!client->is_owed || client->is_ended); // it waits in the kernel
    size_t count = client->sends < size ? client->sends : size;
    if (count == 0 && client->is_broken)
        return errno = ECONNRESET, -1;
    if (count == 0 && !client->is_over)
        return errno = EAGAIN, -1;
    memset(bytes, 'x', count);
    client->sends -= count;
    return (ssize_t)count;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    struct client *client = client_of(fd);
    (void)bytes, (void)flags;
    if (client->is_broken)
        return errno = EPIPE, -1;
    size_t count = client->takes < size ? client->takes : size;
    if (count == 0)
        return errno = EAGAIN, -1;
    client->takes -= count;
    return (ssize_t)count;
}

int __wrap_shutdown(int fd, int how)
{
    must(client_of(fd)->is_ended && how == SHUT_WR);
    return 0;
}

int __wrap_close(int fd)
{
    struct client *client = client_of(fd);
    client->is_open = 0;
    if (client->is_ended)
        *client = (struct client){.id = 0};
    return 0;
}

void __wrap_channel_init(struct channel *channel, int fd, uint8_t *buffer, size_t capacity)
{
    *channel = (struct channel){.fd = fd, .buffer = buffer, .capacity = capacity};
}

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    must(channel->fd == LINK_FD && !wait && packet_bytes <= capacity);
    if (packet == NULL)
        return STATUS_AGAIN;
    memcpy(bytes, packet, packet_bytes);
    *size = packet_bytes;
    packet = NULL;
    return STATUS_OK;
}

static struct client *client_named(uint64_t id)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].id == id)
            return &clients[i];
    return NULL;
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    struct link_header header;
    must(channel->fd == LINK_FD && (count == 1 || count == 2) && parts[0].size == sizeof header);
    memcpy(&header, parts[0].bytes, sizeof header);
    size_t bytes = count == 2 ? parts[1].size : 0;
    must(header.size == sizeof header + bytes && header.zero == 0 && header.handle != 0);
    struct client *client = client_named(header.handle);
    if (header.kind == LINK_OPEN) {
        must(client == NULL && bytes != 0);
        for (unsigned i = 0; i < CLIENTS; i++)
            if (clients[i].is_open && clients[i].id == 0) {
                clients[i].id = header.handle;
                return STATUS_OK;
            }
        must(0 && "an OPEN of nobody");
    }
    must(client != NULL && !client->is_ended);
    if (header.kind == LINK_INPUT) {
        must(!client->is_owed && !client->is_shut && bytes >= 1 && bytes <= LINK_INPUT_BYTES_MAX);
        client->is_owed = 1;
    } else if (header.kind == LINK_SHUT) {
        must(!client->is_owed && !client->is_shut && bytes == 0);
        client->is_shut = 1;
    } else {
        uint64_t drained;
        must(header.kind == LINK_DRAINED && bytes == sizeof drained);
        memcpy(&drained, parts[1].bytes, sizeof drained);
        client->drained += drained;
        must(client->drained <= client->output);
    }
    return STATUS_OK;
}

enum status __wrap_loop_add(struct loop *l, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context)
{
    (void)l;
    *watch = (struct loop_watch){ready, context, fd, events};
    return STATUS_OK;
}

void __wrap_loop_change(struct loop *l, struct loop_watch *watch, uint32_t events)
{
    (void)l;
    watch->events = events;
}

void __wrap_loop_remove(struct loop *l, struct loop_watch *watch)
{
    (void)l;
    watch->ready = NULL;
}

int64_t __wrap_loop_clock_ms(void) { return now_ms; }

void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms)
{
    (void)l;
    timer->at_ms = in_ms == 0 ? 0 : now_ms + in_ms;
}

// ---- The target ----
static void start(void)
{
    const struct gateway_limits limits = {.connections_max = CLIENTS, .output_bytes_max = 256, .slow_ms = 1000,
                                          .first_byte_ms = 3000, .linger_ms = 500};
    now_ms = 1000;
    must(gateway_init(&gateway, &loop, LISTENER_FD, LINK_FD, &limits, &page) == STATUS_OK);
}

static void run_loop(void)
{
    int is_moving = 1;
    for (unsigned rounds = 0; is_moving; rounds++) {
        must(rounds < 500); // else it is reported for ever
        is_moving = 0;
        for (unsigned i = 0; i < CLIENTS; i++) {
            struct loop_watch *watch = &gateway.connections[i].watch;
            if (gateway.connections[i].id == 0 || watch->ready == NULL)
                continue;
            struct client *client = client_of(watch->fd);
            uint32_t events = (client->sends != 0 || client->is_over || client->is_broken ? (uint32_t)EPOLLIN : 0) |
                              (client->takes != 0 || client->is_broken ? (uint32_t)EPOLLOUT : 0);
            events = (events & watch->events) | (client->is_broken ? (uint32_t)EPOLLERR | EPOLLHUP : 0);
            if (events == 0)
                continue;
            is_moving = 1;
            watch->ready(watch->context, events);
        }
        if (gateway.sweep.at_ms != 0 && gateway.sweep.at_ms <= now_ms) {
            gateway.sweep.at_ms = 0;
            loop.now_ms = now_ms;
            gateway.sweep.due(gateway.sweep.context);
        }
    }
}

static void say(const void *bytes, size_t size)
{
    packet = bytes;
    packet_bytes = size;
    gateway.link_watch.ready(gateway.link_watch.context, EPOLLIN);
}

static void say_simple(struct client *client, uint16_t kind, size_t bytes)
{
    static struct {
        struct link_header header;
        uint8_t bytes[LINK_INPUT_BYTES_MAX * 2];
    } record;
    if (client->id == 0 || client->is_ended)
        return;
    record.header = (struct link_header){(uint32_t)(sizeof record.header + bytes), kind, 0, client->id};
    if (kind == LINK_OUTPUT)
        client->output += bytes;
    if (kind == LINK_TAKEN)
        client->is_owed = 0;
    if (kind == LINK_END) {
        client->is_ended = 1;
        if (!client->is_open) {
            must(client->drained == client->output); // all of it was taken or dropped
            *client = (struct client){.id = 0};
        }
    }
    say(&record, record.header.size);
}

static void step(struct take *take)
{
    uint8_t what = take_byte(take);
    struct client *client = &clients[what & 3u];
    switch (what >> 2 & 15) {
    case 0:
    case 1:
        is_connecting = 1;
        gateway.listener_watch.ready(gateway.listener_watch.context, EPOLLIN);
        break;
    case 2:
    case 3:
        client->sends += client->is_open && !client->is_over ? take_byte(take) * 20u : 0;
        break;
    case 4:
        client->is_over = client->is_open;
        break;
    case 5:
        client->is_broken = client->is_open;
        break;
    case 6:
    case 7:
        client->takes += client->is_open ? take_byte(take) * 20u : 0;
        break;
    case 8:
    case 9:
        if (client->is_owed)
            say_simple(client, LINK_TAKEN, 0);
        break;
    case 10:
    case 11:
        say_simple(client, LINK_OUTPUT, take_byte(take) * 11u);
        break;
    case 12:
        say_simple(client, LINK_END, 0);
        break;
    case 13:
        now_ms += take_byte(take) * 10;
        break;
    default: { // a packet that belongs to nobody, or breaks the protocol
        static uint8_t raw[256];
        struct link_header header = {0, LINK_TAKEN + take_byte(take) % 5, 0, take_byte(take)};
        size_t size = take_bytes(take, raw + sizeof header, take_byte(take) % 64) + sizeof header;
        header.size = (uint32_t)(take_byte(take) % 8 == 7 ? size + 1 : size);
        memcpy(raw, &header, sizeof header);
        say(raw, take_byte(take) % 32 == 31 ? size / 2 : size);
    }
    }
    run_loop();
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t seeds[][32] = {
        {0, 0, 8, 3, 0x20, 0x28, 20, 0x28, 60, 0x18, 200, 0x10, 0x20, 0x30, 0x18, 9},
        {0, 8, 200, 0x20, 0x20, 0x20, 0x28, 255, 0x28, 255, 0x34, 200, 0x34, 200, 0x30},
        {0, 4, 9, 3, 0x15, 0x20, 0x21, 0x2d, 9, 0x31, 0x34, 255, 0x34, 255},
        {0, 0x38, 0, 7, 4, 1, 2, 3, 4, 0, 0, 0x38, 3, 0, 0, 0, 0},
    };
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    memcpy(bytes, seeds[index], sizeof seeds[0]);
    return sizeof seeds[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int is_started;
    struct take take = {data, size};
    static FILE *nowhere;
    FILE *kept = stderr;
    if (!is_started) {
        nowhere = fopen("/dev/null", "w");
        start();
    }
    is_started = 1;
    stderr = nowhere;
    loop.is_stopping = 0;
    while (take.left != 0 && !loop.is_stopping)
        step(&take);
    loop.is_stopping = 0;
    for (unsigned i = 0; i < CLIENTS; i++) { // all leave, and the router says so
        clients[i].is_broken = clients[i].is_open;
        run_loop();
        while (clients[i].is_owed && !clients[i].is_ended)
            say_simple(&clients[i], LINK_TAKEN, 0);
        must(clients[i].id == 0 || clients[i].is_shut || clients[i].is_ended);
        say_simple(&clients[i], LINK_END, 0);
        now_ms += 10000;
        run_loop();
        must(!clients[i].is_open && clients[i].id == 0);
    }
    must(gateway.open_count == 0 && page.open == 0);
    stderr = kept;
    return 0;
}
