// SPDX-License-Identifier: ISC
// Dead letters: messages whose event failed, kept for an operator. Each flow has an equal share of the room, in which its
// own oldest give way: what fails on one flow pushes out nothing of another. Flows that are no longer in the system
// have one share together.
#ifndef CRENEL_STORE_DEAD_LETTERS_H
#define CRENEL_STORE_DEAD_LETTERS_H

#include "store/audit_text.h"
#include "store/database.h"
#include "store/refusal.h"

#define DEAD_LETTERS_MAX 10000u
#define DEAD_LETTERS_BYTES (64ull * 1024 * 1024)
#define DEAD_LETTER_ROW_BYTES 128u // besides text and payload

// At start: counts what is there.
enum status dead_letters_load(struct store *store) MUST_USE;

// In a transaction of its own: a share that this version of the system makes smaller is kept.
enum status dead_letters_trim(struct store *store) MUST_USE;

// In the open transaction: the dead letter of a commit, and its audit row. What goes for it an audit row says. The refusal
// is put into words if the commit says that there is one.
enum status dead_letter_add(struct store *store, const struct audit_facts *facts, const struct refusal *refusal,
                            const uint8_t *payload) MUST_USE;

// STATUS_ABSENT: no such dead letter.
enum status dead_letter_drop(struct store *store, int64_t id) MUST_USE;

// The first of that flow behind `after`. STATUS_ABSENT: there is none.
enum status dead_letter_next(struct store *store, unsigned flow, int64_t after, int64_t *id) MUST_USE;

// In the open transaction: its payload goes back into the outbox as a new message, it is removed.
// *flow is the flow, *added what it gets: one for each receiver. STATUS_DENIED with *why: it cannot be;
// STATUS_TOO_LARGE with *why: not now, its flow is full.
enum status dead_letter_resubmit(struct store *store, int64_t id, int64_t now_ms, unsigned *flow,
                                 struct spooled *added, const char **why) MUST_USE;

#endif
