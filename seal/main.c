// SPDX-License-Identifier: ISC
// crenel-seal seal INDEX: a service that seals, opens, signs or verifies. It ends with its link to the router or with
// the supervisor.
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "seal/service.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct {
    struct loop loop;
    struct loop_watch control_watch, link_watch;
    struct service service;
    struct system_view system;
} self;

static void on_link(void *context, uint32_t events)
{
    (void)context, (void)events;
    enum status status = service_serve(&self.service);
    if (status == STATUS_OK)
        return;
    if (status != STATUS_CLOSED)
        fprintf(stderr, "crenel-seal: the router: %s\n", status_text(status));
    loop_stop(&self.loop);
}

int main(int argc, char **argv)
{
    struct process process;
    const char *why = "";
    char key[2 * BOX_KEY_BYTES + 2]; // one more than a key file may have
    int key_fd = -1, link_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_KEY, &key_fd}, {CONTROL_ROUTER_LINK, &link_fd}};
    process_begin(&process, "crenel-seal");
    if (system_open(&self.system, process.system, process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    uint32_t index = process_index(argc, argv, self.system.service_count);
    if (self.system.services[index].kind == SYSTEM_SERVICE_PASSWORD)
        process_fail("arguments", "that service is a password service");
    sandbox_enter(FILTER_ROUTER); // which may do nothing that this process does not need
    if (sodium_init() < 0)
        process_fail("start", "libsodium does not start");
    process_attach(wanted, sizeof wanted / sizeof wanted[0]);
    ssize_t size = read(key_fd, key, sizeof key);
    close(key_fd);
    enum status status = service_init(&self.service, &self.system, index, key, size > 0 ? (size_t)size : 0, link_fd);
    sodium_memzero(key, sizeof key);
    if (status != STATUS_OK)
        process_fail(self.system.services[index].name, "its key file holds no key; `crenel key new FILE` makes one");
    if (loop_init(&self.loop) != STATUS_OK || process_watch(&self.loop, &self.control_watch) != STATUS_OK ||
        loop_add(&self.loop, &self.link_watch, link_fd, EPOLLIN, on_link, NULL) != STATUS_OK)
        process_fail("start", strerror(errno));
    if (service_begin(&self.service) != STATUS_OK || process_ready() != STATUS_OK)
        return 0;
    if (loop_run(&self.loop) != STATUS_OK)
        process_fail("event loop", strerror(errno));
    return 0;
}
