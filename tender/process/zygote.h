// SPDX-License-Identifier: ISC
// Starting a zygote: the process that holds the image once, and forks instances of it.
#ifndef CRENEL_TENDER_PROCESS_ZYGOTE_H
#define CRENEL_TENDER_PROCESS_ZYGOTE_H

#include "tender/process/layout.h"

#include <sys/types.h>

struct zygote {
    pid_t pid;
    int command_fd; // write: uint64_t slot. Closing it retires the zygote.
    int reply_fd;   // read: struct zygote_reply, in order of the commands
};

// Forks a zygote for the image. The pool and the slots' eventfds lie at ZYGOTE_POOL_FD and from
// ZYGOTE_EVENT_FD on already. A failure inside the new process comes as a struct zygote_reply.
enum status zygote_start(struct zygote *zygote, const struct image *image,
                         const struct layout *layout, unsigned slot_count) MUST_USE;

// Names the step of a failed start.
const char *zygote_step(uint64_t step);

#endif
