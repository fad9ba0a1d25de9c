// SPDX-License-Identifier: ISC
// crenel-tender: runs the instances of one unikernel version. Acquire everything, drop rights, loop.
#include "core/image.h"
#include "core/system.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "tender/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct tender {
    struct process process;
    struct system_view system;
    const struct system_unikernel *unikernel;
    struct loop loop;
    struct loop_watch control_watch, router_watch;
    struct channel router;
    int image_fd;
    uint8_t *image_bytes;
    struct image image;
    struct guest_memory memory;
    struct pool *pool;
    uint8_t packet[LINK_BYTES_MAX];
};

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "crenel-tender: %s: %s\n", what, why);
    exit(1);
}

static void take_system(struct tender *tender, const char *index_text)
{
    const char *why = NULL;
    if (system_open(&tender->system, tender->process.system, tender->process.system_bytes, &why) !=
        STATUS_OK)
        give_up("compiled system", why);
    char *end;
    unsigned long index = strtoul(index_text, &end, 10);
    if (*end != 0 || end == index_text || index >= tender->system.unikernel_count)
        give_up("compiled system", "no unikernel of that index");
    tender->unikernel = &tender->system.unikernels[index];
}

// Descriptors arrive until START; then the supervisor only tells us to end.
static void take_descriptors(struct tender *tender)
{
    int router_fd = -1;
    tender->image_fd = -1;
    for (;;) {
        struct control_record record;
        int fd = -1;
        enum status status = process_control(&record, &fd, 1);
        if (status == STATUS_CLOSED)
            exit(0);
        if (status != STATUS_OK || record.kind != CONTROL_ATTACH)
            give_up("control link", "unexpected record");
        if (record.what == CONTROL_START)
            break;
        if (record.what == CONTROL_IMAGE && tender->image_fd < 0)
            tender->image_fd = fd;
        else if (record.what == CONTROL_ROUTER_LINK && router_fd < 0)
            router_fd = fd;
        else
            give_up("control link", "something that a tender has no use for");
    }
    if (tender->image_fd < 0 || router_fd < 0)
        give_up("control link", "START before image and router link");
    channel_init(&tender->router, router_fd, NULL, 0);
}

// The image is read into private memory, so nobody changes it after it was checked.
static void load_image(struct tender *tender)
{
    uint8_t digest[32];
    const char *why = NULL;
    size_t size = 0;
    const char *path = tender->unikernel->image_path;
    tender->image_bytes = malloc(IMAGE_BYTES_MAX + 1);
    if (tender->image_bytes == NULL)
        give_up(path, "out of memory");
    for (ssize_t got = 1; got > 0 && size <= IMAGE_BYTES_MAX; size += (size_t)got) {
        got = pread(tender->image_fd, tender->image_bytes + size, IMAGE_BYTES_MAX + 1 - size,
                    (off_t)size);
        if (got < 0)
            give_up(path, strerror(errno));
    }
    close(tender->image_fd);
    crypto_hash_sha256(digest, tender->image_bytes, size);
    if (memcmp(digest, tender->unikernel->image_digest, sizeof digest) != 0)
        give_up(path, "is not the image that the system names (SHA-256 differs); run `crenel up` again");
    if (image_open(&tender->image, tender->image_bytes, size, &why) != STATUS_OK)
        give_up(path, why);
    const struct manifest_header *header = tender->image.manifest.header;
    if (header->abi_version != ABI_VERSION)
        give_up(path, "was built for another ABI version; build it again");
    if ((header->isolation != ISOLATION_ANY && header->isolation != ISOLATION_PROCESS) ||
        (tender->unikernel->isolation != ISOLATION_ANY &&
         tender->unikernel->isolation != ISOLATION_PROCESS))
        give_up(path, "asks for an isolation that this tender does not have (it has: process)");
    if (tender->unikernel->lifetime != header->lifetime)
        give_up(path, "has another lifetime than the compiled system says");
}

static void open_pool(struct tender *tender)
{
    const struct system_unikernel *unikernel = tender->unikernel;
    struct pool_config config = {
        .loop = &tender->loop,
        .image = &tender->image,
        .memory = &tender->memory,
        .router = &tender->router,
        .page = tender->process.page,
        .name = unikernel->name,
        .deadline_ms = unikernel->deadline_ms,
    };
    memcpy(config.image_digest, unikernel->image_digest, sizeof config.image_digest);
    memcpy(config.build_id, unikernel->image_digest, sizeof config.build_id);
    if (unikernel->instances_max == 0 || unikernel->instances_max > WALL_SLOTS_MAX)
        give_up(unikernel->name, "instances must be 1 to 256");
    if (loop_init(&tender->loop) != STATUS_OK ||
        guest_memory_init(&tender->memory, unikernel->instances_max) != STATUS_OK ||
        (tender->pool = pool_new(&config)) == NULL)
        give_up("making the pool", strerror(errno));
    struct wall_config wall_config = {
        .loop = &tender->loop,
        .image = &tender->image,
        .memory = &tender->memory,
        .configuration = tender->process.system + unikernel->configuration_offset,
        .configuration_bytes = unikernel->configuration_bytes,
        .events = pool_events(tender->pool),
    };
    const char *step = NULL;
    struct wall *wall = wall_process_open(&wall_config, &step);
    if (wall == NULL)
        give_up(step, strerror(errno));
    if (pool_start(tender->pool, wall) != STATUS_OK)
        give_up("router link", "closed at the start");
}

static void on_control(void *context, uint32_t events)
{
    struct tender *tender = context;
    struct control_record record;
    int fd = -1;
    (void)events;
    enum status status = process_control(&record, &fd, 0);
    if (fd >= 0)
        close(fd);
    if (status != STATUS_AGAIN) // end of file, or a record that nobody sends after START
        loop_stop(&tender->loop);
}

static void on_router(void *context, uint32_t events)
{
    struct tender *tender = context;
    size_t size;
    (void)events;
    // A few at a time, so that a busy link does not starve instances.
    for (int i = 0; i < 16; i++) {
        enum status status =
            channel_receive(&tender->router, tender->packet, sizeof tender->packet, &size, 0);
        if (status == STATUS_AGAIN)
            return;
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

int main(int argc, char **argv)
{
    static struct tender tender;
    if (argc != 2) {
        fprintf(stderr, "usage: crenel-tender INDEX (started by crenel-supervisor or crenel run)\n");
        return 2;
    }
    process_begin(&tender.process, "crenel-tender");
    sandbox_enter(FILTER_TENDER);
    take_system(&tender, argv[1]);
    take_descriptors(&tender);
    load_image(&tender);
    open_pool(&tender);
    if (loop_add(&tender.loop, &tender.control_watch, CONTROL_FD, EPOLLIN, on_control, &tender) !=
            STATUS_OK ||
        loop_add(&tender.loop, &tender.router_watch, tender.router.fd, EPOLLIN, on_router,
                 &tender) != STATUS_OK ||
        process_ready() != STATUS_OK)
        give_up("starting", strerror(errno));
    while (!tender.loop.is_stopping && !pool_has_failed(tender.pool))
        if (loop_once(&tender.loop, -1) != STATUS_OK)
            give_up("waiting", strerror(errno));
    return pool_has_failed(tender.pool); // instances die with us: EXITKILL
}
