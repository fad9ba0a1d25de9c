// SPDX-License-Identifier: ISC
// The checks of flow state in words: for policy check, explain and learn, and where their counts are shown.
#ifndef CRENEL_CLI_POLICY_CHECKS_H
#define CRENEL_CLI_POLICY_CHECKS_H

#include "core/system.h"

#include <cjson/cJSON.h>

// Name ("step value") and what it demands ("at most 2.000 between two messages of a sensor").
void policy_check_text(const struct system_view *system, const struct system_flow *flow,
                       const struct system_check *check, char name[64], char *text, size_t capacity);

// All that somebody wrote of a flow, each with its line; and whether it only observes, or leads to an actuator.
void policy_checks_add(const struct system_view *system, const struct system_flow *flow, cJSON *checks);

// What the router sets aside for the keys of all flows.
uint64_t policy_checks_bytes(const struct system_view *system);

// Prints what refuses less than it says, and how much memory states of keys take.
void policy_checks_warn(const struct system_view *system);

#endif
