// SPDX-License-Identifier: ISC
// The operator's requests as a table, and what each answers.
#include "store/operator_reply.h"

#include "core/check.h"
#include "proto/control.h"
#include "store/audit_rows.h"
#include "store/commit.h"
#include "store/dead_letters.h"
#include "store/names.h"
#include "store/operator_listing.h"
#include "store/records.h"

#include <stdio.h>
#include <string.h>

struct request {
    struct operator_session *session;
    struct store *store;
    struct router_link *router;
    const cJSON *json;
    int64_t wall_ms;
};

static enum status refuse(struct operator_session *session, const char *error, const char *mend)
{
    struct json_line line;
    reply_line_begin(session, &line);
    json_bool(&line, "ok", 0);
    json_string(&line, "error", error);
    json_string(&line, "mend", mend);
    reply_last_end(session, &line);
    return STATUS_OK;
}

static const char *member_text(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static int64_t member_integer(const cJSON *json, const char *name, int64_t fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 9e15
               ? (int64_t)item->valuedouble
               : fallback;
}

// A hex member into a key. 0 when it is no hex or too long.
static int member_key(const cJSON *json, const char *name, uint8_t key[ABI_KEY_BYTES_MAX],
                      size_t *key_bytes)
{
    const char *text = member_text(json, name);
    size_t length = strlen(text);
    if (length % 2 != 0 || length / 2 > ABI_KEY_BYTES_MAX)
        return 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return 0;
        unsigned value = c >= 'a' ? (unsigned)(c - 'a') + 10u : (unsigned)(c - '0');
        key[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : key[i / 2] | value);
    }
    *key_bytes = length / 2;
    return 1;
}

static size_t audit_text(char text[512], const char *op, const char *action, const char *what,
                         int64_t id)
{
    struct json_line line;
    json_begin(&line, text, 512);
    json_string(&line, "kind", "operator");
    json_string(&line, "op", op);
    if (action[0] != '\0')
        json_string(&line, "action", action);
    if (what[0] != '\0')
        json_string(&line, "namespace", what);
    if (id != 0)
        json_integer(&line, "id", id);
    return json_end(&line);
}

// Requests that only read are answered even when their audit row must wait for room on the disk.
static enum status audit_read(struct store *store, const char *op, const char *action,
                              const char *what, int64_t id)
{
    char text[512];
    audit_rows_queue(store, text, audit_text(text, op, action, what, id));
    enum status status = store_begin(store);
    if (status == STATUS_OK)
        status = store_commit(store);
    return status == STATUS_FULL ? STATUS_OK : status;
}

static int find_namespace(const struct store *store, const char *name)
{
    for (size_t i = 0; i < store->system->namespace_count; i++)
        if (strcmp(store->system->namespaces[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void put_fields(struct json_line *line, const char *key, const uint16_t *fields, size_t count)
{
    char text[8 * SYSTEM_KEY_FIELDS_MAX + 3] = "[";
    size_t length = 1;
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%u", i > 0 ? "," : "",
                                   (unsigned)fields[i]);
    text[length++] = ']';
    json_raw(line, key, text, length);
}

static enum status do_describe(struct request *request)
{
    struct store *store = request->store;
    const char *name = member_text(request->json, "namespace");
    int i = find_namespace(store, name);
    if (i < 0)
        return refuse(request->session, "no such namespace", "`namespaces` in its system.yaml names them");
    const struct system_namespace *space = &store->system->namespaces[i];
    const struct schema_header *schema = store->system->schemas[space->schema].header;
    struct json_line line;
    reply_last_begin(request->session, &line);
    json_string(&line, "namespace", space->name);
    json_hex(&line, "schema", (const uint8_t *)schema, schema->block_bytes);
    put_fields(&line, "key", space->key_fields, space->key_count);
    put_fields(&line, "index", space->index_fields, space->index_count);
    json_unsigned(&line, "records", store->state.records[i]);
    json_unsigned(&line, "version", store->state.versions[i]);
    reply_last_end(request->session, &line);
    return STATUS_OK;
}

static enum status do_query(struct request *request)
{
    const char *name = member_text(request->json, "namespace");
    int i = find_namespace(request->store, name);
    if (i < 0)
        return refuse(request->session, "no such namespace", "`namespaces` in its system.yaml names them");
    struct operator_listing listing = {
        .kind = LISTING_RECORDS,
        .namespace_index = (unsigned)i,
        .left = (uint64_t)member_integer(request->json, "limit", INT64_MAX),
        .is_index = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request->json, "index"))};
    if (!member_key(request->json, "from", listing.from, &listing.from_bytes) ||
        !member_key(request->json, "to", listing.to, &listing.to_bytes))
        return refuse(request->session, "from and to are keys in hex", "crenel query makes them");
    enum status status = audit_read(request->store, "query", "", name, 0);
    if (status == STATUS_OK)
        request->session->listing = listing;
    return status;
}

static enum status dead_list(struct request *request, int64_t id)
{
    (void)id;
    enum status status = audit_read(request->store, "deadletter", "list", "", 0);
    if (status == STATUS_OK)
        request->session->listing = (struct operator_listing){
            .kind = LISTING_DEAD,
            .left = (uint64_t)member_integer(request->json, "limit", INT64_MAX),
            .after = member_integer(request->json, "after", 0)};
    return status;
}

static enum status no_dead_letter(struct request *request)
{
    return refuse(request->session, "no such dead letter", "crenel deadletter list");
}

static enum status dead_show(struct request *request, int64_t id)
{
    struct store *store = request->store;
    enum status status = audit_read(store, "deadletter", "show", "", id);
    if (status != STATUS_OK)
        return status;
    sqlite3_stmt *row = store_statement(store, STATEMENT_DEAD_GET);
    bind_integer(row, 1, id);
    status = store_step(store, row);
    if (status == STATUS_ABSENT)
        return no_dead_letter(request);
    if (status != STATUS_OK)
        return status;
    struct json_line line;
    size_t payload_bytes;
    int flow = names_flow(store, sqlite3_column_int64(row, 4));
    reply_last_begin(request->session, &line);
    reply_dead_letter(&line, store, row);
    const uint8_t *payload = column_bytes(row, 9, &payload_bytes);
    if (flow >= 0) {
        const struct schema_header *schema =
            store->system->schemas[store->system->flows[flow].schema].header;
        json_hex(&line, "schema", (const uint8_t *)schema, schema->block_bytes);
    }
    json_hex(&line, "payload", payload, payload_bytes);
    reply_last_end(request->session, &line);
    sqlite3_reset(row);
    return STATUS_OK;
}

// Ends a change: committed with its audit row, or not at all.
static enum status change_end(struct request *request, const char *action, int64_t id,
                              enum status status, const char *why)
{
    struct store *store = request->store;
    char text[512];
    if (status == STATUS_OK)
        status = audit_rows_add(store, text, audit_text(text, "deadletter", action, "", id));
    if (status == STATUS_OK)
        status = store_commit(store);
    else
        store_rollback(store);
    if (status == STATUS_ABSENT)
        return no_dead_letter(request);
    if (status == STATUS_DENIED)
        return refuse(request->session, why, "crenel deadletter show tells more");
    if (status == STATUS_FULL)
        return refuse(request->session, "the disk is full or busy: nothing was changed",
                      "make room and try again");
    if (status != STATUS_OK)
        return status;
    struct json_line line;
    reply_last_begin(request->session, &line);
    json_integer(&line, "id", id);
    reply_last_end(request->session, &line);
    return STATUS_OK;
}

static enum status begin_change(struct request *request)
{
    enum status status = store_begin(request->store);
    if (status == STATUS_FULL)
        (void)refuse(request->session, "the store is busy: nothing was changed", "try again");
    return status;
}

static enum status dead_drop(struct request *request, int64_t id)
{
    enum status status = begin_change(request);
    if (status != STATUS_OK)
        return status == STATUS_FULL ? STATUS_OK : status;
    return change_end(request, "drop", id, dead_letter_drop(request->store, id), "");
}

static enum status dead_resubmit(struct request *request, int64_t id)
{
    unsigned flow = 0;
    struct spooled added = {0, 0};
    const char *why = "";
    enum status status = begin_change(request);
    if (status != STATUS_OK)
        return status == STATUS_FULL ? STATUS_OK : status;
    status = dead_letter_resubmit(request->store, id, request->wall_ms, &flow, &added, &why);
    if (status == STATUS_OK)
        status = counter_add(request->store, COUNTER_FLOW(flow, REASON_ENTERED), added.count);
    uint64_t before = request->store->page->transactions;
    status = change_end(request, "resubmit", id, status, why);
    if (status != STATUS_OK || request->store->page->transactions == before)
        return status; // refused, and said so
    status = router_link_resubmitted(request->router, request->store, flow, added);
    if (status == STATUS_OK)
        status = router_link_push(request->router, request->store, request->wall_ms);
    return status == STATUS_SYSTEM ? status : STATUS_OK; // a router that is gone is seen on its link
}

static enum status do_deadletter(struct request *request)
{
    static const struct {
        const char *action;
        uint64_t right;
        enum status (*run)(struct request *, int64_t id);
    } actions[] = {{"list", CONTROL_RIGHT_READ, dead_list},
                   {"show", CONTROL_RIGHT_READ, dead_show},
                   {"resubmit", CONTROL_RIGHT_CHANGE, dead_resubmit},
                   {"drop", CONTROL_RIGHT_CHANGE, dead_drop}};
    const char *action = member_text(request->json, "action");
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(action, actions[i].action) != 0)
            continue;
        if ((request->session->rights & actions[i].right) == 0)
            return refuse(request->session, "not allowed", "ask with the right to change");
        return actions[i].run(request, member_integer(request->json, "id", 0));
    }
    return refuse(request->session, "no such action", "list, show, resubmit or drop");
}

static enum status do_counters(struct request *request)
{
    enum status status = audit_read(request->store, "counters", "", "", 0);
    if (status == STATUS_OK)
        request->session->listing =
            (struct operator_listing){.kind = LISTING_COUNTERS, .left = INT64_MAX};
    return status;
}

enum status reply_begin(struct operator_session *session, struct store *store,
                        struct router_link *router, const cJSON *json, int64_t wall_ms)
{
    static const struct {
        const char *op;
        enum status (*run)(struct request *);
    } ops[] = {{"describe", do_describe},
               {"query", do_query},
               {"deadletter", do_deadletter},
               {"counters", do_counters}};
    struct request request = {session, store, router, json, wall_ms};
    const char *op = member_text(json, "op");
    if ((session->rights & CONTROL_RIGHT_READ) == 0)
        return refuse(session, "not allowed", "ask with the right to read");
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strcmp(op, ops[i].op) == 0)
            return ops[i].run(&request);
    return refuse(session, "no such request", "describe, query, deadletter or counters");
}
