// SPDX-License-Identifier: ISC
// Walks the bundles in order, grows the tree from the entries, and compares with what lies on disk.
#include "host/log_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
    int directory;
    struct log_verdict *verdict;
    struct tlog_tree *tree; // grown from the entries
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

// Compares a tile of level >= 1 with what the entries give. A difference covers 256^level entries.
static enum status compare_tile(struct walk *walk, unsigned level, uint64_t index, unsigned width)
{
    char path[TLOG_PATH_BYTES];
    tlog_path(path, level, index, width);
    uint64_t span = 1ull << (8 * level), first = index * TLOG_TILE_WIDTH * span;
    enum status status = log_tile_read(walk->disk, walk->directory, level, index, width);
    if (status != STATUS_OK)
        return bad(walk, first, first + width * span - 1, "cannot be used", path, status);
    for (unsigned i = 0; i < width; i++)
        if (memcmp(walk->disk[i], walk->tree->tiles[level][i], TLOG_HASH_BYTES) != 0)
            return bad(walk, first + i * span, first + (i + 1) * span - 1,
                       "differs from the entries below it", path, STATUS_OK);
    return STATUS_OK;
}

static enum status walk_bundle(struct walk *walk, uint64_t index, unsigned width)
{
    char path[TLOG_PATH_BYTES];
    uint64_t first = index * TLOG_TILE_WIDTH;
    uint8_t *bytes = NULL;
    size_t size = 0, offset = 0, entry_bytes = 0;
    tlog_path(path, 0, index, width);
    enum status status = log_tile_read(walk->disk, walk->directory, 0, index, width);
    if (status != STATUS_OK)
        return bad(walk, first, first + width - 1, "cannot be used", path, status);
    tlog_path(path, TLOG_ENTRIES, index, width);
    status = log_bundle_read(&bytes, &size, walk->directory, index, width);
    if (status != STATUS_OK)
        return bad(walk, first, first + width - 1, "cannot be used", path, status);
    for (unsigned i = 0; i < width && status == STATUS_OK; i++) {
        uint8_t leaf[TLOG_HASH_BYTES];
        const uint8_t *entry = log_bundle_next(bytes, size, &offset, &entry_bytes);
        tlog_leaf(leaf, entry, entry_bytes, log_hash);
        if (memcmp(leaf, walk->disk[i], TLOG_HASH_BYTES) != 0) {
            status = bad(walk, first + i, first + i, "holds an entry that differs from its hash",
                         path, STATUS_OK);
            break;
        }
        unsigned full = tlog_push(walk->tree, leaf, log_hash);
        for (unsigned level = 1; level < full && status == STATUS_OK; level++)
            status = compare_tile(walk, level, (walk->tree->size >> (8 * (level + 1))) - 1,
                                  TLOG_TILE_WIDTH);
    }
    free(bytes);
    return status;
}

static enum status walk_all(struct walk *walk)
{
    const struct checkpoint *checkpoint = &walk->verdict->checkpoint;
    uint64_t size = checkpoint->size;
    for (uint64_t index = 0; index * TLOG_TILE_WIDTH < size; index++) {
        uint64_t left = size - index * TLOG_TILE_WIDTH;
        enum status status =
            walk_bundle(walk, index, left < TLOG_TILE_WIDTH ? (unsigned)left : TLOG_TILE_WIDTH);
        if (status != STATUS_OK)
            return status;
    }
    for (unsigned level = 1; level < TLOG_LEVELS_MAX; level++) {
        unsigned width = tlog_width(size, level);
        if (width == 0)
            continue;
        enum status status = compare_tile(walk, level, tlog_index(size, level), width);
        if (status != STATUS_OK)
            return status;
    }
    uint8_t root[TLOG_HASH_BYTES];
    tlog_root(walk->tree, root, log_hash);
    if (memcmp(root, checkpoint->root, sizeof root) != 0)
        return bad(walk, 0, size == 0 ? 0 : size - 1,
                   "the entries give another root than the signed one", "", STATUS_OK);
    return STATUS_OK;
}

enum status log_verify(struct log_verdict *verdict, int directory, const struct log_key *key)
{
    *verdict = (struct log_verdict){.first_bad = UINT64_MAX, .last_bad = UINT64_MAX};
    const char *why = "";
    enum status status = log_checkpoint_read(&verdict->checkpoint, directory, key, &why);
    if (status != STATUS_OK) {
        snprintf(verdict->why, sizeof verdict->why, "%s", why);
        return status;
    }
    verdict->has_checkpoint = 1;
    struct walk walk = {.directory = directory, .verdict = verdict};
    walk.tree = calloc(1, sizeof *walk.tree);
    if (walk.tree == NULL) {
        snprintf(verdict->why, sizeof verdict->why, "no memory");
        return STATUS_SYSTEM;
    }
    status = walk_all(&walk);
    free(walk.tree);
    return status;
}
