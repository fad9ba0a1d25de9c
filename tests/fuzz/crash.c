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
    struct link_crash crash = {.cause = index % 5, .signal = index == 1 ? 4 : index == 3 ? 31 : 11, .frame_count = 2,
                               .number = index, .rip = 0x10001a3, .code = {0x0f, 0x0b}, .frames = {0xa0, 0x23},
                               .layout = {.image = 0x1000000, .image_bytes = 4096, .segments = {{0}, {0x1000000, 4096}}},
                               .last_log = "no room"};
    if (index > 9)
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
    char words[CRASH_WORDS_BYTES];
    crash_words(&crash, words);
    must(memchr(words, 0, sizeof words) != NULL && strlen(words) < CRASH_WORDS_BYTES - 1); // none is cut
    must(strstr(text, words) != NULL || capacity < 500);
    (void)crash_address(&crash);
    if (capacity > 500 && crash_instruction(&crash) != UINT64_MAX)
        must(strstr(text, " at decode+0x") != NULL && strstr(text, " (build ") != NULL);
    free(text);
    return 0;
}
