// SPDX-License-Identifier: ISC
// crenel-courier courier INDEX: flows between this node and others. It ends with its link to the router or with the
// supervisor.
#include "courier/courier.h"
#include "host/process.h"
#include "host/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
    static struct loop loop;
    static struct loop_watch control_watch;
    static struct courier courier;
    static struct system_view system;
    struct process process;
    const char *why = "";
    struct courier_files files = {-1, -1, -1, -1, NULL};
    int link_fd = -1, certificate_fd = -1, key_fd = -1, authority_fd = -1, broker_fd = -1;
    struct process_attachment wanted[] = {{CONTROL_ROUTER_LINK, &link_fd},
                                                {CONTROL_CERTIFICATE, &certificate_fd},
                                                {CONTROL_KEY, &key_fd},
                                                {CONTROL_AUTHORITY, &authority_fd},
                                                {CONTROL_PASSWORD, &files.password_fd}, // from here on as the system says
                                                {CONTROL_BROKER_AUTHORITY, &broker_fd},
                                                {CONTROL_LISTENER, &files.listener_fd},
                                                {CONTROL_HOSTS, &files.hosts_fd},
                                                {CONTROL_SERVERS, &files.servers_fd}};
    size_t wanted_count = 4;
    signal(SIGPIPE, SIG_IGN);
    if (setenv("TZ", "UTC0", 1) == 0)
        tzset(); // OpenSSL asks mktime() for the dates of certificates, which would look for the host's zone each time
    process_begin(&process, "crenel-courier");
    if (system_open(&system, process.system, process.system_bytes, &why) != STATUS_OK)
        process_fail("the compiled system", why);
    uint32_t index = process_index(argc, argv, system.courier_count);
    const struct system_courier *is = &system.couriers[index];
    int has_listener = is->is_listening && is->transport == SYSTEM_TLS;
    const int is_wanted[] = {is->user[0] != 0, is->broker_authority[0] != 0, has_listener, is->is_named, is->is_named && is->resolver[0] == 0};
    for (size_t i = 0; i < sizeof is_wanted / sizeof is_wanted[0]; i++)
        if (is_wanted[i])
            wanted[wanted_count++] = wanted[4 + i];
    if (is->is_named && resolve_prepare(&courier.resolve) != STATUS_OK)
        process_fail("the resolver of names", "it does not begin");
    sandbox_enter(has_listener ? FILTER_COURIER_LISTEN : FILTER_COURIER_CONNECT);
    process_attach(wanted, wanted_count);
    struct tls_context *context = tls_context_new(certificate_fd, key_fd, authority_fd, is->is_listening, &why);
    if (context != NULL && broker_fd >= 0)
        files.broker = tls_context_for_broker(broker_fd, &why);
    if (context == NULL || (broker_fd >= 0 && files.broker == NULL))
        process_fail(is->name, why);
    if (loop_init(&loop) != STATUS_OK || process_watch(&loop, &control_watch) != STATUS_OK ||
        courier_init(&courier, &loop, &system, index, context, link_fd, &files, process.page) != STATUS_OK)
        process_fail("start", strerror(errno));
    enum status status = courier_begin(&courier);
    if (status == STATUS_MALFORMED)
        process_fail(is->name, "the password file holds no password of at most 255 bytes");
    if (status != STATUS_OK || process_ready() != STATUS_OK)
        return 0;
    if (loop_run(&loop) != STATUS_OK)
        process_fail("event loop", strerror(errno));
    return 0;
}
