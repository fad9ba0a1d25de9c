// SPDX-License-Identifier: ISC
// An instance for each probe: jumps anywhere with any registers, touches any address; what becomes of it.
#ifndef CRENEL_TESTS_WALL_PROBE_H
#define CRENEL_TESTS_WALL_PROBE_H

#include "tests/unit/wall_fixture.h"

enum { PROBE_RIP, PROBE_RAX, PROBE_RDI, PROBE_RSI, PROBE_RDX, PROBE_R10, PROBE_WORDS };

// Jumps to an address with registers, all as the input says.
GUEST static void guest_jump(const struct abi_boot *boot)
{
    WAIT(boot);
    const uint64_t *input = (const uint64_t *)(uintptr_t)boot->input;
    __asm__ volatile("mov 0(%0), %%rcx\n mov 8(%0), %%rax\n mov 16(%0), %%rdi\n mov 24(%0), %%rsi\n"
                     "mov 32(%0), %%rdx\n mov 40(%0), %%r10\n xor %%r8d, %%r8d\n xor %%r9d, %%r9d\n"
                     "jmp *%%rcx"
                     : : "b"(input) : "memory");
    HANG();
}

// Reads, or writes, the address that the input names; publishes if that was possible.
GUEST static void guest_touch(const struct abi_boot *boot)
{
    WAIT(boot);
    const volatile uint64_t *input = (const volatile uint64_t *)(uintptr_t)boot->input;
    volatile uint8_t *address = (volatile uint8_t *)(uintptr_t)input[0];
    uint8_t byte = *address;
    if (input[1] != 0)
        *address = byte;
    WAIT(boot);
    HANG();
}

static inline void show_words(const uint64_t *words, size_t count)
{
    guest_memory_show(&memory, 0, (const uint8_t *)words, (uint32_t)(count * sizeof *words));
    wall->calls->wake(wall, 0);
}

static inline struct abi_boot boot_of(void)
{
    struct abi_boot boot;
    memcpy(&boot, memory.bytes, sizeof boot);
    return boot;
}

static int is_made;

// One instance for one probe, all with the same base. True when its init came to its wait().
static inline int fresh(void (*entry)(const struct abi_boot *))
{
    if (!is_made || image.entry != (uintptr_t)entry - (uintptr_t)__start_guest_text) {
        is_made = 1;
        return begin(entry, 0);
    }
    published = crashed = gone = 0;
    memset(&last_crash, 0, sizeof last_crash);
    wall->calls->create(wall, 0);
    return until(&published, 1);
}

enum outcome { BLOCKED, CRASHED, PUBLISHED };
#define SOON_MS 500   // for what may wait for ever: a busy host is not a blocked guest
#define LIMIT_MS 5000 // for what must end

static inline enum outcome outcome(int64_t limit_ms)
{
    int64_t end = loop_clock_ms() + limit_ms;
    while (crashed == 0 && published == 1 && loop_clock_ms() < end)
        check(loop_once(&loop, 100) == STATUS_OK);
    enum outcome found = crashed != 0 ? CRASHED : published != 1 ? PUBLISHED : BLOCKED;
    if (found != CRASHED)
        wall->calls->kill(wall, 0);
    check(until(&gone, 1));
    return found;
}

static inline enum outcome jump(const uint64_t words[PROBE_WORDS], int64_t limit_ms)
{
    check(fresh(guest_jump));
    show_words(words, PROBE_WORDS);
    return outcome(limit_ms);
}

static inline enum outcome touch(uint64_t address, int is_write)
{
    check(fresh(guest_touch));
    show_words((const uint64_t[]){address, (uint64_t)is_write}, 2);
    return outcome(LIMIT_MS);
}

#endif
