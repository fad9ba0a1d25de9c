// SPDX-License-Identifier: ISC
// Slices of the pool's memfd.
#include "tender/guest_memory.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "core/zero.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define RECORDS_MAX (ABI_OUTPUT_BYTES - (uint32_t)sizeof(struct abi_output))
#define FRAME_WORDS 8u // what the gate's return takes from the stack: six registers, entry, a return address of 0

#define LOOK_INTERVAL 16u // restores
#define LOOK_PAGES 64u
#define FOUND_MAX 16u // pages that become hot by being used

/*@ lemma slices_fit: \forall integer i, count, bytes;
        0 <= i < count && 0 <= bytes ==> (i + 1) * bytes <= count * bytes; */

/*@ requires memory_is_valid(memory) && slot < memory->slot_count;
    assigns \nothing;
    ensures \result == memory->bytes + slot * memory->slice_bytes;
    ensures \valid(\result + (0 .. memory->slice_bytes - 1)); */
static uint8_t *slice_of(const struct guest_memory *memory, unsigned slot)
{
    check(slot < memory->slot_count);
    //@ assert (slot + 1) * memory->slice_bytes <= memory->slot_count * memory->slice_bytes;
    return memory->bytes + (size_t)slot * memory->slice_bytes;
}

/*@ requires memory_is_valid(memory) && slot < memory->slot_count;
    assigns \nothing;
    ensures \result == memory->bytes + slot * memory->slice_bytes + (GUEST_MEMORY_OUTPUT + 8);
    ensures \valid(\result + (-8 .. RECORDS_MAX - 1)); */
static uint8_t *records_of(const struct guest_memory *memory, unsigned slot)
{
    return slice_of(memory, slot) + GUEST_MEMORY_OUTPUT + sizeof(struct abi_output);
}

static size_t writable_bytes(const struct guest_memory *memory)
{
    return memory->slice_bytes - GUEST_MEMORY_OUTPUT;
}

int guest_memory_file(void)
{
    int fd = memfd_create("crenel-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)GUEST_MEMORY_FILE_BYTES) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    close(fd);
    return -1;
}

enum status guest_memory_init(struct guest_memory *memory, int fd, unsigned slot_count,
                              const struct layout *layout)
{
    check(slot_count <= GUEST_MEMORY_SLOTS_MAX);
    size_t writable =
        (size_t)(ABI_OUTPUT_BYTES + layout->segments[IMAGE_DATA].bytes + layout->arena_bytes + layout->stack_bytes);
    *memory = (struct guest_memory){
        .slot_count = slot_count, .slice_bytes = GUEST_MEMORY_OUTPUT + writable, .fd = fd};
    memory->pristine = mmap(NULL, writable + writable / LAYOUT_PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory->is_hot = memory->pristine + writable;
    memory->bytes = mmap(NULL, slot_count * memory->slice_bytes, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_NORESERVE, fd, 0);
    return memory->pristine == MAP_FAILED || memory->bytes == MAP_FAILED
               ? STATUS_SYSTEM
               : STATUS_OK;
}

void guest_memory_begin(struct guest_memory *memory, const struct image *image, const struct layout *layout)
{
    size_t bytes = writable_bytes(memory);
    uint64_t frame[FRAME_WORDS] = {[6] = layout->image + image->entry};
    check(madvise(memory->pristine, bytes, MADV_DONTNEED) == 0); // zero, without touching each page
    memset(memory->is_hot, 0, bytes / LAYOUT_PAGE);
    const struct image_segment *data = image_segment(image, IMAGE_DATA);
    if (data != NULL)
        memcpy(memory->pristine + ABI_OUTPUT_BYTES, image->bytes + data->file_offset, data->file_bytes);
    memcpy(memory->pristine + bytes - sizeof frame, frame, sizeof frame);
    memset(memory->is_hot + ABI_OUTPUT_BYTES / LAYOUT_PAGE, 1, (size_t)layout->segments[IMAGE_DATA].bytes / LAYOUT_PAGE);
    memory->is_hot[0] = memory->is_hot[bytes / LAYOUT_PAGE - 1] = 1; // records; top of the stack
    memory->resume = layout->stack + layout->stack_bytes - sizeof frame;
    memory->is_captured = 0;
    memory->found = 0;
}

enum status guest_memory_capture(struct guest_memory *memory, unsigned slot, uint64_t stack_pointer)
{
    static uint8_t page[LAYOUT_PAGE];
    off_t at = slice_of(memory, slot) - memory->bytes + (off_t)GUEST_MEMORY_OUTPUT;
    for (size_t i = 0; i < writable_bytes(memory) / LAYOUT_PAGE; i++) {
        // By pread and not through the mapping, which would give each page that it reads a place in memory.
        if (pread(memory->fd, page, sizeof page, at + (off_t)(i * LAYOUT_PAGE)) != sizeof page)
            return STATUS_SYSTEM;
        memory->is_hot[i] |= !is_zero(page, 0, sizeof page);
        if (memory->is_hot[i])
            memcpy(memory->pristine + i * LAYOUT_PAGE, page, sizeof page);
    }
    memory->resume = stack_pointer;
    memory->is_captured = 1;
    return STATUS_OK;
}

// Pages that events use are cheaper to copy than to take away and to give again: now and then, looks which are there.
static void find_hot(struct guest_memory *memory, uint8_t *writable, size_t pages)
{
    unsigned char is_there[LOOK_PAGES];
    if (memory->look++ % LOOK_INTERVAL != 0)
        return;
    for (size_t at = 0; at < pages && memory->found < FOUND_MAX; at += LOOK_PAGES) {
        size_t count = pages - at < LOOK_PAGES ? pages - at : LOOK_PAGES;
        if (mincore(writable + at * LAYOUT_PAGE, count * LAYOUT_PAGE, is_there) != 0)
            return;
        for (size_t i = 0; i < count && memory->found < FOUND_MAX; i++)
            if ((is_there[i] & 1) != 0 && !memory->is_hot[at + i])
                memory->is_hot[at + i] = 1, memory->found++;
    }
}

static enum status set_canary(struct guest_memory *memory, unsigned slot)
{
    if (memory->canary_count == 0 &&
        getrandom(memory->canaries, sizeof memory->canaries, 0) != sizeof memory->canaries)
        return STATUS_SYSTEM;
    memory->canary_count = (memory->canary_count == 0 ? GUEST_MEMORY_CANARIES : memory->canary_count) - 1;
    uint64_t canary = memory->canaries[memory->canary_count];
    if (!MECHANISM(OWN_CANARY))
        canary = ABI_BOOT_MAGIC;
    canary &= ~(uint64_t)0xff; // a string that runs over it ends at its first byte
    memcpy(slice_of(memory, slot) + offsetof(struct abi_boot, canary), &canary, sizeof canary);
    return STATUS_OK;
}

void guest_memory_set_resume(struct guest_memory *memory, unsigned slot, uint64_t resume)
{
    memcpy(slice_of(memory, slot) + offsetof(struct abi_boot, resume), &resume, sizeof resume);
}

enum status guest_memory_restore(struct guest_memory *memory, unsigned slot)
{
    uint8_t *writable = slice_of(memory, slot) + GUEST_MEMORY_OUTPUT;
    size_t pages = writable_bytes(memory) / LAYOUT_PAGE;
    find_hot(memory, writable, pages);
    for (size_t i = 0, end; i < pages; i = end) {
        for (end = i + 1; end < pages && memory->is_hot[end] == memory->is_hot[i];)
            end++;
        uint8_t *run = writable + i * LAYOUT_PAGE;
        if (memory->is_hot[i])
            memcpy(run, memory->pristine + i * LAYOUT_PAGE, (end - i) * LAYOUT_PAGE);
        else if (MECHANISM(CLEAN_SLOT) && madvise(run, (end - i) * LAYOUT_PAGE, MADV_REMOVE) != 0)
            return STATUS_SYSTEM;
    }
    guest_memory_set_resume(memory, slot, memory->resume);
    return set_canary(memory, slot);
}

void guest_memory_boot(struct guest_memory *memory, unsigned slot, const struct layout *layout,
                       const uint8_t *configuration, uint32_t configuration_bytes)
{
    uint8_t *region = slice_of(memory, slot);
    const struct abi_boot boot = {
        .magic = ABI_BOOT_MAGIC,
        .version = ABI_VERSION,
        .size = sizeof boot,
        .gate = layout->gate,
        .input = layout->input,
        .output = layout->output,
        .arena = layout->arena,
        .arena_bytes = layout->arena_bytes,
        .configuration = layout->boot + sizeof boot,
        .configuration_bytes = configuration_bytes,
    };
    check(configuration_bytes <= ABI_BOOT_BYTES - sizeof boot);
    memcpy(region, &boot, sizeof boot);
    if (configuration_bytes != 0)
        memcpy(region + sizeof boot, configuration, configuration_bytes);
    memset(region + GUEST_MEMORY_INPUT, 0, memory->shown[slot]); // the slot's last instance's
    memory->shown[slot] = 0;
}

void guest_memory_show(struct guest_memory *memory, unsigned slot, const uint8_t *record,
                       uint32_t size)
{
    uint8_t *input = slice_of(memory, slot) + GUEST_MEMORY_INPUT;
    check(size <= ABI_INPUT_BYTES);
    memcpy(input, record, size);
    if (MECHANISM(INPUT_ZEROED) && memory->shown[slot] > size)
        memset(input + size, 0, memory->shown[slot] - size);
    memory->shown[slot] = size;
}

// The one read of a word that the guest may change at any moment: nothing is assumed about what it returns.
/*@ requires \valid_read(records + (-8 .. -1));
    assigns \nothing; */
static uint32_t published_of(const uint8_t *records)
{
    const void *published = records - sizeof(struct abi_output);
    return __atomic_load_n((const uint32_t *)published, __ATOMIC_ACQUIRE);
}

enum status guest_memory_take(const struct guest_memory *memory, unsigned slot, uint32_t from,
                              uint8_t *to, uint32_t *size)
{
    const uint8_t *records = records_of(memory, slot);
    uint32_t published = published_of(records);
    if (MECHANISM(PUBLISHED_RANGE) && (published > RECORDS_MAX || published % 8 != 0 || published < from))
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

int guest_memory_stack(const struct guest_memory *memory, unsigned slot, const struct layout *layout,
                       uint64_t address, uint64_t *words, size_t count)
{
    uint64_t left = layout->stack + layout->stack_bytes - address; // it is the end of the slice
    if (left > layout->stack_bytes || left < count * sizeof *words)
        return 0;
    memcpy(words, slice_of(memory, slot) + memory->slice_bytes - left, count * sizeof *words);
    return 1;
}

void guest_memory_forget(struct guest_memory *memory, unsigned slot, uint32_t bytes)
{
    check(bytes <= RECORDS_MAX);
    memset(records_of(memory, slot) - sizeof(struct abi_output), 0, sizeof(struct abi_output) + bytes);
}
