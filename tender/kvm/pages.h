// SPDX-License-Identifier: ISC
// What all virtual machines of one base share: exception stub, gate, image, page tables.
//
// Guest-physical memory. Each line is a memory slot of KVM; between them is nothing, and no page table entry
// leads there.
//
//   KVM_FIXED   read-only  one page stub; one page gate; the image without its data
//   KVM_TABLES             page tables; no entry of theirs leads to themselves
//   KVM_FRAME              one page of each machine's own: the stack of the stub
//   KVM_SHOWN   read-only  slice of the pool: boot block and input
//   KVM_SLICE              slice of the pool: what the guest writes
//
// The tables are not in a read-only slot because a processor writes the accessed bit with the rights of the
// slot, also where it is set already: hardware with nested paging then stops at the first access. They are
// out of a guest's reach because no entry leads to them.
//
// Guest-virtual memory is what layout.h draws; stub and frame lie in the upper half, for ring 0 alone.
#ifndef CRENEL_TENDER_KVM_PAGES_H
#define CRENEL_TENDER_KVM_PAGES_H

#include "tender/layout.h"

#define KVM_FIXED 0x100000u
#define KVM_TABLES 0x10000000u
#define KVM_FRAME 0x20000000u
#define KVM_SHOWN 0x30000000u
#define KVM_SLICE 0x40000000u

// Virtual addresses of ring 0.
#define KVM_STUB 0xffffffffffe00000u
#define KVM_STACK 0xffffffffffe02000u
#define KVM_STACK_END (KVM_STACK + LAYOUT_PAGE)

// In the stub's page.
#define KVM_IDT 0x0u
#define KVM_VECTORS 32u
#define KVM_BREAKPOINT 3u // int3: wait()
#define KVM_GDT 0x200u
#define KVM_GDT_BYTES 80u
#define KVM_TSS 0x300u
#define KVM_TSS_BYTES 104u
#define KVM_HALTS 0x400u // one `hlt` for each vector, KVM_HALT_BYTES apart
#define KVM_HALT_BYTES 8u

// Selectors.
#define KVM_CODE_0 0x10u
#define KVM_DATA_3 0x2bu
#define KVM_CODE_3 0x33u
#define KVM_TASK 0x40u

struct pages {
    struct layout layout;
    uint8_t *fixed; // as KVM_FIXED; read-only in the tender, too
    uint64_t fixed_bytes;
    uint8_t *tables;
    uint64_t table_bytes;
    unsigned users; // machines that have it
};

// Places an image at a base drawn from `random`. STATUS_SYSTEM: no memory.
enum status pages_make(struct pages *pages, const struct image *image, uint64_t random) MUST_USE;
void pages_free(struct pages *pages);

#endif
