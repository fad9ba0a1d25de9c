// SPDX-License-Identifier: ISC
// Fuzz target: one supervised process that does on its control link whatever it likes, lives and dies at any moment. The
// kernel's part (processes, descriptors, signals) is a stand-in.
//
// Input: role; steps: an event, a record of it (size, bytes, perhaps with a descriptor), its end, its timer.
// What must hold: it serves only after it said READY, in exactly that form, and was found confined; there is a process
// in just the states that have one; every descriptor is closed once.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "host/channel.h"
#include "host/sandbox.h"
#include "supervisor/supervisor.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define FIRST_FD 5000
#define FDS 128

static struct supervisor supervisor;
static uint8_t page[STATUS_PAGE_BYTES] __attribute__((aligned(8)));
static struct {
    int is_open[FDS], next;
    struct take take;
    int is_confined, is_ready_said; // of the record under way
    int is_launched, is_exited;
} world;

enum status __wrap_launch_member(struct member *member);
enum status __wrap_loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context);
void __wrap_loop_remove(struct loop *loop, struct loop_watch *watch);
void __wrap_loop_timer_add(struct loop *loop, struct loop_timer *timer, loop_due *due, void *context);
void __wrap_loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t in_ms);
enum status __wrap_channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd, int wait);
enum status __wrap_channel_send_fd(int channel_fd, const void *record, size_t size, int fd);
enum status __wrap_sandbox_verify(pid_t pid, uid_t uid, const char **why);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_close(int fd);
int __real_close(int fd);
void __wrap_phases_step(struct supervisor *s);
void __wrap_phases_member_failed(struct member *member);

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

static int is_open(int fd) { return fd >= FIRST_FD && fd < FIRST_FD + FDS && world.is_open[fd - FIRST_FD]; }

enum status __wrap_launch_member(struct member *member)
{
    must(member->pidfd < 0 && member->control_fd < 0);
    if (take_byte(&world.take) % 8 == 7)
        return STATUS_SYSTEM;
    member->pidfd = open_fd();
    member->control_fd = open_fd();
    member->pid = 1;
    world.is_exited = 0;
    member_give(member, CONTROL_START, 0, 1, -1);
    return STATUS_OK;
}

enum status __wrap_loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events, loop_ready *ready,
                            void *context)
{
    (void)loop;
    must(is_open(fd));
    *watch = (struct loop_watch){ready, context, fd, events};
    return STATUS_OK;
}

void __wrap_loop_remove(struct loop *loop, struct loop_watch *watch)
{
    (void)loop;
    watch->ready = NULL;
}

void __wrap_loop_timer_add(struct loop *loop, struct loop_timer *timer, loop_due *due, void *context)
{
    (void)loop;
    *timer = (struct loop_timer){due, context, 0};
}

void __wrap_loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t in_ms)
{
    (void)loop;
    timer->at_ms = in_ms;
}

enum status __wrap_channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd, int wait)
{
    static const enum status others[] = {STATUS_AGAIN, STATUS_CLOSED, STATUS_TOO_LARGE, STATUS_SYSTEM};
    struct control_record record = {.size = sizeof record, .kind = CONTROL_READY};
    uint8_t what = take_byte(&world.take);
    must(is_open(channel_fd) && !wait && capacity == sizeof record);
    world.is_confined = what & 1;
    world.is_ready_said = 0;
    *fd = what & 2 ? open_fd() : -1;
    if ((what >> 2 & 7) < 4)
        return others[what >> 2 & 3];
    memcpy(bytes, &record, sizeof record);
    *size = sizeof record;
    if ((what >> 2 & 7) > 5)
        *size = take_bytes(&world.take, bytes, take_byte(&world.take) % (capacity + 1));
    memcpy(&record, bytes, sizeof record);
    world.is_ready_said = *size == sizeof record && record.kind == CONTROL_READY;
    return *size == 0 ? STATUS_CLOSED : STATUS_OK;
}

enum status __wrap_channel_send_fd(int channel_fd, const void *record, size_t size, int fd)
{
    (void)record;
    must(is_open(channel_fd) && size == sizeof(struct control_record) && (fd < 0 || is_open(fd)));
    return STATUS_OK;
}

enum status __wrap_sandbox_verify(pid_t pid, uid_t uid, const char **why)
{
    (void)uid;
    must(pid == 1);
    *why = "the target says so";
    return world.is_confined ? STATUS_OK : STATUS_DENIED;
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    must(type == P_PIDFD && is_open((int)id) && (options & WNOHANG) != 0);
    uint8_t how = take_byte(&world.take);
    if (how % 8 == 0)
        return 0; // it still runs
    info->si_pid = 1;
    info->si_code = how & 1 ? CLD_EXITED : CLD_KILLED;
    info->si_status = how;
    return 0;
}

int __wrap_close(int fd)
{
    if (fd < FIRST_FD || fd >= FIRST_FD + FDS)
        return fd < 0 ? 0 : __real_close(fd);
    must(is_open(fd));
    world.is_open[fd - FIRST_FD] = 0;
    return 0;
}

void __wrap_phases_step(struct supervisor *s) { (void)s; }
void __wrap_phases_member_failed(struct member *member) { (void)member; }

static void judge(const struct member *m, enum member_state before)
{
    int has_process = m->state == MEMBER_STARTING || m->state == MEMBER_UP || m->state == MEMBER_ENDING;
    must(has_process == (m->pidfd >= 0));
    must(m->pidfd < 0 || is_open(m->pidfd));
    must(m->control_fd < 0 || (has_process && is_open(m->control_fd)));
    must(m->state != MEMBER_UP || before == MEMBER_UP ||
         (before == MEMBER_STARTING && world.is_ready_said && world.is_confined));
    must(memchr(m->last_end, 0, sizeof m->last_end) != NULL);
    int open = 0;
    for (int i = 0; i < FDS; i++)
        open += world.is_open[i];
    must(open == (m->pidfd >= 0) + (m->control_fd >= 0) + (int)m->pending_count);
}

static void step(struct member *m, uint8_t what)
{
    world.is_ready_said = 0;
    switch (what % 8) {
    case 0:
        m->is_wanted = 1;
        member_event(m, EVENT_START);
        break;
    case 1:
        m->is_wanted = what & 8;
        member_event(m, EVENT_END);
        break;
    case 2:
        if (m->timer.at_ms != 0) {
            m->timer.at_ms = 0;
            m->timer.due(m->timer.context);
        }
        break;
    case 3:
    case 4:
        if (m->exit_watch.ready != NULL)
            m->exit_watch.ready(m->exit_watch.context, EPOLLIN);
        break;
    case 5: // something for it, one of few kinds
        member_give(m, CONTROL_TENDER_LINK, what >> 3 & 3, 0, open_fd());
        break;
    default:
        if (m->control_watch.ready != NULL)
            m->control_watch.ready(m->control_watch.context, EPOLLIN);
    }
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t seeds[][24] = {
        {4, 0, 0, 6, 0x11, 3, 9, 2, 0, 0, 6, 0x11, 1, 3, 9, 0}, {4, 5, 5, 13, 0, 0, 5, 6, 0x13, 2, 1, 2, 2, 4, 8, 9},
        {2, 0, 0, 6, 0x10, 3, 11, 2, 0, 6, 0x1d, 24, 24, 0, 0, 0, 2}, {0, 0, 7, 2, 0, 0, 0, 6, 4, 6, 0, 3, 0, 3, 2},
    };
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    memcpy(bytes, seeds[index], sizeof seeds[0]);
    return sizeof seeds[0];
}

static void on_settled(void *context) { (void)context; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct member *m = &supervisor.members[0];
    static FILE *nowhere;
    FILE *kept = stderr;
    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    stderr = nowhere;
    world.take = (struct take){data, size};
    records_init(&supervisor.records, &supervisor.loop, on_settled, NULL);
    supervisor.is_rootless = 1;
    *m = (struct member){.supervisor = &supervisor, .role = take_byte(&world.take) % ROLES, .name = "decode",
                         .pidfd = -1, .control_fd = -1, .page = page};
    while (world.take.left != 0) {
        enum member_state before = m->state;
        step(m, take_byte(&world.take));
        judge(m, before);
    }
    for (int i = 0; i < 4 && m->pidfd >= 0; i++) { // told to end, and it does
        m->is_wanted = 0;
        world.take = (struct take){(const uint8_t *)"\1\1", 2};
        member_event(m, EVENT_END);
        m->exit_watch.ready(m->exit_watch.context, EPOLLIN);
    }
    member_drop_pending(m);
    judge(m, MEMBER_IDLE);
    must(m->pidfd < 0);
    stderr = kept;
    return 0;
}
