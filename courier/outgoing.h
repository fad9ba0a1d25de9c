// SPDX-License-Identifier: ISC
// Messages that the router delivered for the peers, until theirs has acknowledged them: in the order of their delivery, which
// for each flow is that of their sequence. A flow goes to one peer.
#ifndef CRENEL_COURIER_OUTGOING_H
#define CRENEL_COURIER_OUTGOING_H

#include "abi/abi.h"
#include "courier/session.h"

#define OUTGOING_MAX 256u // as many events as the router has with one receiver

struct outgoing_message {
    struct outgoing_message *next; // in the row, or free
    uint64_t handle;               // the router's
    struct session_message head;
    uint16_t peer, flow; // index of the courier's; of the own terms with that peer
    uint8_t is_sent; // over the present line
    uint8_t payload[ABI_PAYLOAD_BYTES_MAX];
};

struct outgoing {
    struct outgoing_message *first, **end, *free;
    uint32_t count;
    struct outgoing_message messages[OUTGOING_MAX];
};

void outgoing_init(struct outgoing *outgoing);
// The message to fill, at the end of the row; NULL: OUTGOING_MAX are there.
struct outgoing_message *outgoing_add(struct outgoing *outgoing);
// Takes the peer's message of that flow and sequence out, if it was sent over the present line. 0: there is none.
int outgoing_take(struct outgoing *outgoing, uint16_t peer, uint16_t flow, uint64_t sequence, uint64_t *handle);
// Its line ended: all are to be sent again.
void outgoing_rewind(struct outgoing *outgoing, uint16_t peer);
// Sends what the session with that peer takes. Returns how many.
unsigned outgoing_pump(struct outgoing *outgoing, uint16_t peer, struct session *session);

#endif
