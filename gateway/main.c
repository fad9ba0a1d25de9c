// SPDX-License-Identifier: ISC
// crenel-gateway gateway INDEX: one connector of a system. It ends with its link to the router or with the supervisor.
#include "gateway/gateway.h"

#include "core/system.h"
#include "host/process.h"
#include "host/sandbox.h"

#include <errno.h>
#include <string.h>

struct gateway_process {
    struct loop loop;
    struct loop_watch control_watch;
    struct gateway gateway;
};

static struct gateway_limits limits_of(const struct process *process, int argc, char **argv)
{
    struct system_view system;
    const char *why = "";
    if (system_open(&system, process->system, process->system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    const struct system_gateway *gateway =
        &system.gateways[process_index(argc, argv, system.gateway_count)];
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
    int listener_fd = -1, link_fd = -1;
    const struct process_attachment wanted[] = {{CONTROL_LISTENER, &listener_fd},
                                                {CONTROL_ROUTER_LINK, &link_fd}};
    process_begin(&process, "crenel-gateway");
    struct gateway_limits limits = limits_of(&process, argc, argv);
    sandbox_enter(FILTER_GATEWAY);
    process_attach(wanted, sizeof wanted / sizeof wanted[0]);
    if (loop_init(&self.loop) != STATUS_OK ||
        process_watch(&self.loop, &self.control_watch) != STATUS_OK ||
        gateway_init(&self.gateway, &self.loop, listener_fd, link_fd, &limits, process.page) !=
            STATUS_OK)
        process_fail("start", strerror(errno));
    if (process_ready() != STATUS_OK)
        return 0;
    while (!self.loop.is_stopping)
        if (gateway_turn(&self.gateway, -1) != STATUS_OK)
            process_fail("event loop", strerror(errno));
    gateway_clean_up(&self.gateway);
    return 0;
}
