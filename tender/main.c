// SPDX-License-Identifier: ISC
// crenel-tender: runs the instances of one unikernel version. Acquire everything, drop rights, loop.
#include "core/image.h"
#include "core/system.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "host/sealed_file.h"
#include "tender/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define GATHER_BYTES 4096u // of EFFECTS that wait for others, at most a millisecond

struct tender {
    struct process process;
    struct system_view system;
    const struct system_unikernel *unikernel;
    struct loop loop;
    struct loop_watch control_watch, router_watch;
    struct channel router;
    int is_kvm; // its wall, which the supervisor chose; else process
    int image_fd, memory_fd, kvm_fd;
    struct image image;
    struct guest_memory memory;
    struct pool *pool;
    _Alignas(8) uint8_t packet[LINK_BYTES_MAX], gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
};

static void take_system(struct tender *tender, int argc, char **argv)
{
    const char *why = NULL;
    if (system_open(&tender->system, tender->process.system, tender->process.system_bytes, &why) !=
        STATUS_OK)
        process_fail("compiled system", why);
    tender->unikernel = &tender->system.unikernels[process_index(argc, argv, tender->system.unikernel_count)];
}

static void take_descriptors(struct tender *tender)
{
    int router_fd = -1;
    tender->image_fd = tender->kvm_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_IMAGE, &tender->image_fd},
                                                {CONTROL_ROUTER_LINK, &router_fd},
                                                {CONTROL_KVM, &tender->kvm_fd}};
    process_attach(wanted, tender->is_kvm ? 3 : 2);
    channel_init(&tender->router, router_fd, NULL, 0);
    channel_gather(&tender->router, tender->gathered, tender->inbox, CHANNEL_PACKET_BYTES);
}

// Who handed it over has compared its digest with the system's, and sealed it: nobody changes it any more.
static void load_image(struct tender *tender)
{
    const uint8_t *bytes;
    size_t size;
    const char *path = tender->unikernel->image_path, *why = "is not sealed, or not to be mapped";
    if (sealed_file_map(tender->image_fd, IMAGE_BYTES_MAX, &bytes, &size) != STATUS_OK ||
        image_open(&tender->image, bytes, size, &why) != STATUS_OK)
        process_fail(path, why);
    close(tender->image_fd);
    const struct manifest_header *header = tender->image.manifest.header;
    uint8_t given = tender->is_kvm ? ISOLATION_KVM : ISOLATION_PROCESS, asked = tender->unikernel->isolation;
    if ((header->isolation != ISOLATION_ANY && header->isolation != given) ||
        (asked != ISOLATION_ANY && asked != given))
        process_fail(path, tender->is_kvm ? "asks for another isolation than kvm" : "asks for another isolation than process");
    if (tender->unikernel->lifetime != header->lifetime)
        process_fail(path, "has another lifetime than the compiled system says");
}

static void open_pool(struct tender *tender)
{
    const struct system_unikernel *unikernel = tender->unikernel;
    struct wall_config config = {.loop = &tender->loop,
                                 .image = &tender->image,
                                 .memory = &tender->memory,
                                 .unikernel = unikernel,
                                 .configuration = tender->process.system + unikernel->configuration_offset};
    struct layout layout; // any base: only sizes count here
    layout_make(&layout, &tender->image, 0);
    if (loop_init(&tender->loop) != STATUS_OK ||
        guest_memory_init(&tender->memory, tender->memory_fd, unikernel->instances_max, &layout) != STATUS_OK ||
        (tender->pool = pool_new(&config, &tender->router, tender->process.page)) == NULL)
        process_fail("making the pool", strerror(errno));
    const char *step = NULL;
    struct wall *wall = tender->is_kvm ? wall_kvm_open(&config, tender->kvm_fd, &step)
                                       : wall_process_open(&config, &step);
    if (wall == NULL)
        process_fail(step, strerror(errno));
    if (pool_start(tender->pool, wall) != STATUS_OK)
        process_fail("router link", "closed at the start");
}

static void on_router(void *context, uint32_t events)
{
    struct tender *tender = context;
    size_t size;
    (void)events;
    // A few at a time, so that a busy link does not starve instances.
    for (int i = 0; i < 16 || channel_has_more(&tender->router); i++) {
        enum status status =
            channel_receive(&tender->router, tender->packet, sizeof tender->packet, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK)
            status = pool_packet(tender->pool, tender->packet, size);
        if (status != STATUS_OK) {
            if (status != STATUS_CLOSED)
                fprintf(stderr, "crenel-tender: router link: %s packet\n", status_text(status));
            loop_stop(&tender->loop);
            return;
        }
    }
}

// Sends what is gathered, unless another event will end in a moment and its effects go with it: a wake-up of the router costs
// as much as an event. Returns how long the loop may wait.
static int flush(struct tender *tender, int64_t *since_ms)
{
    if (!channel_has_gathered(&tender->router)) {
        *since_ms = tender->loop.now_ms;
        return -1;
    }
    if (pool_is_behind(tender->pool) && tender->router.packet_bytes < GATHER_BYTES &&
        tender->loop.now_ms <= *since_ms)
        return 1;
    if (channel_flush(&tender->router) != STATUS_OK)
        loop_stop(&tender->loop);
    return -1;
}

int main(int argc, char **argv)
{
    static struct tender tender;
    process_begin(&tender.process, "crenel-tender");
    tender.memory_fd = guest_memory_file();
    if (tender.memory_fd < 0)
        process_fail("making memory for instances", strerror(errno));
    tender.is_kvm = argc > 1 && strcmp(argv[1], "tender-kvm") == 0;
    sandbox_enter(tender.is_kvm ? FILTER_TENDER_KVM : FILTER_TENDER);
    take_system(&tender, argc, argv);
    take_descriptors(&tender);
    load_image(&tender);
    open_pool(&tender);
    if (process_watch(&tender.loop, &tender.control_watch) != STATUS_OK ||
        loop_add(&tender.loop, &tender.router_watch, tender.router.fd, EPOLLIN, on_router,
                 &tender) != STATUS_OK)
        process_fail("starting", strerror(errno));
    if (process_ready() != STATUS_OK) {
        if (errno == EPIPE) // `crenel run` had nothing to ask and has ended
            return 1;
        process_fail("starting", strerror(errno));
    }
    int64_t since_ms = 0;
    while (!tender.loop.is_stopping && !pool_has_failed(tender.pool)) {
        if (loop_once(&tender.loop, flush(&tender, &since_ms)) != STATUS_OK)
            process_fail("waiting", strerror(errno));
        pool_turn(tender.pool);
    }
    return pool_has_failed(tender.pool); // instances die with us
}
