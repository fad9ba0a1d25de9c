// SPDX-License-Identifier: ISC
// Other code for the same source, for when a forbidden instruction came out by chance.
//
// A byte sequence that is not allowed can come from a distance between functions or to data (another
// place of the sections moves it), or from a distance, an operand or an encoding inside one function
// (only other code for that function removes it). Attempts go through a fixed list of both, and change
// the code of those sources alone that hold a hit: the same input gives the same image.
#ifndef CRENEL_CLI_BUILD_LAYOUT_H
#define CRENEL_CLI_BUILD_LAYOUT_H

#include "cli/build/build_source.h"
#include "cli/build/pack.h"

#define LAYOUT_ATTEMPTS 24u
#define LAYOUT_OPTIONS_MAX 4u // compiler options of one variant
#define LAYOUT_OBJECTS_MAX (BUILD_SOURCES_MAX + 1u) // one per source, then the dispatch file

struct layout { // zero, then all is_due: the plain way
    unsigned attempt; // from 0
    uint8_t variant[LAYOUT_OBJECTS_MAX]; // of the code of each object
    uint8_t is_due[LAYOUT_OBJECTS_MAX];  // is to be compiled (again)
};

void layout_init(struct layout *layout);

// Options that the compiler gets behind all others; *count of them. Those of variant 0 are none.
const char *const *layout_options(const struct layout *layout, size_t object, size_t *count);
// Slide before application and library in bytes, and the order of sections: the linker's name for it or NULL.
unsigned layout_slide(const struct layout *layout);
const char *layout_order(const struct layout *layout);

// The next attempt, after one whose text holds forbidden instructions. map_path: the linker's map, which
// tells the object of an address ("WORK/3.o"). 0: there is none left.
int layout_next(struct layout *layout, const struct pack *pack, const char *map_path);

#endif
