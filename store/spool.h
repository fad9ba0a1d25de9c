// SPDX-License-Identifier: ISC
// How much waits in the outbox for each flow, and what ends there: messages that newer ones pushed out, and
// messages whose time to live has passed. Neither is ever one that is with the router.
#ifndef CRENEL_STORE_SPOOL_H
#define CRENEL_STORE_SPOOL_H

#include "store/database.h"

#define SPOOL_EXPIRE_MAX 1024u // of one queue in one transaction

// At start, and whenever it shall be counted again: what waits.
enum status spool_load(struct store *store) MUST_USE;

// May messages of the flow promise receipts: does their sender take them?
int spool_makes_receipts(const struct store *store, unsigned flow);
// Receipts that are promised to who takes this flow of receipts.
uint64_t spool_promised(const struct store *store, unsigned receipts);

// Is there room for so much more, perhaps (can_displace) by what can give way?
int spool_has_room(const struct store *store, unsigned flow, struct spooled added, int can_displace);

// In the open transaction: ends the oldest of flows that keep the newest until each is within its caps.
enum status spool_make_room(struct store *store, int64_t now_ms) MUST_USE;

// Does something wait that is too late? And, in the open transaction: ends some of it.
int spool_is_late(struct store *store, int64_t now_ms);
enum status spool_expire(struct store *store, int64_t now_ms, int *is_more) MUST_USE;

// At the end of the transaction: counts what ended in it, in the counters and in an audit record for each flow.
enum status spool_settle(struct store *store) MUST_USE;

#endif
