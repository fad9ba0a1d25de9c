// SPDX-License-Identifier: ISC
// What was measured of a flow, as lines of a system file.
#ifndef CRENEL_CLI_LEARN_H
#define CRENEL_CLI_LEARN_H

#include "core/system.h"

struct learned { // of one check
    uint64_t measured; // messages
    uint64_t peak;     // the most that they came to
};

void learn_print(const struct system_view *system, const struct system_flow *flow, const struct learned *learned);

#endif
