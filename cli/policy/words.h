// SPDX-License-Identifier: ISC
// Ends, principals and checks of flows in words.
#ifndef CRENEL_CLI_WORDS_H
#define CRENEL_CLI_WORDS_H

#include "core/system.h"

#include <cjson/cJSON.h>

#define END_BYTES 80u

// "detect", "gateway:mqtt", "service:login", "router:subscription": the sender (receiver -1) or that receiver.
void end_text(const struct system_view *system, const struct system_flow *flow, int receiver, char text[END_BYTES]);
// All receivers, with commas.
void receivers_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity);
#define PRINCIPALS_BYTES (SYSTEM_PRINCIPALS_MAX * (SYSTEM_NAME_BYTES + 2u)) // room for the names of all of them
// "press-7, rig-2", or "anyone" (no bit or every bit is set).
void principals_text(const struct system_view *system, uint64_t principals, char *text, size_t capacity);
// The checks of one flow, as name and text.
void checks_add(const struct system_view *system, const struct system_flow *flow, cJSON *checks);

#endif
