// SPDX-License-Identifier: ISC
// crenel-gateway INDEX: one connector of a system. It ends with its link to the router or with the supervisor.
#include "gateway/gateway.h"

#include "core/system.h"
#include "host/process.h"
#include "host/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ATTACH_LISTENER 0
#define ATTACH_LINK 1

struct gateway_process {
    struct loop loop;
    struct loop_watch control_watch;
    struct gateway gateway;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "crenel-gateway: %s: %s\n", what, why);
    exit(1);
}

static void on_control(void *context, uint32_t events)
{
    (void)events;
    struct gateway_process *self = context;
    struct control_record record;
    int fd = -1;
    enum status status = process_control(&record, &fd, 0);
    if (status == STATUS_AGAIN)
        return;
    if (fd >= 0)
        close(fd); // nothing more is taken after START
    if (status != STATUS_OK)
        loop_stop(&self->loop);
}

// Listener and link, then START.
static void take_attachments(int fds[2])
{
    fds[ATTACH_LISTENER] = fds[ATTACH_LINK] = -1;
    for (;;) {
        struct control_record record;
        int fd = -1;
        enum status status = process_control(&record, &fd, 1);
        if (status == STATUS_CLOSED)
            exit(0);
        if (status != STATUS_OK)
            fail("the control link", status_text(status));
        if (record.what == CONTROL_START)
            break;
        int *place = record.what == CONTROL_LISTENER      ? &fds[ATTACH_LISTENER]
                     : record.what == CONTROL_ROUTER_LINK ? &fds[ATTACH_LINK]
                                                          : NULL;
        if (place == NULL || *place >= 0 || fd < 0)
            fail("the control link", "an attachment that a gateway has no use for");
        *place = fd;
    }
    if (fds[ATTACH_LISTENER] < 0 || fds[ATTACH_LINK] < 0)
        fail("the control link", "START came before listener and router link");
}

static struct gateway_limits limits_of(const struct process *process, int argc, char **argv)
{
    struct system_view system;
    const char *why = "";
    if (system_open(&system, process->system, process->system_bytes, &why) != STATUS_OK)
        fail("the compiled system", why);
    char *end = NULL;
    unsigned long index = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || *end != 0 || index >= system.gateway_count)
        fail("arguments", "expected the role and the index of a gateway");
    const struct system_gateway *gateway = &system.gateways[index];
    return (struct gateway_limits){.connections_max = gateway->connections_max,
                                   .output_bytes_max = gateway->output_bytes_max,
                                   .slow_ms = gateway->slow_ms,
                                   .first_byte_ms = GATEWAY_FIRST_BYTE_MS,
                                   .linger_ms = GATEWAY_LINGER_MS};
}

int main(int argc, char **argv)
{
    static struct gateway_process self;
    struct process process;
    int fds[2];
    process_begin(&process, "crenel-gateway");
    struct gateway_limits limits = limits_of(&process, argc, argv);
    sandbox_enter(FILTER_GATEWAY);
    take_attachments(fds);
    if (loop_init(&self.loop) != STATUS_OK ||
        loop_add(&self.loop, &self.control_watch, CONTROL_FD, EPOLLIN, on_control, &self) !=
            STATUS_OK ||
        gateway_init(&self.gateway, &self.loop, fds[ATTACH_LISTENER], fds[ATTACH_LINK], &limits,
                     process.page) != STATUS_OK)
        fail("start", strerror(errno));
    if (process_ready() != STATUS_OK)
        return 0;
    if (loop_run(&self.loop) != STATUS_OK)
        fail("event loop", strerror(errno));
    gateway_clean_up(&self.gateway);
    return 0;
}
