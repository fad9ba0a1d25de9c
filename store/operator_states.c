// SPDX-License-Identifier: ISC
// What operators may ask about the states of keys (store/operator.h): what is held of each key of a flow, and to forget
// one. A forgotten key's checks begin anew, so what was refused as a replay may be taken: the audit record names the key.
#include "store/operator_reply.h"

#include "proto/control.h"
#include "store/audit_rows.h"
#include "store/names.h"
#include "store/operator_listing.h"

#include <string.h>

static enum status states_list(struct request *request, unsigned flow)
{
    const struct store *store = request->store;
    enum status status = request_audit(request->store, "state", "list", store->system->flows[flow].name, 0);
    if (status == STATUS_OK)
        request->session->listing = (struct operator_listing){
            .kind = LISTING_STATES,
            .left = (uint64_t)request_integer(request->json, "limit", INT64_MAX),
            .flow = store->flow_ids[flow]};
    return status;
}

static enum status forget(struct store *store, unsigned flow, const uint8_t *key, size_t key_bytes)
{
    char text[512];
    struct json_line line;
    sqlite3_stmt *statement = store_statement(store, STATEMENT_STATE_DELETE);
    bind_integer(statement, 1, store->flow_ids[flow]);
    bind_bytes(statement, 2, key, key_bytes);
    enum status status = store_run(store, statement);
    if (status == STATUS_OK && sqlite3_changes(store->db) == 0)
        status = STATUS_ABSENT;
    if (status != STATUS_OK)
        return status;
    json_begin(&line, text, sizeof text);
    json_string(&line, "kind", "operator");
    json_string(&line, "op", "state");
    json_string(&line, "action", "forget");
    json_string(&line, "flow", store->system->flows[flow].name);
    json_hex(&line, "key", key, key_bytes);
    return audit_rows_add(store, text, json_end(&line));
}

static enum status states_forget(struct request *request, unsigned flow)
{
    struct store *store = request->store;
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
    size_t key_bytes;
    if (!request_key(request->json, "key", key, sizeof key, &key_bytes))
        return reply_refuse(request->session, "the key is not one in hex", "crenel state makes it");
    enum status status = store_begin(store);
    if (status == STATUS_OK) {
        status = forget(store, flow, key, key_bytes);
        if (status == STATUS_OK)
            status = store_commit(store);
        else
            store_rollback(store);
    }
    if (status == STATUS_ABSENT)
        return reply_refuse(request->session, "nothing is held of that key", "crenel state list shows all keys of the flow");
    if (status == STATUS_FULL)
        return reply_refuse(request->session, "the disk is full or busy: nothing was changed", "make room and try again");
    if (status != STATUS_OK)
        return status;
    struct json_line line;
    reply_last_begin(request->session, &line);
    reply_last_end(request->session, &line);
    status = router_link_forgotten(request->router, flow, key, key_bytes);
    return status == STATUS_SYSTEM ? status : STATUS_OK; // a router that is gone is seen on its link
}

enum status reply_states(struct request *request)
{
    static const struct {
        const char *action;
        uint64_t right;
        enum status (*run)(struct request *, unsigned flow);
    } actions[] = {{"list", CONTROL_RIGHT_READ, states_list}, {"forget", CONTROL_RIGHT_CHANGE, states_forget}};
    const char *action = request_text(request->json, "action");
    int flow = request_flow(request->store, request_text(request->json, "flow"));
    if (flow < 0)
        return reply_refuse(request->session, "no such flow", "`flows` in its system.yaml names them");
    if (!request->store->system->flows[flow].is_durable)
        return reply_refuse(request->session, "the flow is volatile: the states of its keys lie with the router alone",
                            "they begin anew when the system does");
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(action, actions[i].action) != 0)
            continue;
        if ((request->session->rights & actions[i].right) == 0)
            return reply_refuse(request->session, "not allowed", "ask with the right to change");
        return actions[i].run(request, (unsigned)flow);
    }
    return reply_refuse(request->session, "no such action", "list or forget");
}
