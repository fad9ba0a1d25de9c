// SPDX-License-Identifier: ISC
// What operators may ask about dead letters (store/operator.h). What changes something is one transaction with its audit
// record.
#include "store/operator_reply.h"

#include "proto/control.h"
#include "store/audit_rows.h"
#include "store/counters.h"
#include "store/dead_letters.h"
#include "store/names.h"
#include "store/operator_listing.h"

#include <string.h>

static enum status no_flow(struct request *request)
{
    return reply_refuse(request->session, "no such flow", "`flows` in its system.yaml names them");
}

static enum status dead_list(struct request *request, int64_t id)
{
    (void)id;
    const char *name = request_text(request->json, "flow");
    int flow = request_flow(request->store, name);
    if (*name != 0 && flow < 0)
        return no_flow(request);
    enum status status = request_audit(request->store, "deadletter", "list", name, 0);
    if (status == STATUS_OK)
        request->session->listing = (struct operator_listing){
            .kind = LISTING_DEAD,
            .left = (uint64_t)request_integer(request->json, "limit", INT64_MAX),
            .after = request_integer(request->json, "after", 0),
            .flow = *name != 0 ? request->store->flow_ids[flow] : 0};
    return status;
}

static enum status no_dead_letter(struct request *request)
{
    return reply_refuse(request->session, "no such dead letter", "crenel deadletter list");
}

static enum status dead_show(struct request *request, int64_t id)
{
    struct store *store = request->store;
    enum status status = request_audit(store, "deadletter", "show", "", id);
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

struct change { // of dead letters, in one transaction
    const char *action;
    int is_drop;
    int64_t id;     // the one, or the last that was looked at
    int flow;       // of all; -1: of the one
    uint64_t count, kept; // changed; could not be
    int is_more;    // another request would go on
    struct spooled added; // to the flow
    const char *why;
};

// One of them. STATUS_DENIED and STATUS_TOO_LARGE: nothing was done, change->why says why.
static enum status change_one(struct request *request, struct change *change, int64_t id)
{
    unsigned flow = 0;
    struct spooled added = {0, 0, 0};
    enum status status = change->is_drop ? dead_letter_drop(request->store, id)
                                         : dead_letter_resubmit(request->store, id, request->wall_ms, &flow, &added,
                                                                &change->why);
    if (status == STATUS_OK && !change->is_drop) {
        counter_add(request->store, COUNTER_FLOW(flow, REASON_ENTERED), added.count);
        change->flow = (int)flow;
        change->added.count += added.count;
        change->added.bytes += added.bytes;
    }
    change->count += status == STATUS_OK;
    return status;
}

// Of a flow: as many as one request may, in order. What cannot be sent again stays; a full flow ends it.
static enum status change_all(struct request *request, struct change *change)
{
    enum status status = STATUS_OK;
    unsigned flow = (unsigned)change->flow;
    change->is_more = 1;
    for (unsigned i = 0; i < OPERATOR_MANY && status == STATUS_OK; i++) {
        int64_t id;
        status = dead_letter_next(request->store, flow, change->id, &id);
        if (status == STATUS_OK)
            status = change_one(request, change, id);
        if (status == STATUS_TOO_LARGE || status == STATUS_ABSENT) {
            change->is_more = 0;
            return STATUS_OK;
        }
        change->id = id;
        change->kept += status == STATUS_DENIED;
        status = status == STATUS_DENIED ? STATUS_OK : status;
    }
    return status;
}

static enum status change_answer(struct request *request, const struct change *change, int is_all)
{
    struct json_line line;
    uint64_t left = is_all ? request->store->state.dead[change->flow].count : 0;
    reply_last_begin(request->session, &line);
    json_integer(&line, is_all ? "after" : "id", change->id);
    if (is_all) {
        json_unsigned(&line, "count", change->count);
        json_unsigned(&line, "kept", change->kept);
        json_unsigned(&line, "left", left);
        json_bool(&line, "is_more", change->is_more);
        json_string(&line, "why", change->is_more || left == 0 ? "" : change->why);
    }
    reply_last_end(request->session, &line);
    return STATUS_OK;
}

// The router learns what came in. One that is gone is seen on its link.
static enum status change_tell(struct request *request, const struct change *change)
{
    enum status status = STATUS_OK;
    if (change->added.count != 0)
        status = router_link_resubmitted(request->router, request->store, (unsigned)change->flow, change->added);
    if (status == STATUS_OK)
        status = router_link_push(request->router, request->store, request->wall_ms);
    return status == STATUS_SYSTEM ? status : STATUS_OK;
}

// Committed with its audit row, or not at all.
static enum status change_run(struct request *request, struct change *change)
{
    struct store *store = request->store;
    struct operator_session *session = request->session;
    int is_all = change->flow >= 0;
    char text[512];
    enum status status = store_begin(store);
    if (status == STATUS_OK) {
        status = is_all ? change_all(request, change) : change_one(request, change, change->id);
        if (status == STATUS_OK)
            status = audit_rows_add(store, text,
                                    request_audit_text(text, "deadletter", change->action,
                                                       change->flow >= 0 ? store->system->flows[change->flow].name : "",
                                                       change->id, is_all ? change->count : 0));
        if (status == STATUS_OK)
            status = store_commit(store);
        else
            store_rollback(store);
    }
    if (status == STATUS_ABSENT)
        return no_dead_letter(request);
    if (status == STATUS_DENIED || status == STATUS_TOO_LARGE)
        return reply_refuse(session, change->why, "crenel deadletter show and crenel status tell more");
    if (status == STATUS_FULL)
        return reply_refuse(session, "the disk is full or busy: nothing was changed", "make room and try again");
    if (status == STATUS_OK)
        status = change_answer(request, change, is_all);
    return status == STATUS_OK ? change_tell(request, change) : status;
}

static enum status change_begin(struct request *request, const char *action, int64_t id)
{
    const char *flow = request_text(request->json, "flow");
    struct change change = {.action = action, .is_drop = action[0] == 'd', .id = id, .flow = -1, .why = ""};
    if (*flow != 0) {
        change.flow = request_flow(request->store, flow);
        change.id = request_integer(request->json, "after", 0);
        if (change.flow < 0)
            return no_flow(request);
    }
    return change_run(request, &change);
}

static enum status dead_drop(struct request *request, int64_t id)
{
    return change_begin(request, "drop", id);
}

static enum status dead_resubmit(struct request *request, int64_t id)
{
    return change_begin(request, "resubmit", id);
}

enum status reply_dead_letters(struct request *request)
{
    static const struct {
        const char *action;
        uint64_t right;
        enum status (*run)(struct request *, int64_t id);
    } actions[] = {{"list", CONTROL_RIGHT_READ, dead_list},
                   {"show", CONTROL_RIGHT_READ, dead_show},
                   {"resubmit", CONTROL_RIGHT_CHANGE, dead_resubmit},
                   {"drop", CONTROL_RIGHT_CHANGE, dead_drop}};
    const char *action = request_text(request->json, "action");
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(action, actions[i].action) != 0)
            continue;
        if ((request->session->rights & actions[i].right) == 0)
            return reply_refuse(request->session, "not allowed", "ask with the right to change");
        return actions[i].run(request, request_integer(request->json, "id", 0));
    }
    return reply_refuse(request->session, "no such action", "list, show, resubmit or drop");
}

