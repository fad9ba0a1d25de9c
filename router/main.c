// SPDX-License-Identifier: ISC
// crenel-router: descriptors, clock and loop around the engine.
//
// Start: links arrive on the control link and are kept unread; START makes the engine, says HELLO
// to the store, and from its READY on everything moves. Nothing is opened or allocated afterwards.
// Links that come later replace those of endpoints that were restarted.
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "router/engine.h"

#include "proto/commit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LINKS_MAX (1u + SYSTEM_PLACES_MAX + SYSTEM_GATEWAYS_MAX)
#define RECORDS_PER_TURN 64 // and the rest of the last one's packet
// What a link's peer may leave unread. The pages are touched only when it does. What is sent in one turn of the loop
// leaves in one packet.
#define LINK_BUFFER_BYTES (1024u * 1024u)
#define STORE_BUFFER_BYTES (8u * 1024u * 1024u)
#define SETTLE_MS 1 // COMMITs wait so long for those that follow from them, to share one transaction
#define HASTE_MS 100 // or, when that was in vain, not for a while
#define STORE_HEADROOM_BYTES (2u * 1024u * 1024u) // kept for READ, CREDIT and HELLO

struct link {
    enum engine_peer peer;
    uint32_t index;
    int is_broken;
    struct channel channel;
    struct loop_watch watch;
    uint8_t *gathered, *inbox;
    size_t packet_most;
};

static struct {
    struct loop loop;
    struct process process;
    struct system_view system;
    struct engine *engine;
    struct loop_watch control;
    struct link links[LINKS_MAX]; // the store's, receivers', gateways'
    uint32_t link_count, first[3]; // by enum engine_peer
    int log_fd;
    int is_told;
    int is_asked; // the store, for more than a COMMIT
    int64_t settle_ms, haste_ms; // from when on the store is told, although something settles; until when it is told at once
    _Alignas(8) uint8_t packet[COMMIT_BYTES_MAX];
} router;

static enum status io_send(void *context, enum engine_peer peer, uint32_t index,
                           const struct channel_part *parts, size_t count)
{
    (void)context;
    struct link *link = &router.links[router.first[peer] + index];
    struct commit_packet packet; // all packets begin like it
    memcpy(&packet, parts[0].bytes, sizeof packet);
    if (peer == ENGINE_STORE && packet.kind == COMMIT_COMMIT &&
        link->channel.used > STORE_BUFFER_BYTES - STORE_HEADROOM_BYTES)
        return STATUS_FULL;
    router.is_asked |= peer == ENGINE_STORE && packet.kind != COMMIT_COMMIT;
    if (channel_send_parts(&link->channel, parts, count) == STATUS_OK)
        return STATUS_OK;
    link->is_broken = 1; // a peer that does not read is treated like one that is gone
    return STATUS_CLOSED;
}

static void link_flush(struct link *link)
{
    if (link->is_broken || (!channel_has_gathered(&link->channel) && !channel_is_waiting(&link->channel)))
        return;
    enum status status = channel_flush(&link->channel);
    link->is_broken = status != STATUS_OK && status != STATUS_AGAIN;
    loop_change(&router.loop, &link->watch, EPOLLIN | (status == STATUS_AGAIN ? (uint32_t)EPOLLOUT : 0));
}

// What goes to the store begins a transaction there. Is it worth to wait for what follows?
static int is_settling(const struct link *store)
{
    int64_t now_ms = router.loop.now_ms;
    int may_wait = !router.is_asked && engine_is_settling(router.engine) && channel_has_gathered(&store->channel) &&
                   now_ms >= router.haste_ms;
    if (may_wait && router.settle_ms == 0)
        router.settle_ms = now_ms + SETTLE_MS + 1; // now_ms is a moment in its millisecond
    if (may_wait && now_ms < router.settle_ms)
        return 1;
    if (may_wait)
        router.haste_ms = now_ms + HASTE_MS;
    router.settle_ms = 0;
    router.is_asked = 0;
    return 0;
}

static void io_log(void *context, const char *line, size_t size)
{
    (void)context;
    if (router.log_fd >= 0 && write(router.log_fd, line, size) < 0)
        return; // a full disk must not stop the router; counters hold the facts
}

static void tick(void) { engine_clock(router.engine, router.loop.now_ms, loop_boot_clock_ms(), loop_wall_clock_ms()); }

static void link_close(struct link *link)
{
    link->is_broken = 0;
    if (link->channel.fd < 0)
        return;
    loop_remove(&router.loop, &link->watch);
    channel_close(&link->channel);
    if (router.engine == NULL)
        return;
    if (link->peer == ENGINE_STORE)
        process_fail("the store's link ended", "a new epoch is needed");
    engine_closed(router.engine, link->peer, link->index);
}

static void link_ready(void *context, uint32_t events)
{
    static const char *const names[] = {"store", "receiver", "gateway"};
    struct link *link = context;
    enum status status = STATUS_OK;
    (void)events; // EPOLLOUT: the turn ends with a flush
    tick();
    for (int i = 0; (i < RECORDS_PER_TURN || channel_has_more(&link->channel)) && !link->is_broken; i++) {
        size_t size;
        status = channel_receive(&link->channel, router.packet, sizeof router.packet, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK)
            status = engine_receive(router.engine, link->peer, link->index, router.packet, size);
        link->is_broken |= status != STATUS_OK;
        if (status != STATUS_OK && status != STATUS_CLOSED)
            fprintf(stderr, "crenel-router: %s %u broke its protocol: %s\n", names[link->peer], link->index,
                    status_text(status));
    }
}

static void link_watch(struct link *link)
{
    if (loop_add(&router.loop, &link->watch, link->channel.fd, EPOLLIN, link_ready, link) != STATUS_OK)
        process_fail("epoll", "cannot watch a link");
    tick();
    engine_attached(router.engine, link->peer, link->index);
}

static void link_attach(enum engine_peer peer, size_t index, int fd)
{
    struct link *link = &router.links[router.first[peer] + index];
    link_close(link);
    channel_init(&link->channel, fd, link->channel.buffer, link->channel.capacity);
    channel_gather(&link->channel, link->gathered, link->inbox, link->packet_most);
    if (router.engine != NULL)
        link_watch(link);
}

static void start(uint64_t epoch)
{
    struct engine_io io = {.send = io_send, .log = io_log};
    memcpy(io.seed, (const void *)getauxval(AT_RANDOM), sizeof io.seed); // 16 bytes that the kernel gave this process
    if (router.links[0].channel.fd < 0 || epoch == 0 || router.engine != NULL)
        process_fail("START", "without a store or an epoch, or twice");
    router.engine = engine_create(&router.system, router.process.page, &io, epoch);
    if (router.engine == NULL)
        process_fail("no memory for the tables of this system", router.system.header->name);
    for (uint32_t i = 0; i < router.link_count; i++)
        if (router.links[i].channel.fd >= 0)
            link_watch(&router.links[i]);
}

// Told to end, or the supervisor is gone.
static _Noreturn void end(void)
{
    if (router.engine != NULL) {
        tick();
        engine_end(router.engine);
        link_flush(&router.links[router.first[ENGINE_STORE]]);
    }
    exit(0);
}

static void control_ready(void *context, uint32_t events)
{
    (void)context, (void)events;
    const struct system_view *system = &router.system;
    struct control_record record;
    int fd = -1;
    enum status status = process_control(&record, &fd, 0);
    if (status == STATUS_AGAIN)
        return;
    if (status != STATUS_OK)
        end();
    if (record.what == CONTROL_START)
        start(record.value);
    else if (fd < 0)
        process_fail("control link", "a record came without its descriptor");
    else if (record.what == CONTROL_STORE_LINK)
        link_attach(ENGINE_STORE, 0, fd);
    else if (record.what == CONTROL_TENDER_LINK && record.index < system->unikernel_count)
        link_attach(ENGINE_RECEIVER, record.index, fd);
    else if (record.what == CONTROL_SERVICE_LINK && record.index < system->service_count)
        link_attach(ENGINE_RECEIVER, system->unikernel_count + record.index, fd);
    else if (record.what == CONTROL_COURIER_LINK && record.index < system->courier_count)
        link_attach(ENGINE_RECEIVER, system->unikernel_count + system->service_count + record.index, fd);
    else if (record.what == CONTROL_GATEWAY_LINK && record.index < system->gateway_count)
        link_attach(ENGINE_GATEWAY, record.index, fd);
    else if (record.what == CONTROL_LOG) {
        if (router.log_fd >= 0)
            close(router.log_fd);
        router.log_fd = fd;
    } else {
        close(fd);
    }
}

static void links_add(enum engine_peer peer, size_t count)
{
    router.first[peer] = router.link_count;
    for (uint32_t i = 0; i < count; i++) {
        struct link *link = &router.links[router.link_count++];
        size_t capacity = peer == ENGINE_STORE ? STORE_BUFFER_BYTES : LINK_BUFFER_BYTES;
        const struct system_gateway *gateway = &router.system.gateways[i];
        if (peer == ENGINE_GATEWAY) // what its connections may leave undrained, and records about them
            capacity += (size_t)gateway->connections_max * gateway->output_bytes_max;
        size_t most = peer == ENGINE_STORE ? COMMIT_BYTES_MAX : CHANNEL_PACKET_BYTES;
        *link = (struct link){.peer = peer, .index = i, .packet_most = most};
        link->gathered = calloc(2, most);
        link->inbox = link->gathered + most;
        link->channel = (struct channel){.fd = -1, .buffer = calloc(1, capacity), .capacity = capacity};
        if (link->channel.buffer == NULL || link->gathered == NULL)
            process_fail("no memory for a link", router.system.header->name);
    }
}

int main(void)
{
    const char *why = "";
    router.log_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    process_begin(&router.process, "crenel-router");
    sandbox_enter(FILTER_ROUTER);
    if (system_open(&router.system, router.process.system, router.process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    links_add(ENGINE_STORE, 1);
    links_add(ENGINE_RECEIVER, system_places(&router.system));
    links_add(ENGINE_GATEWAY, router.system.gateway_count);
    if (loop_init(&router.loop) != STATUS_OK ||
        loop_add(&router.loop, &router.control, CONTROL_FD, EPOLLIN, control_ready, NULL) != STATUS_OK)
        process_fail("epoll", "cannot begin");
    for (;;) {
        int timeout_ms = -1;
        if (router.engine != NULL) {
            router.loop.now_ms = loop_clock_ms();
            tick();
            timeout_ms = engine_tick(router.engine);
            if (engine_is_ready(router.engine) && !router.is_told++ && process_ready() != STATUS_OK)
                exit(0);
        }
        for (uint32_t i = 0; i < router.link_count; i++) {
            if (router.links[i].peer == ENGINE_STORE && router.engine != NULL && is_settling(&router.links[i])) {
                timeout_ms = timeout_ms < 0 || timeout_ms > SETTLE_MS ? SETTLE_MS : timeout_ms;
                continue;
            }
            link_flush(&router.links[i]);
            if (router.links[i].is_broken) {
                link_close(&router.links[i]);
                timeout_ms = 0;
            }
        }
        if (loop_once(&router.loop, timeout_ms) != STATUS_OK)
            process_fail("epoll", "cannot wait");
    }
}
