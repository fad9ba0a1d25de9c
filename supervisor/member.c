// SPDX-License-Identifier: ISC
// One supervised process: the actions of the table, its exit, its READY, its attachments.
#include "supervisor/supervisor.h"

#include "core/check.h"
#include "host/channel.h"
#include "host/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MOST_MS 30000 // from spawn to READY

static void kill_process(const struct member *member)
{
    if (member->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, member->pidfd, SIGKILL, NULL, 0);
}

const char *member_title(const struct member *member)
{
    static char titles[4][64];
    static unsigned next;
    static const char *const kinds[ROLES] = {"", "", "", "service ", "unikernel ", "gateway ", "courier "};
    char *title = titles[next++ % 4];
    snprintf(title, sizeof titles[0], "%s%.40s", kinds[member->role], member->name);
    return title;
}

struct member *member_of(struct supervisor *s, enum role role, unsigned index)
{
    for (size_t i = 0; i < s->member_count; i++)
        if (s->members[i].role == role && s->members[i].index == index)
            return &s->members[i];
    return NULL;
}

void member_drop_pending(struct member *member)
{
    for (size_t i = 0; i < member->pending_count; i++)
        if (member->pending[i].fd >= 0)
            close(member->pending[i].fd);
    member->pending_count = 0;
}

void member_give(struct member *member, uint16_t what, uint32_t index, uint64_t value, int fd)
{
    if (member->control_fd < 0) {
        for (size_t i = 0; i < member->pending_count; i++) // a newer one of the same kind replaces it
            if (member->pending[i].what == what && member->pending[i].index == index) {
                close(member->pending[i].fd);
                member->pending[i].fd = fd;
                return;
            }
        check(member->pending_count < PENDING_MAX);
        member->pending[member->pending_count++] = (struct pending){what, index, fd};
        return;
    }
    struct control_record record = {.size = sizeof record,
                                    .kind = CONTROL_ATTACH,
                                    .what = what,
                                    .index = index,
                                    .value = value};
    // A process that does not read its control link any more fails by its own exit.
    (void)!channel_send_fd(member->control_fd, &record, sizeof record, fd);
    if (fd >= 0)
        close(fd);
}

static void exit_text(const siginfo_t *info, char *text, size_t capacity)
{
    if (info->si_code == CLD_EXITED)
        snprintf(text, capacity, "exit code %d", info->si_status);
    else if (info->si_status == SIGSYS)
        snprintf(text, capacity, "signal 31 (SIGSYS): a system call that its filter does not allow");
    else
        snprintf(text, capacity, "signal %d (%s)", info->si_status,
                 sigabbrev_np(info->si_status) != NULL ? sigabbrev_np(info->si_status) : "?");
}

static void control_ready(void *context, uint32_t events)
{
    struct member *member = context;
    struct control_record record;
    size_t size;
    int fd = -1;
    enum status status =
        channel_receive_fd(member->control_fd, &record, sizeof record, &size, &fd, 0);
    (void)events;
    if (fd >= 0)
        close(fd); // nobody hands us anything
    if (status == STATUS_AGAIN)
        return;
    const char *why = NULL;
    if (status != STATUS_OK || size != sizeof record || record.kind != CONTROL_READY) {
        loop_remove(&member->supervisor->loop, &member->control_watch); // its exit follows
        if (status != STATUS_CLOSED)
            kill_process(member);
        return;
    }
    uid_t uid = member->supervisor->is_rootless ? geteuid() : member->uid;
    if (sandbox_verify(member->pid, uid, &why) != STATUS_OK) {
        fprintf(stderr, "crenel-supervisor: %s is not confined: %s\n", member_title(member), why);
        kill_process(member);
        return;
    }
    member_event(member, EVENT_READY);
    phases_step(member->supervisor);
}

static void forget_process(struct member *member)
{
    struct supervisor *s = member->supervisor;
    loop_remove(&s->loop, &member->exit_watch);
    loop_remove(&s->loop, &member->control_watch);
    if (member->pidfd >= 0)
        close(member->pidfd);
    if (member->control_fd >= 0)
        close(member->control_fd);
    member->pidfd = member->control_fd = -1;
    member->pid = 0;
    member->is_linked = 0;
    member_drop_pending(member);
    if (member->role == ROLE_AUDIT)
        records_detach(&s->records);
    if (member->role == ROLE_AUDIT || member->role == ROLE_STORE)
        s->is_audit_linked = 0;
    if (member->role == ROLE_TENDER) { // what it has now, as opposed to what it ever did
        struct tender_page *page = (struct tender_page *)(void *)member->page;
        page->destroyed += page->live;
        page->live = page->busy = 0;
    }
}

static void exit_ready(void *context, uint32_t events)
{
    struct member *member = context;
    (void)events;
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)member->pidfd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
        return;
    exit_text(&info, member->last_end, sizeof member->last_end);
    forget_process(member);
    member_event(member, EVENT_EXIT);
    phases_step(member->supervisor);
}

static void timer_due(void *context)
{
    struct member *member = context;
    member_event(member, EVENT_TIMER);
    phases_step(member->supervisor);
}

static void spawn(struct member *member)
{
    struct supervisor *s = member->supervisor;
    if (member->timer.due == NULL)
        loop_timer_add(&s->loop, &member->timer, timer_due, member);
    member->started_ms = loop_wall_clock_ms();
    enum status status = launch_member(member);
    if (status == STATUS_OK &&
        (loop_add(&s->loop, &member->exit_watch, member->pidfd, EPOLLIN, exit_ready, member) !=
             STATUS_OK ||
         loop_add(&s->loop, &member->control_watch, member->control_fd, EPOLLIN, control_ready,
                  member) != STATUS_OK)) {
        snprintf(member->last_end, sizeof member->last_end, "cannot be watched: %s", strerror(errno));
        kill_process(member);
        status = STATUS_SYSTEM;
    }
    if (status != STATUS_OK) {
        forget_process(member);
        member_event(member, EVENT_EXIT);
        return;
    }
    loop_timer_set(&s->loop, &member->timer, START_MOST_MS);
}

static void record_end(const struct member *member, const char *what)
{
    char text[200];
    record_escape(member->last_end, text, sizeof text);
    records_add(&member->supervisor->records, what, "\"process\":\"%s\",\"how\":\"%s\",\"restarts\":%llu",
                member_title(member), text, (unsigned long long)member->restarts);
}

static void act(struct member *member, enum member_action action)
{
    struct supervisor *s = member->supervisor;
    switch (action) {
    case ACTION_NONE:
        break;
    case ACTION_SPAWN:
        spawn(member);
        break;
    case ACTION_SERVE:
        loop_timer_set(&s->loop, &member->timer, HEALTHY_MS);
        break;
    case ACTION_HEALTHY:
        member->backoff_ms = 0;
        break;
    case ACTION_CLOSE:
        loop_remove(&s->loop, &member->control_watch);
        if (member->control_fd >= 0)
            close(member->control_fd);
        member->control_fd = -1;
        if (member->grace_ms == 0)
            kill_process(member);
        loop_timer_set(&s->loop, &member->timer, member->grace_ms);
        break;
    case ACTION_KILL:
        kill_process(member);
        break;
    case ACTION_FAIL:
        member->restarts++;
        member->backoff_ms = backoff_next(member->backoff_ms);
        loop_timer_set(&s->loop, &member->timer, member->backoff_ms);
        record_end(member, "process-failed");
        fprintf(stderr, "crenel-supervisor: %s ended: %s; started again in %lld ms\n",
                member_title(member), member->last_end, (long long)member->backoff_ms);
        phases_member_failed(member);
        break;
    case ACTION_GONE:
        loop_timer_set(&s->loop, &member->timer, 0);
        record_end(member, "process-ended");
        if (member->is_wanted)
            member_event(member, EVENT_START);
        break;
    case ACTION_CANCEL:
        loop_timer_set(&s->loop, &member->timer, 0);
        break;
    }
}

void member_event(struct member *member, enum member_event event)
{
    struct member_step step = member_step(member->state, event);
    member->state = (enum member_state)step.next;
    act(member, (enum member_action)step.action);
}
