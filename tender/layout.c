// SPDX-License-Identifier: ISC
// Places the parts of an instance and names addresses in crash reports.
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

enum status layout_make(struct layout *layout, const struct image *image, uint64_t random)
{
    const struct manifest_header *header = image->manifest.header;
    if (header->arena_bytes > LAYOUT_MEMORY_MAX || header->stack_bytes > LAYOUT_MEMORY_MAX)
        return STATUS_TOO_LARGE;
    struct layout made = {.image_bytes = page_align(image->span_bytes),
                          .arena_bytes = page_align(header->arena_bytes),
                          .stack_bytes = page_align(header->stack_bytes)};
    if (made.stack_bytes == 0)
        made.stack_bytes = LAYOUT_PAGE;
    // What is left of 2 MiB lies in the gaps, a part in each; a larger region has page tables of its own anyway.
    uint64_t pages = (made.image_bytes + made.arena_bytes + made.stack_bytes + ABI_BOOT_BYTES + ABI_INPUT_BYTES +
                      ABI_OUTPUT_BYTES) / LAYOUT_PAGE + FIXED_PAGES;
    uint64_t spare = (pages < REGION_PAGES ? REGION_PAGES - pages : REGION_PAGES) / GAPS;
    // Room behind the base for the largest region, so that every draw is a valid one.
    uint64_t room = LAYOUT_USER_END - LAYOUT_BASE_MIN - 4 * (uint64_t)LAYOUT_MEMORY_MAX;
    made.base = LAYOUT_BASE_MIN + draw(&random, room / LAYOUT_ALIGNMENT) * LAYOUT_ALIGNMENT;
    made.zygote = made.base + gap(&random, spare);
    made.gate = made.zygote + 2 * LAYOUT_PAGE;
    made.image = made.gate + LAYOUT_PAGE + gap(&random, spare);
    for (size_t i = 0; i < image->segment_count; i++)
        if (image->segments[i].kind == IMAGE_DATA) {
            made.data = made.image + image->segments[i].address;
            made.data_bytes = page_align(image->segments[i].memory_bytes);
        }
    made.arena = made.image + made.image_bytes + gap(&random, spare);
    made.stack = made.arena + made.arena_bytes + gap(&random, spare);
    made.boot = made.stack + made.stack_bytes + gap(&random, spare);
    made.input = made.boot + ABI_BOOT_BYTES;
    made.output = made.input + ABI_INPUT_BYTES + GUARD;
    made.end = made.output + ABI_OUTPUT_BYTES;
    *layout = made;
    return STATUS_OK;
}

void layout_parts(const struct layout *layout, struct layout_part parts[LAYOUT_PARTS])
{
    parts[0] = (struct layout_part){layout->output, ABI_OUTPUT_BYTES};
    parts[1] = (struct layout_part){layout->data, layout->data_bytes};
    parts[2] = (struct layout_part){layout->arena, layout->arena_bytes};
    parts[3] = (struct layout_part){layout->stack, layout->stack_bytes};
}

static const struct image_segment *segment_at(const struct layout *layout,
                                              const struct image *image, uint64_t address)
{
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        uint64_t start = layout->image + segment->address;
        if (address >= start && address < start + page_align(segment->memory_bytes))
            return segment;
    }
    return NULL;
}

int layout_is_text(const struct layout *layout, const struct image *image, uint64_t address)
{
    const struct image_segment *segment = segment_at(layout, image, address);
    return segment != NULL && segment->kind == IMAGE_TEXT;
}

int layout_is_read_only(const struct layout *layout, const struct image *image, uint64_t address)
{
    const struct image_segment *segment = segment_at(layout, image, address);
    return (segment != NULL && segment->kind != IMAGE_DATA) ||
           (address >= layout->gate && address < layout->gate + LAYOUT_PAGE) ||
           (address >= layout->boot && address < layout->input + ABI_INPUT_BYTES);
}

const char *layout_place(const struct layout *layout, const struct image *image, uint64_t address)
{
    static const char *const segments[] = {"in read-only data", "in text",
                                           "in relocated read-only data", "in data"};
    const struct image_segment *segment = segment_at(layout, image, address);
    if (segment != NULL)
        return segments[segment->kind];
    const struct {
        uint64_t start, end;
        const char *name;
    } places[] = {
        {0, LAYOUT_PAGE, "in page 0"},
        {layout->zygote, layout->zygote + LAYOUT_PAGE, "in the zygote's page"},
        {layout->gate, layout->gate + LAYOUT_PAGE, "in the gate"},
        {layout->image, layout->image + layout->image_bytes, "between segments"},
        {layout->image + layout->image_bytes, layout->arena, "behind the image"},
        {layout->arena, layout->arena + layout->arena_bytes, "in the arena"},
        {layout->arena + layout->arena_bytes, layout->stack, "below the stack"},
        {layout->stack, layout->stack + layout->stack_bytes, "in the stack"},
        {layout->stack + layout->stack_bytes, layout->boot, "behind the stack"},
        {layout->boot, layout->input, "in the boot block"},
        {layout->input, layout->input + ABI_INPUT_BYTES, "in the input"},
        {layout->output - LAYOUT_PAGE, layout->output, "behind the input"},
        {layout->output, layout->end, "in the output"},
        {layout->end, layout->end + LAYOUT_PAGE, "behind the output"},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (address >= places[i].start && address < places[i].end)
            return places[i].name;
    return "outside its memory";
}
