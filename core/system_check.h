// SPDX-License-Identifier: ISC
// What system_open() demands of the tables beyond their place in the file.
#ifndef CRENEL_CORE_SYSTEM_CHECK_H
#define CRENEL_CORE_SYSTEM_CHECK_H

#include "core/system.h"

// NULL if the tables agree with each other, else what is wrong. Every table lies inside the file.
const char *system_check(const struct system_view *system);

// The flow's checks, whose schema exists; then machines, and what concerns all flows.
const char *system_check_flow_state(const struct system_view *system, size_t index);
const char *system_check_state(const struct system_view *system);

// What may wait of the flow, whose schema exists. 0: does not agree with it.
int system_check_spool(const struct system_view *system, const struct system_flow *flow);

// A name: [a-z][a-z0-9_-]*, zero-terminated and zero-filled.
int system_is_name(const char name[SYSTEM_NAME_BYTES]);

#endif
