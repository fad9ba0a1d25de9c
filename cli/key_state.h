// SPDX-License-Identifier: ISC
// Keys of flows and the states that their checks keep (core/flow_check.h), in words.
#ifndef CRENEL_CLI_KEY_STATE_H
#define CRENEL_CLI_KEY_STATE_H

#include "cli/policy/policy_system.h"

#include <cjson/cJSON.h>

// What an operator writes for a key (7, site-1; - in a flow without key) as the store has it, in hex. Errors are reported.
enum status key_state_key(const struct system_view *system, const struct system_flow *flow, const char *text,
                          char hex[2 * SYSTEM_KEY_BYTES_MAX + 1]) MUST_USE;

// {"key":7,"state":{"replay sequence":"12","step value":"3.200"}} of an item {"key":HEX,"parts":HEX}. What no check of this
// version goes by is left out. Caller deletes.
cJSON *key_state_describe(const struct system_view *system, const struct system_flow *flow, const cJSON *item);

#endif
