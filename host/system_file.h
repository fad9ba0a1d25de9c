// SPDX-License-Identifier: ISC
// What hashes and signatures say about compiled systems.
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

// STATUS_OK if and only if bytes carry a good signature by public_key. *why says what is wrong.
enum status system_verify(const uint8_t *bytes, size_t size, const uint8_t public_key[32],
                          const char **why) MUST_USE;

#endif
