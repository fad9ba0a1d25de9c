// SPDX-License-Identifier: ISC
// Builds what all machines of one base share, once: nothing here changes after a machine has run, because KVM
// with shadow paging does not see a change that the host makes in a guest's tables.
//
// What the tables allow is the wall: text and gate r-x, what the guest writes rw-, all else r--, ring 0's two
// pages only for ring 0, and nothing is both writable and executable. Accessed and dirty bits are set from the
// start, so that no processor needs to write a table or descriptor.
#include "tender/kvm/pages.h"

#include "abi/abi.h"
#include "core/check.h"
#include "core/mechanism.h"
#include "tender/kvm/gate.h"

#include <string.h>
#include <sys/mman.h>

#define ENTRIES 512u
#define PRESENT 0x61u // and accessed, and dirty
#define WRITABLE 0x2u
#define USER 0x4u
#define NO_EXECUTE (MECHANISM(DATA_NO_EXECUTE) ? 1ull << 63 : 0)
#define CODE (USER | (MECHANISM(TEXT_READ_ONLY) ? 0 : WRITABLE))
#define CONSTANTS (USER | NO_EXECUTE | (MECHANISM(CONSTANTS_READ_ONLY) ? 0 : WRITABLE))
#define SHOWN (USER | NO_EXECUTE | (MECHANISM(INPUT_READ_ONLY) ? 0 : WRITABLE))
#define ADDRESS 0xffffffffff000u

#define GATE_AT LAYOUT_PAGE // in KVM_FIXED, behind the stub
#define IMAGE_AT (2u * LAYOUT_PAGE)
#define UPPER_TABLES 3u // for stub and stack: one of each level below the root
#define LEVELS 4u

struct builder {
    struct pages *pages;
    uint64_t used; // bytes of tables
};

static uint64_t *new_table(struct builder *to)
{
    uint64_t *table = (uint64_t *)(void *)(to->pages->tables + to->used);
    to->used += LAYOUT_PAGE;
    check(to->used <= to->pages->table_bytes);
    return table;
}

static void map_page(struct builder *to, uint64_t address, uint64_t guest, uint64_t flags)
{
    uint8_t *table = to->pages->tables;
    for (unsigned level = LEVELS - 1; level > 0; level--) {
        uint64_t *entry = (uint64_t *)(void *)table + (address >> (12 + 9 * level)) % ENTRIES;
        if (*entry == 0) // the page itself decides, but what is ring 0's is so from the root on
            *entry = (KVM_TABLES + (uint64_t)((uint8_t *)new_table(to) - to->pages->tables)) | PRESENT |
                     WRITABLE | (flags & USER);
        table = to->pages->tables + ((*entry & ADDRESS) - KVM_TABLES);
    }
    uint64_t *leaf = (uint64_t *)(void *)table + (address >> 12) % ENTRIES;
    check(*leaf == 0);
    *leaf = guest | flags | PRESENT;
}

static void map(struct builder *to, uint64_t address, uint64_t bytes, uint64_t guest, uint64_t flags)
{
    for (uint64_t at = 0; at < bytes; at += LAYOUT_PAGE)
        map_page(to, address + at, guest + at, flags);
}

static void map_image(struct builder *to, const struct image *image)
{
    static const uint64_t flags[] = {
        [IMAGE_RODATA] = CONSTANTS, [IMAGE_TEXT] = CODE, [IMAGE_RELRO] = CONSTANTS};
    const struct layout *layout = &to->pages->layout;
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        uint8_t *at = to->pages->fixed + IMAGE_AT + segment->address;
        if (segment->kind == IMAGE_DATA)
            continue; // lies in the slice
        image_load(image, segment, layout->image, at);
        map(to, layout->image + segment->address, segment->memory_bytes,
            KVM_FIXED + IMAGE_AT + segment->address, flags[segment->kind]);
    }
}

static void map_slice(struct builder *to)
{
    const struct layout *layout = &to->pages->layout;
    struct layout_part parts[LAYOUT_PARTS];
    uint64_t guest = KVM_SLICE;
    map(to, layout->boot, ABI_BOOT_BYTES + ABI_INPUT_BYTES, KVM_SHOWN, SHOWN);
    layout_parts(layout, parts);
    for (unsigned i = 0; i < LAYOUT_PARTS; guest += parts[i++].bytes)
        map(to, parts[i].address, parts[i].bytes, guest, USER | WRITABLE | NO_EXECUTE);
}

static void put(uint8_t *page, unsigned offset, uint64_t value) { memcpy(page + offset, &value, sizeof value); }

// The whole of ring 0: any exception enters at one of KVM_VECTORS `hlt`, which ends KVM_RUN. Which one it was is
// the vector; what the processor pushed lies at KVM_STACK_END. Nothing ever returns from here.
static void make_stub(uint8_t *page)
{
    const uint64_t task = KVM_STUB + KVM_TSS;
    for (unsigned i = 0; i < KVM_VECTORS; i++) {
        uint64_t halt = KVM_STUB + KVM_HALTS + i * KVM_HALT_BYTES;
        uint64_t type = i == KVM_BREAKPOINT ? 0xee : 0x8e; // a guest may enter by `int3` and by no other `int`
        put(page, KVM_IDT + i * 16, (halt & 0xffff) | KVM_CODE_0 << 16 | type << 40 | (halt >> 16 & 0xffff) << 48);
        put(page, KVM_IDT + i * 16 + 8, halt >> 32);
        memset(page + KVM_HALTS + i * KVM_HALT_BYTES, 0xf4, KVM_HALT_BYTES); // hlt
    }
    put(page, KVM_GDT + KVM_CODE_0, 0x00af9b000000ffff);
    put(page, KVM_GDT + (KVM_DATA_3 & ~7u), 0x00cff3000000ffff);
    put(page, KVM_GDT + (KVM_CODE_3 & ~7u), 0x00affb000000ffff);
    put(page, KVM_GDT + KVM_TASK, (KVM_TSS_BYTES - 1) | (task & 0xffffff) << 16 | 0x8bull << 40 |
                                      (task >> 24 & 0xff) << 56);
    put(page, KVM_GDT + KVM_TASK + 8, task >> 32);
    put(page, KVM_TSS + 4, KVM_STACK_END);                         // rsp0
    put(page, KVM_TSS + 96, (uint64_t)KVM_TSS_BYTES << 48);        // no port is allowed
}

enum status pages_make(struct pages *pages, const struct image *image, uint64_t random)
{
    struct pages made = {.users = 0};
    struct builder to = {&made, 0};
    layout_make(&made.layout, image, random);
    const struct layout *layout = &made.layout;
    // A region may begin and end within a table of each level.
    uint64_t leaves = (layout->end - layout->base) / (ENTRIES * LAYOUT_PAGE) + 2;
    made.table_bytes = (1 + UPPER_TABLES + leaves + 2 * (LEVELS - 2)) * LAYOUT_PAGE;
    made.fixed_bytes = IMAGE_AT + layout->image_bytes;
    made.fixed = mmap(NULL, made.fixed_bytes + made.table_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made.fixed == MAP_FAILED)
        return STATUS_SYSTEM;
    made.tables = made.fixed + made.fixed_bytes;
    (void)new_table(&to); // the root
    map_page(&to, KVM_STUB, KVM_FIXED, 0);
    map_page(&to, KVM_STACK, KVM_FRAME, WRITABLE | NO_EXECUTE);
    map_page(&to, layout->gate, KVM_FIXED + GATE_AT, CODE);
    map_image(&to, image);
    map_slice(&to);
    make_stub(made.fixed);
    memcpy(made.fixed + GATE_AT, kvm_gate_begin, (size_t)(kvm_gate_end - kvm_gate_begin));
    if (MECHANISM(TEXT_READ_ONLY) && MECHANISM(CONSTANTS_READ_ONLY) &&
        mprotect(made.fixed, made.fixed_bytes, PROT_READ) != 0) {
        pages_free(&made);
        return STATUS_SYSTEM;
    }
    *pages = made;
    return STATUS_OK;
}

void pages_free(struct pages *pages)
{
    check(munmap(pages->fixed, pages->fixed_bytes + pages->table_bytes) == 0);
    *pages = (struct pages){0};
}
