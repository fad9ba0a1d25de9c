// SPDX-License-Identifier: ISC
// The only door to memory that guests share: one memfd, one slice of 64 KiB for each slot.
//
//   0      boot region    written before the instance lives; read-only for the guest
//   16384  input region   one record from the host; read-only for the guest
//   32768  output region  the guest's; may change at any moment, so it is copied out, once, and
//                         only the copy is looked at
#ifndef CRENEL_TENDER_GUEST_MEMORY_H
#define CRENEL_TENDER_GUEST_MEMORY_H

#include "abi/abi.h"
#include "core/status.h"

#include <stddef.h>

#define GUEST_MEMORY_SLICE 65536u

struct guest_memory {
    uint8_t *bytes;
    unsigned slot_count;
    int fd; // owned
    uint32_t shown[256]; // bytes of the input region in use, per slot
};

enum status guest_memory_init(struct guest_memory *memory, unsigned slot_count) MUST_USE;

// Gives the slice back to the kernel, so that it reads as zeroes, then writes the boot region. No instance
// may be using the slot. configuration holds boot->configuration_bytes.
enum status guest_memory_boot(struct guest_memory *memory, unsigned slot,
                              const struct abi_boot *boot, const uint8_t *configuration) MUST_USE;

// Shows a record of at most ABI_INPUT_BYTES; what an earlier record left behind it becomes zero.
void guest_memory_show(struct guest_memory *memory, unsigned slot, const uint8_t *record,
                       uint32_t size);

// Copies what the guest published beyond `from` into `to` (room for ABI_OUTPUT_BYTES); *size is how
// much. STATUS_MALFORMED: published_bytes is no multiple of 8, below `from`, or too large.
enum status guest_memory_take(const struct guest_memory *memory, unsigned slot, uint32_t from,
                              uint8_t *to, uint32_t *size) MUST_USE;

// Copies the record area of the output region, published or not (a crash report looks for logs).
void guest_memory_copy(const struct guest_memory *memory, unsigned slot,
                       uint8_t to[ABI_OUTPUT_BYTES - sizeof(struct abi_output)]);

// Zeroes what an ended event left in the output region: its first `bytes` of records.
void guest_memory_forget(struct guest_memory *memory, unsigned slot, uint32_t bytes);

#endif
