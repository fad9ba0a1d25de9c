// SPDX-License-Identifier: ISC
// Where things lie in an instance: one region at a random base, nothing else is mapped. The same for all walls.
//
//   base    guards                not mapped: one page, those marked * up to a fifth of what is left of 2 MiB more, at random
//           guard *
//           zygote page    r-x    process only: the code that forks; an instance unmaps it before the guest runs
//           guard
//           gate page      r-x    wait(), and nothing else that a guest can use
//           guard *
//   image   segments       r--, r-x, r-- (RELRO)      as the image file says, the same memory for all instances
//           data           rw-    slice
//           guard *
//   arena                  rw-    slice
//           guard *
//   stack                  rw-    slice; grows down towards its guard
//           guard *
//   boot    16 KiB         r--    slice: boot block and configuration
//   input   16 KiB         r--    slice: one record from the host
//           guard
//   output  32 KiB         rw-    slice: the guest's records
//   end     guard
//
// "slice" is memory of the one instance: its slot's part of the pool (guest_memory.h), all that an instance can
// write. The base is a multiple of 2 MiB between 4 GiB and 2^47: 26 random bits. The gaps add 6.5 or more to each part, and the
// parts tell nothing about one another, at no cost: a region of up to 2 MiB has one page of page table. Page 0 is never mapped.
#ifndef CRENEL_TENDER_LAYOUT_H
#define CRENEL_TENDER_LAYOUT_H

#include "core/image.h"

#define LAYOUT_PAGE 4096u
#define LAYOUT_ALIGNMENT 0x200000u
#define LAYOUT_BASE_MIN 0x100000000u
#define LAYOUT_USER_END 0x7ffffffff000u // end of user addresses under 4-level page tables
#define LAYOUT_MEMORY_MAX 0x4000000u    // arena or stack: 64 MiB

struct layout {
    uint64_t base;
    uint64_t zygote;
    uint64_t gate;
    uint64_t image, image_bytes;
    uint64_t data, data_bytes; // of the image; data_bytes 0: it has none
    uint64_t arena, arena_bytes;
    uint64_t stack, stack_bytes; // lowest address; the guest starts at its end
    uint64_t boot, input, output;
    uint64_t end;
};

// Places an image's parts at a base drawn from `random`. STATUS_TOO_LARGE: the manifest asks for
// more than LAYOUT_MEMORY_MAX.
enum status layout_make(struct layout *layout, const struct image *image, uint64_t random) MUST_USE;

// The slice's writable parts, in the slice's order: output, data, arena, stack.
#define LAYOUT_PARTS 4u
struct layout_part {
    uint64_t address, bytes;
};
void layout_parts(const struct layout *layout, struct layout_part parts[LAYOUT_PARTS]);

// Names where an address lies, as the end of a sentence: "below the stack", "in text".
const char *layout_place(const struct layout *layout, const struct image *image, uint64_t address);

// 1 if the address lies in the image's text.
int layout_is_text(const struct layout *layout, const struct image *image, uint64_t address);

// 1 if the guest may read the address but not write it.
int layout_is_read_only(const struct layout *layout, const struct image *image, uint64_t address);

#endif
