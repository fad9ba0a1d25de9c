// SPDX-License-Identifier: ISC
// crenel-store: the records, the outbox and the audit rows of one system, in one SQLite file.
//
// Everything is handed over before START; then one loop: the router's commits, the audit process's
// acknowledgements, operators. A database that cannot be trusted ends the process.
//
// Until CONFIRM the version of the system that runs is on trial (supervisor/replace.h): nothing that waits is given out,
// and no transaction begins, so each COMMIT is NOT_NOW. What the version before would find is what it left.
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "store/audit_rows.h"
#include "store/clock.h"
#include "store/operator.h"
#include "store/router_link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define OPERATORS_MAX 4u
#define FEED_BUFFER_BYTES 65536u
#define IDLE_MS 1000 // rows that wait for a transaction of somebody else get their own after that

struct session {
    struct server *server;
    struct loop_watch watch;
    struct operator_session operator;
};

struct server {
    struct loop loop;
    struct loop_watch control, router_watch, feed_watch;
    struct loop_timer due, idle;
    struct process process;
    struct system_view system;
    struct store store;
    struct router_link router;
    struct audit_feed feed;
    int has_directory, is_started, is_confirmed;
    uint64_t boot; // identity of this boot of the host
    uint8_t feed_buffer[FEED_BUFFER_BYTES];
    struct session sessions[OPERATORS_MAX];
};

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    fprintf(stderr, "crenel-store: %s: %s\n", what, why);
    exit(1);
}

static void router_close(struct server *server)
{
    if (server->router.channel.fd < 0)
        return;
    loop_remove(&server->loop, &server->router_watch);
    channel_close(&server->router.channel);
}

static void feed_close(struct server *server)
{
    if (server->feed.channel.fd < 0)
        return;
    loop_remove(&server->loop, &server->feed_watch);
    channel_close(&server->feed.channel);
}

static int64_t wall_ms(struct server *server)
{
    struct clock_reading now = {server->boot, loop_boot_clock_ms(), loop_wall_clock_ms()};
    int64_t wall = now.wall_ms;
    if (clock_follow(&server->store, &server->router, &now, &wall) != STATUS_OK)
        fail("the database failed", server->store.error);
    return wall;
}

// After anything that may have committed rows or taken room.
static void feed_push(struct server *server)
{
    if (server->feed.channel.fd < 0)
        return;
    enum status status = audit_feed_push(&server->feed, &server->store);
    if (status == STATUS_SYSTEM && server->store.error[0] != '\0')
        fail("the database failed", server->store.error);
    if (status != STATUS_OK) {
        feed_close(server);
        return;
    }
    loop_change(&server->loop, &server->feed_watch,
                EPOLLIN | (channel_is_waiting(&server->feed.channel) ? EPOLLOUT : 0u));
}

static void after_router(struct server *server, enum status status)
{
    if (status == STATUS_SYSTEM)
        fail("the database failed", server->store.error);
    if (status != STATUS_OK) {
        if (status != STATUS_CLOSED)
            fprintf(stderr, "crenel-store: the router broke the protocol (%s), link closed\n",
                    status_text(status));
        router_close(server);
    } else if (server->router.next_due_ms != INT64_MAX) {
        int64_t left = server->router.next_due_ms - server->router.now_ms;
        loop_timer_set(&server->loop, &server->due, left > 0 ? left : 1);
    }
    feed_push(server);
}

static void router_ready(void *context, uint32_t events)
{
    struct server *server = context;
    (void)events;
    after_router(server, router_link_take(&server->router, &server->store, wall_ms(server)));
}

static void timer_due(void *context)
{
    struct server *server = context;
    after_router(server, router_link_push(&server->router, &server->store, wall_ms(server)));
}

static void feed_ready(void *context, uint32_t events)
{
    struct server *server = context;
    if ((events & EPOLLOUT) != 0)
        (void)!channel_flush(&server->feed.channel);
    enum status status = audit_feed_take(&server->feed, &server->store);
    if (status == STATUS_CONFLICT)
        fail("the audit log knows records that this store never wrote",
             "one of the two folders is an older copy; mend: put back the newest store folder, or "
             "move the audit log aside and keep it as evidence");
    if (status != STATUS_OK) {
        feed_close(server);
        return;
    }
    feed_push(server);
}

// A full disk confirms nothing, and is tried again.
static void confirm(struct server *server)
{
    enum status status = store_confirm(&server->store);
    server->is_confirmed = 1;
    if (status == STATUS_OK)
        timer_due(server);
    else if (status != STATUS_FULL)
        fail("the database failed", server->store.error);
}

// Queued audit records and acknowledged rows do not wait for the next event, nor does what is too late.
static void idle(void *context)
{
    struct server *server = context;
    struct store *store = &server->store;
    int is_more;
    if (server->is_confirmed && store->is_on_trial)
        confirm(server);
    after_router(server, router_link_expire(&server->router, store, wall_ms(server), &is_more));
    if (audit_rows_has_work(store)) {
        enum status status = store_begin(store);
        if (status == STATUS_OK)
            status = store_commit(store);
        if (status == STATUS_SYSTEM)
            fail("the database failed", store->error);
        feed_push(server);
    }
    loop_timer_set(&server->loop, &server->idle, is_more ? 1 : IDLE_MS);
}

static void session_ready(void *context, uint32_t events)
{
    struct session *session = context;
    struct server *server = session->server;
    (void)events;
    enum status status = operator_serve(&session->operator, &server->store, &server->router,
                                        wall_ms(server));
    if (status == STATUS_SYSTEM)
        fail("the database failed", server->store.error);
    if (status != STATUS_AGAIN) {
        loop_remove(&server->loop, &session->watch);
        operator_close(&session->operator);
    } else {
        loop_change(&server->loop, &session->watch,
                    operator_is_writing(&session->operator) ? EPOLLOUT : EPOLLIN);
    }
    feed_push(server);
}

static void session_open(struct server *server, int fd, uint64_t rights)
{
    for (unsigned i = 0; i < OPERATORS_MAX; i++) {
        struct session *session = &server->sessions[i];
        if (session->operator.fd >= 0)
            continue;
        operator_open(&session->operator, fd, rights);
        if (loop_add(&server->loop, &session->watch, fd, EPOLLIN, session_ready, session) != STATUS_OK)
            operator_close(&session->operator);
        return;
    }
    static const char busy[] = "{\"ok\":false,\"error\":\"too many operators at once\","
                               "\"mend\":\"try again\",\"end\":true}\n";
    (void)!write(fd, busy, sizeof busy - 1);
    close(fd);
}

static void router_watch(struct server *server)
{
    if (loop_add(&server->loop, &server->router_watch, server->router.channel.fd, EPOLLIN,
                 router_ready, server) != STATUS_OK)
        fail("cannot watch the router's link", strerror(errno));
}

static void feed_watch(struct server *server)
{
    if (loop_add(&server->loop, &server->feed_watch, server->feed.channel.fd, EPOLLIN, feed_ready,
                 server) != STATUS_OK)
        fail("cannot watch the audit link", strerror(errno));
}

static void start(struct server *server)
{
    if (!server->has_directory)
        fail("cannot start", "the supervisor handed over no folder");
    if (store_open(&server->store, DATABASE_FILE, &server->system, server->process.page) != STATUS_OK)
        fail("refuses to start", server->store.error);
    server->is_started = 1;
    if (server->router.channel.fd >= 0)
        router_watch(server);
    if (server->feed.channel.fd >= 0)
        feed_watch(server);
    loop_timer_set(&server->loop, &server->idle, IDLE_MS);
    server->store.is_on_trial = 1; // until the supervisor says otherwise
    if (process_ready() != STATUS_OK)
        exit(0);
}

static void take_control(struct server *server, const struct control_record *record, int fd)
{
    int is_attach = record->kind == CONTROL_ATTACH;
    if (is_attach && record->what == CONTROL_DIRECTORY && fd >= 0 && !server->has_directory) {
        if (sandbox_change_directory(fd) != STATUS_OK)
            fail("cannot enter its folder", strerror(errno));
        close(fd);
        server->has_directory = 1;
    } else if (is_attach && record->what == CONTROL_ROUTER_STORE_LINK && fd >= 0) {
        router_close(server);
        router_link_init(&server->router, fd);
        if (server->is_started)
            router_watch(server);
    } else if (is_attach && record->what == CONTROL_AUDIT_LINK && fd >= 0) {
        feed_close(server);
        server->feed = (struct audit_feed){0};
        channel_init(&server->feed.channel, fd, server->feed_buffer, sizeof server->feed_buffer);
        if (server->is_started)
            feed_watch(server);
    } else if (is_attach && record->what == CONTROL_OPERATOR && fd >= 0 && server->is_started) {
        session_open(server, fd, record->value);
    } else if (is_attach && record->what == CONTROL_START && !server->is_started) {
        server->boot = record->value;
        start(server);
    } else if (is_attach && record->what == CONTROL_CONFIRM && server->is_started) {
        confirm(server);
    } else if (fd >= 0) {
        close(fd);
    }
}

static void control_ready(void *context, uint32_t events)
{
    struct server *server = context;
    struct control_record record;
    int fd;
    (void)events;
    enum status status = process_control(&record, &fd, 0);
    if (status == STATUS_OK)
        take_control(server, &record, fd);
    else if (status != STATUS_AGAIN)
        loop_stop(&server->loop); // the supervisor is gone
}

int main(void)
{
    static struct server server;
    const char *why = "";
    process_begin(&server.process, "crenel-store");
    sandbox_enter(FILTER_STORE);
    server.router.channel.fd = server.feed.channel.fd = -1;
    for (unsigned i = 0; i < OPERATORS_MAX; i++) {
        server.sessions[i].server = &server;
        server.sessions[i].operator.fd = -1;
    }
    if (system_open(&server.system, server.process.system, server.process.system_bytes, &why) !=
        STATUS_OK)
        fail("the compiled system is not valid", why);
    if (loop_init(&server.loop) != STATUS_OK ||
        loop_add(&server.loop, &server.control, CONTROL_FD, EPOLLIN, control_ready, &server) !=
            STATUS_OK)
        fail("cannot watch the control link", strerror(errno));
    loop_timer_add(&server.loop, &server.due, timer_due, &server);
    loop_timer_add(&server.loop, &server.idle, idle, &server);
    if (loop_run(&server.loop) != STATUS_OK)
        fail("the event loop stopped", strerror(errno));
    store_close(&server.store);
    return 0;
}
