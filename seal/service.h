// SPDX-License-Identifier: ISC
// The four services at the ends of a channel: a message of one flow in, one of another flow out, or a refusal.
//   seal:   a message -> sealed/1          open:   sealed/1 -> the message
//   sign:   a message -> its envelope      verify: the envelope -> the message (core/schema_builtin.h)
#ifndef CRENEL_SEAL_SERVICE_H
#define CRENEL_SEAL_SERVICE_H

#include "core/system.h"
#include "host/service_link.h"
#include "seal/box.h"

#define SERVICE_CAPACITY 64u // events that may wait here

struct service {
    const struct system_view *system;
    const struct system_service *is;
    const struct schema *inner; // of the message as people know it
    struct box box;
    struct service_link link;
};

// For service `index` of an accepted system. Takes link_fd. STATUS_MALFORMED: key is no key file.
enum status service_init(struct service *service, const struct system_view *system, uint32_t index, const char *key,
                         size_t key_bytes, int link_fd) MUST_USE;

// What becomes of a checked message: its bytes in out (ABI_PAYLOAD_BYTES_MAX), their number; 0: it does not open.
size_t service_turn(struct service *service, uint64_t number, const uint8_t *message, size_t size, uint8_t *out);

#endif
