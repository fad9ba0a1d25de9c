// SPDX-License-Identifier: ISC
// Fuzz target: what is reported of a stopped instance. Its registers and all of its memory are the guest's.
//
// Input: random of the layout (8 bytes), vector, error code, exit, rip, rsp, rbp and address (each a place in the
// region and an offset, or 8 bytes), then text and stack. What must hold: nothing is read outside the image and the
// slice, and what the report names, frames too, lies in the text; its words are printable.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "core/crash.h"
#include "tender/kvm/stop.h"

#include <string.h>

#define TEXT_BYTES 300u
#define STACK_BYTES 8192u

static struct machine_fault fault;

void __wrap_machine_fault(const struct machine *machine, struct machine_fault *found);

void __wrap_machine_fault(const struct machine *machine, struct machine_fault *found)
{
    (void)machine;
    *found = fault;
}

static uint64_t take_address(struct take *take, const struct layout *layout)
{
    const uint64_t places[] = {0,
                               layout->gate,
                               layout->image,
                               layout->image + LAYOUT_PAGE, // text
                               layout->image + LAYOUT_PAGE + TEXT_BYTES,
                               layout->image + layout->image_bytes,
                               layout->segments[IMAGE_DATA].address,
                               layout->arena,
                               layout->stack,
                               layout->stack + layout->stack_bytes,
                               layout->boot,
                               layout->output,
                               layout->end,
                               UINT64_MAX};
    uint8_t which = take_byte(take) % 16;
    if (which >= sizeof places / sizeof places[0])
        return take_number(take, 8);
    return places[which] + (uint64_t)(int64_t)(int16_t)take_number(take, 2);
}

static int is_text(const struct layout *layout, uint64_t offset)
{
    return layout->image + offset - layout->segments[IMAGE_TEXT].address < layout->segments[IMAGE_TEXT].bytes;
}

static void judge(const struct link_crash *crash, const struct layout *layout)
{
    char text[CRASH_TEXT_BYTES], words[CRASH_WORDS_BYTES];
    must(crash->frame_count <= LINK_FRAMES_MAX);
    for (unsigned i = 0; i < crash->frame_count; i++)
        must(is_text(layout, crash->frames[i]));
    must(crash_instruction(crash) == UINT64_MAX || is_text(layout, crash_instruction(crash)));
    crash_words(crash, words);
    for (const char *at = words; *at != 0; at++)
        must(*at >= 0x20 && *at < 0x7f);
    crash_text(crash, "decode", text, sizeof text);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t vectors[] = {14, 13, 6, 0, 12, 3, 200, 14};
    if (index >= sizeof vectors)
        return 0;
    memset(bytes, 0, 2000);
    bytes[0] = (uint8_t)index;
    bytes[8] = vectors[index];
    bytes[9] = (uint8_t)(index * 2);
    static const uint8_t addresses[] = {3, 20, 0, 9, 0xc0, 0xff, 9, 0xd0, 0xff, 8, 0xf8, 0xff}; // text, stack, stack, below
    memcpy(bytes + 11, addresses, sizeof addresses);
    memcpy(bytes + 40, "\x48\x89\x07\x0f\x31\xf4\x0f\x0b\x8b\x00", 10);
    return 400 + index * 200;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    const struct manifest_header header = {.arena_bytes = 4096, .stack_bytes = STACK_BYTES};
    struct image image = {.span_bytes = 4 * LAYOUT_PAGE,
                                .segment_count = 3,
                                .segments = {{IMAGE_RODATA, 0, 100, 0, 100},
                                             {IMAGE_TEXT, LAYOUT_PAGE, TEXT_BYTES, 112, TEXT_BYTES},
                                             {IMAGE_DATA, 3 * LAYOUT_PAGE, 64, 0, 0}},
                                .manifest = {.header = &header}};
    static struct layout layout;
    struct guest_memory memory = {.slot_count = 1, .slice_bytes = ABI_OUTPUT_BYTES / 8 + STACK_BYTES};
    struct link_crash crash = {0};
    layout_make(&layout, &image, take_number(&take, 8));
    uint8_t *file = calloc(1, 112 + TEXT_BYTES); // of their own: reads outside are seen
    memory.bytes = calloc(1, memory.slice_bytes); // the end of it is the stack
    must(file != NULL && memory.bytes != NULL);
    image.bytes = file;
    fault = (struct machine_fault){.vector = take_byte(&take), .error = take_byte(&take), .exit = take_byte(&take)};
    fault.rip = take_address(&take, &layout);
    fault.rsp = take_address(&take, &layout);
    fault.rbp = take_address(&take, &layout);
    fault.address = take_address(&take, &layout);
    take_bytes(&take, file + 112, TEXT_BYTES);
    for (uint8_t *at = memory.bytes + memory.slice_bytes - 8; take.left != 0 && at > memory.bytes; at -= 8) {
        uint64_t word = take_address(&take, &layout); // return addresses and frames, from the top down
        memcpy(at, &word, sizeof word);
    }
    (void)machine_place(NULL, &memory, 0, &layout, &image, &crash);
    judge(&crash, &layout);
    free(file);
    free(memory.bytes);
    return 0;
}
