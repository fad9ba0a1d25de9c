// SPDX-License-Identifier: ISC
// The words for each fact of a crash, one line about it, also when the report comes from a hostile tender.
#include "core/crash.h"
#include "core/image.h"
#include "tests/unit/test.h"

#include <string.h>

static const struct layout layout = {
    .zygote = 0x7001000, .gate = 0x7003000, .image = 0x7010000, .image_bytes = 0x8000,
    .segments = {[IMAGE_RODATA] = {0x7010000, 0x1000}, [IMAGE_TEXT] = {0x7011000, 0x3000},
                 [IMAGE_RELRO] = {0x7015000, 0x1000}, [IMAGE_DATA] = {0x7016000, 0x2000}},
    .arena = 0x7020000, .arena_bytes = 0x4000, .stack = 0x7030000, .stack_bytes = 0x4000,
    .boot = 0x7040000, .input = 0x7044000, .output = 0x7049000, .end = 0x7051000,
};

static const char *words(struct link_crash crash)
{
    static char text[CRASH_WORDS_BYTES];
    crash.layout = layout;
    crash_words(&crash, text);
    return text;
}

static const char *access_words(uint64_t address, uint32_t code, uint8_t first, uint8_t second)
{
    return words((struct link_crash){.signal = 11, .number = code, .address = address, .rip = layout.image + 0x1234,
                                     .code = {first, second}});
}

TEST(says_what_where_and_why)
{
    struct link_crash crash = {.signal = 4, .rip = layout.image + 0x24df, .code = {0x0f, 0x0b}, .frame_count = 2,
                               .frames = {0x1a4, 0x20}, .layout = layout};
    char text[CRASH_TEXT_BYTES];
    snprintf(crash.last_log, sizeof crash.last_log, "the stack is overwritten");
    crash_text(&crash, "decode", text, sizeof text);
    expect(strcmp(text, "SIGILL: stopped itself at decode+0x24df, called from +0x1a3 +0x1f "
                        "(build 0000000000000000): the stack is overwritten") == 0);
    crash.last_log[0] = 0;
    crash.rip = layout.gate + 8; // in wait(): the caller is named
    crash_text(&crash, "decode", text, sizeof text);
    expect(strstr(text, "SIGILL: stopped itself, no reason in its log at decode+0x1a4, called from +0x1a3 +0x1f (") == text);
    snprintf(crash.last_log, sizeof crash.last_log, "the stack is overwritten");
    crash.signal = 11; // the guest did not stop itself: its last words explain nothing
    crash_text(&crash, "decode", text, sizeof text);
    expect(strstr(text, "SIGSEGV: ") == text && strstr(text, "overwritten") == NULL);
}

TEST(names_places)
{
    const struct {
        uint64_t address;
        const char *place;
    } rows[] = {
        {0xfff, "in page 0"}, {0x1000, "outside its memory"}, {layout.zygote, "in the zygote's page"},
        {layout.gate + 4095, "in the gate"}, {layout.image, "in read-only data"}, {layout.image + 0x1000, "in text"},
        {layout.image + 0x4000, "between segments"}, {layout.image + 0x5000, "in relocated read-only data"},
        {layout.image + 0x7fff, "in data"}, {layout.image + 0x8000, "behind the image"}, {layout.arena, "in the arena"},
        {layout.stack - 1, "below the stack"}, {layout.stack, "in the stack"}, {layout.boot - 1, "behind the stack"},
        {layout.boot, "in the boot block"}, {layout.input, "in the input"}, {layout.output - 1, "behind the input"},
        {layout.output, "in the output"}, {layout.end, "behind the output"}, {UINT64_MAX, "outside its memory"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char wanted[CRASH_WORDS_BYTES];
        snprintf(wanted, sizeof wanted, "read of 0x%llx %s", (unsigned long long)rows[i].address, rows[i].place);
        expect(strcmp(access_words(rows[i].address, 1, 0x8b, 0), wanted) == 0);
    }
    struct link_crash crash = {.signal = 11, .address = layout.image + 0x16, .layout = layout};
    expect(crash_address(&crash) == 0x16);
    crash.number = 0x80;
    expect(crash_address(&crash) == 0);
}

// A signal does not say what was tried: the instruction does, and what the place allows.
TEST(says_what_was_tried)
{
    static const uint8_t stores[][2] = {{0x89, 0}, {0x48, 0xc7}, {0x50, 0}, {0x01, 0}, {0x83, 0}, {0xff, 0}, {0x0f, 0x11}};
    static const uint8_t loads[][2] = {{0x8b, 0}, {0x48, 0x8a}, {0x58, 0}, {0x39, 0}, {0x83, 0x38}, {0xff, 0x10}, {0x0f, 0xb6}};
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        expect(strncmp(access_words(8, 1, stores[i][0], stores[i][1]), "write to 0x8 ", 13) == 0);
        expect(strncmp(access_words(8, 1, loads[i][0], loads[i][1]), "read of 0x8 ", 12) == 0);
    }
    expect(strncmp(access_words(8, 1, 0xff, 0x30), "access to 0x8 ", 14) == 0);
    expect(strncmp(access_words(layout.boot, 2, 0xff, 0x30), "write to ", 9) == 0);
    expect(strncmp(access_words(layout.output, 2, 0xff, 0x30), "access to ", 10) == 0);
    expect(strcmp(words((struct link_crash){.signal = 11, .number = 2, .address = layout.arena, .rip = layout.arena}),
                  "jump to 0x7020000 in the arena") == 0);
    struct link_crash fault = {.signal = 11, .cause = LINK_CAUSE_EXCEPTION, .number = 14, .address = layout.arena};
    expect(strcmp(words(fault), "read of 0x7020000 in the arena") == 0);
    fault.detail = 7;
    expect(strcmp(words(fault), "write to 0x7020000 in the arena") == 0);
    fault.detail = 21;
    expect(strcmp(words(fault), "jump to 0x7020000 in the arena") == 0);
}

TEST(names_what_is_no_access)
{
    const struct {
        struct link_crash crash;
        const char *words;
    } rows[] = {
        {{.signal = 31, .number = 39}, "system call 39"},
        {{.signal = 31, .number = 0x40000027}, "system call 1073741863"},
        {{.signal = 8}, "arithmetic error (division)"},
        {{.signal = 5}, "signal 5"},
        {{.signal = 4, .code = {0x0f, 0x31}}, "forbidden instruction rdtsc"},
        {{.signal = 4, .code = {0x0f, 0xff}}, "unknown instruction"},
        {{.signal = 11, .number = 0x80, .code = {0xee}}, "forbidden instruction out"},
        {{.signal = 11, .number = 0x80}, "address or instruction that the processor refuses"},
        {{.cause = LINK_CAUSE_EXCEPTION, .number = 13, .code = {0xf4}}, "forbidden instruction hlt"},
        {{.cause = LINK_CAUSE_EXCEPTION, .number = 12}, "address or instruction that the processor refuses"},
        {{.cause = LINK_CAUSE_EXCEPTION, .number = 6, .code = {0x0f, 0x01, 0xf9}}, "forbidden instruction rdtscp"},
        {{.cause = LINK_CAUSE_EXCEPTION, .number = 0}, "arithmetic error (division)"},
        {{.cause = LINK_CAUSE_EXCEPTION, .number = 3}, "exception 3"},
        {{.cause = LINK_CAUSE_MACHINE, .number = 17}, "what its virtual machine cannot do (exit 17)"},
        {{.cause = LINK_CAUSE_DEADLINE, .number = 100}, "deadline of 100 ms passed"},
        {{.cause = LINK_CAUSE_DEADLINE_IN_INIT, .number = 100}, "deadline of 100 ms passed in init"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(strcmp(words(rows[i].crash), rows[i].words) == 0);
}

TEST(a_hostile_report_prints_and_ends)
{
    struct link_crash crash;
    memset(&crash, 0xff, sizeof crash); // no terminating zero anywhere
    crash.signal = 4;
    for (size_t capacity = 1; capacity <= CRASH_TEXT_BYTES; capacity++) {
        char text[CRASH_TEXT_BYTES + 1];
        memset(text, 'x', sizeof text);
        crash_text(&crash, "decode", text, capacity);
        size_t length = strnlen(text, capacity);
        expect(length < capacity && text[capacity] == 'x');
        for (size_t i = 0; i < length; i++)
            expect(text[i] >= ' ' && text[i] <= '~');
    }
}

int main(void)
{
    RUN(says_what_where_and_why);
    RUN(names_places);
    RUN(says_what_was_tried);
    RUN(names_what_is_no_access);
    RUN(a_hostile_report_prints_and_ends);
    TEST_END();
}
