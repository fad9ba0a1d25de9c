// SPDX-License-Identifier: ISC
// From an exception's vector and error code to the words of fault.h, and to the signal that Linux gives a process
// for the same.
#include "tender/kvm/stop.h"

#include "abi/abi.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

// Vectors, and bits of a page fault's error code.
enum { DIVIDE = 0, INVALID_OPCODE = 6, STACK = 12, PROTECTION = 13, PAGE = 14 };
#define PAGE_WRITE 2u
#define PAGE_FETCH 16u

// A word of the guest's memory that a report needs: code, or stack.
static int peek(void *context, uint64_t address, uint64_t *word)
{
    const struct machine_memory *memory = context;
    const struct pages *pages = memory->pages;
    const struct layout *layout = &pages->layout;
    const uint8_t *from = NULL;
    uint64_t offset = address - layout->image, fixed = pages->fixed_bytes - layout->image_bytes;
    if (offset < layout->image_bytes && offset + sizeof *word <= layout->image_bytes)
        from = pages->fixed + fixed + offset;
    offset = address - layout->stack; // the slice ends with the stack
    if (offset < layout->stack_bytes && offset + sizeof *word <= layout->stack_bytes)
        from = memory->slice + memory->slice_bytes - layout->stack_bytes + offset;
    if (from == NULL)
        return 0;
    memcpy(word, from, sizeof *word);
    return 1;
}

static struct fault_view view_of(const struct machine_fault *fault, const struct machine_memory *memory,
                                 const struct image *image)
{
    union {
        const struct machine_memory *shown;
        void *context;
    } to = {.shown = memory};
    return (struct fault_view){&memory->pages->layout, image, fault->rip, fault->rsp, fault->rbp, peek, to.context};
}

int machine_place(const struct machine *machine, const struct machine_memory *memory, const struct image *image,
                  struct link_crash *crash)
{
    struct machine_fault fault;
    machine_fault(machine, &fault);
    const struct fault_view view = view_of(&fault, memory, image);
    return fault_place(&view, crash);
}

void machine_describe(const struct machine *machine, const struct machine_memory *memory, const struct image *image,
                      struct link_crash *crash)
{
    static const uint8_t signals[KVM_VECTORS] = {
        [DIVIDE] = SIGFPE, [1] = SIGTRAP, [KVM_BREAKPOINT] = SIGTRAP, [INVALID_OPCODE] = SIGILL,
        [STACK] = SIGBUS, [16] = SIGFPE, [17] = SIGBUS, [19] = SIGFPE};
    struct machine_fault fault;
    machine_fault(machine, &fault);
    const struct fault_view view = view_of(&fault, memory, image);
    (void)fault_place(&view, crash);
    crash->signal = fault.vector < KVM_VECTORS && signals[fault.vector] != 0 ? signals[fault.vector] : SIGSEGV;
    switch (fault.vector) {
    case PAGE:
        fault_describe_access(&view,
                              (fault.error & PAGE_FETCH) != 0   ? FAULT_JUMPS
                              : (fault.error & PAGE_WRITE) != 0 ? FAULT_WRITES
                                                                : FAULT_READS,
                              fault.address, crash);
        break;
    case STACK: // an address that no memory can have, by way of the stack pointer
    case PROTECTION:
        fault_describe_refusal(&view, crash);
        break;
    case INVALID_OPCODE:
        fault_describe_unknown(&view, crash);
        break;
    case DIVIDE:
        snprintf(crash->what, sizeof crash->what, "arithmetic error (division)");
        break;
    case KVM_VECTORS:
        snprintf(crash->what, sizeof crash->what, "what its virtual machine cannot do (exit %u)", fault.exit);
        break;
    default:
        snprintf(crash->what, sizeof crash->what, "exception %u", fault.vector);
        break;
    }
}
