// SPDX-License-Identifier: ISC
// Draws where things lie in an instance: proto/layout.h shows it.
#ifndef CRENEL_TENDER_LAYOUT_H
#define CRENEL_TENDER_LAYOUT_H

#include "core/image.h"
#include "proto/layout.h"

#define LAYOUT_ALIGNMENT 0x200000u
#define LAYOUT_BASE_MIN 0x100000000u
#define LAYOUT_USER_END 0x7ffffffff000u // end of user addresses under 4-level page tables

// Places an image's parts at a base drawn from `random`.
void layout_make(struct layout *layout, const struct image *image, uint64_t random);

// The slice's writable parts, in the slice's order: output, data, arena, stack.
#define LAYOUT_PARTS 4u
void layout_parts(const struct layout *layout, struct layout_part parts[LAYOUT_PARTS]);

#endif
