// SPDX-License-Identifier: ISC
// One COMMIT: reading its packet, and doing it inside the open transaction.
#ifndef CRENEL_STORE_COMMIT_H
#define CRENEL_STORE_COMMIT_H

#include "store/outbox.h"

struct commit_done_facts {
    enum commit_result result;
    uint64_t first_id; // outbox id of the first send, 0: none
    struct outbox_row consumed; // what was with the router and no longer is; bytes 0: nothing
};

// Validates everything before it writes anything, so a COMMIT with a result other than OK has changed
// nothing and the others of the batch stand. now_ms: the store's clock. STATUS_MALFORMED: the router broke
// the protocol. STATUS_FULL, STATUS_SYSTEM: roll the transaction back.
enum status commit_apply(struct store *store, const uint8_t *packet, size_t size, int64_t now_ms,
                         struct commit_done_facts *done) MUST_USE;

#endif
