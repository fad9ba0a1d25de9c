// SPDX-License-Identifier: ISC
// The supervisor's own capabilities: a listed set in system mode, none in rootless mode.
#ifndef CRENEL_SUPERVISOR_PRIVILEGES_H
#define CRENEL_SUPERVISOR_PRIVILEGES_H

#include "core/status.h"

// Can system mode run: do we have every listed capability that it cannot do without, and user ids?
int privileges_are_enough(void);

// System mode: drops every capability that is not in the list, for good. Rootless: sets no_new_privs.
enum status privileges_reduce(void) MUST_USE;

#endif
