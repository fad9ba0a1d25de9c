// SPDX-License-Identifier: ISC
// The control socket: one request line, one reply line, perhaps a descriptor (proto/control.h).
//
// Who may ask: root and the user who started the system, by SO_PEERCRED. Every action is recorded with
// that user id. An operation is a row in the table; anything else is refused.
#include "supervisor/folder.h"
#include "supervisor/replace.h"
#include "supervisor/report.h"
#include "supervisor/supervisor.h"

#include "host/channel.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_TIMEOUT_S 2     // a client that does not read its answer loses it
#define OPERATOR_RIGHTS (CONTROL_RIGHT_READ | CONTROL_RIGHT_CHANGE) // whoever may ask may do both

struct answer {
    cJSON *reply;
    int fd; // goes with the reply line, or -1
    int keeps_open;
};

static void refuse(struct answer *answer, const char *mend, const char *error)
{
    cJSON_ReplaceItemInObject(answer->reply, "ok", cJSON_CreateFalse());
    cJSON_AddStringToObject(answer->reply, "error", error);
    if (mend != NULL)
        cJSON_AddStringToObject(answer->reply, "mend", mend);
}

static void op_ps(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    report_ps(client->supervisor, answer->reply);
}

static void op_status(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    report_status(client->supervisor, answer->reply);
}

// A unikernel by its name; where others are meant, too, a courier, gateway or service as in system.yaml: "courier:cloud".
static struct member *named(struct client *client, const cJSON *request, struct answer *answer, int is_other_meant)
{
    static const char *const kinds[ROLES] = {
        [ROLE_TENDER] = "", [ROLE_SERVICE] = "service:", [ROLE_GATEWAY] = "gateway:", [ROLE_COURIER] = "courier:"};
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "unikernel"));
    struct supervisor *s = client->supervisor;
    for (size_t i = 0; i < s->member_count && name != NULL; i++) {
        struct member *m = &s->members[i];
        const char *kind = kinds[m->role];
        if (kind != NULL && (m->role == ROLE_TENDER || is_other_meant) && strncmp(name, kind, strlen(kind)) == 0 &&
            strcmp(name + strlen(kind), m->name) == 0)
            return m;
    }
    refuse(answer, "`crenel ps` lists them", is_other_meant ? "no unikernel, gateway:X, service:X or courier:X of that name in this system"
                                                            : "no unikernel of that name in this system");
    return NULL;
}

static void record_operator(const struct client *client, const char *action, const char *target)
{
    records_add(&client->supervisor->records, "operator", "\"uid\":%u,\"action\":\"%s\",\"target\":\"%s\"",
                (unsigned)client->uid, action, target);
}

static void op_stop(struct client *client, const cJSON *request, struct answer *answer)
{
    struct member *m = named(client, request, answer, 0);
    if (m == NULL)
        return;
    m->is_operator_stopped = 1;
    m->is_wanted = 0;
    member_event(m, EVENT_END);
    record_operator(client, "stop", m->name);
    phases_step(client->supervisor);
}

static void op_restart(struct client *client, const cJSON *request, struct answer *answer)
{
    struct member *m = named(client, request, answer, 1);
    if (m == NULL)
        return;
    record_operator(client, "restart", m->name);
    m->is_operator_stopped = 0;
    m->backoff_ms = 0;
    if (client->supervisor->phase == PHASE_RUNNING) {
        m->is_wanted = 1;
        member_event(m, member_has_process(m) ? EVENT_END : EVENT_START);
    }
    phases_step(client->supervisor);
}

static void op_down(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    record_operator(client, "down", client->supervisor->system.header->name);
    client->is_waiting_for_end = 1;
    answer->keeps_open = 1;
}

static void op_offer(struct client *client, const cJSON *request, struct answer *answer)
{
    struct supervisor *s = client->supervisor;
    char why[512], digest[65];
    const char *mend = NULL;
    (void)request;
    if (replace_offer(s, why, &mend) != STATUS_OK) {
        refuse(answer, mend, why);
        return;
    }
    report_hex(s->next.digest, sizeof s->next.digest, digest);
    cJSON_AddStringToObject(answer->reply, "digest", digest);
    report_hex(s->digest, sizeof s->digest, digest);
    cJSON_AddStringToObject(answer->reply, "running", digest);
}

// The operator's connection goes with the version: the outcome comes on it (supervisor/notify.c).
static void op_replace(struct client *client, const cJSON *request, struct answer *answer)
{
    struct supervisor *s = client->supervisor;
    const char *digest = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "digest"));
    char why[512];
    const char *mend = NULL;
    int connection = fcntl(client->fd, F_DUPFD_CLOEXEC, 0);
    if (connection >= 0 && replace_begin(s, digest, client->uid, connection, why, &mend) == STATUS_OK)
        return;
    refuse(answer, mend, connection >= 0 ? why : strerror(errno));
    if (connection >= 0)
        close(connection);
}

static void hand_to(struct client *client, struct answer *answer, enum role role, const char *action)
{
    struct member *m = member_of(client->supervisor, role, 0);
    int ends[2];
    if (m->state != MEMBER_UP) {
        refuse(answer, "try again when `crenel ps` shows it running", "that process does not serve now");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        refuse(answer, NULL, strerror(errno));
        return;
    }
    record_operator(client, action, m->name);
    member_give(m, CONTROL_OPERATOR, 0, OPERATOR_RIGHTS, ends[0]);
    answer->fd = ends[1];
}

static void op_query(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    hand_to(client, answer, ROLE_STORE, "query");
}

static void op_deadletter(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    hand_to(client, answer, ROLE_STORE, "deadletter");
}

static void op_state(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    hand_to(client, answer, ROLE_STORE, "state");
}

static void op_audit(struct client *client, const cJSON *request, struct answer *answer)
{
    (void)request;
    hand_to(client, answer, ROLE_AUDIT, "audit");
}

static void op_logs(struct client *client, const cJSON *request, struct answer *answer)
{
    const char *which = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "log"));
    int is_host = which != NULL && strcmp(which, "host") == 0;
    answer->fd = openat(client->supervisor->state_fd, is_host ? "logs/host.log" : "logs/system.log",
                        O_RDONLY | O_CLOEXEC);
    if (answer->fd < 0)
        refuse(answer, NULL, strerror(errno));
}

static const struct operation {
    const char *name;
    void (*run)(struct client *client, const cJSON *request, struct answer *answer);
} operations[] = {
    {"ps", op_ps},       {"status", op_status}, {"stop", op_stop},
    {"restart", op_restart}, {"down", op_down},   {"query", op_query},
    {"deadletter", op_deadletter}, {"state", op_state}, {"audit", op_audit}, {"logs", op_logs},
    {"offer", op_offer}, {"replace", op_replace},
};

static void close_client(struct client *client)
{
    loop_remove(&client->supervisor->loop, &client->watch);
    close(client->fd);
    client->fd = -1;
}

static void send_reply(const struct client *client, const struct answer *answer)
{
    char *text = cJSON_PrintUnformatted(answer->reply);
    if (text == NULL)
        return;
    size_t length = strlen(text), sent = 0;
    text[length++] = '\n'; // in place of the zero
    // The descriptor goes with the first byte, the rest follows.
    if (channel_send_fd(client->fd, text, 1, answer->fd) == STATUS_OK)
        for (sent = 1; sent < length;) {
            ssize_t wrote = send(client->fd, text + sent, length - sent, MSG_NOSIGNAL);
            if (wrote <= 0)
                break;
            sent += (size_t)wrote;
        }
    cJSON_free(text);
}

static void serve(struct client *client)
{
    struct answer answer = {.reply = cJSON_CreateObject(), .fd = -1};
    cJSON *request = cJSON_Parse(client->line);
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(request, "op"));
    cJSON_AddTrueToObject(answer.reply, "ok");
    const struct operation *operation = NULL;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0] && name != NULL; i++)
        if (strcmp(operations[i].name, name) == 0)
            operation = &operations[i];
    if (client->uid != 0 && client->uid != client->supervisor->owner)
        refuse(&answer, "ask as root or as the user who started the system", "permission denied");
    else if (operation == NULL)
        refuse(&answer, "crenel and crenel-supervisor must be of the same version", "unknown operation");
    else
        operation->run(client, request, &answer);
    send_reply(client, &answer);
    if (answer.fd >= 0)
        close(answer.fd);
    cJSON_Delete(request);
    cJSON_Delete(answer.reply);
    if (!answer.keeps_open)
        close_client(client);
    else
        phases_stop(client->supervisor);
}

static void client_ready(void *context, uint32_t events)
{
    struct client *client = context;
    (void)events;
    ssize_t got = recv(client->fd, client->line + client->used, sizeof client->line - 1 - client->used,
                       MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close_client(client);
        return;
    }
    client->used += (size_t)got;
    client->line[client->used] = 0;
    char *end = strchr(client->line, '\n');
    if (end != NULL && !client->is_waiting_for_end) {
        *end = 0;
        serve(client);
    } else if (client->used == sizeof client->line - 1 || client->is_waiting_for_end) {
        close_client(client); // a request is one short line
    }
}

static void listen_ready(void *context, uint32_t events)
{
    struct supervisor *s = context;
    (void)events;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct client *client = NULL;
    for (size_t i = 0; i < CLIENTS_MAX && client == NULL; i++)
        if (s->clients[i].fd < 0)
            client = &s->clients[i];
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
    if (client == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0) {
        close(fd);
        return;
    }
    *client = (struct client){.supervisor = s, .fd = fd, .uid = credentials.uid};
    if (loop_add(&s->loop, &client->watch, fd, EPOLLIN, client_ready, client) != STATUS_OK) {
        close(fd);
        client->fd = -1;
    }
}

enum status server_open(struct supervisor *s)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        s->clients[i].fd = -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    // Through /proc/self/fd: a path of the state folder may be longer than 108 bytes.
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", s->state_fd);
    (void)unlinkat(s->state_fd, "control", 0);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd >= 0 &&
        bind(s->listen_fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        fchmodat(s->state_fd, "control", 0600, 0) == 0 && listen(s->listen_fd, CLIENTS_MAX) == 0 &&
        loop_add(&s->loop, &s->listen_watch, s->listen_fd, EPOLLIN, listen_ready, s) == STATUS_OK)
        return STATUS_OK;
    fail(s, "make the state folder writable", "cannot make the control socket in %s: %s", s->state_path,
         strerror(errno));
    return STATUS_SYSTEM;
}

void server_close(struct supervisor *s)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (s->clients[i].fd >= 0)
            close_client(&s->clients[i]);
    (void)unlinkat(s->state_fd, "control", 0);
    close(s->listen_fd);
}
