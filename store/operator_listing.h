// SPDX-License-Identifier: ISC
// Lines of an operator's reply (store/operator.h). OPERATOR_LINE_BYTES are free whenever one is begun.
#ifndef CRENEL_STORE_OPERATOR_LISTING_H
#define CRENEL_STORE_OPERATOR_LISTING_H

#include "core/json_line.h"
#include "store/operator.h"

void reply_line_begin(struct operator_session *session, struct json_line *line);
void reply_line_end(struct operator_session *session, struct json_line *line);

// The last line of a reply that is good: "ok" first, "end" last; it ends the listing.
void reply_last_begin(struct operator_session *session, struct json_line *line);
void reply_last_end(struct operator_session *session, struct json_line *line);

// Facts of a dead letter; row is one of STATEMENT_DEAD_LIST or STATEMENT_DEAD_GET.
void reply_dead_letter(struct json_line *line, const struct store *store, sqlite3_stmt *row);

// Puts the listing's next line. The last one sets LISTING_NONE.
enum status reply_next(struct operator_session *session, struct store *store) MUST_USE;

#endif
