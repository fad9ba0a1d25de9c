// SPDX-License-Identifier: ISC
// crenel-seal seal INDEX: a service that seals, opens, signs or verifies. It ends with its link to the router or with
// the supervisor.
#include "host/process.h"
#include "host/sandbox.h"
#include "seal/service.h"

#include <sodium.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static struct service service;
    static struct system_view system;
    struct process process;
    const char *why = "";
    char key[2 * BOX_KEY_BYTES + 2]; // one more than a key file may have
    int key_fd = -1, link_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_KEY, &key_fd}, {CONTROL_ROUTER_LINK, &link_fd}};
    process_begin(&process, "crenel-seal");
    if (system_open(&system, process.system, process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    uint32_t index = process_index(argc, argv, system.service_count);
    if (system.services[index].kind == SYSTEM_SERVICE_PASSWORD)
        process_fail("arguments", "that service is a password service");
    sandbox_enter(FILTER_ROUTER); // which may do nothing that this process does not need
    if (sodium_init() < 0)
        process_fail("start", "libsodium does not start");
    process_attach(wanted, sizeof wanted / sizeof wanted[0]);
    ssize_t size = read(key_fd, key, sizeof key);
    close(key_fd);
    enum status status = service_init(&service, &system, index, key, size > 0 ? (size_t)size : 0, link_fd);
    sodium_memzero(key, sizeof key);
    if (status != STATUS_OK)
        process_fail(system.services[index].name, "its key file holds no key; `crenel key new FILE` makes one");
    service_link_run(&service.link, "crenel-seal");
    return 0;
}
