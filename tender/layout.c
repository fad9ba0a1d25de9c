// SPDX-License-Identifier: ISC
// Places the parts of an instance.
#include "tender/layout.h"

#include "abi/abi.h"
#include "core/mechanism.h"

#define GUARD (MECHANISM(GUARDS) ? LAYOUT_PAGE : 0u)

#define REGION_PAGES (LAYOUT_ALIGNMENT / LAYOUT_PAGE)
#define GAPS 5u         // of random size
#define FIXED_PAGES 10u // zygote, gate, a guard each behind them and in each gap, before and behind the output

static uint64_t page_align(uint64_t bytes)
{
    return (bytes + LAYOUT_PAGE - 1) & ~(uint64_t)(LAYOUT_PAGE - 1);
}

static uint64_t draw(uint64_t *random, uint64_t choices)
{
    uint64_t drawn = *random % choices;
    *random /= choices;
    return drawn;
}

static uint64_t gap(uint64_t *random, uint64_t spare)
{
    return MECHANISM(GUARDS) ? (1 + draw(random, spare + 1)) * LAYOUT_PAGE : 0;
}

void layout_make(struct layout *layout, const struct image *image, uint64_t random)
{
    const struct manifest_header *header = image->manifest.header;
    struct layout made = {.image_bytes = image->span_bytes,
                          .arena_bytes = header->arena_bytes,
                          .stack_bytes = header->stack_bytes};
    // What is left of 2 MiB lies in the gaps, a part in each; a larger region has page tables of its own anyway.
    uint64_t pages = (made.image_bytes + made.arena_bytes + made.stack_bytes + ABI_BOOT_BYTES + ABI_INPUT_BYTES +
                      ABI_OUTPUT_BYTES) / LAYOUT_PAGE + FIXED_PAGES;
    uint64_t spare = (pages < REGION_PAGES ? REGION_PAGES - pages : REGION_PAGES) / GAPS;
    // Room behind the base for the largest region, so that every draw is a valid one.
    uint64_t room = LAYOUT_USER_END - LAYOUT_BASE_MIN - 4 * (uint64_t)MANIFEST_ARENA_BYTES_MAX;
    made.base = LAYOUT_BASE_MIN + draw(&random, room / LAYOUT_ALIGNMENT) * LAYOUT_ALIGNMENT;
    made.zygote = made.base + gap(&random, spare);
    made.gate = made.zygote + 2 * LAYOUT_PAGE;
    made.image = made.gate + LAYOUT_PAGE + gap(&random, spare);
    for (size_t i = 0; i < image->segment_count; i++)
        made.segments[image->segments[i].kind] = (struct layout_part){
            made.image + image->segments[i].address, page_align(image->segments[i].memory_bytes)};
    made.arena = made.image + made.image_bytes + gap(&random, spare);
    made.stack = made.arena + made.arena_bytes + gap(&random, spare);
    made.boot = made.stack + made.stack_bytes + gap(&random, spare);
    made.input = made.boot + ABI_BOOT_BYTES;
    made.output = made.input + ABI_INPUT_BYTES + GUARD;
    made.end = made.output + ABI_OUTPUT_BYTES;
    *layout = made;
}

void layout_parts(const struct layout *layout, struct layout_part parts[LAYOUT_PARTS])
{
    parts[0] = (struct layout_part){layout->output, ABI_OUTPUT_BYTES};
    parts[1] = layout->segments[IMAGE_DATA];
    parts[2] = (struct layout_part){layout->arena, layout->arena_bytes};
    parts[3] = (struct layout_part){layout->stack, layout->stack_bytes};
}
