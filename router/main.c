// SPDX-License-Identifier: ISC
// crenel-router: descriptors, clock and loop around the engine.
//
// Start: links arrive on the control link and are kept unread; START makes the engine, says HELLO
// to the store, and from its READY on everything moves. Nothing is opened or allocated afterwards.
// Links that come later replace those of endpoints that were restarted.
#include "host/channel.h"
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "router/engine.h"

#include "proto/commit.h"
#include "proto/link.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RECEIVERS_MAX (SYSTEM_UNIKERNELS_MAX + SYSTEM_SERVICES_MAX)
#define LINKS_MAX (1u + RECEIVERS_MAX + SYSTEM_GATEWAYS_MAX)
#define PACKETS_PER_TURN 64
// What a link's peer may leave unread. The pages are touched only when it does.
#define LINK_BUFFER_BYTES (1024u * 1024u)
#define STORE_BUFFER_BYTES (8u * 1024u * 1024u)
#define STORE_HEADROOM_BYTES (2u * 1024u * 1024u) // kept for READ, CREDIT and HELLO

struct router;
struct link {
    struct router *router;
    enum engine_peer peer;
    uint32_t index;
    int is_broken;
    struct channel channel;
    struct loop_watch watch;
    uint8_t *buffer;
    size_t capacity;
};

struct router {
    struct loop loop;
    struct process process;
    struct system_view system;
    struct engine *engine;
    struct loop_watch control;
    struct link links[LINKS_MAX];
    int log_fd;
    int is_told;
    _Alignas(8) uint8_t packet[COMMIT_BYTES_MAX];
};

static struct router router;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "crenel-router: %s: %s\n", what, why);
    exit(1);
}

static struct link *link_of(enum engine_peer peer, uint32_t index)
{
    if (peer == ENGINE_STORE)
        return &router.links[0];
    return &router.links[1 + index + (peer == ENGINE_GATEWAY ? RECEIVERS_MAX : 0)];
}

static enum status io_send(void *context, enum engine_peer peer, uint32_t index,
                           const struct channel_part *parts, size_t count)
{
    struct router *self = context;
    struct link *link = link_of(peer, index);
    uint16_t kind;
    memcpy(&kind, (const uint8_t *)parts[0].bytes + offsetof(struct commit_packet, kind), sizeof kind);
    if (peer == ENGINE_STORE && kind == COMMIT_COMMIT &&
        link->channel.used > STORE_BUFFER_BYTES - STORE_HEADROOM_BYTES)
        return STATUS_FULL;
    enum status status = channel_send_parts(&link->channel, parts, count);
    if (status != STATUS_OK) {
        link->is_broken = 1; // a peer that does not read is treated like one that is gone
        return STATUS_CLOSED;
    }
    if (channel_is_waiting(&link->channel))
        loop_change(&self->loop, &link->watch, EPOLLIN | EPOLLOUT);
    return STATUS_OK;
}

static void io_log(void *context, const char *line, size_t size)
{
    const struct router *self = context;
    if (self->log_fd >= 0 && write(self->log_fd, line, size) < 0)
        return; // a full disk must not stop the router; counters hold the facts
}

static void link_close(struct link *link)
{
    if (link->channel.fd < 0)
        return;
    loop_remove(&router.loop, &link->watch);
    channel_close(&link->channel);
    link->is_broken = 0;
    if (router.engine == NULL)
        return;
    if (link->peer == ENGINE_STORE)
        fail("the store's link ended", "a new epoch is needed");
    engine_closed(router.engine, link->peer, link->index);
}

static void tick(void) { engine_clock(router.engine, router.loop.now_ms, loop_wall_clock_ms()); }

static void link_ready(void *context, uint32_t events)
{
    struct link *link = context;
    tick();
    if ((events & EPOLLOUT) != 0) {
        enum status status = channel_flush(&link->channel);
        if (status == STATUS_OK)
            loop_change(&router.loop, &link->watch, EPOLLIN);
        else if (status != STATUS_AGAIN)
            link->is_broken = 1;
    }
    for (int i = 0; i < PACKETS_PER_TURN && !link->is_broken; i++) {
        size_t size;
        enum status status =
            channel_receive(&link->channel, router.packet, sizeof router.packet, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK)
            status = engine_receive(router.engine, link->peer, link->index, router.packet, size);
        if (status == STATUS_OK)
            continue;
        if (status != STATUS_CLOSED)
            fprintf(stderr, "crenel-router: %s %u broke its protocol: %s\n",
                    link->peer == ENGINE_STORE ? "store" : link->peer == ENGINE_GATEWAY ? "gateway" : "receiver",
                    link->index, status_text(status));
        link->is_broken = 1;
    }
    if (link->peer == ENGINE_STORE && engine_is_ready(router.engine) && !router.is_told) {
        router.is_told = 1;
        if (process_ready() != STATUS_OK)
            exit(0);
    }
}

static void link_watch(struct link *link)
{
    if (loop_add(&router.loop, &link->watch, link->channel.fd, EPOLLIN, link_ready, link) != STATUS_OK)
        fail("epoll", "cannot watch a link");
    tick();
    engine_attached(router.engine, link->peer, link->index);
}

static void link_attach(enum engine_peer peer, uint32_t index, int fd)
{
    struct link *link = link_of(peer, index);
    link_close(link);
    link->is_broken = 0;
    channel_init(&link->channel, fd, link->buffer, link->capacity);
    if (router.engine != NULL)
        link_watch(link);
}

static void start(uint64_t epoch)
{
    if (link_of(ENGINE_STORE, 0)->channel.fd < 0 || epoch == 0 || router.engine != NULL)
        fail("START", "without a store or an epoch, or twice");
    struct engine_io io = {&router, io_send, io_log};
    router.engine = engine_create(&router.system, router.process.page, &io, epoch);
    if (router.engine == NULL)
        fail("no memory for the tables of this system", router.system.header->name);
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (router.links[i].channel.fd >= 0)
            link_watch(&router.links[i]);
}

static void control_ready(void *context, uint32_t events)
{
    (void)context;
    (void)events;
    struct control_record record;
    int fd = -1;
    enum status status = process_control(&record, &fd, 0);
    if (status == STATUS_AGAIN)
        return;
    if (status != STATUS_OK)
        exit(0); // the supervisor is gone
    uint32_t unikernels = (uint32_t)router.system.unikernel_count;
    if (record.what == CONTROL_START)
        start(record.value);
    else if (fd < 0)
        fail("control link", "a record came without its descriptor");
    else if (record.what == CONTROL_STORE_LINK)
        link_attach(ENGINE_STORE, 0, fd);
    else if (record.what == CONTROL_TENDER_LINK && record.index < unikernels)
        link_attach(ENGINE_RECEIVER, record.index, fd);
    else if (record.what == CONTROL_SERVICE_LINK && record.index < router.system.service_count)
        link_attach(ENGINE_RECEIVER, unikernels + record.index, fd);
    else if (record.what == CONTROL_GATEWAY_LINK && record.index < router.system.gateway_count)
        link_attach(ENGINE_GATEWAY, record.index, fd);
    else if (record.what == CONTROL_LOG) {
        if (router.log_fd >= 0)
            close(router.log_fd);
        router.log_fd = fd;
    } else {
        close(fd);
    }
}

static void links_init(void)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct link *link = &router.links[i];
        link->router = &router;
        link->peer = i == 0 ? ENGINE_STORE : i <= RECEIVERS_MAX ? ENGINE_RECEIVER : ENGINE_GATEWAY;
        link->index = i == 0 ? 0 : i <= RECEIVERS_MAX ? i - 1 : i - 1 - RECEIVERS_MAX;
        link->channel.fd = -1;
        int is_used = i == 0 ||
                      (link->peer == ENGINE_RECEIVER &&
                       link->index < router.system.unikernel_count + router.system.service_count) ||
                      (link->peer == ENGINE_GATEWAY && link->index < router.system.gateway_count);
        if (!is_used)
            continue;
        link->capacity = i == 0 ? STORE_BUFFER_BYTES : LINK_BUFFER_BYTES;
        if (link->peer == ENGINE_GATEWAY) { // what its connections may leave undrained, and records about them
            const struct system_gateway *gateway = &router.system.gateways[link->index];
            link->capacity += (size_t)gateway->connections_max * gateway->output_bytes_max;
        }
        link->buffer = calloc(1, link->capacity);
        if (link->buffer == NULL)
            fail("no memory for a link", router.system.header->name);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    process_begin(&router.process, "crenel-router");
    sandbox_enter(FILTER_ROUTER);
    const char *why = "";
    if (system_open(&router.system, router.process.system, router.process.system_bytes, &why) != STATUS_OK)
        fail("the compiled system", why);
    router.log_fd = -1;
    links_init();
    if (loop_init(&router.loop) != STATUS_OK ||
        loop_add(&router.loop, &router.control, CONTROL_FD, EPOLLIN, control_ready, &router) != STATUS_OK)
        fail("epoll", "cannot begin");
    for (;;) {
        int timeout_ms = -1;
        if (router.engine != NULL) {
            router.loop.now_ms = loop_clock_ms();
            tick();
            timeout_ms = engine_tick(router.engine);
        }
        for (uint32_t i = 0; i < LINKS_MAX; i++)
            if (router.links[i].is_broken) {
                link_close(&router.links[i]);
                timeout_ms = 0;
            }
        if (loop_once(&router.loop, timeout_ms) != STATUS_OK)
            fail("epoll", "cannot wait");
    }
}
