// SPDX-License-Identifier: ISC
// The only door to memory that guests share: one memfd, one slice for each slot.
//
//   0      boot region    written before the instance lives; read-only for the guest
//   16384  input region   one record from the host; read-only for the guest
//   32768  output region  the guest's; may change at any moment, so it is copied out, once, and
//                         only the copy is looked at
//   65536  data, arena, stack   the guest's; never looked at, but for frames on the stack of one that crashed
//
// Pristine. From 32768 on lies all that an instance can write. What it is to hold when an event begins stands
// in `pristine`: first what the image file says and a stack from which the gate starts it; after the first
// wait() of the first instance, what that one had made of it (its init). A slot is made pristine without
// asking what was touched: pages that are hot (not zero in `pristine`, or expected to be used) are copied, all
// others are given back to the kernel and read as zero.
#ifndef CRENEL_TENDER_GUEST_MEMORY_H
#define CRENEL_TENDER_GUEST_MEMORY_H

#include "abi/abi.h"
#include "proto/system.h"
#include "tender/layout.h"

#include <stddef.h>

#define GUEST_MEMORY_INPUT ABI_BOOT_BYTES
#define GUEST_MEMORY_OUTPUT (ABI_BOOT_BYTES + ABI_INPUT_BYTES)
#define GUEST_MEMORY_FILE_BYTES (1ull << 40) // of the memfd; sparse
#define GUEST_MEMORY_SLOTS_MAX SYSTEM_INSTANCES_MAX
#define GUEST_MEMORY_CANARIES 32u // drawn at once; getrandom gives 256 bytes whole

struct guest_memory {
    uint8_t *bytes;
    unsigned slot_count;
    size_t slice_bytes;
    int fd; // owned
    uint8_t *pristine; // slice_bytes - GUEST_MEMORY_OUTPUT
    uint8_t *is_hot;   // for each page of pristine
    uint64_t resume;   // the guest's stack pointer in pristine
    int is_captured;   // pristine is from a first wait()
    unsigned look, found; // when to look for pages in use; how many became hot by that
    unsigned canary_count; // that no instance was given
    uint64_t canaries[GUEST_MEMORY_CANARIES];
    uint32_t shown[GUEST_MEMORY_SLOTS_MAX]; // bytes of the input region in use
};

// What the proofs (docs/proofs.md) assume of one that guest_memory_init made: the slices lie in the mapping
// one behind the other.
/*@ predicate memory_is_valid(struct guest_memory *m) =
        \valid_read(m) && 1 <= m->slot_count <= GUEST_MEMORY_SLOTS_MAX &&
        65536 <= m->slice_bytes <= 0x40000000 && // boot, input and output at least
        \valid(m->bytes + (0 .. m->slot_count * m->slice_bytes - 1)) &&
        \forall integer i; 0 <= i < m->slot_count ==> m->shown[i] <= ABI_INPUT_BYTES;
*/

// A memfd that guest_memory_init takes; made before the process may no longer set a file's size.
int guest_memory_file(void);

// Maps slot_count slices for images of this layout (only sizes matter). Takes fd.
enum status guest_memory_init(struct guest_memory *memory, int fd, unsigned slot_count,
                              const struct layout *layout) MUST_USE;

// Pristine from now on: an instance that starts at the image's entry, at this layout's addresses.
void guest_memory_begin(struct guest_memory *memory, const struct image *image, const struct layout *layout);

// Pristine from now on: the slot as it is. Its instance is in its first wait(), with this stack pointer.
enum status guest_memory_capture(struct guest_memory *memory, unsigned slot, uint64_t stack_pointer) MUST_USE;

// Makes all pristine that the slot's instance can write, and gives it a fresh canary. It must not run. It is to be
// resumed at memory->resume; the boot block says so, too.
enum status guest_memory_restore(struct guest_memory *memory, unsigned slot) MUST_USE;

// Writes the boot region, but for the canary and `resume`, and empties the input region.
void guest_memory_boot(struct guest_memory *memory, unsigned slot, const struct layout *layout,
                       const uint8_t *configuration, uint32_t configuration_bytes);
// The word of the boot block that tells the gate where a pristine instance goes on; 0: where it waited.
void guest_memory_set_resume(struct guest_memory *memory, unsigned slot, uint64_t resume);

// Shows a record of at most ABI_INPUT_BYTES; what an earlier record left behind it becomes zero.
/*@ requires memory_is_valid(memory) && slot < memory->slot_count && \valid(memory);
    requires size <= ABI_INPUT_BYTES && (size > 0 ==> \valid_read(record + (0 .. size - 1)));
    requires \separated(record + (0 .. size - 1),
        memory->bytes + (0 .. memory->slot_count * memory->slice_bytes - 1));
    assigns memory->shown[slot],
        memory->bytes[slot * memory->slice_bytes + GUEST_MEMORY_INPUT ..
                      slot * memory->slice_bytes + GUEST_MEMORY_OUTPUT - 1];
    ensures memory->shown[slot] == size; */
void guest_memory_show(struct guest_memory *memory, unsigned slot, const uint8_t *record,
                       uint32_t size);

// Copies what the guest published beyond `from` into `to` (room for ABI_OUTPUT_BYTES); *size is how
// much. STATUS_MALFORMED: published_bytes is no multiple of 8, below `from`, or too large.
/*@ requires memory_is_valid(memory) && slot < memory->slot_count;
    requires \valid(to + (0 .. ABI_OUTPUT_BYTES - 9)) && \separated(to + (0 .. ABI_OUTPUT_BYTES - 9),
        memory->bytes + (0 .. memory->slot_count * memory->slice_bytes - 1));
    requires from % 8 == 0 && \valid(size) && \separated(size, memory);
    assigns to[0 .. ABI_OUTPUT_BYTES - 9], *size;
    ensures \result == STATUS_OK ==> from + *size <= ABI_OUTPUT_BYTES - 8 && *size % 8 == 0;
    ensures \result != STATUS_OK ==> *size == \old(*size) &&
        \forall integer i; 0 <= i < ABI_OUTPUT_BYTES - 8 ==> to[i] == \old(to[i]); */
enum status guest_memory_take(const struct guest_memory *memory, unsigned slot, uint32_t from,
                              uint8_t *to, uint32_t *size) MUST_USE;

// Copies the record area of the output region, published or not (a crash report looks for logs).
/*@ requires memory_is_valid(memory) && slot < memory->slot_count;
    requires \valid(to + (0 .. ABI_OUTPUT_BYTES - 9)) && \separated(to + (0 .. ABI_OUTPUT_BYTES - 9),
        memory->bytes + (0 .. memory->slot_count * memory->slice_bytes - 1));
    assigns to[0 .. ABI_OUTPUT_BYTES - 9]; */
void guest_memory_copy(const struct guest_memory *memory, unsigned slot,
                       uint8_t to[ABI_OUTPUT_BYTES - sizeof(struct abi_output)]);

// Copies words of its stack at a guest's address (a crash report follows frames); false: they are not all there.
int guest_memory_stack(const struct guest_memory *memory, unsigned slot, const struct layout *layout,
                       uint64_t address, uint64_t *words, size_t count);

// Zeroes what an ended event left in the output region: its first `bytes` of records.
/*@ requires memory_is_valid(memory) && slot < memory->slot_count && bytes <= ABI_OUTPUT_BYTES - 8;
    assigns memory->bytes[slot * memory->slice_bytes + GUEST_MEMORY_OUTPUT ..
                          slot * memory->slice_bytes + GUEST_MEMORY_OUTPUT + 7 + bytes]; */
void guest_memory_forget(struct guest_memory *memory, unsigned slot, uint32_t bytes);

#endif
