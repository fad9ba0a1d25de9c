// SPDX-License-Identifier: ISC
// Reading and writing what is not the guest's: page 0, guards, its own constants, the tender, its neighbours, the
// kernel, and what earlier, later or refused events may have left in reach.
#include "tests/attack/attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum place { ABSOLUTE, GATE, IMAGE, ARENA, STACK, BOOT, INPUT, OUTPUT, PLACES };
enum touch { READ = 1, WRITE, EXECUTE, LAYOUT, DOWN, UP };

// Word 0: enum touch; 1: enum place; 2: offset from there. DOWN and UP write one page after the other until one
// is not there.
GUEST(touch)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t stack = (uint64_t)(uintptr_t)__builtin_frame_address(0) & ~(uint64_t)4095;
    uint64_t place = words[1], offset = words[2], base = 0;
    if (place == GATE)
        base = boot->gate;
    if (place == IMAGE)
        base = IMAGE_BASE_OF(touch);
    if (place == ARENA)
        base = boot->arena;
    if (place == STACK)
        base = stack;
    if (place == BOOT)
        base = (uint64_t)(uintptr_t)boot;
    if (place == INPUT)
        base = boot->input;
    if (place == OUTPUT)
        base = boot->output;
    volatile uint8_t *at = (volatile uint8_t *)(uintptr_t)(base + offset);
    if (words[0] == READ)
        escaped(boot, *at);
    if (words[0] == WRITE) {
        *at = 0x5a;
        escaped(boot, 0x5a);
    }
    if (words[0] == EXECUTE) {
        ((void (*)(void))(uintptr_t)at)();
        escaped(boot, 0xc0de);
    }
    if (words[0] == LAYOUT) {
        volatile uint64_t *layout = put_send(boot, 0, 8 * PLACES);
        layout[ABSOLUTE] = 0;
        layout[GATE] = boot->gate;
        layout[IMAGE] = IMAGE_BASE_OF(touch);
        layout[ARENA] = boot->arena;
        layout[STACK] = stack;
        layout[BOOT] = (uint64_t)(uintptr_t)boot;
        layout[INPUT] = boot->input;
        layout[OUTPUT] = boot->output;
        set_published(boot, put_end(boot, (uint32_t)sizeof(struct abi_send) + 8 * PLACES));
        wait_for_host(boot);
    }
    for (; words[0] == DOWN; at -= 4096)
        *at = 1;
    for (; words[0] == UP; at += 4096)
        *at = 1;
    serve(boot);
}

// The secret itself is in no register and no stack slot while it is looked for.
INLINE uint64_t count_in(uint64_t from, uint64_t bytes, uint64_t complement)
{
    uint64_t found = 0;
    for (uint64_t at = from; at < from + bytes; at += 8)
        found += (*(const volatile uint64_t *)(uintptr_t)at ^ complement) == UINT64_MAX;
    return found;
}

// Word 0: 1 search, 2 leave the secret in the output behind a broken record, 3 leave it there and end well.
// Word 1: the secret's complement. Counts it in all that the guest can read.
GUEST(search)
{
    const volatile uint64_t *words = next_act(boot);
    for (;;) {
        uint64_t complement = words[1], act = words[0];
        uint64_t stack = (uint64_t)(uintptr_t)__builtin_frame_address(0) & ~(uint64_t)4095;
        if (act == 1) {
            uint64_t found = count_in((uint64_t)(uintptr_t)boot, ABI_BOOT_BYTES, complement) +
                             count_in(boot->input, ABI_INPUT_BYTES, complement) +
                             count_in(boot->output, ABI_OUTPUT_BYTES, complement) +
                             count_in(boot->arena, boot->arena_bytes, complement) +
                             count_in(stack - 4096, 8192, complement) +
                             count_in(IMAGE_BASE_OF(search), IMAGE_DATA_AT + IMAGE_DATA_BYTES, complement);
            *put_send(boot, 0, 8) = found;
            set_published(boot, put_end(boot, (uint32_t)sizeof(struct abi_send) + 8));
        } else {
            for (uint64_t i = 128; i < ABI_OUTPUT_BYTES / 8; i++)
                ((volatile uint64_t *)(uintptr_t)boot->output)[i] = ~complement;
            records(boot)[0] = 3;
            set_published(boot, act == 2 ? 64 : put_end(boot, 0));
        }
        wait_for_host(boot);
        words = event_words(boot);
        while (words[0] == HONEST) {
            set_published(boot, put_end(boot, 0));
            wait_for_host(boot);
        }
    }
}

#define SECRET 0x5ec2e75ec2e75ec2u
#define PAGES_BEFORE 12 // of each part that are looked at
#define PAGES_BEHIND 20

static int layout_ask(struct stage *stage, uint64_t layout[PLACES])
{
    size_t bytes = 0;
    stage_event(stage, (const uint64_t[ACT_WORDS]){LAYOUT});
    const uint64_t *told = stage_message(stage, &bytes);
    if (told == NULL || bytes != 8 * PLACES) {
        stage_fail(stage, "the guest does not say where it is");
        return 0;
    }
    memcpy(layout, told, bytes);
    return 1;
}

// What a guest may do with the page at this distance from the gate: bit 0 read, bit 1 write.
static unsigned rights(const uint64_t layout[PLACES], uint64_t arena_bytes, uint64_t page)
{
    const struct {
        uint64_t from, bytes;
        unsigned rights;
    } parts[] = {
        {layout[GATE], 4096, 1},
        {layout[IMAGE], IMAGE_DATA_AT, 1},
        {layout[IMAGE] + IMAGE_DATA_AT, IMAGE_DATA_BYTES, 3},
        {layout[ARENA], arena_bytes, 3},
        {layout[STACK] - 4096, 8192, 3},
        {layout[BOOT], ABI_BOOT_BYTES, 1},
        {layout[INPUT], ABI_INPUT_BYTES, 1},
        {layout[OUTPUT], ABI_OUTPUT_BYTES, 3},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (page >= parts[i].from && page < parts[i].from + parts[i].bytes)
            return parts[i].rights;
    return 0;
}

// The pages around each part: a fault moves all addresses, and the parts against each other, so the guest is asked anew
// for each page, and the page is named by its distance from a part.
static void play_every_page(struct stage *stage, const struct attack *attack)
{
    uint64_t layout[PLACES], touch = attack->words[0];
    unsigned faults = 0, allowed = 0;
    for (unsigned place = GATE; place < PLACES; place++)
        for (int64_t distance = -PAGES_BEFORE; distance < PAGES_BEHIND; distance++) {
            if (!layout_ask(stage, layout))
                return;
            uint64_t page = (layout[place] & ~(uint64_t)4095) + (uint64_t)(distance * 4096);
            unsigned is_mine = (rights(layout, 8192, page) & touch) != 0;
            if (is_mine && touch == WRITE && page == layout[STACK])
                continue; // where it stands
            stage_event(stage, (const uint64_t[ACT_WORDS]){touch, ABSOLUTE, page});
            unsigned is_done = stage->effects.outcome == LINK_ENDED;
            faults += stage->effects.outcome == LINK_FAULT;
            allowed += is_done;
            if (is_done != is_mine || (!is_done && stage->effects.outcome != LINK_FAULT))
                stage_fail(stage, "NOT CONTAINED: %s of the page at gate%+lld", touch == READ ? "read" : "write",
                           (long long)(page - layout[GATE]));
            if (stage->has_failed)
                return;
        }
    stage_note(stage, "%u pages fault, %u are its own", faults, allowed);
}

// Each mapping that the tender has, and where kernels put things.
static void play_tender_memory(struct stage *stage, const struct attack *attack)
{
    char path[64], line[512];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)stage->tender);
    FILE *maps = fopen(path, "r");
    if (maps == NULL) {
        stage->skip_reason = "this user may not see the tender's map";
        return;
    }
    while (fgets(line, sizeof line, maps) != NULL && !stage->has_failed) {
        uint64_t at = strtoull(line, NULL, 16);
        int is_wanted = attack->words[3] == 0 || strstr(line, "[vdso]") != NULL || strstr(line, "[vvar") != NULL;
        if (!is_wanted || strstr(line, " r") == NULL)
            continue;
        stage_event(stage, (const uint64_t[ACT_WORDS]){READ, ABSOLUTE, at});
        stage_judge(stage, attack_expected(stage, attack), "");
        count++;
    }
    fclose(maps);
    if (!stage->has_failed)
        stage_note(stage, "%u mappings, each SIGSEGV", count);
}

static void play_addresses(struct stage *stage, const struct attack *attack)
{
    for (const uint64_t *at = attack->detail; *at != 1 && !stage->has_failed; at++) {
        stage_event(stage, (const uint64_t[ACT_WORDS]){attack->words[0], ABSOLUTE, *at});
        stage_judge(stage, attack_expected(stage, attack), "");
    }
}

// Of the event whose effects have just come.
static void expect_none_found(struct stage *stage)
{
    size_t bytes = 0;
    const uint64_t *found = stage_message(stage, &bytes);
    if (stage->effects.outcome != LINK_ENDED || found == NULL)
        stage_fail(stage, "the search did not end");
    else if (found[0] != 0)
        stage_fail(stage, "NOT CONTAINED: the secret was found %llu times", (unsigned long long)found[0]);
    else
        stage_note(stage, "found nowhere in what it can read");
}

static uint64_t send_search(struct stage *stage, uint64_t act)
{
    const uint64_t words[ACT_WORDS] = {act, ~SECRET};
    return stage_send(stage, words, sizeof words);
}

static uint64_t send_secret(struct stage *stage)
{
    static uint64_t payload[512];
    for (size_t i = 1; i < 512; i++)
        payload[i] = SECRET;
    payload[0] = HONEST;
    return stage_send(stage, payload, sizeof payload);
}

static void play_stale_input(struct stage *stage, const struct attack *attack)
{
    (void)attack;
    (void)send_secret(stage);
    (void)stage_receive(stage);
    (void)send_search(stage, 1);
    (void)stage_receive(stage);
    expect_none_found(stage);
}

// Three events are with the tender at once; their effects come in any order.
static void play_next_event(struct stage *stage, const struct attack *attack)
{
    (void)attack;
    uint64_t handle = send_search(stage, 1);
    (void)send_secret(stage);
    (void)send_secret(stage);
    for (int i = 0; i < 3; i++)
        if (stage_receive(stage) == handle)
            expect_none_found(stage);
}

// Word 0: how the event that left it behind ended.
static void play_left_behind(struct stage *stage, const struct attack *attack)
{
    (void)send_search(stage, attack->words[0]);
    (void)stage_receive(stage);
    (void)send_search(stage, 1);
    (void)stage_receive(stage);
    expect_none_found(stage);
}

static const uint64_t kernel_addresses[] = {
    0xffffffff81000000, 0xffff888000000000, 0xffffc90000000000, 0xfffffe0000000000, 0xffff800000000000,
    0x0000800000000000, 0x8000000000000000, 0x00007ffffffff000, 0xffffffffff600000, 0xfffffffffffff000,
    0xffffffffffe00000, 0xffffffffffe02000, 1}; // the last two: ring 0 under kvm
static const uint64_t low_addresses[] = {0, 8, 0xff8, 0x1000, 0x10000, 0x400000, 0x8000000, 0xfffff000, 1};

#define SEGV {.is_fault = 1, .signals = 1u << SIGSEGV | 1u << SIGBUS}
#define SEGV_TEXT(TEXT) {.is_fault = 1, .signals = 1u << SIGSEGV, .text = TEXT}
#define TOUCH(NAME, MECHANISM, TEXT, ...)                                                          \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_touch, .words = {__VA_ARGS__}, \
        .process = SEGV_TEXT(TEXT), .kvm = {.is_fault = 1}                                         \
    }
#define SEARCH(NAME, MECHANISM, PLAY, ...)                                                         \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_search, .play = PLAY, __VA_ARGS__ \
    }

static const struct attack attacks[] = {
    TOUCH("write_text", "TEXT_READ_ONLY", "in text", WRITE, IMAGE, IMAGE_TEXT_AT),
    TOUCH("write_rodata", "CONSTANTS_READ_ONLY", "in read-only data", WRITE, IMAGE, IMAGE_RODATA_AT),
    TOUCH("write_relro", "CONSTANTS_READ_ONLY", "in relocated read-only data", WRITE, IMAGE, IMAGE_RELRO_AT),
    TOUCH("write_gate", "TEXT_READ_ONLY", "in the gate", WRITE, GATE, 0),
    TOUCH("write_boot_block", "INPUT_READ_ONLY", "in the boot block", WRITE, BOOT, 56),
    TOUCH("write_input", "INPUT_READ_ONLY", "in the input", WRITE, INPUT, 0),
    {.name = "write_page_0_and_low_memory", .mechanism = {"nothing is mapped there", "page tables"}, .guest = &guest_touch,
     .words = {WRITE}, .process = SEGV, .kvm = {.is_fault = 1}, .play = play_addresses, .detail = low_addresses},
    {.name = "read_page_0_and_low_memory", .mechanism = {"nothing is mapped there", "page tables"}, .guest = &guest_touch,
     .words = {READ}, .process = SEGV, .kvm = {.is_fault = 1}, .play = play_addresses, .detail = low_addresses},
    {.name = "read_the_kernel", .mechanism = {"page tables", "page tables"}, .guest = &guest_touch, .words = {READ},
     .process = SEGV, .kvm = {.is_fault = 1}, .play = play_addresses, .detail = kernel_addresses},
    {.name = "read_the_tender", .mechanism = {"UNMAP_TENDER", "page tables"}, .guest = &guest_touch, .process = SEGV,
     .kvm = {.is_fault = 1}, .play = play_tender_memory},
    {.name = "read_the_vdso", .mechanism = {"UNMAP_TENDER", "page tables"}, .guest = &guest_touch, .process = SEGV,
     .kvm = {.is_fault = 1}, .play = play_tender_memory, .words = {0, 0, 0, 1}},
    {.name = "read_every_page", .mechanism = {"UNMAP_ZYGOTE", "page tables"}, .guest = &guest_touch, .words = {READ},
     .play = play_every_page},
    {.name = "write_every_page", .mechanism = {"CONSTANTS_READ_ONLY", "page tables"}, .guest = &guest_touch,
     .words = {WRITE}, .play = play_every_page},
    TOUCH("read_the_zygotes_page", "UNMAP_ZYGOTE", "in the zygote's page", READ, GATE, (uint64_t)-8192),
    TOUCH("run_over_the_stack", "GUARDS", "below the stack", DOWN, STACK, 0),
    TOUCH("run_over_the_stack_upwards", "GUARDS", "behind the stack", UP, STACK, 0),
    TOUCH("run_over_the_arena", "GUARDS", "below the stack", UP, ARENA, 0),
    TOUCH("run_over_the_arena_downwards", "GUARDS", "behind the image", DOWN, ARENA, 0),
    TOUCH("run_over_the_data", "GUARDS", "behind the image", UP, IMAGE, IMAGE_DATA_AT),
    TOUCH("run_over_the_output", "nothing is mapped there", "behind the output", UP, OUTPUT, 4096),
    TOUCH("run_over_the_output_downwards", "GUARDS", "behind the input", DOWN, OUTPUT, 4096),
    SEARCH("stale_input", "INPUT_ZEROED", play_stale_input, .options = {.lifetime = LIFETIME_RESIDENT}),
    SEARCH("stale_input_of_another_sender", "INPUT_ZEROED", play_stale_input, .options = {.lifetime = LIFETIME_MESSAGE}),
    SEARCH("read_the_next_event", "one event in sight", play_next_event, .options = {.instances = 3}),
    SEARCH("read_a_refused_message", "CLEAN_SLOT", play_left_behind, .words = {2}),
    SEARCH("read_what_an_event_left", "RESTORE", play_left_behind, .words = {3}),
};

struct attack_table attacks_memory(void)
{
    return (struct attack_table){"memory that is not the guest's", attacks, sizeof attacks / sizeof attacks[0]};
}
