// SPDX-License-Identifier: ISC
// How each of our processes begins: what the supervisor hands over on descriptors 3, 4 and 5.
#ifndef CRENEL_HOST_PROCESS_H
#define CRENEL_HOST_PROCESS_H

#include "core/status.h"
#include "proto/control.h"

#include <stddef.h>
#include <stdint.h>

struct process {
    const uint8_t *system; // the compiled system file, mapped read-only; the supervisor checked its signature
    size_t system_bytes;
    void *page; // status page, STATUS_PAGE_BYTES, mapped writable
};

// Maps both descriptors; ends the process with a message when they are missing (started by hand).
void process_begin(struct process *process, const char *role);

// Next record from the supervisor. STATUS_CLOSED: the supervisor is gone, end. *fd is owned, or -1.
enum status process_control(struct control_record *record, int *fd, int wait) MUST_USE;

// Tells the supervisor that START is done.
enum status process_ready(void) MUST_USE;

#endif
