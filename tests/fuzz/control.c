// SPDX-License-Identifier: ISC
// Fuzz target: the control socket. Clients of any user connect, send requests in pieces, and leave; the kernel and the
// processes behind the operations are stand-ins.
//
// Input: steps: client 0..3 connects as a user, sends so many bytes or a request of the table, or leaves.
// What must hold: only root and the owner move anything; each request has one line of JSON as its answer, and each
// action its audit record; a descriptor goes along where the protocol says so; none is leaked or closed twice.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "supervisor/report.h"
#include "supervisor/supervisor.h"
#include "tests/unit/system_sample.h"

#include "host/channel.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OWNER 1000u
#define FIRST_FD 5000 // of the stand-ins
#define FDS 64

static struct supervisor supervisor;
static loop_ready *listen_ready;
static struct {
    int is_open[FDS];
    uid_t uid; // of the client who connects
    const uint8_t *bytes; // that a client sends
    size_t size;
    char reply[1 << 16];
    size_t reply_bytes;
    unsigned actions, records, given, replies;
    int reply_fd;
} world;

static const char *const requests[] = {
    "{\"op\":\"ps\"}\n", "{\"op\":\"status\"}\n", "{\"op\":\"stop\",\"unikernel\":\"decode\"}\n",
    "{\"op\":\"restart\",\"unikernel\":\"detect\"}\n", "{\"op\":\"restart\",\"unikernel\":\"store\"}\n",
    "{\"op\":\"down\"}\n", "{\"op\":\"query\"}\n", "{\"op\":\"deadletter\"}\n", "{\"op\":\"audit\"}\n",
    "{\"op\":\"logs\",\"log\":\"host\"}\n", "{\"op\":\"logs\"}\n", "{\"op\":\"reload\"}\n", "{\"op\":[\"ps\"]}\n", "\n",
    "[\"op\",\"ps\"]\n", "{\"OP\":\"ps\"}\n",
};

static int open_fd(void)
{
    for (int i = 0; i < FDS; i++)
        if (!world.is_open[i]) {
            world.is_open[i] = 1;
            return FIRST_FD + i;
        }
    must(0 && "descriptors are leaked");
    return -1;
}

static int is_ours(int fd) { return fd >= FIRST_FD && fd < FIRST_FD + FDS; }

// ---- Stand-ins ----
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_openat(int folder, const char *path, int flags, ...);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
int __wrap_close(int fd);
int __real_close(int fd);
enum status __wrap_channel_send_fd(int channel_fd, const void *record, size_t size, int fd);
enum status __wrap_loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context);
void __wrap_loop_remove(struct loop *loop, struct loop_watch *watch);
void __wrap_member_event(struct member *member, enum member_event event);
void __wrap_member_give(struct member *member, uint16_t what, uint32_t index, uint64_t value, int fd);
void __wrap_phases_step(struct supervisor *s);
void __wrap_phases_stop(struct supervisor *s);
void __wrap_records_add(struct records *records, const char *what, const char *format, ...);
void __wrap_report_ps(struct supervisor *s, cJSON *reply);
void __wrap_report_status(struct supervisor *s, cJSON *reply);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    (void)fd, (void)address, (void)size, (void)flags;
    return open_fd();
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    must(is_ours(fd) && level == SOL_SOCKET && name == SO_PEERCRED && *size == sizeof(struct ucred));
    *(struct ucred *)value = (struct ucred){.pid = 1, .uid = world.uid};
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    (void)level, (void)name, (void)value, (void)size;
    must(is_ours(fd));
    return 0;
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
    (void)domain, (void)type, (void)protocol;
    fds[0] = open_fd();
    fds[1] = open_fd();
    return 0;
}

int __wrap_openat(int folder, const char *path, int flags, ...)
{
    (void)folder;
    must(strncmp(path, "logs/", 5) == 0 && (flags & (O_WRONLY | O_RDWR | O_CREAT)) == 0);
    return open_fd();
}

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    (void)flags;
    must(is_ours(fd) && world.is_open[fd - FIRST_FD]);
    size_t count = world.size < size ? world.size : size;
    if (count != 0)
        memcpy(bytes, world.bytes, count);
    return (ssize_t)count; // 0: it left
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    (void)flags;
    must(is_ours(fd) && world.is_open[fd - FIRST_FD] && size <= sizeof world.reply - world.reply_bytes);
    memcpy(world.reply + world.reply_bytes, bytes, size);
    world.reply_bytes += size;
    return (ssize_t)size;
}

enum status __wrap_channel_send_fd(int channel_fd, const void *record, size_t size, int fd)
{
    must(fd < 0 || (is_ours(fd) && world.is_open[fd - FIRST_FD]));
    world.reply_fd = fd;
    world.replies++;
    return __wrap_send(channel_fd, record, size, 0) == (ssize_t)size ? STATUS_OK : STATUS_SYSTEM;
}

int __wrap_close(int fd)
{
    if (!is_ours(fd))
        return __real_close(fd);
    must(world.is_open[fd - FIRST_FD]);
    world.is_open[fd - FIRST_FD] = 0;
    return 0;
}

enum status __wrap_loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context)
{
    (void)loop;
    *watch = (struct loop_watch){ready, context, fd, events};
    return STATUS_OK;
}

void __wrap_loop_remove(struct loop *loop, struct loop_watch *watch)
{
    (void)loop;
    watch->ready = NULL;
}

void __wrap_member_event(struct member *member, enum member_event event)
{
    must(member->role == ROLE_TENDER && (event == EVENT_END || event == EVENT_START));
    world.actions++;
}

void __wrap_member_give(struct member *member, uint16_t what, uint32_t index, uint64_t value, int fd)
{
    must(what == CONTROL_OPERATOR && index == 0 && (member->role == ROLE_STORE || member->role == ROLE_AUDIT));
    must(value == (CONTROL_RIGHT_READ | CONTROL_RIGHT_CHANGE));
    world.given++;
    __wrap_close(fd);
}

void __wrap_phases_step(struct supervisor *s) { (void)s; }
void __wrap_phases_stop(struct supervisor *s)
{
    (void)s;
    world.actions++;
}

void __wrap_records_add(struct records *records, const char *what, const char *format, ...)
{
    (void)records, (void)format;
    must(strcmp(what, "operator") == 0);
    world.records++;
}

void __wrap_report_ps(struct supervisor *s, cJSON *reply)
{
    (void)s;
    cJSON_AddTrueToObject(reply, "is_ps");
}

void __wrap_report_status(struct supervisor *s, cJSON *reply)
{
    (void)s;
    cJSON_AddTrueToObject(reply, "is_status");
}

// ---- The target ----
static void add_member(enum role role, unsigned index, const char *name)
{
    supervisor.members[supervisor.member_count++] = (struct member){
        .supervisor = &supervisor, .role = role, .index = (uint16_t)index, .name = name, .pidfd = -1};
}

static void start(void)
{
    const char *why = NULL;
    char folder[] = "/tmp/crenel-control-XXXXXX";
    fill();
    must(system_open(&supervisor.system, (const uint8_t *)&good, sizeof good, &why) == STATUS_OK);
    add_member(ROLE_AUDIT, 0, "audit");
    add_member(ROLE_STORE, 0, "store");
    add_member(ROLE_ROUTER, 0, "router");
    for (unsigned i = 0; i < UNIKERNELS; i++)
        add_member(ROLE_TENDER, i, supervisor.system.unikernels[i].name);
    must(mkdtemp(folder) != NULL);
    supervisor.state_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    supervisor.owner = OWNER;
    must(server_open(&supervisor) == STATUS_OK); // its socket is real, and nobody's from here on
    (void)unlinkat(supervisor.state_fd, "control", 0);
    (void)rmdir(folder);
    listen_ready = supervisor.listen_watch.ready;
}

static void begin(void)
{
    static int is_started;
    if (!is_started)
        start();
    is_started = 1;
    for (size_t i = 0; i < supervisor.member_count; i++) {
        supervisor.members[i].state = i % 2 == 0 ? MEMBER_UP : MEMBER_WAITING;
        supervisor.members[i].is_operator_stopped = supervisor.members[i].is_wanted = 0;
    }
    supervisor.phase = PHASE_RUNNING;
}

static void judge_reply(const struct client *client, int is_allowed)
{
    if (world.replies == 0) {
        must(world.actions == 0 && world.given == 0 && world.records == 0);
        return;
    }
    must(world.replies == 1 && world.reply_bytes != 0 && world.reply[world.reply_bytes - 1] == '\n');
    must(memchr(world.reply, '\n', world.reply_bytes - 1) == NULL);
    cJSON *reply = cJSON_ParseWithLength(world.reply, world.reply_bytes);
    must(cJSON_IsObject(reply));
    int is_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(reply, "ok"));
    must(is_ok != cJSON_IsString(cJSON_GetObjectItemCaseSensitive(reply, "error")));
    must(is_allowed || (!is_ok && world.actions == 0 && world.given == 0));
    must(is_ok || world.reply_fd < 0);
    must(world.given == 0 || world.reply_fd >= 0);
    must(world.records == (world.actions != 0 || world.given != 0)); // one of them, one record
    must((client->fd >= 0) == (client->is_waiting_for_end != 0));
    must(!client->is_waiting_for_end || is_ok);
    cJSON_Delete(reply);
}

static void serve(struct client *client, const uint8_t *bytes, size_t size)
{
    int is_allowed = client->uid == 0 || client->uid == OWNER;
    world.bytes = bytes;
    world.size = size;
    world.reply_bytes = world.actions = world.records = world.given = world.replies = 0;
    client->watch.ready(client->watch.context, EPOLLIN);
    judge_reply(client, is_allowed);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    size_t size = 0;
    if (index > sizeof requests / sizeof requests[0])
        return 0;
    for (unsigned user = 0; user < 4; user++) { // each user asks
        bytes[size++] = (uint8_t)(user << 2);
        bytes[size++] = (uint8_t)user;
        bytes[size++] = 0x80;
        bytes[size++] = (uint8_t)index;
    }
    if (index < 4) // in pieces
        size += (size_t)snprintf((char *)bytes + size, 64, "%c%c%c\x08{\"op\":\"p%c\x03s\"}%c\x01\n", 0, 0, 0x40, 0x40, 0x40);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uid_t users[] = {0, OWNER, 1001, (uid_t)-1};
    struct take take = {data, size};
    begin();
    while (take.left != 0) {
        uint8_t what = take_byte(&take);
        struct client *client = &supervisor.clients[what & 3u];
        if (what < 0x40 || client->fd < 0) {
            world.uid = users[take_byte(&take) & 3u];
            world.size = 0;
            if (client->fd < 0)
                listen_ready(&supervisor, EPOLLIN); // takes the first free place
        } else if (what < 0x80) {
            const uint8_t *bytes = take.at;
            size_t count = take_byte(&take);
            bytes = take.at;
            count = count < take.left ? count : take.left;
            take.at += count;
            take.left -= count;
            serve(client, bytes, count);
        } else {
            const char *text = requests[take_byte(&take) % (sizeof requests / sizeof requests[0])];
            serve(client, (const uint8_t *)text, strlen(text));
        }
    }
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (supervisor.clients[i].fd >= 0)
            serve(&supervisor.clients[i], NULL, 0);
    for (int i = 0; i < FDS; i++)
        must(!world.is_open[i]);
    return 0;
}
