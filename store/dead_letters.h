// SPDX-License-Identifier: ISC
// Dead letters: messages whose event failed, kept for an operator, the oldest dropped beyond a bound.
#ifndef CRENEL_STORE_DEAD_LETTERS_H
#define CRENEL_STORE_DEAD_LETTERS_H

#include "store/database.h"

#define DEAD_LETTERS_MAX 10000u

// In the open transaction: the dead letter of a commit, and its audit row. Beyond DEAD_LETTERS_MAX the oldest
// goes, which its own audit row says.
enum status dead_letter_add(struct store *store, const struct commit_header *commit,
                            const struct commit_dead *dead, const uint8_t *text,
                            const uint8_t *payload) MUST_USE;

// STATUS_ABSENT: no such dead letter.
enum status dead_letter_drop(struct store *store, int64_t id) MUST_USE;

// In the open transaction: its payload goes back into the outbox as a new message, it is removed.
// *flow is the flow, *added what it gets: one for each receiver. STATUS_DENIED with *why: it cannot be.
enum status dead_letter_resubmit(struct store *store, int64_t id, int64_t now_ms, unsigned *flow,
                                 struct spooled *added, const char **why) MUST_USE;

#endif
