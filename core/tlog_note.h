// SPDX-License-Identifier: ISC
// Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint), without I/O and without keys.
//
// Note: text that ends in a newline; an empty line; one or more signature lines
//   U+2014 SP name SP base64(key id (4 bytes, big-endian) || signature) newline
// The signature covers the text with its last newline, not the empty line.
// Key id: the first 4 bytes of SHA-256(name || 0x0A || 0x01 || public key); 0x01 means Ed25519.
// Public key as text (vkey): name+hex8(key id)+base64(0x01 || public key).
// Secret key as text (skey): PRIVATE+KEY+name+hex8(key id)+base64(0x01 || seed).
// Checkpoint: a note whose text is three lines: origin; size, decimal; base64(root).
#ifndef CRENEL_CORE_TLOG_NOTE_H
#define CRENEL_CORE_TLOG_NOTE_H

#include "core/tlog.h"

#define NOTE_NAME_BYTES 128u // with the terminating zero
#define NOTE_KEY_BYTES 32u
#define NOTE_SIGNATURE_BYTES 64u
#define NOTE_TEXT_BYTES_MAX 512u // of a whole checkpoint file with its signature
#define NOTE_VKEY_BYTES (NOTE_NAME_BYTES + 64u)

// A name that a note may carry: not empty, printable ASCII without space and '+'.
int note_name_is_valid(const char *name);

void note_key_id(uint8_t id[4], const char *name, const uint8_t public_key[NOTE_KEY_BYTES],
                 tlog_hash *hash);

// prefix "" for a vkey (key is public), "PRIVATE+KEY+" for a skey (key is the seed).
void note_key_encode(char text[NOTE_VKEY_BYTES], const char *prefix, const char *name,
                     const uint8_t id[4], const uint8_t key[NOTE_KEY_BYTES]);
// One trailing newline is accepted. The key id is only checked by the caller, who has the public key.
enum status note_key_decode(const char *text, const char *prefix, char name[NOTE_NAME_BYTES],
                            uint8_t id[4], uint8_t key[NOTE_KEY_BYTES]) MUST_USE;

struct checkpoint {
    char origin[NOTE_NAME_BYTES];
    uint64_t size;
    uint8_t root[TLOG_HASH_BYTES];
};

// The text that is signed; returns its length (at most NOTE_TEXT_BYTES_MAX).
size_t checkpoint_encode(const struct checkpoint *checkpoint, char text[NOTE_TEXT_BYTES_MAX]);
// Exactly three lines, canonical numbers and base64.
enum status checkpoint_decode(struct checkpoint *checkpoint, const char *text, size_t length) MUST_USE;

// Appends the empty line and one signature line to text; returns the whole length.
size_t note_sign(char text[NOTE_TEXT_BYTES_MAX], size_t text_length, const char *name,
                 const uint8_t id[4], const uint8_t signature[NOTE_SIGNATURE_BYTES]);
// Splits a note: *text_length is the length of the signed text, signature that of the key (name, id).
// STATUS_ABSENT: no line of that key; STATUS_MALFORMED: no note. Lines of other keys are ignored.
enum status note_open(const char *note, size_t length, const char *name, const uint8_t id[4],
                      size_t *text_length, uint8_t signature[NOTE_SIGNATURE_BYTES]) MUST_USE;

#endif
