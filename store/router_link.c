// SPDX-License-Identifier: ISC
// Group commit. A batch is one transaction: it begins with the first COMMIT that is there and ends when no
// more have arrived, or the batch is full. READs that arrive in between are answered after it: an
// answer never shows what is not yet committed. A batch that cannot be written is NOT_NOW for all.
#include "store/router_link.h"

#include "core/check.h"
#include "store/audit_rows.h"
#include "store/commit.h"
#include "store/kept.h"
#include "store/names.h"
#include "store/spool.h"

#include <string.h>

#define STATES_BYTES (COMMIT_BYTES_MAX / 2) // of a packet of states

void router_link_init(struct router_link *link, int fd)
{
    memset(&link->push, 0, sizeof link->push);
    link->is_ready = 0;
    link->batch_count = 0;
    link->deferred_bytes = 0;
    link->next_due_ms = INT64_MAX;
    channel_init(&link->channel, fd, NULL, 0);
    channel_gather(&link->channel, link->gathered, link->inbox, COMMIT_BYTES_MAX);
}

static enum status send_simple(struct router_link *link, void *record, size_t size)
{
    return channel_send(&link->channel, record, size);
}

// What was said leaves now: one packet for a batch.
static enum status say(struct router_link *link, enum status status)
{
    return status == STATUS_OK && link->channel.fd >= 0 ? channel_flush(&link->channel) : status;
}

// As many states in a packet as fit: there may be a million.
static enum status send_states(struct router_link *link, struct store *store)
{
    struct commit_packet packet = {.size = sizeof packet, .kind = COMMIT_STATE};
    sqlite3_stmt *row = store_statement(store, STATEMENT_STATE_ALL);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        size_t key_bytes, part_bytes;
        const uint8_t *key = column_bytes(row, 1, &key_bytes), *parts = column_bytes(row, 2, &part_bytes);
        int flow = names_flow(store, sqlite3_column_int64(row, 0));
        size_t parts_at = sizeof(struct commit_state) + ABI_ALIGN8(key_bytes);
        size_t size = parts_at + ABI_ALIGN8(part_bytes);
        if (flow < 0)
            continue; // of a flow that this version does not have
        if (packet.size + size > STATES_BYTES && (status = send_simple(link, link->packet, packet.size)) != STATUS_OK)
            break;
        if (packet.size + size > STATES_BYTES)
            packet.size = sizeof packet;
        struct commit_state state = {.flow = (uint16_t)flow, .key_bytes = (uint16_t)key_bytes,
                                     .part_bytes = (uint32_t)part_bytes};
        uint8_t *to = link->packet + packet.size;
        memset(to, 0, size);
        memcpy(to, &state, sizeof state);
        memcpy(to + sizeof state, key, key_bytes);
        memcpy(to + parts_at, parts, part_bytes);
        packet.size += (uint32_t)size;
        memcpy(link->packet, &packet, sizeof packet);
    }
    sqlite3_reset(row);
    if (status == STATUS_ABSENT)
        status = packet.size != sizeof packet ? send_simple(link, link->packet, packet.size) : STATUS_OK;
    return status;
}

static enum status send_counter(struct router_link *link, uint32_t index, uint64_t value)
{
    struct {
        struct commit_packet packet;
        struct commit_counter counter;
    } record = {{.size = sizeof record, .kind = COMMIT_COUNTER}, {.index = index, .value = value}};
    return send_simple(link, &record, sizeof record);
}

static enum status send_spool(struct router_link *link, unsigned flow, struct spooled waiting)
{
    struct commit_spool record = {{.size = sizeof record, .kind = COMMIT_SPOOL, .handle = flow},
                                  waiting.count, waiting.bytes, waiting.receipts};
    return send_simple(link, &record, sizeof record);
}

// What ended in transactions that are done, behind the DONEs of what was done in them.
static enum status send_left(struct router_link *link, struct store *store)
{
    enum status status = STATUS_OK;
    for (unsigned i = 0; store->state.has_left && i < store->system->flow_count; i++) {
        struct spooled left = store->state.left[i];
        if (left.count == 0)
            continue;
        struct commit_left record = {{.size = sizeof record, .kind = COMMIT_LEFT, .handle = i},
                                     left.count, left.bytes, left.receipts, store->state.left_receipt_bytes[i],
                                     store->state.left_reason[i], 0};
        store->state.left[i] = (struct spooled){0, 0, 0};
        store->state.left_receipt_bytes[i] = 0;
        if (status == STATUS_OK && link->channel.fd >= 0 && link->is_ready)
            status = send_simple(link, &record, sizeof record);
    }
    store->state.has_left = 0;
    return status;
}

static enum status send_counters(struct router_link *link, struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_COUNTER_ALL);
    enum status status;
    while ((status = store_step(store, row)) == STATUS_OK) {
        int is_refusal = sqlite3_column_int(row, 0) != 0;
        int64_t id = sqlite3_column_int64(row, 1);
        int owner = is_refusal ? names_place(store, id) : names_flow(store, id);
        uint32_t code = (uint32_t)sqlite3_column_int(row, 2);
        if (owner < 0)
            continue;
        status = send_counter(link,
                              is_refusal ? COUNTER_REFUSAL(owner, code) : COUNTER_FLOW(owner, code),
                              (uint64_t)sqlite3_column_int64(row, 3));
        if (status != STATUS_OK)
            break;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

static enum status send_spools(struct router_link *link, struct store *store)
{
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < store->system->flow_count && status == STATUS_OK; i++)
        if (store->system->flows[i].is_durable) {
            struct spooled waiting = store->state.spool[i];
            waiting.receipts = spool_promised(store, i);
            status = send_spool(link, i, waiting);
        }
    return status;
}

static enum status take_hello(struct router_link *link, struct store *store, size_t size)
{
    struct commit_hello hello;
    if (size != sizeof hello)
        return STATUS_MALFORMED;
    memcpy(&hello, link->packet, sizeof hello);
    if (hello.version != COMMIT_VERSION)
        return STATUS_VERSION;
    if (hello.epoch << 40 > store->state.numbered)
        store->state.numbered = hello.epoch << 40;
    memset(&link->push, 0, sizeof link->push);
    store->push = &link->push;
    store->receivers_changed = UINT64_MAX;
    enum status status = send_states(link, store);
    if (status == STATUS_OK)
        status = send_counters(link, store);
    if (status == STATUS_OK)
        status = send_spools(link, store);
    struct commit_packet ready = {.size = sizeof ready, .kind = COMMIT_READY, .handle = store->identity};
    if (status == STATUS_OK)
        status = send_simple(link, &ready, sizeof ready);
    link->is_ready = status == STATUS_OK;
    return status;
}

static enum status answer_read(struct router_link *link, struct store *store, const uint8_t *bytes,
                               size_t size)
{
    struct commit_answer head;
    struct records_answer *answer = &link->answer;
    memcpy(&head.packet, bytes, sizeof head.packet);
    enum status status =
        records_answer(store, bytes + sizeof head.packet, size - sizeof head.packet, answer);
    if (status == STATUS_FULL) // only memory can be short here
        status = STATUS_SYSTEM;
    if (status != STATUS_OK)
        return status;
    head.packet.kind = COMMIT_ANSWER;
    head.packet.size = (uint32_t)(sizeof head + answer->answer_bytes + answer->seen_bytes);
    head.answer_bytes = (uint32_t)answer->answer_bytes;
    head.read_count = (uint32_t)answer->seen_count;
    return channel_send_parts(&link->channel,
                              (const struct channel_part[]){{&head, sizeof head},
                                                            {answer->answer, answer->answer_bytes},
                                                            {answer->seen, answer->seen_bytes}},
                              3);
}

static enum status answer_deferred(struct router_link *link, struct store *store)
{
    enum status status = STATUS_OK;
    for (size_t at = 0; at < link->deferred_bytes && status == STATUS_OK;) {
        struct commit_packet packet;
        memcpy(&packet, link->deferred + at, sizeof packet);
        status = answer_read(link, store, link->deferred + at, packet.size);
        at += ABI_ALIGN8((size_t)packet.size);
    }
    link->deferred_bytes = 0;
    return status;
}

// A row that no longer is with the router. (One that never was is the router's lie.)
static void taken_give(struct spooled *taken, uint64_t bytes)
{
    taken->count -= taken->count != 0;
    taken->bytes -= taken->bytes < bytes ? taken->bytes : bytes;
}

// Ends the batch, however it stands, and answers it.
static enum status end_batch(struct router_link *link, struct store *store, enum status status)
{
    if (store->is_in_transaction && status == STATUS_OK)
        status = store_commit(store);
    else if (store->is_in_transaction)
        store_rollback(store);
    size_t count = link->batch_count;
    link->batch_count = 0;
    if (status != STATUS_OK && status != STATUS_FULL)
        return status;
    int is_full = status == STATUS_FULL;
    status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct commit_done *done = &link->batch[i];
        if (is_full) {
            done->result = COMMIT_NOT_NOW;
            done->first_id = 0;
        }
        store->page->commits += done->result == COMMIT_OK;
        store->page->not_now += done->result == COMMIT_NOT_NOW;
        if (link->consumed[i] != NULL && (done->result == COMMIT_OK || done->result == COMMIT_DUPLICATE))
            link->consumed[i]->credit++;
        struct outbox_row row = link->consumed_rows[i];
        if (done->result == COMMIT_OK && row.flow >= 0 && store->system->flows[row.flow].is_newest_kept)
            taken_give(&link->push.taken[row.flow], row.bytes);
        status = send_simple(link, done, sizeof *done);
    }
    if (status == STATUS_OK)
        status = send_left(link, store);
    return say(link, status == STATUS_OK ? answer_deferred(link, store) : status);
}

static enum status take_commit(struct router_link *link, struct store *store, size_t size)
{
    struct commit_done_facts facts = {COMMIT_NOT_NOW, 0, {-1, 0, 0}};
    struct commit_packet packet;
    memcpy(&packet, link->packet, sizeof packet);
    enum status status = STATUS_OK;
    if (!kept_has_room(store) && link->batch_count != 0 && (status = end_batch(link, store, STATUS_OK)) != STATUS_OK)
        return status;
    if (!audit_rows_are_stuck(store) && kept_has_room(store)) {
        if (!store->is_in_transaction)
            status = store_begin(store);
        if (status == STATUS_OK)
            status = commit_apply(store, link->packet, size, link->now_ms, &facts);
    }
    if (status == STATUS_MALFORMED)
        return status; // found before it wrote anything: the others of the batch stand
    struct commit_header header;
    memcpy(&header, link->packet, sizeof header);
    int is_consumed = header.consume != 0 && !header.is_kept && header.unikernel < system_places(store->system) &&
                      header.flow < store->system->flow_count;
    link->consumed[link->batch_count] = is_consumed ? &link->push.queues[header.unikernel][header.flow] : NULL;
    link->consumed_rows[link->batch_count] = facts.consumed;
    link->batch[link->batch_count++] =
        (struct commit_done){.packet = {.size = sizeof(struct commit_done),
                                        .kind = COMMIT_DONE,
                                        .handle = packet.handle},
                             .result = facts.result,
                             .first_id = facts.first_id};
    if (status == STATUS_OK && link->batch_count < ROUTER_BATCH_MAX)
        return STATUS_OK;
    return end_batch(link, store, status);
}

static enum status take_read(struct router_link *link, struct store *store, size_t size)
{
    size_t padded = ABI_ALIGN8(size);
    if (link->batch_count != 0 && padded > sizeof link->deferred - link->deferred_bytes) {
        enum status status = end_batch(link, store, STATUS_OK);
        if (status != STATUS_OK)
            return status;
    }
    if (link->batch_count == 0)
        return answer_read(link, store, link->packet, size);
    memcpy(link->deferred + link->deferred_bytes, link->packet, size);
    link->deferred_bytes += padded;
    return STATUS_OK;
}

static enum status take_credit(struct router_link *link, struct store *store, size_t size)
{
    struct commit_credit credit;
    if (size != sizeof credit)
        return STATUS_MALFORMED;
    memcpy(&credit, link->packet, sizeof credit);
    if (credit.receiver >= system_places(store->system) || credit.flow >= store->system->flow_count)
        return STATUS_MALFORMED;
    struct outbox_queue *queue = &link->push.queues[credit.receiver][credit.flow];
    if (credit.count > UINT32_MAX - queue->credit)
        return STATUS_MALFORMED;
    queue->credit += credit.count;
    return STATUS_OK;
}

static enum status take_packet(struct router_link *link, struct store *store, size_t size)
{
    struct commit_packet packet;
    if (size < sizeof packet)
        return STATUS_MALFORMED;
    memcpy(&packet, link->packet, sizeof packet);
    if (packet.size != size)
        return STATUS_MALFORMED;
    if (packet.kind == COMMIT_HELLO)
        return take_hello(link, store, size);
    if (!link->is_ready)
        return STATUS_MALFORMED;
    switch (packet.kind) {
    case COMMIT_COMMIT:
        return take_commit(link, store, size);
    case COMMIT_READ:
        return take_read(link, store, size);
    case COMMIT_CREDIT:
        return take_credit(link, store, size);
    default:
        return STATUS_MALFORMED;
    }
}

enum status router_link_take(struct router_link *link, struct store *store, int64_t wall_ms)
{
    enum status status = STATUS_OK;
    if (wall_ms > link->now_ms)
        link->now_ms = wall_ms;
    // Bounded, so that operators and the audit process get their turn.
    for (unsigned taken = 0;
         (taken < 4 * ROUTER_BATCH_MAX || channel_has_more(&link->channel)) && status == STATUS_OK; taken++) {
        size_t size;
        status = channel_receive(&link->channel, link->packet, sizeof link->packet, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_TOO_LARGE)
            status = STATUS_MALFORMED;
        if (status == STATUS_OK)
            status = take_packet(link, store, size);
    }
    if (status == STATUS_AGAIN)
        status = STATUS_OK;
    // A router that broke the protocol or went away in mid-batch still has its good commits done.
    enum status ended = STATUS_OK;
    if (link->batch_count != 0 || store->is_in_transaction)
        ended = end_batch(link, store, STATUS_OK);
    if (status != STATUS_OK)
        return ended == STATUS_SYSTEM ? ended : status;
    return ended != STATUS_OK ? ended : router_link_push(link, store, wall_ms);
}

enum status router_link_push(struct router_link *link, struct store *store, int64_t wall_ms)
{
    if (wall_ms > link->now_ms)
        link->now_ms = wall_ms;
    if (link->channel.fd < 0 || !link->is_ready)
        return STATUS_OK;
    enum status status = store->is_on_trial ? STATUS_OK
                                            : outbox_push(&link->push, store, &link->channel, link->now_ms, &link->next_due_ms);
    return say(link, status == STATUS_FULL ? STATUS_SYSTEM : status);
}

enum status router_link_expire(struct router_link *link, struct store *store, int64_t wall_ms, int *is_more)
{
    if (wall_ms > link->now_ms)
        link->now_ms = wall_ms;
    *is_more = 0;
    if (!spool_is_late(store, wall_ms)) // unlike timers it goes by the clock as it is: one that was ahead may be right again
        return STATUS_OK;
    enum status status = store_begin(store);
    if (status == STATUS_OK) {
        status = spool_expire(store, wall_ms, is_more);
        if (status == STATUS_OK)
            status = store_commit(store);
        else
            store_rollback(store);
    }
    if (status == STATUS_FULL) // not now: there is a next time
        return STATUS_OK;
    return say(link, status == STATUS_OK ? send_left(link, store) : status);
}

enum status router_link_resubmitted(struct router_link *link, struct store *store, unsigned flow,
                                    struct spooled added)
{
    if (link->channel.fd < 0 || !link->is_ready)
        return STATUS_OK; // it asks at its start
    enum status status = send_counter(link, COUNTER_FLOW(flow, REASON_ENTERED), added.count);
    if (status == STATUS_OK)
        status = send_spool(link, flow, added);
    return say(link, status == STATUS_OK ? send_left(link, store) : status);
}

enum status router_link_forgotten(struct router_link *link, unsigned flow, const uint8_t *key, size_t key_bytes)
{
    static const uint8_t zero[8];
    struct {
        struct commit_packet packet;
        struct commit_state state;
    } record = {{.kind = COMMIT_STATE}, {.flow = (uint16_t)flow, .key_bytes = (uint16_t)key_bytes}};
    size_t padding = ABI_ALIGN8(key_bytes) - key_bytes;
    record.packet.size = (uint32_t)(sizeof record + key_bytes + padding);
    if (link->channel.fd < 0 || !link->is_ready)
        return STATUS_OK; // it asks at its start
    return say(link, channel_send_parts(&link->channel,
                                        (const struct channel_part[]){{&record, sizeof record}, {key, key_bytes}, {zero, padding}},
                                        3));
}
