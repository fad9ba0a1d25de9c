// SPDX-License-Identifier: ISC
// Fuzz target: one line about a crash, whatever the report says. It ends, is printable, and names what the report names.
//
// Input: bytes of room (uint16_t), 6 bytes for nothing, the report.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "core/crash.h"

#include <string.h>

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    struct link_crash crash = {.signal = index == 1 ? 4 : 11, .frame_count = 2, .instruction = 0x1a3,
                               .what = "write to 0x8 in page 0", .frames = {0xa0, 0x23}, .last_log = "no room"};
    if (index > 2)
        return 0;
    memset(bytes, 0, 8);
    bytes[0] = index == 2 ? 20 : CRASH_TEXT_BYTES;
    memcpy(bytes + 8, &crash, sizeof crash);
    return 8 + sizeof crash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_crash crash = {0};
    if (size < 8)
        return 0;
    size_t capacity = 1 + (data[0] + 256u * data[1]) % 1024;
    memcpy(&crash, data + 8, size - 8 < sizeof crash ? size - 8 : sizeof crash);
    char *text = malloc(capacity); // of its own: writes too far are seen
    must(text != NULL);
    memset(text, 0x55, capacity);
    crash_text(&crash, "decode", text, capacity);
    must(memchr(text, 0, capacity) != NULL);
    for (const char *at = text; *at != 0; at++)
        must(*at >= 0x20 && *at <= 0x7e);
    if (capacity > 500 && crash.instruction != UINT64_MAX && strnlen(crash.what, sizeof crash.what) < 60)
        must(strstr(text, " at decode+0x") != NULL && strstr(text, " (build ") != NULL);
    free(text);
    return 0;
}
