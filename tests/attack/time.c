// SPDX-License-Identifier: ISC
// Taking more than its share: time, memory, output, logs, turns, faults.
#include "tests/attack/attack.h"

#include <string.h>

GUEST(hog)
{
    (void)next_act(boot);
    spin();
}

// Sets everything up for a good end, and does not say so.
GUEST(pretend)
{
    (void)next_act(boot);
    set_published(boot, put_end(boot, 0));
    spin();
}

// Runs in a loop inside the gate's page as far as it can: its last instruction returns to itself.
GUEST(hide)
{
    (void)next_act(boot);
    const volatile uint8_t *gate = (const volatile uint8_t *)(uintptr_t)boot->gate;
    uint64_t at = 0;
    while (at < 4095 && gate[at] != 0xc3) // any ret
        at++;
    uint64_t ret = boot->gate + at;
    for (;;)
        __asm__ volatile("push %0\n push %0\n push %0\n push %0\n call *%0\n add $32, %%rsp" : : "r"(ret) : "memory");
}

// Asks for time again and again: each answer begins the guest's turn anew.
GUEST(dawdle)
{
    (void)next_act(boot);
    for (uint32_t at = 0;; at += (uint32_t)sizeof(struct abi_read)) {
        volatile uint64_t *read = (volatile uint64_t *)(records(boot) + at);
        read[0] = sizeof(struct abi_read) | (uint64_t)ABI_READ << 32;
        read[1] = (uint64_t)ABI_READ_GET << 16 | (uint64_t)1 << 32;
        read[2] = 0;
        for (volatile unsigned i = 0; i < 20000000u; i++)
            continue;
        set_published(boot, at + (uint32_t)sizeof(struct abi_read));
        wait_for_host(boot);
    }
}

GUEST(hog_in_init)
{
    if (boot->magic == ABI_BOOT_MAGIC)
        spin();
    serve(boot);
}

GUEST(fault_in_init)
{
    *(volatile uint64_t *)(uintptr_t)boot = 1;
    serve(boot);
}

GUEST(publish_in_init)
{
    set_published(boot, put_end(boot, 0));
    wait_for_host(boot);
    serve(boot);
}

GUEST(touch_all)
{
    (void)next_act(boot);
    for (uint64_t at = 0; at < boot->arena_bytes; at += 4096)
        *(volatile uint64_t *)(uintptr_t)(boot->arena + at) = at;
    for (uint64_t at = 4096; at < 1000 * 1024; at += 4096) // of a stack of 1 MiB
        *(volatile uint64_t *)((uintptr_t)__builtin_frame_address(0) - at) = at;
    tell(boot, 0x900d, 0, 0);
}

// Fills the output to its last byte with records of word 1 bytes whose first two words are words 2 and 3.
GUEST(fill)
{
    const volatile uint64_t *words = next_act(boot);
    uint32_t at = 0, step = (uint32_t)words[1];
    for (; at + step + sizeof(struct abi_end) <= ABI_OUTPUT_BYTES - sizeof(struct abi_output); at += step) {
        volatile uint64_t *record = (volatile uint64_t *)(records(boot) + at);
        for (uint32_t i = 0; i < step / 8; i++)
            record[i] = words[2 + i];
    }
    set_published(boot, put_end(boot, at));
    wait_for_host(boot);
    serve(boot);
}

GUEST(fault)
{
    const volatile uint64_t *words = next_act(boot);
    *(volatile uint64_t *)(uintptr_t)(words[0] * 16) = 1;
    serve(boot);
}

// A second event after a good end, without waiting for it: word 1 times.
GUEST(end_twice)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t times = words[1];
    uint32_t at = 0;
    for (uint64_t i = 0; i < times; i++)
        at = put_end(boot, at);
    set_published(boot, at);
    wait_for_host(boot);
    serve(boot);
}

// Its effects are one output region at the most, whatever it holds.
static void play_fill(struct stage *stage, const struct attack *attack)
{
    stage_event(stage, attack->words);
    if (stage->effects.outcome != LINK_ENDED)
        stage_judge(stage, attack_expected(stage, attack), "");
    else
        stage_note(stage, "%u bytes of records in all, then the event is over", stage->effects.record_bytes);
    if (stage->effects.record_bytes > ABI_OUTPUT_BYTES)
        stage_fail(stage, "NOT CONTAINED: %u bytes of records", stage->effects.record_bytes);
}

// One hostile event beside each honest one, many times: the honest ones are served.
static void play_storm(struct stage *stage, const struct attack *attack)
{
    unsigned faults = 0, served = 0;
    for (unsigned i = 0; i < 200 && !stage->has_failed; i++) {
        uint64_t honest[ACT_WORDS] = {HONEST};
        uint64_t hostile_handle = stage_send(stage, attack->words, sizeof attack->words);
        uint64_t honest_handle = stage_send(stage, honest, sizeof honest);
        for (unsigned k = 0; k < 2; k++) {
            uint64_t handle = stage_receive(stage);
            faults += handle == hostile_handle && stage->effects.outcome == LINK_FAULT;
            served += handle == honest_handle && stage->effects.outcome == LINK_ENDED;
        }
    }
    if (faults != 200 || served != 200)
        stage_fail(stage, "NOT CONTAINED: %u faults, %u of 200 honest events served", faults, served);
    else
        stage_note(stage, "200 faults, 200 of 200 honest events between them served");
}

static void play_bad_init(struct stage *stage, const struct attack *attack)
{
    if (!stage_begin(stage, attack->guest, &attack->options)) {
        stage_fail(stage, "the tender did not start");
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        stage_event(stage, attack->words);
        stage_judge(stage, attack_expected(stage, attack), "");
    }
    stage_end(stage);
}

#define DEADLINE {.is_deadline = 1, .text = "deadline of"}
#define BOTH(...) .process = __VA_ARGS__, .kvm = __VA_ARGS__
#define TIME(NAME, MECHANISM, GUEST_NAME, ...)                                                     \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_##GUEST_NAME, __VA_ARGS__ \
    }
#define LOG_HEAD(BYTES) (BYTES) | (uint64_t)ABI_LOG << 32
#define SEND_HEAD(BYTES) (BYTES) | (uint64_t)ABI_SEND << 32

static const struct attack attacks[] = {
    TIME("cpu_hog", "DEADLINE", hog, .options = {.deadline_ms = 100}, BOTH(DEADLINE)),
    TIME("pretend_to_be_blocked", "DEADLINE", pretend, .options = {.deadline_ms = 100}, BOTH(DEADLINE)),
    TIME("hide_in_the_gate", "DEADLINE", hide, .options = {.deadline_ms = 100}, BOTH(DEADLINE)),
    TIME("dawdle_between_reads", "deadline, and rounds", dawdle, .options = {.deadline_ms = 100},
         BOTH({.is_deadline = 1, .is_contract = 1})),
    TIME("cpu_hog_in_init", "DEADLINE", hog_in_init, .options = {.deadline_ms = 100}, BOTH(DEADLINE),
         .play_alone = play_bad_init),
    TIME("fault_in_init", "INPUT_READ_ONLY", fault_in_init, BOTH({.is_fault = 1}), .play_alone = play_bad_init),
    TIME("publish_in_init", "SILENT_INIT", publish_in_init, BOTH({.is_contract = 1, .text = "init published"}),
         .play_alone = play_bad_init),
    TIME("memory_hog", "arena and stack of the manifest", touch_all, BOTH({.is_ended = 1, .text = "0x900d"}),
         .options = {.arena_bytes = 16u << 20, .stack_bytes = 1u << 20, .deadline_ms = 5000}),
    TIME("log_flood", "one output region an event", fill, .words = {1, 16, LOG_HEAD(16), 1}, .play = play_fill),
    TIME("effects_without_end", "one output region an event", fill, .words = {1, 24, SEND_HEAD(24), 0, 0},
         .play = play_fill),
    TIME("reads_without_end", "RECORDS", fill, .words = {1, 24, 24 | (uint64_t)ABI_READ << 32, 1ull << 16 | 1ull << 32, 0},
         BOTH({.is_contract = 1})),
    TIME("end_twice", "RECORDS", end_twice, .words = {1, 2}, BOTH({.is_contract = 1, .text = "record behind END"})),
    TIME("end_2000_times", "RECORDS", end_twice, .words = {1, 2000}, BOTH({.is_contract = 1, .text = "record behind END"})),
    TIME("fault_storm", "an instance for each event", fault, .words = {1}, .options = {.instances = 4}, .play = play_storm),
};

struct attack_table attacks_time(void)
{
    return (struct attack_table){"more than its share", attacks, sizeof attacks / sizeof attacks[0]};
}
