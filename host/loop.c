// SPDX-License-Identifier: ISC
// The event loop. Timers are few (64), so a scan finds the next one.
#include "host/loop.h"

#include "core/check.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define LOOP_BATCH 64

static int64_t clock_ms(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t loop_clock_ms(void) { return clock_ms(CLOCK_MONOTONIC); }
int64_t loop_boot_clock_ms(void) { return clock_ms(CLOCK_BOOTTIME); }
int64_t loop_wall_clock_ms(void) { return clock_ms(CLOCK_REALTIME); }

enum status loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC), .now_ms = loop_clock_ms()};
    return loop->epoll_fd < 0 ? STATUS_SYSTEM : STATUS_OK;
}

void loop_clean_up(struct loop *loop)
{
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

enum status loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
                     loop_ready *ready, void *context)
{
    *watch = (struct loop_watch){ready, context, fd, events};
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 ? STATUS_SYSTEM : STATUS_OK;
}

void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    if (watch->ready == NULL || watch->events == events)
        return;
    watch->events = events;
    struct epoll_event event = {.events = events, .data.ptr = watch};
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_remove(struct loop *loop, struct loop_watch *watch)
{
    if (watch->ready == NULL)
        return;
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->ready = NULL;
    if (loop->removed_count < LOOP_WATCHES_MAX)
        loop->removed[loop->removed_count++] = watch;
}

void loop_timer_add(struct loop *loop, struct loop_timer *timer, loop_due *due, void *context)
{
    check(loop->timer_count < LOOP_TIMERS_MAX);
    *timer = (struct loop_timer){due, context, 0};
    loop->timers[loop->timer_count++] = timer;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t in_ms)
{
    (void)loop;
    timer->at_ms = in_ms <= 0 ? 0 : loop_clock_ms() + in_ms;
}

static int next_timeout(const struct loop *loop, int timeout_ms)
{
    int64_t now = loop_clock_ms();
    for (unsigned i = 0; i < loop->timer_count; i++) {
        if (loop->timers[i]->at_ms == 0)
            continue;
        int64_t left = loop->timers[i]->at_ms > now ? loop->timers[i]->at_ms - now : 0;
        if (timeout_ms < 0 || left < timeout_ms)
            timeout_ms = (int)left;
    }
    return timeout_ms;
}

static int was_removed(const struct loop *loop, const struct loop_watch *watch)
{
    for (unsigned i = 0; i < loop->removed_count; i++)
        if (loop->removed[i] == watch)
            return 1;
    return 0;
}

enum status loop_once(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[LOOP_BATCH];
    int count = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, next_timeout(loop, timeout_ms));
    if (count < 0 && errno != EINTR)
        return STATUS_SYSTEM;
    loop->now_ms = loop_clock_ms();
    loop->removed_count = 0;
    for (int i = 0; i < count; i++) {
        struct loop_watch *watch = events[i].data.ptr;
        if (!was_removed(loop, watch) && watch->ready != NULL)
            watch->ready(watch->context, events[i].events);
    }
    for (unsigned i = 0; i < loop->timer_count; i++) {
        struct loop_timer *timer = loop->timers[i];
        if (timer->at_ms != 0 && timer->at_ms <= loop->now_ms) {
            timer->at_ms = 0;
            timer->due(timer->context);
        }
    }
    return STATUS_OK;
}

enum status loop_run(struct loop *loop)
{
    while (!loop->is_stopping) {
        enum status status = loop_once(loop, -1);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}
