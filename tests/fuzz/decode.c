// SPDX-License-Identifier: ISC
// Fuzz target: what guests read of what devices write: the example's JSON and dates, the library OS's numbers.
//
// Input: 0 JSON, 1 a date, 2 a number with as many decimals as the next byte says; the text. What must hold: JSON that
// is taken is taken by cJSON, too, with the same members; dates and numbers are what a slow second way makes of them.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/words.h"

#include "examples/machine-watch/unikernels/decode/instant.h"
#include "examples/machine-watch/unikernels/decode/json.h"

#include <cjson/cJSON.h>
#include <string.h>
#include <time.h>

// guest/include/crenel.h, which names libc's functions anew.
bool integer_parse(const char *text, size_t length, int64_t *value);
bool decimal_parse(const char *text, size_t length, unsigned decimals, int64_t *value);
// What the configuration's readers, in the same file, would need.
struct guest *guest_state(void);
struct guest *guest_state(void) { return NULL; }
_Noreturn void fail(const char *format, ...);
_Noreturn void fail(const char *format, ...)
{
    (void)format;
    abort();
}

static const char *const names[] = {"sensor", "time", "unit"};

static void try_json(const uint8_t *text, size_t size)
{
    struct json_value values[3];
    if (json_object(text, size, names, values, 3) != JSON_OK)
        return;
    for (size_t i = 0; i < 3; i++)
        must(values[i].type == JSON_NONE || (values[i].bytes >= text && values[i].bytes + values[i].size <= text + size));
    size_t digits = 0; // cJSON takes numbers of at most 63 characters, and no escapes of half a character
    for (size_t i = 0; i < size; i++) {
        digits = (text[i] >= '0' && text[i] <= '9') || text[i] == '.' || text[i] == '-' ? digits + 1 : 0;
        if (digits > 50 || text[i] == '\\')
            return;
    }
    cJSON *json = cJSON_ParseWithLength((const char *)text, size);
    must(cJSON_IsObject(json));
    for (size_t i = 0; i < 3; i++) {
        const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, names[i]);
        must((member == NULL) == (values[i].type == JSON_NONE));
        must(member == NULL || (values[i].type == JSON_NUMBER) == (cJSON_IsNumber(member) != 0));
        must(member == NULL || (values[i].type == JSON_STRING) == (cJSON_IsString(member) != 0));
        if (values[i].type == JSON_STRING)
            must(strlen(member->valuestring) == values[i].size &&
                 memcmp(member->valuestring, values[i].bytes, values[i].size) == 0);
    }
    cJSON_Delete(json);
}

static void try_instant(const uint8_t *text, size_t size)
{
    int64_t time_ms = -77;
    char copy[32] = "", again[32];
    if (!instant_parse(text, size, &time_ms)) {
        must(time_ms == -77);
        return;
    }
    must(size < sizeof copy && time_ms % 1000 == 0);
    memcpy(copy, text, size);
    copy[strcspn(copy, "Z")] = 0;
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    must(gmtime_r(&seconds, &utc) != NULL && strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%S", &utc) != 0);
    must(strcmp(copy + strspn(copy, "0"), again + strspn(again, "0")) == 0);
}

// All digits of the number, one after the other, the point `scale` places from their end.
static bool read_slowly(const char *text, size_t size, unsigned decimals, int64_t *value)
{
    char digits[4096];
    size_t at = 0, count = 0, behind = 0, exponent_digits = 0;
    long exponent = 0;
    bool is_negative = size > 0 && text[0] == '-', is_point = false, is_small = false;
    for (at = is_negative; at < size && ((text[at] >= '0' && text[at] <= '9') || (text[at] == '.' && !is_point)); at++) {
        is_point |= text[at] == '.';
        if (text[at] != '.' && count < sizeof digits)
            digits[count++] = text[at], behind += is_point;
    }
    if (count == 0 || count == sizeof digits)
        return false;
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        is_small = at < size && text[at] == '-';
        at += at < size && (text[at] == '-' || text[at] == '+');
        for (; at < size && text[at] >= '0' && text[at] <= '9'; at++, exponent_digits++)
            exponent = exponent < 100000 ? exponent * 10 + text[at] - '0' : exponent;
        if (exponent_digits == 0)
            return false;
    }
    if (at != size)
        return false;
    // The digits in front of the point, once it is moved.
    long whole = (long)count - (long)behind + (is_small ? -exponent : exponent) + (long)decimals;
    unsigned __int128 number = 0;
    for (long i = 0; i < whole; i++) {
        number = number * 10 + (i < (long)count ? (unsigned)(digits[i] - '0') : 0);
        if (number > (unsigned __int128)1 << 64)
            return false;
        if (i > (long)count && number == 0)
            break; // zero, with whatever exponent
    }
    if (whole >= 0 && whole < (long)count)
        number += digits[whole] >= '5';
    if (number > (unsigned __int128)INT64_MAX + is_negative)
        return false;
    *value = is_negative ? (int64_t)(0 - (uint64_t)number) : (int64_t)number;
    return true;
}

static void try_number(unsigned decimals, const uint8_t *text, size_t size)
{
    int64_t value = -77, slow = -77;
    bool is_good = decimal_parse((const char *)text, size, decimals, &value);
    must(is_good || value == -77);
    if (is_good) { // some numbers may be refused for their form, but what is taken has one value
        must(read_slowly((const char *)text, size, decimals, &slow));
        must(slow == value);
    }
    value = -77;
    is_good = integer_parse((const char *)text, size, &value);
    must(is_good || value == -77);
    for (size_t i = 0; i < size; i++)
        must(!is_good || (text[i] >= '0' && text[i] <= '9') || (i == 0 && text[i] == '-'));
    if (is_good)
        must(read_slowly((const char *)text, size, 0, &slow) && slow == value);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const seeds[] = {
        "0{\"sensor\":7,\"sequence\":123,\"time\":\"2013-12-02T21:15:00\",\"celsius\":73.96732207,\"unit\":\"C\"}",
        "0 { \"a\" : [1, {\"b\": null}, true], \"unit\": \"\\u00e9\xc3\xa9\" } ", "12013-12-02T21:15:00Z", "12000-02-29T00:00:60",
        "2\3-12.5", "2\22" "9.2233720368547758075e0", "2\0-9223372036854775808", "2\5" "1e-3", "2\0" "123456789012e-11"};
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    size_t size = index == 6 || index == 8 ? 2 + strlen(seeds[index] + 2) : strlen(seeds[index]);
    memcpy(bytes, seeds[index], size);
    bytes[0] = (uint8_t)(bytes[0] - '0');
    return size;
}

static const char *const words[] = {"{", "}", "[", "]", ":", ",", "\"", "\"sensor\":", "\"unit\":\"C\"", "\"time\"", "1e5", "-0", "0.5",
                                    "9223372036854775807", "-9223372036854775808", "e-1000", "E+10", "2024-02-29T23:59:59",
                                    "T24:00:00", "true", "null", "\\u0041", "\xc3\xa9", "\xed\xa0\x80", "5", "."};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return words_mutate(data, size, max_size, seed, 2, words, sizeof words / sizeof words[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] % 3 == 0)
        try_json(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        try_instant(data + 1, size - 1);
    else
        try_number(data[1] % 19, data + 2, size - 2);
    return 0;
}
