// SPDX-License-Identifier: ISC
// The store's side of proto/commit.h: group commit, answers, the outbox under credit.
#ifndef CRENEL_STORE_ROUTER_LINK_H
#define CRENEL_STORE_ROUTER_LINK_H

#include "host/channel.h"
#include "store/outbox.h"
#include "store/records.h"

#define ROUTER_BATCH_MAX 256u          // COMMITs in one transaction
#define ROUTER_DEFERRED_BYTES 65536u   // READs that wait for the end of it

struct router_link {
    struct channel channel; // fd -1: none; sends block: the router always reads
    int is_ready;           // HELLO was answered
    struct outbox_push push;
    int64_t now_ms;         // never goes back
    int64_t next_due_ms;    // INT64_MAX: no timer is waited for
    size_t batch_count;
    struct commit_done batch[ROUTER_BATCH_MAX];
    struct outbox_queue *consumed[ROUTER_BATCH_MAX]; // gets its credit back when the batch is done; or NULL
    struct outbox_row consumed_rows[ROUTER_BATCH_MAX];
    size_t deferred_bytes;
    uint8_t deferred[ROUTER_DEFERRED_BYTES];
    uint8_t packet[COMMIT_BYTES_MAX];
    _Alignas(8) uint8_t gathered[COMMIT_BYTES_MAX], inbox[COMMIT_BYTES_MAX];
    struct records_answer answer;
};

void router_link_init(struct router_link *link, int fd);

// Takes everything that has arrived, in transactions of at most ROUTER_BATCH_MAX commits, answers, and pushes
// the outbox. STATUS_CLOSED: the router is gone. STATUS_MALFORMED: it broke the protocol. STATUS_SYSTEM: end.
enum status router_link_take(struct router_link *link, struct store *store, int64_t wall_ms) MUST_USE;

// Pushes what is due or has got credit. The same errors.
enum status router_link_push(struct router_link *link, struct store *store, int64_t wall_ms) MUST_USE;

// Ends messages whose time to live has passed and that are not with the router: some now; *is_more: call again soon.
enum status router_link_expire(struct router_link *link, struct store *store, int64_t wall_ms, int *is_more) MUST_USE;

// Tells the router that an operator forgot the state of a key.
enum status router_link_forgotten(struct router_link *link, unsigned flow, const uint8_t *key, size_t key_bytes) MUST_USE;

// Tells the router of messages that an operator put into a flow.
enum status router_link_resubmitted(struct router_link *link, struct store *store, unsigned flow,
                                    struct spooled added) MUST_USE;

#endif
