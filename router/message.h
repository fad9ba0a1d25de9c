// SPDX-License-Identifier: ISC
// The message, and lists of messages. How it moves: router/state.h.
#ifndef CRENEL_ROUTER_MESSAGE_H
#define CRENEL_ROUTER_MESSAGE_H

#include "proto/commit.h"

enum message_state {
    MESSAGE_FREE,
    MESSAGE_QUEUED,  // in the queue of its receiver
    MESSAGE_STARTED, // its event is with the receiver
    MESSAGE_READING, // which waits for an ANSWER
    MESSAGE_ENDED,   // its effects are here; an earlier event of its connection goes on
    MESSAGE_WAITING, // to proceed again, when it is due
    MESSAGE_COMMITTING,
    MESSAGE_PARENT, // a broadcast whose copies are under way
};

struct message {
    struct message *next, *previous; // in its list: a ring with a head that is no message
    struct message *parent;          // a broadcast copy: the message it is of, whose body it shares
    struct connection *connection;   // whose instance takes it, or NULL
    struct message *following;       // started after it for that connection
    struct message *sibling;         // kept, and sent next by the same event
    struct event *event;             // from its start on, or NULL
    struct commit_send send;         // what it is
    uint8_t *body;                   // payload, then at 8 bytes the context
    uint64_t handle; // names it to peers: generation, index
    uint64_t number, order;
    uint64_t row; // outbox id; 0: volatile, or kept
    int64_t time_ms, due_ms; // due: not before (the monotonic clock)
    int64_t end_ms; // while it is in the queue: from then on (the host's clock) it is too late; 0: never
    uint32_t copies; // of a parent: not yet ended
    uint16_t port, attempt, conflicts;
    uint16_t bucket;  // of its key; ROUTER_BUCKETS: it has none
    uint8_t state;    // enum message_state
    uint8_t reason;   // enum reason: DONE, or why it failed; of a parent what its copies came to
    uint8_t is_durable; // it waits in the store, too
    uint8_t is_kept;    // the store knows it by its number, and does not send it
    uint8_t is_settling; // its event is with its receiver
    uint8_t is_stored;  // and is done with the COMMIT that sent it
    uint8_t is_input, is_last; // from a gateway: TAKEN is owed; it is the connection's last
    uint8_t is_throttled; // was counted so
    uint8_t is_brought; // by a courier: BROUGHT is owed; its context is a struct link_source, its connection the courier's handle
};

static inline void list_init(struct message *head) { head->next = head->previous = head; }

static inline void list_insert(struct message *before, struct message *message)
{
    message->next = before;
    message->previous = before->previous;
    before->previous->next = message;
    before->previous = message;
}

static inline void list_remove(struct message *message)
{
    message->previous->next = message->next;
    message->next->previous = message->previous;
}

#endif
