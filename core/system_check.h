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
// Parts of it, in files of their own.
const char *system_check_gateway(const struct system_view *system, size_t index);
const char *system_check_service(const struct system_view *system, size_t index);
const char *system_check_courier(const struct system_view *system, size_t index);
int system_has_receiver(const struct system_flow *flow, unsigned kind, size_t index, size_t port);
int system_has_sender(const struct system_flow *flow, unsigned kind, size_t index, size_t port);
int system_is_turning(const struct system_view *system, size_t service); // a service that is no password service
int system_is_word(const char *text, size_t size); // printable ASCII without spaces, terminated, zero-filled, not empty
int system_is_path(const char path[SYSTEM_PATH_BYTES]);

// What may wait of the flow, whose schema exists. 0: does not agree with it.
int system_check_spool(const struct system_view *system, const struct system_flow *flow);

// A name: [a-z][a-z0-9_-]*, zero-terminated and zero-filled.
int system_is_name(const char name[SYSTEM_NAME_BYTES]);

#endif
