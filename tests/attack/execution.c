// SPDX-License-Identifier: ISC
// Running what is not code: bytes that the guest wrote, bytes that the host wrote for it, and constants.
#include "tests/attack/attack.h"

enum place { ABSOLUTE, IMAGE, ARENA, STACK, BOOT, INPUT, OUTPUT };

// Writes `ret` to a place (word 1: enum place, 2: offset; word 3: write it) and calls that.
GUEST(run)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t place = words[1], base = 0;
    if (place == IMAGE)
        base = IMAGE_BASE_OF(run);
    if (place == ARENA)
        base = boot->arena;
    if (place == STACK)
        base = (uint64_t)(uintptr_t)__builtin_frame_address(0) - 512;
    if (place == BOOT)
        base = (uint64_t)(uintptr_t)boot;
    if (place == INPUT)
        base = boot->input;
    if (place == OUTPUT)
        base = boot->output;
    volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)(base + words[2]);
    if (words[3] != 0)
        *at = 0xc3;
    ((void (*)(void))(uintptr_t)at)();
    escaped(boot, 0xc0de);
}

// `ret` lies in the event itself, where the host wrote it.
#define PAYLOAD_WORD(i) (sizeof(struct abi_event) + 8u * (i))
#define RUN(NAME, MECHANISM, ...)                                                                  \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_run, .words = {1, __VA_ARGS__}, \
        .process = {.is_fault = 1, .signals = 1u << SIGSEGV, .text = "jump to"}, .kvm = {.is_fault = 1, .text = "jump to"} \
    }

static const struct attack attacks[] = {
    RUN("execute_data", "DATA_NO_EXECUTE", IMAGE, IMAGE_DATA_AT, 1),
    RUN("execute_bss", "DATA_NO_EXECUTE", IMAGE, IMAGE_DATA_AT + 4096, 1),
    RUN("execute_arena", "DATA_NO_EXECUTE", ARENA, 64, 1),
    RUN("execute_stack", "DATA_NO_EXECUTE", STACK, 0, 1),
    RUN("execute_output", "DATA_NO_EXECUTE", OUTPUT, 1024, 1),
    RUN("execute_input", "DATA_NO_EXECUTE", INPUT, PAYLOAD_WORD(4), 0, 0xc3c3c3c3c3c3c3c3),
    RUN("execute_boot_block", "DATA_NO_EXECUTE", BOOT, 0, 0),
    RUN("execute_rodata", "DATA_NO_EXECUTE", IMAGE, IMAGE_RODATA_AT, 0),
    RUN("execute_relro", "DATA_NO_EXECUTE", IMAGE, IMAGE_RELRO_AT + 8, 0),
    RUN("execute_page_0", "page tables", ABSOLUTE, 0, 0),
};

struct attack_table attacks_execution(void)
{
    return (struct attack_table){"running what is not code", attacks, sizeof attacks / sizeof attacks[0]};
}
