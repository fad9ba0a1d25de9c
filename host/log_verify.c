// SPDX-License-Identifier: ISC
// Walks the bundles in order, grows the tree from the entries, and compares with what lies on disk.
//
// A log that is being written replaces its checkpoint and removes the partial files of the former one. So the
// checkpoint and the partial files are read first, together; full tiles and bundles never change.
#include "host/log_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_ATTEMPTS 50 // each time the writer was faster

struct walk {
    int directory;
    struct log_verdict *verdict;
    struct tlog_tree tree;    // grown from the entries
    struct tlog_tree partial; // the partial tiles on disk
    uint8_t *bundle;          // the partial bundle on disk, or NULL
    size_t bundle_bytes;
    uint8_t disk[TLOG_TILE_WIDTH][TLOG_HASH_BYTES];
};

static enum status bad(struct walk *walk, uint64_t first, uint64_t last, const char *what,
                       const char *path, enum status status)
{
    struct log_verdict *verdict = walk->verdict;
    verdict->first_bad = first;
    verdict->last_bad = last;
    snprintf(verdict->why, sizeof verdict->why, "%s%s%s%s%s", path, *path ? " " : "", what,
             status == STATUS_ABSENT ? ": no such file" : "",
             status == STATUS_MALFORMED ? ": its size or lengths are wrong" : "");
    return STATUS_SIGNATURE;
}

// Reads the partial tiles and the partial bundle of the checkpoint.
static enum status read_partials(struct walk *walk)
{
    uint64_t size = walk->verdict->checkpoint.size;
    char path[TLOG_PATH_BYTES];
    for (unsigned level = 0; level <= TLOG_ENTRIES; level++) {
        unsigned width = tlog_width(size, level);
        uint64_t index = tlog_index(size, level);
        uint64_t span = level == TLOG_ENTRIES ? 1 : 1ull << (8 * level);
        if (width == 0)
            continue;
        enum status status =
            level == TLOG_ENTRIES
                ? log_bundle_read(&walk->bundle, &walk->bundle_bytes, walk->directory, index, width)
                : log_tile_read(walk->partial.tiles[level], walk->directory, level, index, width);
        if (status == STATUS_OK)
            continue;
        tlog_path(path, level, index, width);
        uint64_t first = index * TLOG_TILE_WIDTH * span;
        (void)bad(walk, first, first + width * span - 1, "cannot be used", path, status);
        return status == STATUS_ABSENT ? STATUS_ABSENT : STATUS_SIGNATURE;
    }
    return STATUS_OK;
}

static enum status read_snapshot(struct walk *walk, const struct log_key *key)
{
    struct log_verdict *verdict = walk->verdict;
    struct checkpoint former = {.size = UINT64_MAX};
    for (int i = 0;; i++) {
        const char *why = "";
        *verdict = (struct log_verdict){.first_bad = UINT64_MAX, .last_bad = UINT64_MAX};
        enum status status =
            log_checkpoint_read(&verdict->checkpoint, walk->directory, key, &why);
        if (status != STATUS_OK) {
            snprintf(verdict->why, sizeof verdict->why, "%s", why);
            return status;
        }
        verdict->has_checkpoint = 1;
        status = read_partials(walk);
        // Missing files are an answer only if the checkpoint still is the one that names them.
        if (status != STATUS_ABSENT || verdict->checkpoint.size == former.size ||
            i == SNAPSHOT_ATTEMPTS)
            return status == STATUS_ABSENT ? STATUS_SIGNATURE : status;
        former = verdict->checkpoint;
        free(walk->bundle);
        walk->bundle = NULL;
    }
}

// Compares a tile of level >= 1 with what the entries give. A difference covers 256^level entries.
static enum status compare_tile(struct walk *walk, unsigned level, uint64_t index, unsigned width)
{
    char path[TLOG_PATH_BYTES];
    tlog_path(path, level, index, width);
    uint64_t span = 1ull << (8 * level), first = index * TLOG_TILE_WIDTH * span;
    if (width < TLOG_TILE_WIDTH) {
        memcpy(walk->disk, walk->partial.tiles[level], sizeof walk->disk);
    } else {
        enum status status = log_tile_read(walk->disk, walk->directory, level, index, width);
        if (status != STATUS_OK)
            return bad(walk, first, first + width * span - 1, "cannot be used", path, status);
    }
    for (unsigned i = 0; i < width; i++)
        if (memcmp(walk->disk[i], walk->tree.tiles[level][i], TLOG_HASH_BYTES) != 0)
            return bad(walk, first + i * span, first + (i + 1) * span - 1,
                       "differs from the entries below it", path, STATUS_OK);
    return STATUS_OK;
}

// Entries and their hashes of one bundle; the hashes are in walk->disk.
static enum status walk_entries(struct walk *walk, uint64_t first, unsigned width,
                                const uint8_t *bytes, size_t size, const char *path)
{
    size_t offset = 0, entry_bytes = 0;
    for (unsigned i = 0; i < width; i++) {
        uint8_t leaf[TLOG_HASH_BYTES];
        const uint8_t *entry = log_bundle_next(bytes, size, &offset, &entry_bytes);
        tlog_leaf(leaf, entry, entry_bytes, log_hash);
        if (memcmp(leaf, walk->disk[i], TLOG_HASH_BYTES) != 0)
            return bad(walk, first + i, first + i, "holds an entry that differs from its hash", path,
                       STATUS_OK);
        unsigned full = tlog_push(&walk->tree, leaf, log_hash);
        for (unsigned level = 1; level < full; level++) {
            // walk->disk is free for this: a tile above fills only with the last entry of a bundle.
            enum status status = compare_tile(
                walk, level, (walk->tree.size >> (8 * (level + 1))) - 1, TLOG_TILE_WIDTH);
            if (status != STATUS_OK)
                return status;
        }
    }
    return STATUS_OK;
}

static enum status walk_bundle(struct walk *walk, uint64_t index)
{
    char path[TLOG_PATH_BYTES];
    uint64_t first = index * TLOG_TILE_WIDTH, last = first + TLOG_TILE_WIDTH - 1;
    uint8_t *bytes = NULL;
    size_t size = 0;
    tlog_path(path, 0, index, TLOG_TILE_WIDTH);
    enum status status = log_tile_read(walk->disk, walk->directory, 0, index, TLOG_TILE_WIDTH);
    if (status != STATUS_OK)
        return bad(walk, first, last, "cannot be used", path, status);
    tlog_path(path, TLOG_ENTRIES, index, TLOG_TILE_WIDTH);
    status = log_bundle_read(&bytes, &size, walk->directory, index, TLOG_TILE_WIDTH);
    if (status != STATUS_OK)
        return bad(walk, first, last, "cannot be used", path, status);
    status = walk_entries(walk, first, TLOG_TILE_WIDTH, bytes, size, path);
    free(bytes);
    return status;
}

static enum status walk_all(struct walk *walk)
{
    const struct checkpoint *checkpoint = &walk->verdict->checkpoint;
    uint64_t size = checkpoint->size;
    char path[TLOG_PATH_BYTES];
    enum status status = STATUS_OK;
    for (uint64_t index = 0; index < size / TLOG_TILE_WIDTH && status == STATUS_OK; index++)
        status = walk_bundle(walk, index);
    unsigned rest = tlog_width(size, TLOG_ENTRIES);
    if (status == STATUS_OK && rest != 0) {
        tlog_path(path, TLOG_ENTRIES, size / TLOG_TILE_WIDTH, rest);
        memcpy(walk->disk, walk->partial.tiles[0], sizeof walk->disk);
        status = walk_entries(walk, size - rest, rest, walk->bundle, walk->bundle_bytes, path);
    }
    for (unsigned level = 1; level < TLOG_LEVELS_MAX && status == STATUS_OK; level++)
        if (tlog_width(size, level) != 0)
            status = compare_tile(walk, level, tlog_index(size, level), tlog_width(size, level));
    if (status != STATUS_OK)
        return status;
    uint8_t root[TLOG_HASH_BYTES];
    tlog_root(&walk->tree, root, log_hash);
    if (memcmp(root, checkpoint->root, sizeof root) != 0)
        return bad(walk, 0, size == 0 ? 0 : size - 1,
                   "the entries give another root than the signed one", "", STATUS_OK);
    return STATUS_OK;
}

enum status log_verify(struct log_verdict *verdict, int directory, const struct log_key *key)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        *verdict = (struct log_verdict){.why = "no memory"};
        return STATUS_SYSTEM;
    }
    walk->directory = directory;
    walk->verdict = verdict;
    enum status status = read_snapshot(walk, key);
    if (status == STATUS_OK)
        status = walk_all(walk);
    free(walk->bundle);
    free(walk);
    return status;
}
