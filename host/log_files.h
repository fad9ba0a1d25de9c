// SPDX-License-Identifier: ISC
// Reading a transparency log's folder: checkpoint, tiles, bundles of entries (formats: core/tlog.h,
// core/tlog_note.h). Public key: the file log.vkey in it.
#ifndef CRENEL_HOST_LOG_FILES_H
#define CRENEL_HOST_LOG_FILES_H

#include "core/tlog_note.h"

#define LOG_CHECKPOINT "checkpoint"
#define LOG_PUBLIC_KEY "log.vkey"
#define LOG_SECRET_KEY "log.skey"
#define LOG_BUNDLE_BYTES_MAX (TLOG_TILE_WIDTH * (2u + TLOG_ENTRY_BYTES_MAX))

// SHA-256 over a followed by b (libsodium).
void log_hash(uint8_t digest[TLOG_HASH_BYTES], const void *a, size_t a_bytes, const void *b,
              size_t b_bytes);

struct log_key {
    char name[NOTE_NAME_BYTES]; // also the log's origin
    uint8_t id[4];
    uint8_t public_key[NOTE_KEY_BYTES];
};

// From a vkey's text. *why says what is wrong.
enum status log_key_decode(struct log_key *key, const char *text, const char **why) MUST_USE;
enum status log_key_read(struct log_key *key, int directory, const char **why) MUST_USE;

// STATUS_OK if and only if the folder's checkpoint carries a good signature by key, is of its origin,
// and is well-formed. STATUS_ABSENT: there is none.
enum status log_checkpoint_read(struct checkpoint *checkpoint, int directory,
                                const struct log_key *key, const char **why) MUST_USE;

// Reads `width` hashes; STATUS_MALFORMED when the file has another size.
enum status log_tile_read(uint8_t hashes[][TLOG_HASH_BYTES], int directory, unsigned level,
                          uint64_t index, unsigned width) MUST_USE;

// Reads a bundle into a new buffer (caller frees) and checks that it holds exactly `width` entries.
enum status log_bundle_read(uint8_t **bytes, size_t *size, int directory, uint64_t index,
                            unsigned width) MUST_USE;
// The entry at *offset of a bundle; *offset moves behind it. NULL at the end and when it does not fit.
const uint8_t *log_bundle_next(const uint8_t *bytes, size_t size, size_t *offset,
                               size_t *entry_bytes);

#endif
