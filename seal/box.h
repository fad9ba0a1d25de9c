// SPDX-License-Identifier: ISC
// Sealing and signing of messages between two ends that share a key; what lies between them can do neither.
//
// A key file holds one key of 32 bytes, as 64 hexadecimal digits (`crenel key new FILE`). One channel has one key, one sender and one
// kind of message; its name, the schema's digest and the message's serial (the number of the sender's event, which rises)
// are bound into each box and tag, so nothing of another channel or version opens, and nothing can be given another number. Both ends
// ask their fabric for serials that rise: what is played again is refused there.
//
//   box: salt[16] nonce[24] ciphertext tag[16]      XChaCha20-Poly1305. Each start of the sealing service is an epoch
//        with a key of its own, BLAKE2b(key, "epoch", salt) with a random salt; nonces are random.
//   tag: BLAKE2b-256 with the key BLAKE2b(key, "tag"), over the associated data and the message.
//   associated data: channel[32] digest[32] serial[8]
#ifndef CRENEL_SEAL_BOX_H
#define CRENEL_SEAL_BOX_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define BOX_KEY_BYTES 32u
#define BOX_SALT_BYTES 16u
#define BOX_NONCE_BYTES 24u
#define BOX_MORE_BYTES (BOX_SALT_BYTES + BOX_NONCE_BYTES + 16u) // that a box is larger than what is in it
#define BOX_TAG_BYTES 32u
#define BOX_LABEL_BYTES 64u

struct box {
    uint8_t key[BOX_KEY_BYTES];
    uint8_t label[BOX_LABEL_BYTES]; // channel, digest
    uint8_t tag_key[BOX_KEY_BYTES];
    uint8_t salt[BOX_SALT_BYTES], epoch[BOX_KEY_BYTES];       // in which this end seals
    uint8_t seen_salt[BOX_SALT_BYTES], seen[BOX_KEY_BYTES];   // the last one of the other end
};

// text: of a key file. STATUS_MALFORMED: it is none.
enum status box_init(struct box *box, const char *text, size_t size, const uint8_t label[BOX_LABEL_BYTES]) MUST_USE;

// out: size + BOX_MORE_BYTES.
void box_seal(const struct box *box, uint64_t serial, const uint8_t *message, size_t size, uint8_t *out);
// out: size - BOX_MORE_BYTES. STATUS_SIGNATURE: it does not open; nothing was written that counts.
enum status box_open(struct box *box, uint64_t serial, const uint8_t *sealed, size_t size, uint8_t *out) MUST_USE;
void box_tag(const struct box *box, uint64_t serial, const uint8_t *message, size_t size, uint8_t tag[BOX_TAG_BYTES]);

#endif
