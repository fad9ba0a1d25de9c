// SPDX-License-Identifier: ISC
// The Merkle tree as its rightmost tiles.
//
// Invariant: tiles[L][0 .. tlog_width(size, L)) are the hashes of the nodes of level L that no full
// tile covers. A push adds a hash to level 0; a tile that becomes full gives its root to the level above.
#include "core/tlog.h"

#include "core/check.h"

#include <string.h>

void tlog_leaf(uint8_t leaf[TLOG_HASH_BYTES], const void *entry, size_t size, tlog_hash *hash)
{
    static const uint8_t prefix = 0x00;
    hash(leaf, &prefix, 1, entry, size);
}

static void node(uint8_t out[TLOG_HASH_BYTES], const uint8_t *left, const uint8_t *right,
                 tlog_hash *hash)
{
    static const uint8_t prefix = 0x01;
    uint8_t pair[2 * TLOG_HASH_BYTES];
    memcpy(pair, left, TLOG_HASH_BYTES);
    memcpy(pair + TLOG_HASH_BYTES, right, TLOG_HASH_BYTES);
    hash(out, &prefix, 1, pair, sizeof pair);
}

// Root of `count` hashes, a power of two.
static void perfect_root(uint8_t out[TLOG_HASH_BYTES],
                         const uint8_t hashes[][TLOG_HASH_BYTES], unsigned count, tlog_hash *hash)
{
    uint8_t work[TLOG_TILE_WIDTH][TLOG_HASH_BYTES];
    memcpy(work, hashes, (size_t)count * TLOG_HASH_BYTES);
    for (; count > 1; count /= 2)
        for (unsigned i = 0; i < count / 2; i++)
            node(work[i], work[2 * i], work[2 * i + 1], hash);
    memcpy(out, work[0], TLOG_HASH_BYTES);
}

unsigned tlog_width(uint64_t size, unsigned level)
{
    return (unsigned)((level == TLOG_ENTRIES ? size : size >> (8 * level)) & 0xff);
}

uint64_t tlog_index(uint64_t size, unsigned level)
{
    return level == TLOG_ENTRIES ? size >> 8 : size >> (8 * (level + 1));
}

unsigned tlog_push(struct tlog_tree *tree, const uint8_t leaf[TLOG_HASH_BYTES], tlog_hash *hash)
{
    check(tree->size < (1ull << (8 * TLOG_LEVELS_MAX)) - 1);
    uint8_t carry[TLOG_HASH_BYTES];
    memcpy(carry, leaf, TLOG_HASH_BYTES);
    for (unsigned level = 0; level < TLOG_LEVELS_MAX; level++) {
        unsigned width = tlog_width(tree->size, level);
        memcpy(tree->tiles[level][width], carry, TLOG_HASH_BYTES);
        if (width + 1 < TLOG_TILE_WIDTH) {
            tree->size++;
            return level;
        }
        perfect_root(carry, (const uint8_t(*)[TLOG_HASH_BYTES])tree->tiles[level], TLOG_TILE_WIDTH,
                     hash);
    }
    check(0); // the size check above keeps the top tile from filling
    return 0;
}

void tlog_root(const struct tlog_tree *tree, uint8_t root[TLOG_HASH_BYTES], tlog_hash *hash)
{
    if (tree->size == 0) {
        hash(root, NULL, 0, NULL, 0);
        return;
    }
    // The tree is a row of perfect subtrees, largest first: fold it from the right.
    int is_begun = 0;
    for (unsigned level = 0; level < TLOG_LEVELS_MAX; level++) {
        unsigned width = tlog_width(tree->size, level);
        for (unsigned bit = 1; bit < TLOG_TILE_WIDTH; bit *= 2) {
            if ((width & bit) == 0)
                continue;
            uint8_t subtree[TLOG_HASH_BYTES];
            unsigned first = width & ~(2 * bit - 1);
            perfect_root(subtree, (const uint8_t(*)[TLOG_HASH_BYTES]) & tree->tiles[level][first],
                         bit, hash);
            if (is_begun)
                node(root, subtree, root, hash);
            else
                memcpy(root, subtree, TLOG_HASH_BYTES);
            is_begun = 1;
        }
    }
}

static size_t put_number(char *text, uint64_t value, unsigned digits_min)
{
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0 || count < digits_min);
    for (unsigned i = 0; i < count; i++)
        text[i] = digits[count - 1 - i];
    return count;
}

void tlog_path(char path[TLOG_PATH_BYTES], unsigned level, uint64_t index, unsigned width)
{
    check(level <= TLOG_ENTRIES && width >= 1 && width <= TLOG_TILE_WIDTH && index >> 48 == 0);
    size_t at = 0;
    memcpy(path, "tile/", 5);
    at += 5;
    if (level == TLOG_ENTRIES) {
        memcpy(path + at, "entries", 7);
        at += 7;
    } else {
        at += put_number(path + at, level, 1);
    }
    unsigned groups = 1;
    uint64_t scale = 1; // 1000^(groups - 1)
    while (index / scale >= 1000) {
        scale *= 1000;
        groups++;
    }
    for (; groups > 0; groups--, scale /= 1000) {
        path[at++] = '/';
        if (groups > 1)
            path[at++] = 'x';
        at += put_number(path + at, index / scale % 1000, 3);
    }
    if (width != TLOG_TILE_WIDTH) {
        memcpy(path + at, ".p/", 3);
        at += 3;
        at += put_number(path + at, width, 1);
    }
    path[at] = '\0';
    check(at < TLOG_PATH_BYTES);
}
