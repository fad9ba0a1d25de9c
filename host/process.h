// SPDX-License-Identifier: ISC
// How each of our processes begins: what the supervisor hands over on descriptors 3, 4 and 5.
#ifndef CRENEL_HOST_PROCESS_H
#define CRENEL_HOST_PROCESS_H

#include "core/status.h"
#include "host/loop.h"
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

// Ends the process, saying what could not be done and why.
_Noreturn void process_fail(const char *what, const char *why);

// The index that the supervisor gave as second argument (behind the role's name), below `count`.
uint32_t process_index(int argc, char **argv, size_t count);

// For a process that gets everything before START: takes one descriptor for each entry, in any order, then
// START. Anything else, twice the same, or START too early ends the process.
struct process_attachment {
    enum control_what what;
    int *fd; // -1 before; owned by the caller
};
void process_attach(const struct process_attachment *wanted, size_t count);

// Afterwards the supervisor only tells us to end, by closing the control link: stops the loop then.
enum status process_watch(struct loop *loop, struct loop_watch *watch) MUST_USE;

// Next record from the supervisor. STATUS_CLOSED: the supervisor is gone, end. *fd is owned, or -1.
enum status process_control(struct control_record *record, int *fd, int wait) MUST_USE;

// Tells the supervisor that START is done.
enum status process_ready(void) MUST_USE;

#endif
