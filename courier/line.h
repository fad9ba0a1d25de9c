// SPDX-License-Identifier: ISC
// One connection to a peer: a socket, TLS on it, a session in that.
//
//   FREE -> CONNECTING -> SHAKING -> OPEN -> CLOSING -> FREE
//
// CONNECTING: the kernel has not said yet whether the peer is there (accepted ones begin at SHAKING). OPEN: bytes go to and
// from the session. CLOSING: what the session still has to say goes out, then the peer's end is waited for, both for a short
// while only. A line that fails is FREE at once.
#ifndef CRENEL_COURIER_LINE_H
#define CRENEL_COURIER_LINE_H

#include "courier/session.h"
#include "courier/tls.h"
#include "host/loop.h"

#define LINE_HANDSHAKE_MS 10000 // to connect, shake hands and agree
#define LINE_CLOSING_MS 2000
#define LINE_SILENT_MS 20000u // what the other side's kernel may leave unacknowledged so long ends the line

enum line_state { LINE_FREE, LINE_CONNECTING, LINE_SHAKING, LINE_OPEN, LINE_CLOSING };

struct line;
struct line_owner {
    void *context;
    void (*known)(void *context, struct line *line); // TLS is there, line->peer is known; sets line->terms: the session begins
    void (*agreed)(void *context, struct line *line);
    void (*take)(void *context, struct line *line, uint16_t flow, const struct session_message *message,
                 const uint8_t *payload);
    void (*acknowledged)(void *context, struct line *line, uint16_t flow, const struct session_ack *ack);
    void (*settled)(void *context); // at the end of a turn
    // It is CLOSING or FREE: nothing more is taken or sent. is_known: the peer was.
    void (*ended)(void *context, struct line *line, const char *why, int is_known);
};

struct line {
    struct loop *loop;
    const struct line_owner *owner;
    const struct session_terms *terms; // with its peer, from `known` on
    const struct system_courier *courier;
    struct tls_context *context;
    enum line_state state;
    int fd;
    struct loop_watch watch;
    struct tls *tls;
    uint16_t peer;    // from `known` on
    int wants_write;
    int is_agreed, is_shut;
    int64_t deadline_ms; // 0: none
    char address[64]; // of the other side
    uint64_t brought[SYSTEM_FLOWS_MAX]; // the owner's: last sequence of each own flow
    struct session session;
};

// A free line. Of an accepted socket (is_connected), or of one on which connect() is under way. Takes fd.
void line_open(struct line *line, int fd, const char *address, int is_connected);
// Gives the socket what waits, after the owner sent or acknowledged something.
void line_flush(struct line *line);
// Ends it, saying why to the owner.
void line_end(struct line *line, const char *why);
void line_expire(struct line *line); // its deadline has passed

#endif
