// SPDX-License-Identifier: ISC
// Reads a stopped instance. Registers and stack are the guest's: addresses are only compared and subtracted, frames
// followed for eight steps at most.
#include "tender/fault.h"

#include <string.h>

static int is_text(const struct layout *layout, uint64_t address)
{
    return address - layout->segments[IMAGE_TEXT].address < layout->segments[IMAGE_TEXT].bytes;
}

static void add_frame(const struct layout *layout, struct link_crash *crash, uint64_t address)
{
    if (crash->frame_count < LINK_FRAMES_MAX && is_text(layout, address))
        crash->frames[crash->frame_count++] = (uint32_t)(address - layout->image);
}

void fault_place(const struct guest_memory *memory, unsigned slot, const struct image *image,
                 const struct layout *layout, uint64_t rip, uint64_t rsp, uint64_t rbp, struct link_crash *crash)
{
    const struct image_segment *text = image_segment(image, IMAGE_TEXT);
    uint64_t frame[2] = {rbp, 0}, offset = rip - layout->image - text->address;
    crash->layout = *layout;
    crash->rip = rip;
    for (unsigned i = 0; i < LINK_CODE_BYTES && offset + i < text->file_bytes; i++)
        crash->code[i] = image->bytes[text->file_offset + offset + i];
    // In the gate, or after a wild call, the caller's address is on top of the stack.
    if (!is_text(layout, rip) && guest_memory_stack(memory, slot, layout, rsp, &frame[1], 1))
        add_frame(layout, crash, frame[1]);
    for (unsigned i = 0; i < LINK_FRAMES_MAX; i++) {
        uint64_t at = frame[0];
        if (at % 8 != 0 || !guest_memory_stack(memory, slot, layout, at, frame, 2))
            break;
        add_frame(layout, crash, frame[1]);
        if (frame[0] <= at)
            break;
    }
}
