// SPDX-License-Identifier: ISC
// Operators of the store: authorised command lines on stream sockets, JSON lines (one request, its reply).
//
// A reply is zero or more item lines and a last line with "end":true and "ok". Requests:
//   {"op":"describe","namespace":N}        -> last: schema (hex of its block), key and index (field numbers), records, version
//   {"op":"query","namespace":N,"from":HEX?,"to":HEX?,"limit":n?,"index":bool?}
//                                          -> items {"key","version","value"} (hex); last: count
//   {"op":"deadletter","action":"list","flow":NAME?,"after":ID?,"limit":n?} -> items; last: count
//   {"op":"deadletter","action":"show","id":ID}       -> last: its facts, payload and schema (hex)
//   {"op":"deadletter","action":"resubmit"|"drop","id":ID}
//   {"op":"deadletter","action":"resubmit"|"drop","flow":NAME,"after":ID?}   all of a flow, OPERATOR_MANY at a time
//                                          -> last: count; kept (cannot be sent again); left of the flow, why; after and is_more: ask again
//   {"op":"state","action":"list","flow":NAME,"limit":n?}       -> items {"key","parts"} (hex); last: count
//   {"op":"state","action":"forget","flow":NAME,"key":HEX}      -> last
//   {"op":"counters"}                      -> items {"flow"|"unikernel","code","value"}
//   {"op":"held"}                          -> what binds the next version of the system (store/names.h): items
//                                             {"flow","receiver","messages","receipts","form","digest"} or {"namespace","records","digest"}
// Every request but describe and held gives an audit row. Those that change something are done only together with it.
#ifndef CRENEL_STORE_OPERATOR_H
#define CRENEL_STORE_OPERATOR_H

#include "store/router_link.h"

#define OPERATOR_REQUEST_BYTES 4096u
#define OPERATOR_REPLY_BYTES 65536u
#define OPERATOR_MANY 256u // dead letters changed by one request
#define OPERATOR_LINE_BYTES 32768u // no line is longer: the largest schema block and payload in hex are 25 KiB

struct operator_listing { // what is left of a reply with items
    enum { LISTING_NONE, LISTING_RECORDS, LISTING_DEAD, LISTING_COUNTERS, LISTING_HELD, LISTING_STATES } kind;
    uint64_t left, count;
    unsigned namespace_index;
    int is_index, is_begun;
    size_t from_bytes, to_bytes;
    uint8_t from[ABI_KEY_BYTES_MAX], to[ABI_KEY_BYTES_MAX];
    int64_t after;  // dead letters: id
    int64_t flow;   // of these and of states, its id in the table names; 0: all
    size_t key_bytes;
    uint8_t key[SYSTEM_KEY_BYTES_MAX]; // states: the last one
    uint64_t offset; // index, counters, held: items given
    unsigned flow_at; // held: the next flow to look at for kept messages
};

struct operator_session {
    int fd; // -1: free; non-blocking
    uint64_t rights; // enum control_right
    struct operator_listing listing;
    size_t request_bytes, reply_bytes, reply_sent;
    char request[OPERATOR_REQUEST_BYTES];
    char reply[OPERATOR_REPLY_BYTES];
};

void operator_open(struct operator_session *session, int fd, uint64_t rights);
void operator_close(struct operator_session *session);

// Reads, works, writes, as far as the socket allows. STATUS_AGAIN: wait for it (is_writing tells what for).
// STATUS_CLOSED: the operator is gone or broke the protocol. STATUS_SYSTEM: the database failed, end.
enum status operator_serve(struct operator_session *session, struct store *store,
                           struct router_link *router, int64_t wall_ms) MUST_USE;
static inline int operator_is_writing(const struct operator_session *session)
{
    return session->reply_sent < session->reply_bytes;
}

#endif
