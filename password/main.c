// SPDX-License-Identifier: ISC
// crenel-password ROLE INDEX: the password service of a system. It ends with its link to the router or with the
// supervisor.
#include "core/system.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "password/service.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

int main(int argc, char **argv)
{
    static struct service service;
    static struct system_view system;
    struct process process;
    const char *why = "";
    int directory_fd = -1, link_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_DIRECTORY, &directory_fd},
                                                {CONTROL_ROUTER_LINK, &link_fd}};
    process_begin(&process, "crenel-password");
    if (system_open(&system, process.system, process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    uint32_t index = process_index(argc, argv, system.service_count);
    if (system.services[index].kind != SYSTEM_SERVICE_PASSWORD)
        process_fail("arguments", "that service is not a password service");
    sandbox_enter(FILTER_PASSWORD);
    if (sodium_init() < 0)
        process_fail("start", "libsodium does not start");
    process_attach(wanted, sizeof wanted / sizeof wanted[0]);
    if (service_init(&service, &system, index, directory_fd, link_fd) != STATUS_OK)
        process_fail("start", strerror(errno));
    service_link_run(&service.link, "crenel-password");
    return 0;
}
