// SPDX-License-Identifier: ISC
// What attack guests are made of: machine code that owns its instance and knows nothing but the boot block.
//
// Each guest is one function in a section of its own, which becomes the text of an image of its own
// (tests/attack/image.c). It serves events honestly until one comes whose first word is not zero: then it does
// its act, with that event's words. A guest that lives through its act says so with escaped(). No library, no
// read-only data, no function that is not inlined: the section is all there is.
#ifndef CRENEL_TESTS_ATTACK_GUEST_H
#define CRENEL_TESTS_ATTACK_GUEST_H

#include "abi/abi.h"

#include <stddef.h>

struct attack_guest {
    const char *name;
    const uint8_t *begin, *end; // text
    void (*entry)(const struct abi_boot *boot);
};

// In front of a function's body. Then guest_NAME() is the guest for the table of attacks.
#define GUEST(NAME)                                                                                \
    extern const uint8_t __start_attack_##NAME[] __attribute__((visibility("hidden")));             \
    extern const uint8_t __stop_attack_##NAME[] __attribute__((visibility("hidden")));              \
    __attribute__((section("attack_" #NAME), used, noreturn)) static void act_##NAME(               \
        const struct abi_boot *boot);                                                              \
    static const struct attack_guest guest_##NAME = {#NAME, __start_attack_##NAME,                  \
                                                     __stop_attack_##NAME, act_##NAME};             \
    static void act_##NAME(const struct abi_boot *boot)

#define INLINE static inline __attribute__((always_inline, unused))

// Where the builder of attack images puts things, from the image's base (tests/attack/image.c).
#define IMAGE_RODATA_AT 0x0u
#define IMAGE_TEXT_AT 0x1000u
#define IMAGE_RELRO_AT 0x2000u
#define IMAGE_DATA_AT 0x3000u
#define IMAGE_DATA_BYTES 0x2000u // the last 0x1000 of them bss
#define IMAGE_BASE_OF(NAME) ((uint64_t)(uintptr_t)__start_attack_##NAME - IMAGE_TEXT_AT)

#define ACT_WORDS 12u // of an event's payload at most, but for raw records
#define HONEST 0u     // first word of an event that is to be served and nothing else

INLINE void wait_for_host(const struct abi_boot *boot)
{
    ((void (*)(void))(uintptr_t)boot->gate)();
    __asm__ volatile("" ::: "memory");
}

INLINE void set_published(const struct abi_boot *boot, uint32_t bytes)
{
    *(volatile uint32_t *)(uintptr_t)boot->output = bytes;
}

INLINE volatile uint8_t *records(const struct abi_boot *boot)
{
    return (volatile uint8_t *)(uintptr_t)boot->output + sizeof(struct abi_output);
}

INLINE uint32_t put_end(const struct abi_boot *boot, uint32_t at)
{
    volatile struct abi_end *end = (volatile struct abi_end *)(records(boot) + at);
    end->record.size = sizeof *end;
    end->record.kind = ABI_END;
    end->record.zero = 0;
    end->verdict = ABI_END_DONE;
    end->code = 0;
    end->zero = 0;
    return at + (uint32_t)sizeof *end;
}

// Begins a SEND of `bytes` (a multiple of 8) and returns where they go.
INLINE volatile uint64_t *put_send(const struct abi_boot *boot, uint32_t at, uint32_t bytes)
{
    volatile struct abi_send *send = (volatile struct abi_send *)(records(boot) + at);
    send->record.size = (uint32_t)sizeof *send + bytes;
    send->record.kind = ABI_SEND;
    send->record.zero = 0;
    send->flow = 0;
    send->flags = 0;
    send->delay_ms = 0;
    send->context_bytes = 0;
    send->payload_bytes = bytes;
    return (volatile uint64_t *)(send + 1);
}

INLINE const volatile uint64_t *event_words(const struct abi_boot *boot)
{
    return (const volatile uint64_t *)(uintptr_t)(boot->input + sizeof(struct abi_event));
}

// Serves honest events; returns the words of the first one that asks for the act.
INLINE const volatile uint64_t *next_act(const struct abi_boot *boot)
{
    set_published(boot, 0);
    wait_for_host(boot);
    while (event_words(boot)[0] == HONEST) {
        set_published(boot, put_end(boot, 0));
        wait_for_host(boot);
    }
    return event_words(boot);
}

INLINE _Noreturn void serve(const struct abi_boot *boot)
{
    for (;;) {
        set_published(boot, put_end(boot, 0));
        wait_for_host(boot);
    }
}

// Ends the event with words of the guest's as its message.
INLINE _Noreturn void tell(const struct abi_boot *boot, uint64_t a, uint64_t b, uint64_t c)
{
    volatile uint64_t *words = put_send(boot, 0, 24);
    words[0] = a;
    words[1] = b;
    words[2] = c;
    set_published(boot, put_end(boot, (uint32_t)sizeof(struct abi_send) + 24));
    wait_for_host(boot);
    serve(boot);
}

// The act was survived; `value` is what it gave.
INLINE _Noreturn void escaped(const struct abi_boot *boot, uint64_t value)
{
    tell(boot, value, 0, 0);
}

INLINE _Noreturn void spin(void)
{
    for (;;)
        __asm__ volatile("pause");
}

#endif
