// SPDX-License-Identifier: ISC
// The lines of a reply: items of a listing, one at a time, and its last line.
#include "store/operator_listing.h"

#include "core/check.h"
#include "host/system_file.h"
#include "store/kept.h"
#include "store/names.h"

#include <string.h>

void reply_line_begin(struct operator_session *session, struct json_line *line)
{
    check(sizeof session->reply - session->reply_bytes >= OPERATOR_LINE_BYTES);
    json_begin(line, session->reply + session->reply_bytes, OPERATOR_LINE_BYTES - 1);
}

void reply_line_end(struct operator_session *session, struct json_line *line)
{
    size_t length = json_end(line);
    check(length != 0); // the bounds of what is stored are below OPERATOR_LINE_BYTES
    session->reply_bytes += length;
    session->reply[session->reply_bytes++] = '\n';
}

void reply_last_begin(struct operator_session *session, struct json_line *line)
{
    reply_line_begin(session, line);
    json_bool(line, "ok", 1);
}

void reply_last_end(struct operator_session *session, struct json_line *line)
{
    json_bool(line, "end", 1);
    reply_line_end(session, line);
    session->listing.kind = LISTING_NONE;
}

void reply_dead_letter(struct json_line *line, const struct store *store, sqlite3_stmt *row)
{
    size_t text_bytes;
    int place = names_place(store, sqlite3_column_int64(row, 3));
    int flow = names_flow(store, sqlite3_column_int64(row, 4));
    uint32_t principal = names_principal(store, sqlite3_column_int64(row, 7));
    json_integer(line, "id", sqlite3_column_int64(row, 0));
    json_integer(line, "time_ms", sqlite3_column_int64(row, 1));
    json_string(line, "reason", reason_text((uint32_t)sqlite3_column_int64(row, 2)));
    if (place >= 0)
        json_string(line, "unikernel", system_place_name(store->system, (size_t)place));
    if (flow >= 0)
        json_string(line, "flow", store->system->flows[flow].name);
    json_integer(line, "number", sqlite3_column_int64(row, 5));
    json_integer(line, "attempt", sqlite3_column_int64(row, 6));
    if (principal != 0)
        json_string(line, "principal", store->system->principals[principal - 1].name);
    const uint8_t *text = column_bytes(row, 8, &text_bytes);
    json_text(line, "text", text, text_bytes < 500 ? text_bytes : 500);
}

// Steps `row` to the listing's next item. STATUS_ABSENT: there is none; the last line was put.
static enum status step_item(struct operator_session *session, struct store *store, sqlite3_stmt *row)
{
    struct operator_listing *listing = &session->listing;
    enum status status = listing->left == 0 ? STATUS_ABSENT : store_step(store, row);
    if (status == STATUS_OK) {
        listing->left--;
        listing->count++;
        return STATUS_OK;
    }
    if (status != STATUS_ABSENT)
        return STATUS_SYSTEM;
    struct json_line line;
    reply_last_begin(session, &line);
    json_unsigned(&line, "count", listing->count);
    reply_last_end(session, &line);
    return STATUS_ABSENT;
}

static enum status next_record(struct operator_session *session, struct store *store)
{
    struct operator_listing *listing = &session->listing;
    sqlite3_stmt *row = store_statement(store, listing->is_index ? STATEMENT_RECORD_INDEX
                                                                 : STATEMENT_RECORD_RANGE);
    bind_integer(row, 1, store->namespace_ids[listing->namespace_index]);
    bind_bytes(row, 2, listing->from, listing->from_bytes);
    bind_bytes(row, 3, listing->to, listing->to_bytes);
    bind_integer(row, 4, listing->to_bytes != 0);
    bind_integer(row, 5, 2);
    if (listing->is_index)
        bind_integer(row, 6, (int64_t)listing->offset);
    enum status status = step_item(session, store, row);
    // A range goes on behind the last key: `from` is that key again, unless it was removed meanwhile.
    if (status == STATUS_OK && listing->is_begun && !listing->is_index) {
        size_t size;
        const uint8_t *key = column_bytes(row, 0, &size);
        if (size == listing->from_bytes && memcmp(key, listing->from, size) == 0) {
            listing->left++;
            listing->count--;
            status = step_item(session, store, row);
        }
    }
    if (status == STATUS_OK) {
        struct json_line line;
        size_t key_bytes, value_bytes;
        const uint8_t *key = column_bytes(row, 0, &key_bytes);
        const uint8_t *value = column_bytes(row, 2, &value_bytes);
        reply_line_begin(session, &line);
        json_hex(&line, "key", key, key_bytes);
        json_integer(&line, "version", sqlite3_column_int64(row, 1));
        json_hex(&line, "value", value, value_bytes);
        reply_line_end(session, &line);
        listing->is_begun = 1;
        listing->offset++;
        if (!listing->is_index) {
            memcpy(listing->from, key, key_bytes);
            listing->from_bytes = key_bytes;
        }
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

static enum status next_dead(struct operator_session *session, struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_DEAD_LIST);
    bind_integer(row, 1, session->listing.after);
    bind_integer(row, 2, 1);
    bind_integer(row, 3, session->listing.flow);
    enum status status = step_item(session, store, row);
    if (status == STATUS_OK) {
        struct json_line line;
        reply_line_begin(session, &line);
        reply_dead_letter(&line, store, row);
        json_integer(&line, "payload_bytes", sqlite3_column_int64(row, 9));
        reply_line_end(session, &line);
        session->listing.after = sqlite3_column_int64(row, 0);
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

// Steps `row` over the items that were given, to the next one.
static enum status step_behind(struct operator_session *session, struct store *store, sqlite3_stmt *row)
{
    enum status status = STATUS_OK;
    for (uint64_t i = 0; i < session->listing.offset && status == STATUS_OK; i++)
        status = store_step(store, row);
    return status == STATUS_OK || status == STATUS_ABSENT ? step_item(session, store, row) : status;
}

static enum status next_held(struct operator_session *session, struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_HELD);
    enum status status = step_behind(session, store, row);
    if (status == STATUS_OK) {
        struct json_line line;
        size_t digest_bytes;
        const uint8_t *digest = column_bytes(row, 3, &digest_bytes);
        int is_flow = sqlite3_column_type(row, 1) != SQLITE_NULL;
        reply_line_begin(session, &line);
        json_string(&line, is_flow ? "flow" : "namespace", (const char *)sqlite3_column_text(row, 0));
        if (is_flow)
            json_string(&line, "receiver", (const char *)sqlite3_column_text(row, 1));
        json_integer(&line, is_flow ? "messages" : "records", sqlite3_column_int64(row, 2));
        if (is_flow) {
            json_integer(&line, "receipts", sqlite3_column_int64(row, 4));
            json_integer(&line, "form", sqlite3_column_int64(row, 5));
        }
        json_hex(&line, "digest", digest, digest_bytes);
        reply_line_end(session, &line);
        session->listing.offset++;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

// Before the rows: messages that the router keeps.
static enum status next_kept(struct operator_session *session, struct store *store)
{
    const struct system_view *system = store->system;
    unsigned i = session->listing.flow_at;
    while (i < system->flow_count && kept_count(store, i) == 0)
        i++;
    session->listing.flow_at = i + 1;
    if (i >= system->flow_count)
        return next_held(session, store);
    const struct system_flow *flow = &system->flows[i];
    struct json_line line;
    reply_line_begin(session, &line);
    json_string(&line, "flow", flow->name);
    json_string(&line, "receiver", system_place_name(system, flow->receivers[0].index));
    json_unsigned(&line, "messages", kept_count(store, i));
    json_integer(&line, "receipts", 0);
    json_unsigned(&line, "form", system_flow_form(system, i));
    json_hex(&line, "digest", system->schemas[flow->schema].header->digest, 32);
    reply_line_end(session, &line);
    session->listing.count++;
    return STATUS_OK;
}

static enum status next_state(struct operator_session *session, struct store *store)
{
    struct operator_listing *listing = &session->listing;
    sqlite3_stmt *row = store_statement(store, STATEMENT_STATE_NEXT);
    bind_integer(row, 1, listing->flow);
    bind_bytes(row, 2, listing->key, listing->key_bytes);
    bind_integer(row, 3, listing->is_begun);
    enum status status = step_item(session, store, row);
    if (status == STATUS_OK) {
        struct json_line line;
        size_t key_bytes, part_bytes;
        const uint8_t *key = column_bytes(row, 0, &key_bytes), *parts = column_bytes(row, 1, &part_bytes);
        listing->is_begun = 1;
        listing->key_bytes = key_bytes < sizeof listing->key ? key_bytes : sizeof listing->key;
        memcpy(listing->key, key, listing->key_bytes);
        reply_line_begin(session, &line);
        json_hex(&line, "key", key, key_bytes);
        json_hex(&line, "parts", parts, part_bytes);
        reply_line_end(session, &line);
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

static enum status next_counter(struct operator_session *session, struct store *store)
{
    sqlite3_stmt *row = store_statement(store, STATEMENT_COUNTER_ALL);
    enum status status = step_behind(session, store, row);
    if (status == STATUS_OK) {
        struct json_line line;
        int is_refusal = sqlite3_column_int(row, 0) != 0;
        uint32_t code = (uint32_t)sqlite3_column_int(row, 2);
        int64_t id = sqlite3_column_int64(row, 1);
        int owner = is_refusal ? names_place(store, id) : names_flow(store, id);
        reply_line_begin(session, &line);
        if (owner >= 0 && is_refusal) {
            json_string(&line, "unikernel", store->system->unikernels[owner].name);
            json_string(&line, "refusal", store->system->unikernels[owner].refusals[code % 16]);
        } else if (owner >= 0) {
            json_string(&line, "flow", store->system->flows[owner].name);
            json_string(&line, "reason", reason_text(code));
        }
        json_integer(&line, "value", sqlite3_column_int64(row, 3));
        reply_line_end(session, &line);
        session->listing.offset++;
    }
    sqlite3_reset(row);
    return status == STATUS_ABSENT ? STATUS_OK : status;
}

enum status reply_next(struct operator_session *session, struct store *store)
{
    switch (session->listing.kind) {
    case LISTING_RECORDS:
        return next_record(session, store);
    case LISTING_DEAD:
        return next_dead(session, store);
    case LISTING_COUNTERS:
        return next_counter(session, store);
    case LISTING_HELD:
        return next_kept(session, store);
    case LISTING_STATES:
        return next_state(session, store);
    case LISTING_NONE:
        break;
    }
    check(0);
    return STATUS_SYSTEM;
}
