// SPDX-License-Identifier: ISC
// The audit outbox. A sequence is never used twice (AUTOINCREMENT), and a row is deleted only after its ACK,
// so each record reaches the log exactly once whichever side is started again.
#include "store/audit_rows.h"

#include "core/check.h"
#include "core/json_line.h"

#include <string.h>

enum status audit_rows_load(struct store *store)
{
    sqlite3_stmt *statement = store_statement(store, STATEMENT_AUDIT_BOUNDS);
    enum status status = store_step(store, statement);
    if (status != STATUS_OK)
        return status;
    uint64_t first = (uint64_t)sqlite3_column_int64(statement, 0);
    store->state.audit_last = (uint64_t)sqlite3_column_int64(statement, 1);
    sqlite3_reset(statement);
    store->audit_acknowledged = first != 0 ? first - 1 : store->state.audit_last;
    store->audit_deleted = store->audit_acknowledged;
    store->page->audit_waiting = store->state.audit_last - store->audit_acknowledged;
    store->page->dead_letters = store->state.dead_letters;
    return STATUS_OK;
}

enum status audit_rows_add(struct store *store, const char *text, size_t length)
{
    check(store->is_in_transaction && length > 0 && length <= AUDIT_RECORD_BYTES_MAX);
    sqlite3_stmt *statement = store_statement(store, STATEMENT_AUDIT_ADD);
    bind_bytes(statement, 1, text, length);
    enum status status = store_run(store, statement);
    if (status == STATUS_OK)
        store->state.audit_last = (uint64_t)sqlite3_last_insert_rowid(store->db);
    return status;
}

// A queued record: uint16_t length, text.
void audit_rows_queue(struct store *store, const char *text, size_t length)
{
    if (length == 0 || length > AUDIT_RECORD_BYTES_MAX ||
        length + sizeof(uint16_t) > sizeof store->pending - store->pending_bytes) {
        store->pending_dropped++;
        return;
    }
    uint16_t size = (uint16_t)length;
    memcpy(store->pending + store->pending_bytes, &size, sizeof size);
    memcpy(store->pending + store->pending_bytes + sizeof size, text, length);
    store->pending_bytes += sizeof size + length;
}

int audit_rows_has_work(const struct store *store)
{
    return store->pending_bytes != 0 || store->pending_dropped != 0 ||
           store->audit_deleted < store->audit_acknowledged;
}

enum status audit_rows_settle(struct store *store)
{
    enum status status = STATUS_OK;
    for (size_t at = 0; at < store->pending_bytes && status == STATUS_OK;) {
        uint16_t size;
        memcpy(&size, store->pending + at, sizeof size);
        status = audit_rows_add(store, (const char *)store->pending + at + sizeof size, size);
        at += sizeof size + size;
    }
    if (status == STATUS_OK && store->pending_dropped != 0) {
        char text[96];
        struct json_line line;
        json_begin(&line, text, sizeof text);
        json_string(&line, "kind", "gap");
        json_unsigned(&line, "dropped", store->pending_dropped);
        status = audit_rows_add(store, text, json_end(&line));
    }
    if (status == STATUS_OK && store->audit_deleted < store->audit_acknowledged) {
        sqlite3_stmt *statement = store_statement(store, STATEMENT_AUDIT_DELETE);
        bind_integer(statement, 1, (int64_t)store->audit_acknowledged);
        status = store_run(store, statement);
    }
    return status;
}

void audit_rows_settled(struct store *store)
{
    store->pending_bytes = 0;
    store->pending_dropped = 0;
    store->audit_deleted = store->audit_acknowledged;
}

int audit_rows_are_stuck(const struct store *store)
{
    return store->system->header->stop_on_audit_failure &&
           store->state.audit_last - store->audit_acknowledged > AUDIT_ROWS_MAX;
}

// What was gathered, up to that sequence.
static enum status packet_send(struct audit_feed *feed, size_t *bytes, uint64_t last)
{
    enum status status = channel_send(&feed->channel, feed->packet, *bytes);
    if (status == STATUS_OK)
        feed->sent = last;
    *bytes = 0;
    return status;
}

enum status audit_feed_push(struct audit_feed *feed, struct store *store)
{
    check(!store->is_in_transaction); // only committed rows leave
    if (feed->channel.fd < 0 || !feed->is_greeted)
        return STATUS_OK;
    if (feed->sent < store->audit_acknowledged)
        feed->sent = store->audit_acknowledged;
    uint64_t room = AUDIT_WINDOW - (feed->sent - store->audit_acknowledged);
    if (room == 0 || feed->sent == store->state.audit_last)
        return STATUS_OK;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_AUDIT_NEXT);
    bind_integer(statement, 1, (int64_t)feed->sent);
    bind_integer(statement, 2, (int64_t)room);
    size_t bytes = 0;
    uint64_t last = feed->sent;
    enum status status, sent = STATUS_OK;
    while ((status = store_step(store, statement)) == STATUS_OK && sent == STATUS_OK) {
        size_t size;
        const uint8_t *text = column_bytes(statement, 1, &size);
        struct audit_packet head = {.size = (uint32_t)(sizeof head + size),
                                    .kind = AUDIT_RECORD,
                                    .source = AUDIT_SOURCE_STORE,
                                    .sequence = (uint64_t)sqlite3_column_int64(statement, 0)};
        if (ABI_ALIGN8((size_t)head.size) > sizeof feed->packet - bytes)
            sent = packet_send(feed, &bytes, last);
        if (sent != STATUS_OK)
            break;
        memcpy(feed->packet + bytes, &head, sizeof head);
        memcpy(feed->packet + bytes + sizeof head, text, size);
        memset(feed->packet + bytes + head.size, 0, ABI_ALIGN8((size_t)head.size) - head.size);
        bytes += ABI_ALIGN8((size_t)head.size);
        last = head.sequence;
    }
    sqlite3_reset(statement);
    if (sent == STATUS_OK && status == STATUS_ABSENT && bytes != 0)
        sent = packet_send(feed, &bytes, last);
    status = sent != STATUS_OK ? sent : status;
    return status == STATUS_ABSENT || status == STATUS_FULL ? STATUS_OK : status;
}

enum status audit_feed_take(struct audit_feed *feed, struct store *store)
{
    for (;;) {
        struct audit_packet packet;
        size_t size;
        enum status status = channel_receive(&feed->channel, &packet, sizeof packet, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status != STATUS_OK)
            return status;
        if (size != sizeof packet || packet.size != size || packet.kind != AUDIT_ACK ||
            packet.source != AUDIT_SOURCE_STORE)
            return STATUS_MALFORMED;
        // A log that has more than we ever wrote is not the log of this store.
        if (packet.sequence > store->state.audit_last)
            return STATUS_CONFLICT;
        if (packet.sequence > store->audit_acknowledged)
            store->audit_acknowledged = packet.sequence;
        feed->is_greeted = 1;
    }
    store->page->audit_waiting = store->state.audit_last - store->audit_acknowledged;
    return STATUS_OK;
}

