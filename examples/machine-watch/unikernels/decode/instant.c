// SPDX-License-Identifier: ISC
// The Gregorian calendar, one way.
#include "instant.h"

static bool two_digits(const uint8_t *text, unsigned most, unsigned *value)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *value = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    return *value <= most;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    if (month == 2)
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// Days since 1970-01-01. Years begin in March, so the leap day is a year's last; 719468 days lie between
// 0000-03-01 and 1970-01-01.
static int64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
    unsigned from_march = (month + 9) % 12;
    int64_t y = (int64_t)year - (month <= 2);
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * (int64_t)from_march + 2) / 5 + day - 1 - 719468;
}

bool instant_parse(const uint8_t *text, size_t length, int64_t *time_ms)
{
    unsigned century, year, month, day, hour, minute, second;
    if (length == 20 && text[19] == 'Z')
        length = 19;
    if (length != 19 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
        text[16] != ':')
        return false;
    if (!two_digits(text, 99, &century) || !two_digits(text + 2, 99, &year) ||
        !two_digits(text + 5, 12, &month) || !two_digits(text + 8, 31, &day) ||
        !two_digits(text + 11, 23, &hour) || !two_digits(text + 14, 59, &minute) ||
        !two_digits(text + 17, 59, &second))
        return false;
    year += century * 100;
    if (year == 0 || month == 0 || day == 0 || day > days_in_month(year, month))
        return false;
    int64_t seconds = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *time_ms = seconds * 1000;
    return true;
}
