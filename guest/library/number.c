// SPDX-License-Identifier: ISC
// Reading numbers from hostile text, and configuration lines.
#include "guest/library/guest.h"

#define EXPONENT_MOST 1000

struct decimal { // "-12.50e3": digits "1250", point after 2 of them, exponent 3
    const char *digits; // with a point somewhere among them
    size_t length;
    size_t count;  // of digits
    size_t before; // of them before the point
    int64_t exponent;
    bool is_negative;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// value * 10 + digit without overflow.
static bool digit_push(uint64_t *value, unsigned digit)
{
    if (*value > (UINT64_MAX - digit) / 10)
        return false;
    *value = *value * 10 + digit;
    return true;
}

static bool sign_apply(uint64_t magnitude, bool is_negative, int64_t *value)
{
    if (magnitude > (uint64_t)INT64_MAX + is_negative)
        return false;
    *value = is_negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool integer_parse(const char *text, size_t length, int64_t *value)
{
    bool is_negative = length != 0 && text[0] == '-';
    uint64_t magnitude = 0;

    if (length == is_negative)
        return false;
    for (size_t i = is_negative; i < length; i++)
        if (!is_digit(text[i]) || !digit_push(&magnitude, (unsigned)(text[i] - '0')))
            return false;
    return sign_apply(magnitude, is_negative, value);
}

static bool exponent_read(const char *text, size_t length, int64_t *exponent)
{
    bool is_negative = length != 0 && text[0] == '-';
    size_t at = length != 0 && (text[0] == '-' || text[0] == '+');

    if (at == length)
        return false;
    *exponent = 0;
    for (; at < length; at++) {
        if (!is_digit(text[at]))
            return false;
        if (*exponent < EXPONENT_MOST)
            *exponent = *exponent * 10 + (text[at] - '0');
    }
    if (is_negative)
        *exponent = -*exponent;
    return true;
}

static bool decimal_read(const char *text, size_t length, struct decimal *decimal)
{
    size_t at = length != 0 && text[0] == '-';
    size_t point = SIZE_MAX;

    *decimal = (struct decimal){.is_negative = at == 1, .digits = text + at};
    for (; at < length && (is_digit(text[at]) || (text[at] == '.' && point == SIZE_MAX)); at++) {
        if (text[at] == '.')
            point = decimal->count;
        else
            decimal->count++;
    }
    decimal->length = (size_t)(text + at - decimal->digits);
    decimal->before = point == SIZE_MAX ? decimal->count : point;
    if (decimal->before == 0 || (point != SIZE_MAX && decimal->before == decimal->count))
        return false; // no digit on one side of the point
    if (at == length)
        return true;
    return (text[at] == 'e' || text[at] == 'E') &&
           exponent_read(text + at + 1, length - at - 1, &decimal->exponent);
}

bool decimal_parse(const char *text, size_t length, unsigned decimals, int64_t *value)
{
    struct decimal d;
    uint64_t magnitude = 0;
    int64_t seen = 0;

    if (decimals > 18 || length > INT32_MAX || !decimal_read(text, length, &d))
        return false;
    // The result is the first `kept` digits, rounded by the digit behind them.
    int64_t kept = (int64_t)d.before + d.exponent + decimals;
    for (size_t i = 0; i < d.length && seen <= kept; i++) {
        if (d.digits[i] == '.')
            continue;
        unsigned digit = (unsigned)(d.digits[i] - '0');
        if (seen < kept ? !digit_push(&magnitude, digit)
                        : digit >= 5 && magnitude++ == UINT64_MAX)
            return false;
        seen++;
    }
    for (; seen < kept && magnitude != 0; seen++)
        if (!digit_push(&magnitude, 0))
            return false;
    return sign_apply(magnitude, d.is_negative, value);
}

const char *configuration_text(size_t *length)
{
    const struct abi_boot *boot = guest_state()->boot;

    *length = (size_t)boot->configuration_bytes;
    return (const char *)boot->configuration;
}

int64_t configuration_integer(const char *name, int64_t fallback)
{
    size_t length, name_length = strlen(name);
    const char *text = configuration_text(&length);
    const char *end = text + length;
    int64_t value;

    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        if (line_end == NULL)
            line_end = end;
        size_t size = (size_t)(line_end - text);
        if (size > name_length && memcmp(text, name, name_length) == 0 && text[name_length] == ' ') {
            const char *from = text + name_length, *to = line_end;
            while (from < to && *from == ' ')
                from++;
            while (to > from && (to[-1] == ' ' || to[-1] == '\r'))
                to--;
            if (!integer_parse(from, (size_t)(to - from), &value))
                fail("configuration: %s is no integer: %.*s", name, (int)(to - from), from);
            return value;
        }
        text = line_end == end ? end : line_end + 1;
    }
    return fallback;
}
