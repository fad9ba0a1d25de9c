// SPDX-License-Identifier: ISC
// One line about a crash, also when the report comes from a hostile tender.
#include "core/crash.h"
#include "tests/unit/test.h"

#include <string.h>

TEST(says_what_where_and_why)
{
    struct link_crash crash = {.signal = 4, .instruction = 0x24df, .frame_count = 2, .frames = {0x1a4, 0x20}};
    char text[CRASH_TEXT_BYTES];
    snprintf(crash.what, sizeof crash.what, "stopped itself");
    snprintf(crash.last_log, sizeof crash.last_log, "the stack is overwritten");
    crash_text(&crash, "decode", text, sizeof text);
    expect(strcmp(text, "SIGILL: stopped itself at decode+0x24df, called from +0x1a3 +0x1f "
                        "(build 0000000000000000): the stack is overwritten") == 0);
    crash.signal = 11; // the guest did not stop itself: its last words explain nothing
    crash_text(&crash, "decode", text, sizeof text);
    expect(strstr(text, "SIGSEGV: ") == text && strstr(text, "overwritten") == NULL);
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
    RUN(a_hostile_report_prints_and_ends);
    TEST_END();
}
