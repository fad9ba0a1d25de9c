// SPDX-License-Identifier: ISC
// Reads a stopped instance through its view. Everything read is the guest's: addresses are only compared
// and subtracted, frames followed for eight steps at most.
#include "tender/fault.h"

#include <stdio.h>
#include <string.h>

void fault_code(const struct fault_view *view, uint8_t code[FAULT_CODE_BYTES])
{
    uint64_t words[FAULT_CODE_BYTES / 8] = {0};
    (void)(view->peek(view->context, view->rip, &words[0]) &&
           view->peek(view->context, view->rip + 8, &words[1]));
    memcpy(code, words, sizeof words);
}

static void add_frame(const struct fault_view *view, struct link_crash *crash, uint64_t address)
{
    if (crash->frame_count < LINK_FRAMES_MAX && layout_is_text(view->layout, view->image, address))
        crash->frames[crash->frame_count++] = (uint32_t)(address - view->layout->image);
}

static void walk(const struct fault_view *view, struct link_crash *crash)
{
    const struct layout *layout = view->layout;
    uint64_t frame = view->rbp, next, address;
    // In the gate, or after a wild call, the caller's address is on top of the stack.
    if (!layout_is_text(layout, view->image, view->rip) &&
        view->peek(view->context, view->rsp, &address))
        add_frame(view, crash, address);
    for (unsigned i = 0; i < LINK_FRAMES_MAX; i++) {
        if (frame % 8 != 0 || frame < layout->stack ||
            frame > layout->stack + layout->stack_bytes - 16)
            return;
        if (!view->peek(view->context, frame, &next) ||
            !view->peek(view->context, frame + 8, &address))
            return;
        add_frame(view, crash, address);
        if (next <= frame)
            return;
        frame = next;
    }
}

int fault_place(const struct fault_view *view, struct link_crash *crash)
{
    const struct layout *layout = view->layout;
    int is_in_text = layout_is_text(layout, view->image, view->rip);
    crash->instruction = is_in_text ? view->rip - layout->image : UINT64_MAX;
    walk(view, crash);
    if (!is_in_text && crash->frame_count != 0 && view->rip >= layout->gate &&
        view->rip < layout->gate + LAYOUT_PAGE)
        crash->instruction = crash->frames[0]; // it waits: name the caller of wait()
    return is_in_text;
}

int fault_is_store(const uint8_t code[FAULT_CODE_BYTES])
{
    unsigned i = 0;
    // Prefixes: REX, segments, operand and address size, repeat, lock.
    while (i < 8 && ((code[i] & 0xf0) == 0x40 || (code[i] & 0xe7) == 0x26 ||
                     (code[i] & 0xfc) == 0x64 || (code[i] & 0xfe) == 0xf2 || code[i] == 0xf0))
        i++;
    uint8_t op = code[i], second = code[i + 1];
    unsigned reg = code[i + 1] >> 3 & 7;
    if (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7 || op == 0xaa || op == 0xab ||
        (op & 0xf8) == 0x50 || op == 0xe8 || op == 0x86 || op == 0x87)
        return 1; // mov to memory, stos, push, call, xchg
    if (op < 0x40 && (op & 7) < 2)
        return (op & 0x38) != 0x38; // add .. xor to memory; cmp only reads
    if (op == 0x80 || op == 0x81 || op == 0x83)
        return reg != 7;
    if (op == 0xfe || op == 0xff)
        return reg < 2 ? 1 : reg == 6 ? -1 : 0; // inc, dec; push of memory may be either
    if (op == 0x0f && (second == 0x11 || second == 0x29 || second == 0x7f || second == 0xe7 ||
                       second == 0xd6 || second == 0x7e || second == 0x13 || second == 0x17))
        return 1; // vector stores
    if (op == 0x8a || op == 0x8b || op == 0x63 || op == 0x84 || op == 0x85 || (op & 0xf8) == 0x58 ||
        op == 0xc3 || (op < 0x40 && ((op & 7) == 2 || (op & 7) == 3)) ||
        (op == 0x0f && (second == 0xb6 || second == 0xb7 || second == 0xbe || second == 0xbf ||
                        second == 0x10 || second == 0x28 || second == 0x6f)))
        return 0;
    return -1;
}

void fault_describe_access(const struct fault_view *view, enum fault_access access, uint64_t address,
                           struct link_crash *crash)
{
    static const char *const verbs[] = {"read of", "write to", "jump to", "access to"};
    const struct layout *layout = view->layout;
    crash->address = address;
    if (address >= layout->image && address < layout->image + layout->image_bytes) {
        crash->address = address - layout->image;
        crash->is_relative = 1;
    }
    snprintf(crash->what, sizeof crash->what, "%s 0x%llx %s", verbs[access], (unsigned long long)address,
             layout_place(layout, view->image, address));
}

static const char *name_of(const struct fault_view *view)
{
    static const struct {
        uint8_t bytes[3];
        uint8_t size;
        const char *name;
    } known[] = {
        {{0x0f, 0x31}, 2, "rdtsc"},       {{0x0f, 0x01, 0xf9}, 3, "rdtscp"},
        {{0x0f, 0xa2}, 2, "cpuid"},       {{0xf4}, 1, "hlt"},
        {{0xfa}, 1, "cli"},               {{0xcd}, 1, "int"},
        {{0x0f, 0x33}, 2, "rdpmc"},       {{0xec}, 1, "in"},
        {{0xee}, 1, "out"},               {{0xe6}, 1, "out"},
        {{0x0f, 0x05}, 2, "syscall"},     {{0x0f, 0x34}, 2, "sysenter"},
    };
    uint8_t code[FAULT_CODE_BYTES];
    fault_code(view, code);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (memcmp(code, known[i].bytes, known[i].size) == 0)
            return known[i].name;
    return NULL;
}

void fault_describe_refusal(const struct fault_view *view, struct link_crash *crash)
{
    const char *name = name_of(view);
    if (name != NULL)
        snprintf(crash->what, sizeof crash->what, "forbidden instruction %s", name);
    else
        snprintf(crash->what, sizeof crash->what, "address or instruction that the processor refuses");
}

void fault_describe_unknown(const struct fault_view *view, struct link_crash *crash)
{
    uint8_t code[FAULT_CODE_BYTES];
    const char *name = name_of(view);
    fault_code(view, code);
    if (name != NULL)
        snprintf(crash->what, sizeof crash->what, "forbidden instruction %s", name);
    else if (code[0] != 0x0f || code[1] != 0x0b) // ud2: the library OS found a mistake, `what` stays empty
        snprintf(crash->what, sizeof crash->what, "unknown instruction");
}
