// SPDX-License-Identifier: ISC
// Where everything lies, and what may be read, written and executed.
#include "acts.h"

#define RET 0xc3u
#define PAGE 4096

void *guest_state(void); // of the library OS

static const uint8_t constant[16] = {RET};
static void *const relocated[2] = {(void *)(uintptr_t)guest_state, (void *)(uintptr_t)place_address};
static uint8_t initialised[16] = {RET};
static uint8_t zeroed[16];

const uint64_t *boot_words(void)
{
    return *(const uint64_t *const *)guest_state();
}

uint64_t place_address(unsigned place)
{
    const uint64_t *boot = boot_words();
    switch (place) {
    case PAGE_0: return 0;
    case PAGE_15: return 15 * PAGE;
    case TEXT: return (uintptr_t)place_address;
    case RODATA: return (uintptr_t)constant;
    case RELRO: return (uintptr_t)relocated;
    case DATA: return (uintptr_t)initialised;
    case BSS: return (uintptr_t)zeroed;
    case STACK: return (uintptr_t)__builtin_frame_address(0);
    case ARENA: return boot[BOOT_ARENA];
    case INPUT: return boot[BOOT_INPUT];
    case OUTPUT: return boot[BOOT_OUTPUT] + 16384; // behind all records
    case BOOT: return (uintptr_t)boot;
    case GATE: return boot[BOOT_GATE];
    default: fail("there is no place %u", place);
    }
}

static void where(void)
{
    const uint64_t *boot = boot_words();
    uint64_t selector;
    __asm__ volatile("mov %%cs, %0" : "=r"(selector));
    log_info("text=%lx rodata=%lx relro=%lx data=%lx stack=%lx", place_address(TEXT), place_address(RODATA),
             place_address(RELRO), place_address(DATA), place_address(STACK));
    log_info("arena=%lx input=%lx output=%lx gate=%lx canary=%lx ring=%lx", boot[BOOT_ARENA], boot[BOOT_INPUT],
             boot[BOOT_OUTPUT], boot[BOOT_GATE], boot[BOOT_CANARY], selector & 3);
}

// The guard of each part: page by page until it is met.
static void walk(uint64_t address, int64_t step)
{
    for (;; address += (uint64_t)step)
        *launder(address) = *launder(address);
}

// Somewhere between the base of user addresses and their end, another place for each key.
static void far_read(unsigned key)
{
    uint64_t address = (key * 0x9e3779b97f4a7c15u >> 17) & 0x7ffffffff000u;
    log_info("far=%lx", address);
    (void)*launder(address);
}

void act_on_memory(unsigned act, unsigned key)
{
    if (act == WHERE) {
        where();
        if (key != 0)
            *launder(0) = 0; // a fault: the next start has another base
        return;
    }
    if (act == FAR) {
        far_read(key);
        return;
    }
    uint64_t address = place_address(key);
    log_info("address=%lx", address);
    switch (act) {
    case READ: (void)*launder(address); break;
    case WRITE: *launder(address) = RET; break;
    case EXECUTE:
        if (key == STACK || key == ARENA || key == BSS || key == OUTPUT)
            *launder(address -= key == STACK ? 64 : 0) = RET;
        ((void (*)(void))(uintptr_t)launder(address))();
        break;
    case WALK_UP: walk(address, PAGE); break;
    default: walk(address, -PAGE); break;
    }
}
