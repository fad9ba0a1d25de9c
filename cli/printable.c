// SPDX-License-Identifier: ISC
// A terminal takes U+009B, or the byte 0x9b, for the begin of a command, as it takes ESC [.
#include "cli/printable.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define TIME_MS_MAX 253402300799999.0 // the end of 9999

// Bytes of the UTF-8 character at `at`; 0: it is none. (What it means is the terminal's business.)
static size_t character_bytes(const uint8_t *at)
{
    size_t size = at[0] < 0x80                       ? 1
                  : at[0] >= 0xc2 && at[0] < 0xe0    ? 2
                  : (at[0] & 0xf0) == 0xe0           ? 3
                  : (at[0] & 0xf8) == 0xf0           ? 4
                                                     : 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) // also the terminating zero
            return 0;
    return size;
}

static int is_control(const uint8_t *at)
{
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
}

void printable_clean(char *text)
{
    for (uint8_t *at = (uint8_t *)text; *at != 0;) {
        size_t size = character_bytes(at);
        int is_good = size != 0 && !is_control(at);
        for (size_t i = 0; i < size + (size == 0); i++, at++)
            if (!is_good)
                *at = '?';
    }
}

void printable_clean_json(cJSON *json)
{
    for (; json != NULL; json = json->next) {
        if (json->string != NULL)
            printable_clean(json->string);
        if (cJSON_IsString(json))
            printable_clean(json->valuestring);
        printable_clean_json(json->child);
    }
}

void printable_time(double time_ms, char text[32])
{
    struct tm utc;
    snprintf(text, 32, "?");
    if (!(time_ms >= 0 && time_ms <= TIME_MS_MAX))
        return;
    time_t seconds = (time_t)(time_ms / 1000);
    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}
