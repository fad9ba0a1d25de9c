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
// "slice" is memory of the one instance: its slot's part of the pool (tender/guest_memory.h), all that an instance can
// write. The base is a multiple of 2 MiB between 4 GiB and 2^47: 26 random bits. The gaps add 6.5 or more to each part, and the
// parts tell nothing about one another, at no cost: a region of up to 2 MiB has one page of page table. Page 0 is never mapped.
// The tender draws it (tender/layout.h), and sends it along with a crash report, which core/crash.h makes words of.
#ifndef CRENEL_PROTO_LAYOUT_H
#define CRENEL_PROTO_LAYOUT_H

#include <stdint.h>

#define LAYOUT_PAGE 4096u
#define LAYOUT_SEGMENTS 4u

struct layout_part {
    uint64_t address, bytes;
};

struct layout {
    uint64_t base;
    uint64_t zygote;
    uint64_t gate;
    uint64_t image, image_bytes;
    struct layout_part segments[LAYOUT_SEGMENTS]; // of the image, by kind (core/image.h); bytes 0: it has none
    uint64_t arena, arena_bytes;
    uint64_t stack, stack_bytes; // lowest address; the guest starts at its end
    uint64_t boot, input, output;
    uint64_t end;
};

#endif
