// SPDX-License-Identifier: ISC
// The receiver's side of proto/link.h, for a service that answers each request with one reply.
#ifndef CRENEL_PASSWORD_SERVICE_H
#define CRENEL_PASSWORD_SERVICE_H

#include "host/service_link.h"
#include "password/users.h"

#define SERVICE_CAPACITY 8u // requests that may wait here; they are answered one after the other

struct service {
    struct users users;
    const struct system_view *system;
    const struct schema *request;
    struct service_link link;
};

// For service `index` of an accepted system, whose flows carry the built-in schemas. Takes both descriptors.
enum status service_init(struct service *service, const struct system_view *system, uint32_t index,
                         int directory_fd, int link_fd) MUST_USE;

// Answers one request, as its link asks (host/service_link.h).
enum status service_take(void *context, const struct link_deliver *deliver, const uint8_t *message) MUST_USE;

#endif
