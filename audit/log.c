// SPDX-License-Identifier: ISC
// Writing the transparency log.
//
// Order of writes: full bundles and full tiles as they fill, then the partial bundle, the partial tiles, and
// the checkpoint last. So whatever the checkpoint on disk covers is there, wherever the power was cut;
// files beyond it are leftovers that the next batch overwrites. The partial files of the former checkpoint
// are removed once the new one stands.
#include "audit/log.h"

#include "audit/entry.h"
#include "core/check.h"
#include "host/durable_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_PREFIX "PRIVATE+KEY+"

static enum status write_checkpoint(struct audit_log *log)
{
    struct checkpoint checkpoint = {.size = log->tree.size};
    char text[NOTE_TEXT_BYTES_MAX];
    uint8_t signature[NOTE_SIGNATURE_BYTES];
    memcpy(checkpoint.origin, log->key.name, sizeof checkpoint.origin);
    tlog_root(&log->tree, checkpoint.root, log_hash);
    size_t length = checkpoint_encode(&checkpoint, text);
    crypto_sign_ed25519_detached(signature, NULL, (const unsigned char *)text, length,
                                 log->secret_key);
    length = note_sign(text, length, log->key.name, log->key.id, signature);
    enum status status = durable_write(log->directory, LOG_CHECKPOINT, text, length, 0644);
    if (status != STATUS_OK)
        return status;
    log->signed_size = checkpoint.size;
    memcpy(log->signed_root, checkpoint.root, sizeof log->signed_root);
    return STATUS_OK;
}

static enum status create_key(struct audit_log *log, const char *origin)
{
    uint8_t seed[crypto_sign_SEEDBYTES];
    char key[NOTE_VKEY_BYTES], text[NOTE_VKEY_BYTES + 1];
    randombytes_buf(seed, sizeof seed);
    snprintf(log->key.name, sizeof log->key.name, "%s", origin);
    crypto_sign_seed_keypair(log->key.public_key, log->secret_key, seed);
    note_key_id(log->key.id, origin, log->key.public_key, log_hash);
    note_key_encode(key, SECRET_PREFIX, origin, log->key.id, seed);
    snprintf(text, sizeof text, "%s\n", key);
    enum status status = durable_write(log->directory, LOG_SECRET_KEY, text, strlen(text), 0600);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    return status;
}

static enum status load_key(struct audit_log *log, const char *origin, const char **why)
{
    char text[NOTE_VKEY_BYTES + 1];
    uint8_t seed[NOTE_KEY_BYTES], id[4];
    size_t size;
    enum status status = durable_read(log->directory, LOG_SECRET_KEY, text, sizeof text - 1, &size);
    *why = "the secret key (log.skey) cannot be read";
    if (status != STATUS_OK)
        return status;
    text[size] = '\0';
    status = note_key_decode(text, SECRET_PREFIX, log->key.name, log->key.id, seed);
    sodium_memzero(text, sizeof text);
    *why = "the secret key (log.skey) is malformed or of another log";
    if (status != STATUS_OK || strcmp(log->key.name, origin) != 0)
        return STATUS_MALFORMED;
    crypto_sign_seed_keypair(log->key.public_key, log->secret_key, seed);
    sodium_memzero(seed, sizeof seed);
    note_key_id(id, log->key.name, log->key.public_key, log_hash);
    return memcmp(id, log->key.id, sizeof id) == 0 ? STATUS_OK : STATUS_SIGNATURE;
}

// The public key is derived: it is written anew whenever it differs.
static enum status write_public_key(const struct audit_log *log)
{
    char key[NOTE_VKEY_BYTES], text[NOTE_VKEY_BYTES + 1], old[NOTE_VKEY_BYTES + 1];
    size_t size;
    note_key_encode(key, "", log->key.name, log->key.id, log->key.public_key);
    snprintf(text, sizeof text, "%s\n", key);
    if (durable_read(log->directory, LOG_PUBLIC_KEY, old, sizeof old, &size) == STATUS_OK &&
        size == strlen(text) && memcmp(old, text, size) == 0)
        return STATUS_OK;
    return durable_write(log->directory, LOG_PUBLIC_KEY, text, strlen(text), 0644);
}

// Reads the last bundle: its entries say where each source stands; the partial one is kept for growing.
static enum status load_bundle(struct audit_log *log, uint64_t size)
{
    unsigned width = tlog_width(size, TLOG_ENTRIES);
    uint64_t index = (size - 1) / TLOG_TILE_WIDTH;
    uint8_t *bytes;
    size_t bundle_bytes, offset = 0, entry_bytes;
    enum status status = log_bundle_read(&bytes, &bundle_bytes, log->directory, index,
                                         width != 0 ? width : TLOG_TILE_WIDTH);
    if (status != STATUS_OK)
        return status;
    const uint8_t *entry;
    for (unsigned i = 0;
         status == STATUS_OK &&
         (entry = log_bundle_next(bytes, bundle_bytes, &offset, &entry_bytes)) != NULL;
         i++) {
        uint8_t leaf[TLOG_HASH_BYTES];
        tlog_leaf(leaf, entry, entry_bytes, log_hash);
        // In a full bundle the tile above it vouches for the entries only through `crenel audit verify`.
        if (width != 0 && memcmp(leaf, log->tree.tiles[0][i], sizeof leaf) != 0)
            status = STATUS_SIGNATURE;
        else
            status = entry_highest(entry, entry_bytes, log->highest);
    }
    if (status == STATUS_OK && width != 0) {
        if (bundle_bytes > sizeof log->bundle) {
            status = STATUS_TOO_LARGE;
        } else {
            memcpy(log->bundle, bytes, bundle_bytes);
            log->bundle_bytes = bundle_bytes;
        }
    }
    free(bytes);
    return status;
}

static enum status load_tree(struct audit_log *log, const struct checkpoint *checkpoint,
                             const char **why)
{
    uint8_t root[TLOG_HASH_BYTES];
    log->tree.size = checkpoint->size;
    *why = "a tile that the checkpoint covers is missing or malformed";
    for (unsigned level = 0; level < TLOG_LEVELS_MAX; level++) {
        unsigned width = tlog_width(checkpoint->size, level);
        if (width == 0)
            continue;
        enum status status = log_tile_read(log->tree.tiles[level], log->directory, level,
                                           tlog_index(checkpoint->size, level), width);
        if (status != STATUS_OK)
            return status;
    }
    *why = "the tiles give another root than the signed checkpoint";
    tlog_root(&log->tree, root, log_hash);
    if (memcmp(root, checkpoint->root, sizeof root) != 0)
        return STATUS_SIGNATURE;
    *why = "the last entries differ from the signed checkpoint";
    return checkpoint->size != 0 ? load_bundle(log, checkpoint->size) : STATUS_OK;
}

static int exists(int directory, const char *path)
{
    struct stat stat;
    return fstatat(directory, path, &stat, AT_SYMLINK_NOFOLLOW) == 0;
}

enum status audit_log_open(struct audit_log *log, int directory, const char *origin,
                           const char **why)
{
    memset(log, 0, sizeof *log);
    log->directory = directory;
    *why = "libsodium does not start";
    if (sodium_init() < 0)
        return STATUS_SYSTEM;
    int has_checkpoint = exists(directory, LOG_CHECKPOINT), has_tiles = exists(directory, "tile");
    enum status status;
    if (exists(directory, LOG_SECRET_KEY)) {
        status = load_key(log, origin, why);
    } else {
        // A log without its key is never continued under a new one.
        *why = "there is a log but not its secret key (log.skey)";
        status = has_checkpoint || has_tiles ? STATUS_ABSENT : STATUS_OK;
        if (status == STATUS_OK) {
            *why = "the key pair cannot be written";
            status = create_key(log, origin);
        }
    }
    if (status != STATUS_OK)
        return status;
    *why = "the public key (log.vkey) cannot be written";
    status = write_public_key(log);
    if (status != STATUS_OK)
        return status;
    if (!has_checkpoint) {
        // The empty log's checkpoint is written before the first tile ever is.
        *why = "there are entries but no checkpoint";
        if (has_tiles)
            return STATUS_ABSENT;
        *why = "the first checkpoint cannot be written";
        return write_checkpoint(log);
    }
    struct checkpoint checkpoint;
    status = log_checkpoint_read(&checkpoint, directory, &log->key, why);
    if (status == STATUS_OK)
        status = load_tree(log, &checkpoint, why);
    if (status != STATUS_OK)
        return status;
    log->signed_size = checkpoint.size;
    memcpy(log->signed_root, checkpoint.root, sizeof log->signed_root);
    return STATUS_OK;
}

// Removes the partial files of a tile but the one of width `keep`; with keep 0 their folder too.
static void remove_partials(const struct audit_log *log, unsigned level, uint64_t index,
                            unsigned keep)
{
    char path[TLOG_PATH_BYTES], name[TLOG_PATH_BYTES];
    tlog_path(path, level, index, 1);
    path[strlen(path) - 2] = '\0'; // "….p"
    snprintf(name, sizeof name, "%u", keep);
    int fd = openat(log->directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return; // leftovers harm nobody
    }
    for (struct dirent *item; (item = readdir(folder)) != NULL;)
        if (item->d_name[0] != '.' && (keep == 0 || strcmp(item->d_name, name) != 0))
            (void)unlinkat(fd, item->d_name, 0);
    closedir(folder);
    if (keep == 0)
        (void)unlinkat(log->directory, path, AT_REMOVEDIR);
}

static enum status write_tile(const struct audit_log *log, unsigned level, uint64_t index,
                              unsigned width)
{
    char path[TLOG_PATH_BYTES];
    tlog_path(path, level, index, width);
    if (level == TLOG_ENTRIES)
        return durable_write(log->directory, path, log->bundle, log->bundle_bytes, 0644);
    return durable_write(log->directory, path, log->tree.tiles[level],
                         (size_t)width * TLOG_HASH_BYTES, 0644);
}

enum status audit_log_append(struct audit_log *log, enum audit_source source, uint64_t sequence,
                             int64_t time_ms, const char *text, size_t length)
{
    check((unsigned)source < AUDIT_SOURCES && length <= AUDIT_RECORD_BYTES_MAX);
    if (sequence <= log->highest[source])
        return STATUS_OK;
    int is_first = tlog_width(log->tree.size, TLOG_ENTRIES) == 0;
    check(log->bundle_bytes + 2 + AUDIT_ENTRY_BYTES_MAX <= sizeof log->bundle);
    char entry[AUDIT_ENTRY_BYTES_MAX];
    size_t entry_bytes = entry_encode(entry, source, sequence, time_ms,
                                      is_first ? log->highest : NULL, text, length);
    log->bundle[log->bundle_bytes++] = (uint8_t)(entry_bytes >> 8);
    log->bundle[log->bundle_bytes++] = (uint8_t)entry_bytes;
    memcpy(log->bundle + log->bundle_bytes, entry, entry_bytes);
    log->bundle_bytes += entry_bytes;
    log->highest[source] = sequence;
    uint8_t leaf[TLOG_HASH_BYTES];
    tlog_leaf(leaf, entry, entry_bytes, log_hash);
    unsigned full = tlog_push(&log->tree, leaf, log_hash);
    if (full == 0)
        return STATUS_OK;
    enum status status =
        write_tile(log, TLOG_ENTRIES, log->tree.size / TLOG_TILE_WIDTH - 1, TLOG_TILE_WIDTH);
    for (unsigned level = 0; level < full && status == STATUS_OK; level++)
        status = write_tile(log, level, (log->tree.size >> (8 * (level + 1))) - 1, TLOG_TILE_WIDTH);
    log->bundle_bytes = 0;
    return status;
}

enum status audit_log_commit(struct audit_log *log)
{
    uint64_t old = log->signed_size, size = log->tree.size;
    if (old == size)
        return STATUS_OK;
    // A level is as it was when neither its index nor its width changed.
    for (unsigned level = 0; level <= TLOG_ENTRIES; level++) {
        unsigned width = tlog_width(size, level);
        if (width == 0 || (width == tlog_width(old, level) &&
                           tlog_index(size, level) == tlog_index(old, level)))
            continue;
        enum status status = write_tile(log, level, tlog_index(size, level), width);
        if (status != STATUS_OK)
            return status;
    }
    enum status status = write_checkpoint(log);
    if (status != STATUS_OK)
        return status;
    for (unsigned level = 0; level <= TLOG_ENTRIES; level++) {
        uint64_t index = tlog_index(old, level);
        int is_same = index == tlog_index(size, level);
        if (tlog_width(old, level) != 0)
            remove_partials(log, level, index, is_same ? tlog_width(size, level) : 0);
    }
    return STATUS_OK;
}
