// SPDX-License-Identifier: ISC
// The receiver's side of proto/link.h, for a service that answers each request with one reply.
#ifndef CRENEL_PASSWORD_SERVICE_H
#define CRENEL_PASSWORD_SERVICE_H

#include "host/channel.h"
#include "password/users.h"
#include "proto/link.h"

#define SERVICE_CAPACITY 8u // requests that may wait here; they are answered one after the other

struct service {
    struct users users;
    const struct system_view *system;
    const struct schema *request;
    struct channel link;
    _Alignas(8) uint8_t gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
};

// For service `index` of an accepted system, whose flows carry the built-in schemas. Takes both descriptors.
enum status service_init(struct service *service, const struct system_view *system, uint32_t index,
                         int directory_fd, int link_fd) MUST_USE;

// Says HELLO to the router.
enum status service_begin(struct service *service) MUST_USE;

// Answers what has arrived. STATUS_CLOSED: the router is gone; STATUS_MALFORMED: it broke the protocol.
enum status service_serve(struct service *service) MUST_USE;

#endif
