// SPDX-License-Identifier: ISC
// An event loop over epoll: file descriptors, one clock, timers. No allocation after loop_init.
#ifndef CRENEL_HOST_LOOP_H
#define CRENEL_HOST_LOOP_H

#include "core/status.h"

#include <stdint.h>

#define LOOP_WATCHES_MAX 1024u
#define LOOP_TIMERS_MAX 64u

struct loop;
typedef void loop_ready(void *context, uint32_t events); // EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR
typedef void loop_due(void *context);

struct loop_watch { // caller's storage; stays in place while watched
    loop_ready *ready;
    void *context;
    int fd;
    uint32_t events;
};

struct loop_timer { // caller's storage
    loop_due *due;
    void *context;
    int64_t at_ms; // monotonic; 0: off
};

struct loop {
    int epoll_fd;
    int is_stopping;
    int64_t now_ms; // monotonic, refreshed before callbacks
    struct loop_timer *timers[LOOP_TIMERS_MAX];
    unsigned timer_count;
    struct loop_watch *removed[LOOP_WATCHES_MAX]; // during one round
    unsigned removed_count;
};

enum status loop_init(struct loop *loop) MUST_USE;
void loop_clean_up(struct loop *loop);

// Watches fd; events is EPOLLIN and the like (level-triggered).
enum status loop_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
                     loop_ready *ready, void *context) MUST_USE;
void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t events);
// Never called back afterwards, also when it was ready in this round. Does not close the descriptor.
void loop_remove(struct loop *loop, struct loop_watch *watch);

// Registers a timer once; arm it with loop_timer_set, in_ms from now (0 turns it off).
void loop_timer_add(struct loop *loop, struct loop_timer *timer, loop_due *due, void *context);
void loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t in_ms);

// One round: waits at most timeout_ms (-1: until something happens), calls back. loop_run repeats until loop_stop.
enum status loop_once(struct loop *loop, int timeout_ms) MUST_USE;
enum status loop_run(struct loop *loop) MUST_USE;
static inline void loop_stop(struct loop *loop) { loop->is_stopping = 1; }

int64_t loop_clock_ms(void);      // monotonic
int64_t loop_boot_clock_ms(void); // since the boot, also while the host was asleep
int64_t loop_wall_clock_ms(void); // since 1970-01-01 UTC

#endif
