// SPDX-License-Identifier: ISC
// The event loop: readiness, timers in order, removal inside a callback.
#include "host/loop.h"
#include "tests/unit/test.h"

#include <sys/epoll.h>
#include <unistd.h>

static struct loop loop;
static struct loop_watch watches[2];
static struct loop_timer timers[2];
static int pipes[2][2], called[2], order[4], order_count;

static void ready(void *context, uint32_t events)
{
    int which = *(int *)context;
    char byte;
    called[which]++;
    if ((events & EPOLLIN) != 0 && read(pipes[which][0], &byte, 1) == 1)
        order[order_count++ % 4] = which;
    loop_remove(&loop, &watches[1 - which]); // the other one, ready in the same round
}

static void due(void *context)
{
    order[order_count++ % 4] = *(int *)context;
    if (order_count == 2)
        loop_stop(&loop);
}

static int zero = 0, one = 1;

TEST(a_removed_watch_is_not_called_in_its_round)
{
    expect(loop_init(&loop) == STATUS_OK && pipe(pipes[0]) == 0 && pipe(pipes[1]) == 0);
    expect(loop_add(&loop, &watches[0], pipes[0][0], EPOLLIN, ready, &zero) == STATUS_OK);
    expect(loop_add(&loop, &watches[1], pipes[1][0], EPOLLIN, ready, &one) == STATUS_OK);
    expect(write(pipes[0][1], "x", 1) == 1 && write(pipes[1][1], "x", 1) == 1);
    expect(loop_once(&loop, 1000) == STATUS_OK);
    expect(called[0] + called[1] == 1);
    expect(loop_once(&loop, 0) == STATUS_OK);
    expect(called[0] + called[1] == 1);
    loop_clean_up(&loop);
    for (int i = 0; i < 2; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
}

TEST(timers_come_once_and_in_order)
{
    order_count = 0;
    expect(loop_init(&loop) == STATUS_OK);
    loop_timer_add(&loop, &timers[0], due, &zero);
    loop_timer_add(&loop, &timers[1], due, &one);
    loop_timer_set(&loop, &timers[0], 40);
    loop_timer_set(&loop, &timers[1], 10);
    expect(loop_run(&loop) == STATUS_OK);
    expect(order_count == 2 && order[0] == 1 && order[1] == 0);
    expect(timers[0].at_ms == 0 && timers[1].at_ms == 0);
    loop_clean_up(&loop);
}

TEST(a_timer_that_is_off_never_comes)
{
    order_count = 0;
    expect(loop_init(&loop) == STATUS_OK);
    loop_timer_add(&loop, &timers[0], due, &zero);
    loop_timer_set(&loop, &timers[0], 5);
    loop_timer_set(&loop, &timers[0], 0);
    expect(loop_once(&loop, 30) == STATUS_OK);
    expect(order_count == 0);
    loop_clean_up(&loop);
}

int main(void)
{
    RUN(a_removed_watch_is_not_called_in_its_round);
    RUN(timers_come_once_and_in_order);
    RUN(a_timer_that_is_off_never_comes);
    TEST_END();
}
