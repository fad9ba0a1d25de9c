// SPDX-License-Identifier: ISC
// Messages that the router keeps (proto/commit.h), and the journal in which they wait for the case that it dies.
//
// Most are consumed by one of the next COMMITs. So they get no row in the outbox: all that one transaction adds and ends is one
// entry of the table journal, and entries leave from the front when nothing in them waits. In memory stands who waits, not what.
// When the store is opened, what the journal says still waits becomes rows of the outbox, in the place that they would have
// had there (ids are given to both from one sequence), and the journal is empty.
// A body of the journal is a sequence of struct kept_item, each at 8 bytes, with names by their ids in the table names.
#ifndef CRENEL_STORE_KEPT_H
#define CRENEL_STORE_KEPT_H

#include "store/outbox.h"

#define KEPT_BODY_BYTES (1u << 20) // of one transaction

struct kept;

// Before names_load. STATUS_FULL: no room on the disk.
enum status kept_open(struct store *store) MUST_USE;
void kept_close(struct store *store);

// In the open transaction. STATUS_ABSENT: none of that number waits.
enum status kept_get(const struct store *store, uint64_t number, struct outbox_row *row) MUST_USE;
// STATUS_CONFLICT: there is one of that number, or more than the router may keep.
enum status kept_add(struct store *store, const struct commit_send *send, uint64_t number, int64_t time_ms, const uint8_t *key,
                     const uint8_t *context, const uint8_t *payload, int64_t *id) MUST_USE;
void kept_end(struct store *store, uint64_t number);
// Has the transaction room for what another COMMIT may add?
int kept_has_room(const struct store *store);

// At the end of the transaction: writes it. Then what became of it.
enum status kept_settle(struct store *store) MUST_USE;
void kept_settled(struct store *store, int is_done);

uint64_t kept_count(const struct store *store, unsigned flow);

#endif
