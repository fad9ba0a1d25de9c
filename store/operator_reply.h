// SPDX-License-Identifier: ISC
// What operators may ask of the store (store/operator.h).
#ifndef CRENEL_STORE_OPERATOR_REPLY_H
#define CRENEL_STORE_OPERATOR_REPLY_H

#include "store/operator.h"

#include <cjson/cJSON.h>

// Does a request (NULL: it was not JSON): puts the last line into session->reply or sets session->listing.
// A request that fails is answered; STATUS_SYSTEM and STATUS_CLOSED (of the router) are for the caller.
enum status reply_begin(struct operator_session *session, struct store *store,
                        struct router_link *router, const cJSON *request, int64_t wall_ms) MUST_USE;


struct request {
    struct operator_session *session;
    struct store *store;
    struct router_link *router;
    const cJSON *json;
    int64_t wall_ms;
};

// Its members, or "" and the fallback.
const char *request_text(const cJSON *json, const char *name);
int64_t request_integer(const cJSON *json, const char *name, int64_t fallback);

// Bytes of a hex member. 0 when it is no hex or does not fit.
int request_key(const cJSON *json, const char *name, uint8_t *key, size_t capacity, size_t *key_bytes);
int request_flow(const struct store *store, const char *name); // -1: there is none

// The last line of a reply that refuses.
enum status reply_refuse(struct operator_session *session, const char *error, const char *mend);

// The audit record of a request; id, count 0: not in it. Requests that only read are answered even when it must wait.
size_t request_audit_text(char text[512], const char *op, const char *action, const char *what, int64_t id,
                          uint64_t count);
enum status request_audit(struct store *store, const char *op, const char *action, const char *what, int64_t id) MUST_USE;

enum status reply_dead_letters(struct request *request) MUST_USE;
enum status reply_states(struct request *request) MUST_USE;

#endif
