// SPDX-License-Identifier: ISC
// The operator's requests as a table, and what each answers; those about dead letters: operator_dead_letters.c, about
// states of keys: operator_states.c.
#include "store/operator_reply.h"

#include "core/check.h"
#include "proto/control.h"
#include "store/audit_rows.h"
#include "store/names.h"
#include "store/operator_listing.h"
#include "store/records.h"

#include <stdio.h>
#include <string.h>

enum status reply_refuse(struct operator_session *session, const char *error, const char *mend)
{
    struct json_line line;
    reply_line_begin(session, &line);
    json_bool(&line, "ok", 0);
    json_string(&line, "error", error);
    json_string(&line, "mend", mend);
    reply_last_end(session, &line);
    return STATUS_OK;
}

const char *request_text(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

int64_t request_integer(const cJSON *json, const char *name, int64_t fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 9e15
               ? (int64_t)item->valuedouble
               : fallback;
}

int request_flow(const struct store *store, const char *name)
{
    for (size_t i = 0; i < store->system->flow_count; i++)
        if (strcmp(store->system->flows[i].name, name) == 0)
            return (int)i;
    return -1;
}

int request_key(const cJSON *json, const char *name, uint8_t *key, size_t capacity, size_t *key_bytes)
{
    const char *text = request_text(json, name);
    size_t length = strlen(text);
    if (length % 2 != 0 || length / 2 > capacity)
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

size_t request_audit_text(char text[512], const char *op, const char *action, const char *what, int64_t id, uint64_t count)
{
    struct json_line line;
    json_begin(&line, text, 512);
    json_string(&line, "kind", "operator");
    json_string(&line, "op", op);
    if (action[0] != '\0')
        json_string(&line, "action", action);
    if (what[0] != '\0')
        json_string(&line, op[0] == 'q' ? "namespace" : "flow", what);
    if (id != 0)
        json_integer(&line, "id", id);
    if (count != 0)
        json_unsigned(&line, "count", count);
    return json_end(&line);
}

// Requests that only read are answered even when their audit row must wait for room on the disk.
enum status request_audit(struct store *store, const char *op, const char *action,
                              const char *what, int64_t id)
{
    char text[512];
    audit_rows_queue(store, text, request_audit_text(text, op, action, what, id, 0));
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
    const char *name = request_text(request->json, "namespace");
    int i = find_namespace(store, name);
    if (i < 0)
        return reply_refuse(request->session, "no such namespace", "`namespaces` in its system.yaml names them");
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
    const char *name = request_text(request->json, "namespace");
    int i = find_namespace(request->store, name);
    if (i < 0)
        return reply_refuse(request->session, "no such namespace", "`namespaces` in its system.yaml names them");
    struct operator_listing listing = {
        .kind = LISTING_RECORDS,
        .namespace_index = (unsigned)i,
        .left = (uint64_t)request_integer(request->json, "limit", INT64_MAX),
        .is_index = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(request->json, "index"))};
    if (!request_key(request->json, "from", listing.from, sizeof listing.from, &listing.from_bytes) ||
        !request_key(request->json, "to", listing.to, sizeof listing.to, &listing.to_bytes))
        return reply_refuse(request->session, "from and to are keys in hex", "crenel query makes them");
    enum status status = request_audit(request->store, "query", "", name, 0);
    if (status == STATUS_OK)
        request->session->listing = listing;
    return status;
}

static enum status do_counters(struct request *request)
{
    enum status status = request_audit(request->store, "counters", "", "", 0);
    if (status == STATUS_OK)
        request->session->listing =
            (struct operator_listing){.kind = LISTING_COUNTERS, .left = INT64_MAX};
    return status;
}

static enum status do_held(struct request *request)
{
    request->session->listing = (struct operator_listing){.kind = LISTING_HELD, .left = INT64_MAX};
    return STATUS_OK;
}

enum status reply_begin(struct operator_session *session, struct store *store,
                        struct router_link *router, const cJSON *json, int64_t wall_ms)
{
    static const struct {
        const char *op;
        enum status (*run)(struct request *);
    } ops[] = {{"describe", do_describe},
               {"query", do_query},
               {"deadletter", reply_dead_letters},
               {"state", reply_states},
               {"counters", do_counters},
               {"held", do_held}};
    struct request request = {session, store, router, json, wall_ms};
    const char *op = request_text(json, "op");
    if ((session->rights & CONTROL_RIGHT_READ) == 0)
        return reply_refuse(session, "not allowed", "ask with the right to read");
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strcmp(op, ops[i].op) == 0)
            return ops[i].run(&request);
    return reply_refuse(session, "no such request", "describe, query, deadletter, state, counters or held");
}
