// SPDX-License-Identifier: ISC
// Starting a zygote: the process that holds the image once, and forks instances of it.
#ifndef CRENEL_TENDER_PROCESS_ZYGOTE_H
#define CRENEL_TENDER_PROCESS_ZYGOTE_H

#include "tender/layout.h"

#include <stddef.h>
#include <sys/types.h>

struct zygote {
    pid_t pid;
    int listener_fd; // of its filter: it and its instances call here (filter.c)
};

// Forks a zygote for the image and waits until its filter stands. pool_fd: slices of slice_bytes.
// STATUS_AGAIN: this base cannot be used, draw another. STATUS_SYSTEM: it says why on standard error.
enum status zygote_start(struct zygote *zygote, const struct image *image, const struct layout *layout,
                         int pool_fd, size_t slice_bytes) MUST_USE;

// Says what could not be done when a call of the zygote's page failed.
const char *zygote_step(uint64_t call);

#endif
