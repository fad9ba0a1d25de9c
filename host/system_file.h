// SPDX-License-Identifier: ISC
// What hashes and signatures say about compiled systems, and what stored bytes mean under them.
#ifndef CRENEL_HOST_SYSTEM_FILE_H
#define CRENEL_HOST_SYSTEM_FILE_H

#include "core/status.h"

#include "core/system.h"

#include <stddef.h>
#include <stdint.h>

// Fills the signature block in place. secret_key is libsodium's 64-byte Ed25519 key.
void system_sign(uint8_t *bytes, size_t size, const uint8_t secret_key[64]);

// What the stored bytes of a namespace mean: its schema, key fields and index fields. The store keeps it beside them.
void system_namespace_digest(const struct system_view *system, size_t index, uint8_t digest[32]);

// What kind of message a flow carries, and who sends it; the store keeps it beside the schema's digest. Never 0: a store
// that did not keep it has that.
uint64_t system_flow_form(const struct system_view *system, size_t index);

struct system_waiting { // messages in the store, for one receiver
    int flow, place;    // in the system that is to take them; -1: not there
    const uint8_t *digest; // of their schema
    uint64_t form;
    uint64_t receipts;  // that they promise
};
// Why the system cannot take them, or NULL.
const char *system_misfit(const struct system_view *system, const struct system_waiting *waiting);

// STATUS_OK if and only if bytes carry a good signature by public_key. *why says what is wrong.
enum status system_verify(const uint8_t *bytes, size_t size, const uint8_t public_key[32],
                          const char **why) MUST_USE;

#endif
