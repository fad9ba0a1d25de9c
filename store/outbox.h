// SPDX-License-Identifier: ISC
// The outbox: durable messages, each waiting for one receiver until a commit consumes it.
#ifndef CRENEL_STORE_OUTBOX_H
#define CRENEL_STORE_OUTBOX_H

#include "host/channel.h"
#include "store/database.h"

// A row as it is written, with names by their ids.
struct outbox_entry {
    int64_t id, flow, receiver, due_ms, time_ms, principal;
    uint64_t connection, number;
    int has_receipt;
    uint32_t key_bytes, context_bytes, payload_bytes;
    const uint8_t *key, *context, *payload;
};
enum status outbox_insert(struct store *store, const struct outbox_entry *entry) MUST_USE;
// In the open transaction. send's indices are the system's; key, context and payload by the sizes in it.
// number: the message's, or 0: its id.
enum status outbox_add(struct store *store, const struct commit_send *send, uint64_t number, int64_t time_ms,
                       int64_t now_ms, const uint8_t *key, const uint8_t *context,
                       const uint8_t *payload, int64_t *id) MUST_USE;
// Of a row that waits: its flow (-1: not in this system) and the bytes it takes. STATUS_ABSENT: it was consumed before
// (or never was).
struct outbox_row {
    int flow;
    uint64_t bytes;
    int has_receipt;
};
// For a message that the store puts into the flow: above all that were sent on it, and no other has it.
uint64_t outbox_number(struct store *store, unsigned flow);
enum status outbox_get(struct store *store, uint64_t id, struct outbox_row *row) MUST_USE;
enum status outbox_delete(struct store *store, uint64_t id, const struct outbox_row *row) MUST_USE;

// What was pushed to the router of this link. For each receiver and flow, so that no flow waits behind another's
// backlog: immediate messages go in order of id, timers in order of (due_ms, id). A timer is never stored as due before now_ms, and now_ms never goes
// back, so nothing can appear behind these marks.
struct outbox_push {
    struct outbox_queue {
        uint32_t credit;
        int64_t id;             // last immediate message sent
        int64_t due_ms, due_id; // last timer sent
    } queues[SYSTEM_PLACES_MAX][SYSTEM_FLOWS_MAX];
    // Of a flow that keeps the newest: with the router. So much of its cap stays free that the sends of one event find
    // room by what is not with the router.
    struct spooled taken[SYSTEM_FLOWS_MAX];
};

// Sends what is due and has credit. *next_due_ms: when the next timer is due, INT64_MAX: none that has credit.
enum status outbox_push(struct outbox_push *push, struct store *store, struct channel *router,
                        int64_t now_ms, int64_t *next_due_ms) MUST_USE;

#endif
