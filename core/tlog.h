// SPDX-License-Identifier: ISC
// A transparency log's Merkle tree (RFC 6962) and its tiles (C2SP tlog-tiles), without I/O.
//
// leaf = H(0x00 || entry), node = H(0x01 || left || right), H = SHA-256; the empty tree's root is H("").
// The hashes of the tree are grouped into tiles of height 8. Tile (level, index) holds the hashes
// index * 256 .. of the nodes that each cover 256^level entries, in order; a tile of 256 hashes is
// full, a partial tile of a tree of `size` entries holds floor(size / 256^level) mod 256.
// Files: tile/<level>/<index>[.p/<width>] and the entries themselves in tile/entries/<index>[.p/<width>],
// each entry a big-endian uint16_t length and its bytes. <index> is written in groups of three
// digits, all but the last with an x before: 1234067 is x001/x234/067.
//
// struct tlog_tree holds, of each level, only the rightmost tile: all that appending needs.
#ifndef CRENEL_CORE_TLOG_H
#define CRENEL_CORE_TLOG_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define TLOG_HASH_BYTES 32u
#define TLOG_TILE_WIDTH 256u
#define TLOG_LEVELS_MAX 6u // 2^48 entries
#define TLOG_ENTRY_BYTES_MAX 65535u
#define TLOG_PATH_BYTES 64u
#define TLOG_ENTRIES TLOG_LEVELS_MAX // as a level: the bundles of entries

// SHA-256 over a followed by b. Core has no hash of its own: hosts hand one in.
typedef void tlog_hash(uint8_t digest[TLOG_HASH_BYTES], const void *a, size_t a_bytes,
                       const void *b, size_t b_bytes);

struct tlog_tree {
    uint64_t size; // entries
    uint8_t tiles[TLOG_LEVELS_MAX][TLOG_TILE_WIDTH][TLOG_HASH_BYTES];
};

void tlog_leaf(uint8_t leaf[TLOG_HASH_BYTES], const void *entry, size_t size, tlog_hash *hash);

// Appends a leaf. Returns how many levels' tiles it filled: of each level below that number the tile
// with index size / 256^(level + 1) - 1 is complete in tree->tiles[level] until the next push.
unsigned tlog_push(struct tlog_tree *tree, const uint8_t leaf[TLOG_HASH_BYTES], tlog_hash *hash);

// Root of the tree. tree->tiles must hold the partial tiles of tree->size (they do after pushes; when
// a tree is loaded the caller fills tlog_width() hashes of each level).
void tlog_root(const struct tlog_tree *tree, uint8_t root[TLOG_HASH_BYTES], tlog_hash *hash);

// Hashes in the partial tile of a level (0: there is none), and the index that it has. TLOG_ENTRIES: as level 0.
unsigned tlog_width(uint64_t size, unsigned level);
uint64_t tlog_index(uint64_t size, unsigned level);

// Path of a tile; width 256: full.
void tlog_path(char path[TLOG_PATH_BYTES], unsigned level, uint64_t index, unsigned width);

#endif
