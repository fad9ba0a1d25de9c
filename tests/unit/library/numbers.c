// SPDX-License-Identifier: ISC
// Cases of integer_parse and decimal_parse.
#include "numbers.h"
#include "crenel.h"

struct number_case {
    const char *text;
    int64_t value;
    unsigned decimals;
    bool is_number;
};

static const struct number_case integers[] = {
    {"0", 0, 0, true},
    {"-17", -17, 0, true},
    {"007", 7, 0, true},
    {"9223372036854775807", INT64_MAX, 0, true},
    {"-9223372036854775808", INT64_MIN, 0, true},
    {"9223372036854775808", 0, 0, false},
    {"-9223372036854775809", 0, 0, false},
    {"99999999999999999999999", 0, 0, false},
    {"", 0, 0, false},
    {"-", 0, 0, false},
    {"+1", 0, 0, false},
    {" 1", 0, 0, false},
    {"1x", 0, 0, false},
    {"--1", 0, 0, false},
};

static const struct number_case decimals[] = {
    {"73.967322", 73967, 3, true},
    {"-40", -40000, 3, true},
    {"0.0005", 1, 3, true},
    {"-0.0005", -1, 3, true},
    {"0.00049999", 0, 3, true},
    {"1.25e-1", 125, 3, true},
    {"125E+3", 125000, 0, true},
    {"12e0", 12, 0, true},
    {"0.1", 1, 1, true},
    {"0.04", 0, 1, true},
    {"0.06", 1, 1, true},
    {"0e999999", 0, 3, true},
    {"1e-999999", 0, 3, true},
    {"1e999999", 0, 3, false},
    {"9.5", 10, 0, true},
    {"9.49", 9, 0, true},
    {"99.5e-2", 1, 0, true},
    {"0.0000000000000000000000000000001e31", 1, 0, true},
    {"9223372036854775.807", INT64_MAX, 3, true},
    {"9223372036854775.8075", 0, 3, false},
    {"9223372036854775.8074", INT64_MAX, 3, true},
    {"12345678901234567890123", 0, 0, false},
    {".5", 0, 1, false},
    {"5.", 0, 1, false},
    {"1.2.3", 0, 1, false},
    {"1e", 0, 1, false},
    {"1e+", 0, 1, false},
    {"1e1x", 0, 1, false},
    {"-", 0, 1, false},
    {"", 0, 1, false},
    {"nan", 0, 1, false},
    {"0x10", 0, 1, false},
};

static const char *case_check(const struct number_case *number, bool is_integer)
{
    int64_t value = 424242;
    bool is_number = is_integer ? integer_parse(number->text, strlen(number->text), &value)
                                : decimal_parse(number->text, strlen(number->text), number->decimals, &value);
    int64_t wanted = number->is_number ? number->value : 424242;

    return is_number == number->is_number && value == wanted ? 0 : number->text;
}

const char *numbers_check(void)
{
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
        if (case_check(&integers[i], true))
            return integers[i].text;
    for (size_t i = 0; i < sizeof decimals / sizeof decimals[0]; i++)
        if (case_check(&decimals[i], false))
            return decimals[i].text;
    return "good";
}
