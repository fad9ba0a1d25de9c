// SPDX-License-Identifier: ISC
// A transparency log's folder, read with every length checked.
#include "host/log_files.h"

#include "core/check.h"
#include "host/durable_file.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void log_hash(uint8_t digest[TLOG_HASH_BYTES], const void *a, size_t a_bytes, const void *b,
              size_t b_bytes)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    if (a_bytes != 0)
        crypto_hash_sha256_update(&state, a, a_bytes);
    if (b_bytes != 0)
        crypto_hash_sha256_update(&state, b, b_bytes);
    crypto_hash_sha256_final(&state, digest);
}

enum status log_key_decode(struct log_key *key, const char *text, const char **why)
{
    struct log_key found = {0};
    uint8_t id[4];
    *why = "the public key is not of the form name+id+key";
    enum status status = note_key_decode(text, "", found.name, found.id, found.public_key);
    if (status != STATUS_OK)
        return status;
    note_key_id(id, found.name, found.public_key, log_hash);
    *why = "the public key's id does not belong to its name and bytes";
    if (memcmp(id, found.id, sizeof id) != 0)
        return STATUS_SIGNATURE;
    *key = found;
    return STATUS_OK;
}

enum status log_key_read(struct log_key *key, int directory, const char **why)
{
    char text[NOTE_VKEY_BYTES];
    size_t size;
    enum status status = durable_read(directory, LOG_PUBLIC_KEY, text, sizeof text - 1, &size);
    if (status != STATUS_OK) {
        *why = "the public key (log.vkey) cannot be read";
        return status;
    }
    text[size] = '\0';
    return log_key_decode(key, text, why);
}

enum status log_checkpoint_read(struct checkpoint *checkpoint, int directory,
                                const struct log_key *key, const char **why)
{
    char note[2 * NOTE_TEXT_BYTES_MAX]; // room for signatures of witnesses
    size_t size, text_length;
    uint8_t signature[NOTE_SIGNATURE_BYTES];
    struct checkpoint found;
    *why = "the checkpoint cannot be read";
    enum status status = durable_read(directory, LOG_CHECKPOINT, note, sizeof note, &size);
    if (status != STATUS_OK)
        return status;
    *why = "the checkpoint carries no signature of the log's key";
    status = note_open(note, size, key->name, key->id, &text_length, signature);
    if (status != STATUS_OK)
        return STATUS_SIGNATURE;
    *why = "the checkpoint's signature is wrong";
    if (crypto_sign_ed25519_verify_detached(signature, (const unsigned char *)note, text_length,
                                            key->public_key) != 0)
        return STATUS_SIGNATURE;
    *why = "the checkpoint is malformed or of another log";
    status = checkpoint_decode(&found, note, text_length);
    if (status != STATUS_OK || strcmp(found.origin, key->name) != 0)
        return STATUS_MALFORMED;
    *checkpoint = found;
    return STATUS_OK;
}

enum status log_tile_read(uint8_t hashes[][TLOG_HASH_BYTES], int directory, unsigned level,
                          uint64_t index, unsigned width)
{
    char path[TLOG_PATH_BYTES];
    size_t size;
    check(level < TLOG_LEVELS_MAX && width <= TLOG_TILE_WIDTH);
    tlog_path(path, level, index, width);
    enum status status =
        durable_read(directory, path, hashes, (size_t)width * TLOG_HASH_BYTES, &size);
    if (status == STATUS_TOO_LARGE || (status == STATUS_OK && size != (size_t)width * TLOG_HASH_BYTES))
        return STATUS_MALFORMED;
    return status;
}

const uint8_t *log_bundle_next(const uint8_t *bytes, size_t size, size_t *offset,
                               size_t *entry_bytes)
{
    if (size - *offset < 2)
        return NULL;
    size_t length = (size_t)bytes[*offset] << 8 | bytes[*offset + 1];
    if (size - *offset - 2 < length)
        return NULL;
    const uint8_t *entry = bytes + *offset + 2;
    *offset += 2 + length;
    *entry_bytes = length;
    return entry;
}

enum status log_bundle_read(uint8_t **bytes, size_t *size, int directory, uint64_t index,
                            unsigned width)
{
    char path[TLOG_PATH_BYTES];
    tlog_path(path, TLOG_ENTRIES, index, width);
    size_t capacity = LOG_BUNDLE_BYTES_MAX;
    uint8_t *buffer = malloc(capacity); // pages that are not read into are never touched
    if (buffer == NULL)
        return STATUS_SYSTEM;
    size_t used = 0, offset = 0, entry_bytes;
    enum status status = durable_read(directory, path, buffer, capacity, &used);
    unsigned count = 0;
    if (status == STATUS_OK) {
        while (log_bundle_next(buffer, used, &offset, &entry_bytes) != NULL)
            count++;
        if (count != width || offset != used)
            status = STATUS_MALFORMED;
    } else if (status == STATUS_TOO_LARGE) {
        status = STATUS_MALFORMED;
    }
    if (status != STATUS_OK) {
        free(buffer);
        return status;
    }
    *bytes = buffer;
    *size = used;
    return STATUS_OK;
}
