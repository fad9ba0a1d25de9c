// SPDX-License-Identifier: ISC
// crenel-password ROLE INDEX: the password service of a system. It ends with its link to the router or with the
// supervisor.
#include "core/system.h"
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "password/service.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

struct password_process {
    struct loop loop;
    struct loop_watch control_watch, link_watch;
    struct service service;
    struct system_view system;
};

static void on_link(void *context, uint32_t events)
{
    (void)events;
    struct password_process *self = context;
    enum status status = service_serve(&self->service);
    if (status == STATUS_OK)
        return;
    if (status != STATUS_CLOSED)
        fprintf(stderr, "crenel-password: the router: %s\n", status_text(status));
    loop_stop(&self->loop);
}

int main(int argc, char **argv)
{
    static struct password_process self;
    struct process process;
    const char *why = "";
    int directory_fd = -1, link_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_DIRECTORY, &directory_fd},
                                                {CONTROL_ROUTER_LINK, &link_fd}};
    process_begin(&process, "crenel-password");
    if (system_open(&self.system, process.system, process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    uint32_t index = process_index(argc, argv, self.system.service_count);
    if (self.system.services[index].kind != SYSTEM_SERVICE_PASSWORD)
        process_fail("arguments", "that service is not a password service");
    sandbox_enter(FILTER_PASSWORD);
    if (sodium_init() < 0)
        process_fail("start", "libsodium does not start");
    process_attach(wanted, sizeof wanted / sizeof wanted[0]);
    if (service_init(&self.service, &self.system, index, directory_fd, link_fd) != STATUS_OK)
        process_fail("start", strerror(errno));
    if (loop_init(&self.loop) != STATUS_OK ||
        process_watch(&self.loop, &self.control_watch) != STATUS_OK ||
        loop_add(&self.loop, &self.link_watch, link_fd, EPOLLIN, on_link, &self) != STATUS_OK)
        process_fail("start", strerror(errno));
    if (service_begin(&self.service) != STATUS_OK || process_ready() != STATUS_OK)
        return 0;
    if (loop_run(&self.loop) != STATUS_OK)
        process_fail("event loop", strerror(errno));
    return 0;
}
