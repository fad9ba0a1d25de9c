// SPDX-License-Identifier: ISC
// The link of a host service to the router (proto/link.h): each event is answered before the next is looked at. What
// they say may be secret, and does not stay in this process.
#ifndef CRENEL_HOST_SERVICE_LINK_H
#define CRENEL_HOST_SERVICE_LINK_H

#include "host/channel.h"
#include "host/loop.h"
#include "proto/link.h"

struct service_link {
    struct channel channel;
    uint16_t capacity; // events that may wait here
    // Answers it on the channel. Anything but STATUS_OK ends the link.
    enum status (*take)(void *context, const struct link_deliver *deliver, const uint8_t *payload);
    void *context;
    const char *program; // how its log lines begin
    struct loop loop;
    struct loop_watch control_watch, watch;
    _Alignas(8) uint8_t gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
};

// Takes fd. capacity, take and context are there.
void service_link_init(struct service_link *link, int fd);

// Says HELLO to the router.
enum status service_link_begin(struct service_link *link) MUST_USE;

// Answers what has arrived. STATUS_CLOSED: the router is gone; STATUS_MALFORMED: it broke the protocol.
enum status service_link_serve(struct service_link *link) MUST_USE;

// What a service's process does once it has all that it needs, until the router or the supervisor ends it.
void service_link_run(struct service_link *link, const char *program);

#endif
