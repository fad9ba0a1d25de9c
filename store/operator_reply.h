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

#endif
