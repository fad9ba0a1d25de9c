// SPDX-License-Identifier: ISC
// DELIVER in, for the service to answer.
#include "host/service_link.h"

#include "host/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

void service_link_init(struct service_link *link, int fd)
{
    channel_init(&link->channel, fd, NULL, 0);
    channel_gather(&link->channel, link->gathered, link->inbox, CHANNEL_PACKET_BYTES);
}

enum status service_link_begin(struct service_link *link)
{
    struct link_hello hello = {.header = {sizeof hello, LINK_HELLO, 0, 0},
                               .version = LINK_VERSION,
                               .instances = link->capacity,
                               .batch = 1};
    enum status status = channel_send(&link->channel, &hello, sizeof hello);
    return status == STATUS_OK ? channel_flush(&link->channel) : status;
}

static enum status take(struct service_link *link, const uint8_t *record, size_t size)
{
    struct link_deliver deliver;
    if (size < sizeof deliver)
        return STATUS_MALFORMED;
    memcpy(&deliver, record, sizeof deliver);
    if (deliver.header.size != size || deliver.header.kind != LINK_DELIVER || deliver.context_bytes > ABI_CONTEXT_BYTES_MAX ||
        deliver.payload_bytes > ABI_PAYLOAD_BYTES_MAX)
        return STATUS_MALFORMED;
    size_t at = sizeof deliver + ABI_ALIGN8((size_t)deliver.context_bytes);
    if (at + deliver.payload_bytes > size || size - at > ABI_ALIGN8(deliver.payload_bytes))
        return STATUS_MALFORMED;
    return link->take(link->context, &deliver, record + at);
}

enum status service_link_serve(struct service_link *link)
{
    static _Alignas(8) uint8_t record[LINK_BYTES_MAX];
    enum status status = STATUS_OK;
    for (unsigned i = 0; (i < link->capacity || channel_has_more(&link->channel)) && status == STATUS_OK; i++) {
        size_t size = 0;
        status = channel_receive(&link->channel, record, sizeof record, &size, 0);
        if (status == STATUS_OK)
            status = take(link, record, size);
        explicit_bzero(record, size);
    }
    explicit_bzero(link->inbox, sizeof link->inbox);
    return status == STATUS_AGAIN || status == STATUS_OK ? channel_flush(&link->channel) : status;
}

static void on_link(void *context, uint32_t events)
{
    (void)events;
    struct service_link *link = context;
    enum status status = service_link_serve(link);
    if (status == STATUS_OK)
        return;
    if (status != STATUS_CLOSED)
        fprintf(stderr, "%s: the router: %s\n", link->program, status_text(status));
    loop_stop(&link->loop);
}

void service_link_run(struct service_link *link, const char *program)
{
    link->program = program;
    if (loop_init(&link->loop) != STATUS_OK || process_watch(&link->loop, &link->control_watch) != STATUS_OK ||
        loop_add(&link->loop, &link->watch, link->channel.fd, EPOLLIN, on_link, link) != STATUS_OK)
        process_fail("start", strerror(errno));
    if (service_link_begin(link) == STATUS_OK && process_ready() == STATUS_OK && loop_run(&link->loop) != STATUS_OK)
        process_fail("event loop", strerror(errno));
}
