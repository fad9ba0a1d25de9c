// SPDX-License-Identifier: ISC
// The acts of the checklist. A message's number is the act, its key what the act is done to.
#ifndef CHECKLIST_ACTS_H
#define CHECKLIST_ACTS_H

#include "checklist.h"

enum act { WHERE = 1, READ, WRITE, EXECUTE, WALK_UP, WALK_DOWN, FAR, SMASH, BIG_FRAME, RECURSE, ARENA_OVER, INDEX,
           COPY, FORMAT, STALE, INDIRECT, PRIVILEGED, CALL, UNDECLARED, CODE_PAGES };

enum place { PAGE_0, PAGE_15, TEXT, RODATA, RELRO, DATA, BSS, STACK, ARENA, INPUT, OUTPUT, BOOT, GATE, PLACES };

// What the library OS holds first: the address of the boot block (abi/abi.h), as words.
enum boot { BOOT_GATE = 2, BOOT_INPUT, BOOT_OUTPUT, BOOT_ARENA, BOOT_ARENA_BYTES, BOOT_CANARY };
const uint64_t *boot_words(void);

// An address that the compiler knows nothing about.
static inline volatile uint8_t *launder(uint64_t address)
{
    __asm__ volatile("" : "+r"(address));
    return (volatile uint8_t *)(uintptr_t)address;
}

uint64_t place_address(unsigned place);
void act_on_memory(unsigned act, unsigned key);
void act_on_objects(unsigned act, unsigned key);
void act_on_processor(unsigned act, unsigned key);

#endif
