// SPDX-License-Identifier: ISC
// The row of messages on their way to the peers.
#include "courier/outgoing.h"

#include <string.h>

void outgoing_init(struct outgoing *outgoing)
{
    outgoing->first = outgoing->free = NULL;
    outgoing->end = &outgoing->first;
    outgoing->count = 0;
    for (uint32_t i = OUTGOING_MAX; i > 0; i--) {
        outgoing->messages[i - 1].next = outgoing->free;
        outgoing->free = &outgoing->messages[i - 1];
    }
}

struct outgoing_message *outgoing_add(struct outgoing *outgoing)
{
    struct outgoing_message *message = outgoing->free;
    if (message == NULL)
        return NULL;
    outgoing->free = message->next;
    message->next = NULL;
    message->is_sent = 0;
    *outgoing->end = message;
    outgoing->end = &message->next;
    outgoing->count++;
    return message;
}

int outgoing_take(struct outgoing *outgoing, uint16_t peer, uint16_t flow, uint64_t sequence, uint64_t *handle)
{
    struct outgoing_message **at = &outgoing->first, *message;
    while ((message = *at) != NULL &&
           (message->peer != peer || message->flow != flow || message->head.sequence != sequence || !message->is_sent))
        at = &message->next;
    if (message == NULL)
        return 0;
    *handle = message->handle;
    *at = message->next;
    if (outgoing->end == &message->next)
        outgoing->end = at;
    message->next = outgoing->free;
    outgoing->free = message;
    outgoing->count--;
    return 1;
}

void outgoing_rewind(struct outgoing *outgoing, uint16_t peer)
{
    for (struct outgoing_message *message = outgoing->first; message != NULL; message = message->next)
        message->is_sent = message->is_sent && message->peer != peer;
}

unsigned outgoing_pump(struct outgoing *outgoing, uint16_t peer, struct session *session)
{
    unsigned sent = 0;
    uint64_t blocked[SYSTEM_FLOWS_MAX / 64] = {0};
    for (struct outgoing_message *message = outgoing->first; message != NULL; message = message->next) {
        uint16_t flow = message->flow;
        if (message->peer != peer || message->is_sent || (blocked[flow / 64] >> flow % 64 & 1) != 0)
            continue;
        if (!session_may_send(session, flow)) { // the later ones of that flow wait behind it
            blocked[flow / 64] |= UINT64_C(1) << flow % 64;
            continue;
        }
        session_send(session, flow, &message->head, message->payload);
        message->is_sent = 1;
        sent++;
    }
    return sent;
}
