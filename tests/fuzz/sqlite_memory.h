// SPDX-License-Identifier: ISC
// Memory for SQLite that is quick: it takes thousands of small pieces for each input, and a sanitizer's allocator would
// be most of the work. (The target `commit` leaves SQLite to the sanitizer.)
#ifndef CRENEL_TESTS_SQLITE_MEMORY_H
#define CRENEL_TESTS_SQLITE_MEMORY_H

#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SQLITE_MEMORY_CLASSES 24 // powers of two from 32 bytes on

union sqlite_piece {
    union sqlite_piece *next; // of its class, free
    uint64_t class;           // in front of a piece that is used
    uint64_t aligned[2];
};
static union sqlite_piece *sqlite_free_pieces[SQLITE_MEMORY_CLASSES];

static void *sqlite_memory_take(int size)
{
    unsigned class = 0;
    while ((32u << class) < (unsigned)size)
        class++;
    union sqlite_piece *piece = sqlite_free_pieces[class];
    if (piece != NULL)
        sqlite_free_pieces[class] = piece->next;
    else
        piece = malloc(sizeof *piece + (32u << class));
    if (piece == NULL)
        return NULL;
    piece->class = class;
    return piece + 1;
}

static void sqlite_memory_give(void *bytes)
{
    union sqlite_piece *piece = (union sqlite_piece *)bytes - 1;
    uint64_t class = piece->class;
    piece->next = sqlite_free_pieces[class];
    sqlite_free_pieces[class] = piece;
}

static int sqlite_memory_size(void *bytes) { return 32 << ((union sqlite_piece *)bytes - 1)->class; }
static int sqlite_memory_round(int size) { return (size + 31) & ~31; }

static void *sqlite_memory_change(void *bytes, int size)
{
    int old = sqlite_memory_size(bytes);
    if (size <= old)
        return bytes;
    void *larger = sqlite_memory_take(size);
    if (larger == NULL)
        return NULL;
    memcpy(larger, bytes, (size_t)old);
    sqlite_memory_give(bytes);
    return larger;
}

static int sqlite_memory_begin(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void sqlite_memory_end(void *unused) { (void)unused; }

// Before SQLite is used at all.
static inline int sqlite_memory_use(void)
{
    static const sqlite3_mem_methods methods = {sqlite_memory_take, sqlite_memory_give, sqlite_memory_change,
                                                sqlite_memory_size, sqlite_memory_round, sqlite_memory_begin,
                                                sqlite_memory_end, NULL};
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK &&
           sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK;
}

#endif
