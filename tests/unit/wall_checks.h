// SPDX-License-Identifier: ISC
// What every wall must pass: guests made of a few lines of C, and the checks that they are for.
#ifndef CRENEL_TESTS_WALL_CHECKS_H
#define CRENEL_TESTS_WALL_CHECKS_H

#include "core/crash.h"
#include "tests/unit/wall_probe.h"

#include <signal.h>
#include <unistd.h>

GUEST static void guest_echo(const struct abi_boot *boot)
{
    for (;;) {
        WAIT(boot);
        const volatile uint64_t *input = (const volatile uint64_t *)(uintptr_t)boot->input;
        ((volatile uint64_t *)(uintptr_t)boot->output)[1] = input[0] + 1;
        PUBLISHED(boot) = 8;
    }
}

GUEST static void guest_null(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint64_t *null = NULL;
    __asm__("" : "+r"(null)); // the compiler knows better than to write there
    null[1] = 1;
    HANG();
}

GUEST static void guest_below_stack(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint8_t *stack = __builtin_frame_address(0);
    for (;;)
        *--stack = 1;
}

GUEST static void guest_write_text(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint8_t *)(uintptr_t)guest_null = 1;
    HANG();
}

GUEST static void guest_write_boot(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint64_t *)(uintptr_t)&boot->canary = 1;
    HANG();
}

GUEST static void guest_write_input(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint64_t *)(uintptr_t)boot->input = 1;
    HANG();
}

GUEST static void guest_execute_arena(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint8_t *)(uintptr_t)boot->arena = 0xc3;
    ((void (*)(void))(uintptr_t)boot->arena)();
    HANG();
}

GUEST static void guest_hang(const struct abi_boot *boot)
{
    WAIT(boot);
    HANG();
}

// What the host must not have left in registers, as one word: 0 if they are clean.
GUEST static void guest_registers(const struct abi_boot *boot)
{
    uint64_t dirt = 0;
    for (;;) {
        ((volatile uint64_t *)(uintptr_t)boot->output)[1] = dirt;
        uint64_t gate = boot->gate;
        __asm__ volatile("movq %[seven], %%xmm3\n call *%[gate]\n"
                         "mov %%rcx, %[dirt]\n or %%rdx, %[dirt]\n or %%rsi, %[dirt]\n"
                         "sub %[boot], %%rdi\n or %%rdi, %[dirt]\n or %%r8, %[dirt]\n or %%r9, %[dirt]\n"
                         "or %%r10, %[dirt]\n or %%r11, %[dirt]\n or %%rax, %[dirt]\n"
                         "movq %%xmm3, %%rax\n or %%rax, %[dirt]\n"
                         "mov -16(%%rsp), %%rax\n and $0, %%rax\n"
                         : [dirt] "=&b"(dirt)
                         : [gate] "r"(gate), [seven] "r"((uint64_t)7), [boot] "r"(boot)
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm3",
                           "memory", "cc");
        PUBLISHED(boot) = 8;
    }
}

static void show(unsigned slot, uint64_t word)
{
    guest_memory_show(&memory, slot, (const uint8_t *)&word, sizeof word);
    wall->calls->wake(wall, slot);
}

static uint64_t result(unsigned slot)
{
    _Alignas(8) static uint8_t bytes[ABI_OUTPUT_BYTES];
    uint32_t size = 0;
    uint64_t word = 0;
    check(guest_memory_take(&memory, slot, 0, bytes, &size) == STATUS_OK);
    memcpy(&word, bytes, sizeof word);
    return size == 8 ? word : UINT64_MAX;
}

TEST(echo)
{
    expect(begin(guest_echo, 2));
    for (uint64_t i = 1; i <= 3; i++) {
        show(2, i * 10);
        expect(until(&published, 1 + (unsigned)i));
        expect(result(2) == i * 10 + 1);
    }
    wall->calls->kill(wall, 2);
    expect(until(&gone, 1));
    expect(crashed == 0 && last_bytes > 0 && last_bytes < 40 * 4096);
}

TEST(registers_are_constants)
{
    expect(begin(guest_registers, 0));
    show(0, 1);
    expect(until(&published, 2));
    expect(result(0) == 0);
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
}

TEST(a_new_base_for_each_generation)
{
    uint64_t bases[2];
    for (int i = 0; i < 2; i++) {
        expect(begin(guest_echo, 0));
        struct abi_boot boot;
        memcpy(&boot, memory.bytes, sizeof boot);
        bases[i] = boot.gate;
        expect((boot.canary & 0xff) == 0 && boot.canary != 0);
        wall->calls->kill(wall, 0);
        expect(until(&gone, 1));
    }
    expect(bases[0] != bases[1]);
}

static void expect_crash(void (*entry)(const struct abi_boot *), int signal, const char *what)
{
    expect(begin(entry, 1));
    show(1, 0);
    expect(until(&crashed, 1));
    char words[CRASH_WORDS_BYTES];
    crash_words(&last_crash, words);
    if (strstr(words, what) == NULL)
        fprintf(stderr, "# what: %s, wanted: %s\n", words, what);
    expect((int)last_crash.signal == signal);
    expect(strstr(words, what) != NULL);
    expect(until(&gone, 1));
}

TEST(null) { expect_crash(guest_null, SIGSEGV, "write to 0x8 in page 0"); }
TEST(below_stack) { expect_crash(guest_below_stack, SIGSEGV, "below the stack"); }
TEST(write_text) { expect_crash(guest_write_text, SIGSEGV, "in text"); }
TEST(write_boot) { expect_crash(guest_write_boot, SIGSEGV, "in the boot block"); }
TEST(write_input) { expect_crash(guest_write_input, SIGSEGV, "in the input"); }
TEST(execute_data) { expect_crash(guest_execute_arena, SIGSEGV, "in the arena"); }

TEST(examine_says_where_it_hangs)
{
    int64_t end = loop_clock_ms() + LIMIT_MS;
    struct link_crash crash = {0};
    do { // at first it may not have come out of the gate
        expect(begin(guest_hang, 1));
        show(1, 0);
        usleep(1000);
        crash = (struct link_crash){0};
        wall->calls->examine(wall, 1, &crash);
        wall->calls->kill(wall, 1);
        expect(until(&gone, 1) && crashed == 0);
    } while (crash_instruction(&crash) == UINT64_MAX && loop_clock_ms() < end);
    expect(crash_instruction(&crash) < image.span_bytes);
}

static struct layout probed; // where the parts of the instances of every_page_of_the_region lie

enum part { NOTHING, READABLE, WRITABLE };

static enum part part_at(uint64_t at)
{
    if ((at >= probed.arena && at < probed.arena + probed.arena_bytes) ||
        (at >= probed.stack && at < probed.stack + probed.stack_bytes) ||
        (at >= probed.output && at < probed.output + ABI_OUTPUT_BYTES))
        return WRITABLE;
    return at == probed.gate || (at >= probed.boot && at < probed.input + ABI_INPUT_BYTES) ||
                   (at >= probed.image && at < probed.image + image.segments[0].memory_bytes)
               ? READABLE
               : NOTHING;
}

// The parts lie at random distances: the stack is where the first wait() was called from, text where it returns to.
static void find_parts(void)
{
    const struct abi_boot boot = boot_of();
    uint64_t caller;
    layout_make(&probed, &image, 0);
    probed.gate = boot.gate;
    probed.arena = boot.arena;
    probed.boot = boot.input - ABI_BOOT_BYTES;
    probed.input = boot.input;
    probed.output = boot.output;
    probed.stack = ((memory.resume + 4095) & ~4095ull) - probed.stack_bytes;
    memcpy(&caller, memory.pristine + ABI_OUTPUT_BYTES + probed.segments[IMAGE_DATA].bytes + probed.arena_bytes +
                        (memory.resume - probed.stack) + 48, sizeof caller);
    probed.image = (caller - image.entry) & ~4095ull;
}

// From before the gate to behind the output: readable and writable exactly where docs/tender.md says. In the middle of
// the gaps, one page of sixteen.
TEST(every_page_of_the_region)
{
    expect(fresh(guest_touch));
    find_parts();
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
    for (uint64_t at = probed.gate - 3 * 4096; at < probed.output + ABI_OUTPUT_BYTES + 8192; at += 4096) {
        enum part part = part_at(at);
        if (part == NOTHING && part_at(at - 4096) == NOTHING && part_at(at + 4096) == NOTHING && at / 4096 % 16 != 0)
            continue;
        expect(touch(at, 0) == (part != NOTHING ? PUBLISHED : CRASHED));
        expect(touch(at, 1) == (part == WRITABLE ? PUBLISHED : CRASHED));
    }
}

#define RUN_WALL_CHECKS()                                                                          \
    do {                                                                                           \
        RUN(echo);                                                                                 \
        RUN(registers_are_constants);                                                              \
        RUN(a_new_base_for_each_generation);                                                       \
        RUN(null);                                                                                 \
        RUN(below_stack);                                                                          \
        RUN(write_text);                                                                           \
        RUN(write_boot);                                                                           \
        RUN(write_input);                                                                          \
        RUN(execute_data);                                                                         \
        RUN(examine_says_where_it_hangs);                                                          \
        RUN(every_page_of_the_region);                                                             \
    } while (0)

#endif
