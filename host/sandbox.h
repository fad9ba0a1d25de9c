// SPDX-License-Identifier: ISC
// The walls around our own programs.
//
// Who does what:
//   crenel-supervisor (host/spawn.c)   namespaces, cgroups, an empty root as working directory, limits,
//                                      real user id, SIGKILL on the supervisor's death
//   each program (sandbox_enter)       called once, right after process_begin(), before it looks at any
//                                      record: steps into that root for good, becomes its user id, drops
//                                      every capability, sets no_new_privs, installs its system call filter
//   crenel-supervisor (sandbox_verify) looks at /proc/PID/status when the program says READY, and
//                                      counts a program that is not confined as failed
// A program cannot do this before exec: the loader must see the libraries first.
//
// A program that was not started by the supervisor (a test with hand-made descriptors: it is not process
// 1 of its own pid namespace) gets only no_new_privs and the filter.
#ifndef CRENEL_HOST_SANDBOX_H
#define CRENEL_HOST_SANDBOX_H

#include "core/status.h"
#include "host/filter.h"

#include <sys/types.h>

// Where store, audit and password find their own directory after sandbox_enter().
#define SANDBOX_DIRECTORY "/data"

// Ends the process with a message when any part fails.
void sandbox_enter(enum filter_role role);

// Makes the root of the own mount namespace the root and the working directory; -1 with errno. In a chroot "/" is
// no mount point, which pivot_root and changes of mounts refuse. Descriptors keep the way back.
int sandbox_leave_chroot(void);

// Makes the directory handed over on `fd` the working directory, by its name inside the sandbox when there is
// one, so that relative paths and getcwd() (SQLite asks) work in and out of the sandbox.
enum status sandbox_change_directory(int fd) MUST_USE;

// Is that process confined? uid: the one it must have. *why names what is missing.
enum status sandbox_verify(pid_t pid, uid_t uid, const char **why) MUST_USE;

#endif
