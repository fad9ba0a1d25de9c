// SPDX-License-Identifier: ISC
// What the inspector refused, in words for an operator: what came, what was there before, what would have been taken.
#ifndef CRENEL_STORE_REFUSAL_H
#define CRENEL_STORE_REFUSAL_H

#include "core/system.h"
#include "proto/commit.h"

#define REFUSAL_TEXT_BYTES 240u

struct refusal { // what the router says of it; its numbers and bytes are looked at as what a stranger sends
    struct commit_refusal is;
    const uint8_t *state; // of the key, before the message
    const uint8_t *message;
};

// Could the router have said so of this system?
int refusal_is_valid(const struct system_view *system, const struct refusal *refusal);

// `reason` is the dead letter's. With values the text names the key and what came, without only what the system says and
// the state that a machine is in: so it may stand where no payload may. Empty when there is nothing to say.
void refusal_text(const struct system_view *system, const struct refusal *refusal, uint32_t reason, int has_values,
                  char text[REFUSAL_TEXT_BYTES]);

#endif
