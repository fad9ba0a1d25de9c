// SPDX-License-Identifier: ISC
// The list of layouts and code variants, and finding the objects that hold a forbidden instruction.
#include "cli/build/build_layout.h"

#include "cli/build/build_tool.h"
#include "core/image.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP_BYTES_MAX (16u << 20)
#define SLIDE_BYTES 16u
#define ORDER_ATTEMPTS 3u // with the same order of sections
#define HITS_MAX 32u
#define LINK_ONLY_ATTEMPTS 2u // places of sections alone: they cost no compiling

// None changes what the code means. Each gives most functions other jumps, registers or instructions.
static const char *const variants[][LAYOUT_OPTIONS_MAX] = {
    {NULL},
    {"-fno-reorder-blocks"},
    {"-falign-jumps=32", "-falign-loops=32"},
    {"-Os"},
    {"-fno-schedule-insns2", "-fno-tree-ter"},
    {"-fira-region=one", "-fira-algorithm=priority"},
    {"-O1"},
    {"-mtune=atom"},
    {"-O3"},
    {"-Os", "-fno-reorder-blocks"},
    {"-fno-inline", "-falign-functions=64"},
    {"-mtune=znver3", "-fno-if-conversion", "-fno-if-conversion2"},
    {"-O1", "-fno-reorder-blocks", "-falign-labels=16"},
    {"-fno-tree-vectorize", "-fno-ivopts", "-fno-gcse"},
    {"-Os", "-mtune=atom", "-fno-ira-share-spill-slots"},
    {"-O3", "-fno-schedule-insns2", "-falign-labels=8"},
    {"-fno-crossjumping", "-fno-thread-jumps", "-fno-tree-pre"},
    {"-O1", "-fno-inline", "-fira-region=one"},
    {"-fno-omit-frame-pointer", "-fno-shrink-wrap", "-fno-peephole2"},
    {"-Os", "-fno-inline", "-falign-labels=32"},
    {"-O1", "-mtune=znver3", "-fno-tree-ter", "-fno-forward-propagate"},
    {"-fno-dce", "-fno-tree-dominator-opts", "-fno-tree-fre", "-falign-labels=64"},
};
#define VARIANTS (sizeof variants / sizeof variants[0])
_Static_assert(VARIANTS == LAYOUT_ATTEMPTS - LINK_ONLY_ATTEMPTS, "each attempt has a variant of its own");

void layout_init(struct layout *layout)
{
    memset(layout, 0, sizeof *layout);
    memset(layout->is_due, 1, sizeof layout->is_due);
}

const char *const *layout_options(const struct layout *layout, size_t object, size_t *count)
{
    const char *const *options = variants[layout->variant[object]];
    *count = 0;
    while (*count < LAYOUT_OPTIONS_MAX && options[*count] != NULL)
        ++*count;
    return options;
}

unsigned layout_slide(const struct layout *layout)
{
    return layout->attempt * SLIDE_BYTES;
}

const char *layout_order(const struct layout *layout)
{
    static const char *const orders[] = {NULL, "name", "alignment"};
    return orders[layout->attempt / ORDER_ATTEMPTS % 3];
}

// A line of the map: [" .text.name"] spaces 0xADDRESS spaces 0xSIZE space PATH. Marks the object if a hit
// lies in it.
static void map_line_take(struct layout *layout, char *line, const uint64_t *hits, size_t hit_count)
{
    char *number = strstr(line, " 0x"), *end;
    if (number == NULL)
        return;
    uint64_t address = strtoull(number, &end, 16);
    uint64_t size = strtoull(end, &end, 16);
    char *slash = strrchr(end, '/');
    if (slash == NULL || !isdigit((unsigned char)slash[1]))
        return; // the library, or not an object
    unsigned long object = strtoul(slash + 1, &end, 10);
    if (strcmp(end, ".o") != 0 || object >= LAYOUT_OBJECTS_MAX)
        return;
    for (size_t i = 0; i < hit_count; i++)
        if (hits[i] >= address && hits[i] - address < size)
            layout->is_due[object] = 1;
}

int layout_next(struct layout *layout, const struct pack *pack, const char *map_path)
{
    const uint8_t *text = pack->parts[PACK_TEXT].bytes;
    size_t text_bytes = pack->parts[PACK_TEXT].memory_bytes, size;
    uint64_t hits[HITS_MAX];
    size_t hit_count = 0;
    char *map, *rest;
    const char *name;

    memset(layout->is_due, 0, sizeof layout->is_due);
    if (++layout->attempt >= LAYOUT_ATTEMPTS)
        return 0;
    if (layout->attempt <= LINK_ONLY_ATTEMPTS || tool_read(map_path, MAP_BYTES_MAX, &map, &size) != STATUS_OK)
        return 1;
    for (size_t at = image_forbidden(text, text_bytes, 0, &name); at < text_bytes && hit_count < HITS_MAX;
         at = image_forbidden(text, text_bytes, at + 1, &name))
        hits[hit_count++] = pack->parts[PACK_TEXT].address + at;
    int is_text = 0; // debug information has small addresses too
    for (char *line = strtok_r(map, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] != ' ')
            is_text = strcmp(line, ".text") == 0 || strncmp(line, ".text ", 6) == 0;
        else if (is_text)
            map_line_take(layout, line, hits, hit_count);
    }
    free(map);
    for (size_t i = 0; i < LAYOUT_OBJECTS_MAX; i++)
        if (layout->is_due[i])
            layout->variant[i] = (uint8_t)((layout->variant[i] + 1u) % VARIANTS);
    return 1;
}
