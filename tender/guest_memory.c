// SPDX-License-Identifier: ISC
// Slices of the pool's memfd.
#include "tender/guest_memory.h"

#include "core/check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORDS_MAX (ABI_OUTPUT_BYTES - (uint32_t)sizeof(struct abi_output))

_Static_assert(ABI_BOOT_BYTES + ABI_INPUT_BYTES + ABI_OUTPUT_BYTES == GUEST_MEMORY_SLICE, "slice");

static uint8_t *input_of(const struct guest_memory *memory, unsigned slot)
{
    check(slot < memory->slot_count);
    return memory->bytes + (size_t)slot * GUEST_MEMORY_SLICE + ABI_BOOT_BYTES;
}

static uint8_t *records_of(const struct guest_memory *memory, unsigned slot)
{
    return input_of(memory, slot) + ABI_INPUT_BYTES + sizeof(struct abi_output);
}

enum status guest_memory_init(struct guest_memory *memory, unsigned slot_count)
{
    check(slot_count <= sizeof memory->shown / sizeof memory->shown[0]);
    size_t bytes = (size_t)slot_count * GUEST_MEMORY_SLICE;
    *memory = (struct guest_memory){.slot_count = slot_count};
    memory->fd = memfd_create("crenel-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory->fd < 0)
        return STATUS_SYSTEM;
    // Not by ftruncate: a tender that was taken over must not be able to empty the host log.
    static uint8_t slice[GUEST_MEMORY_SLICE]; // zero
    for (unsigned i = 0; i < slot_count; i++)
        if (write(memory->fd, slice, sizeof slice) != sizeof slice)
            return STATUS_SYSTEM;
    if (fcntl(memory->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return STATUS_SYSTEM;
    memory->bytes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
    if (memory->bytes == MAP_FAILED || madvise(memory->bytes, bytes, MADV_REMOVE) != 0)
        return STATUS_SYSTEM;
    return STATUS_OK;
}

enum status guest_memory_boot(struct guest_memory *memory, unsigned slot,
                              const struct abi_boot *boot, const uint8_t *configuration)
{
    uint8_t *slice = input_of(memory, slot) - ABI_BOOT_BYTES;
    check(boot->configuration_bytes <= ABI_BOOT_BYTES - sizeof *boot);
    if (madvise(slice, GUEST_MEMORY_SLICE, MADV_REMOVE) != 0)
        return STATUS_SYSTEM;
    memory->shown[slot] = 0;
    memcpy(slice, boot, sizeof *boot);
    if (boot->configuration_bytes != 0)
        memcpy(slice + sizeof *boot, configuration, boot->configuration_bytes);
    return STATUS_OK;
}

void guest_memory_show(struct guest_memory *memory, unsigned slot, const uint8_t *record,
                       uint32_t size)
{
    uint8_t *input = input_of(memory, slot);
    check(size <= ABI_INPUT_BYTES);
    memcpy(input, record, size);
    if (memory->shown[slot] > size)
        memset(input + size, 0, memory->shown[slot] - size);
    memory->shown[slot] = size;
}

enum status guest_memory_take(const struct guest_memory *memory, unsigned slot, uint32_t from,
                              uint8_t *to, uint32_t *size)
{
    const uint8_t *records = records_of(memory, slot);
    uint32_t published = __atomic_load_n(
        (const uint32_t *)(const void *)(records - sizeof(struct abi_output)), __ATOMIC_ACQUIRE);
    if (published > RECORDS_MAX || published % 8 != 0 || published < from)
        return STATUS_MALFORMED;
    memcpy(to, records + from, published - from);
    *size = published - from;
    return STATUS_OK;
}

void guest_memory_copy(const struct guest_memory *memory, unsigned slot,
                       uint8_t to[ABI_OUTPUT_BYTES - sizeof(struct abi_output)])
{
    memcpy(to, records_of(memory, slot), RECORDS_MAX);
}

void guest_memory_forget(struct guest_memory *memory, unsigned slot, uint32_t bytes)
{
    check(bytes <= RECORDS_MAX);
    memset(records_of(memory, slot) - sizeof(struct abi_output), 0, sizeof(struct abi_output) + bytes);
}
