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
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct password_process {
    struct loop loop;
    struct loop_watch control_watch, link_watch;
    struct service service;
    struct system_view system;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "crenel-password: %s: %s\n", what, why);
    exit(1);
}

static void on_control(void *context, uint32_t events)
{
    (void)events;
    struct password_process *self = context;
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

// Directory and link, then START.
static void take_attachments(int *directory_fd, int *link_fd)
{
    *directory_fd = *link_fd = -1;
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
        int *place = record.what == CONTROL_DIRECTORY     ? directory_fd
                     : record.what == CONTROL_ROUTER_LINK ? link_fd
                                                          : NULL;
        if (place == NULL || *place >= 0 || fd < 0)
            fail("the control link", "an attachment that this service has no use for");
        *place = fd;
    }
    if (*directory_fd < 0 || *link_fd < 0)
        fail("the control link", "START came before directory and router link");
}

int main(int argc, char **argv)
{
    static struct password_process self;
    struct process process;
    const char *why = "";
    int directory_fd, link_fd;
    process_begin(&process, "crenel-password");
    if (system_open(&self.system, process.system, process.system_bytes, &why) != STATUS_OK)
        fail("the compiled system", why);
    char *end = NULL;
    unsigned long index = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || *end != 0 || index >= self.system.service_count ||
        self.system.services[index].kind != SYSTEM_SERVICE_PASSWORD)
        fail("arguments", "expected the role and the index of a password service");
    sandbox_enter(FILTER_PASSWORD);
    if (sodium_init() < 0)
        fail("start", "libsodium does not start");
    take_attachments(&directory_fd, &link_fd);
    enum status status =
        service_init(&self.service, &self.system, (uint32_t)index, directory_fd, link_fd);
    if (status != STATUS_OK)
        fail("start", status == STATUS_MALFORMED ? "its flows carry other schemas" : strerror(errno));
    if (loop_init(&self.loop) != STATUS_OK ||
        loop_add(&self.loop, &self.control_watch, CONTROL_FD, EPOLLIN, on_control, &self) !=
            STATUS_OK ||
        loop_add(&self.loop, &self.link_watch, link_fd, EPOLLIN, on_link, &self) != STATUS_OK)
        fail("start", strerror(errno));
    if (service_begin(&self.service) != STATUS_OK || process_ready() != STATUS_OK)
        return 0;
    if (loop_run(&self.loop) != STATUS_OK)
        fail("event loop", strerror(errno));
    return 0;
}
