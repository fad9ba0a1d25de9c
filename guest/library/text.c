// SPDX-License-Identifier: ISC
// A small formatter: the conversions that crenel.h names, nothing that needs a locale or memory.
#include "guest/include/crenel.h"

struct text { // writes what fits and counts the rest
    char *bytes;
    size_t capacity; // without the terminating zero
    size_t length;
};

struct conversion {
    unsigned width;
    unsigned precision; // of %s
    bool has_precision;
    bool is_zero_filled;
    unsigned long_count; // 0: int
};

static void byte_add(struct text *text, char byte)
{
    if (text->length < text->capacity)
        text->bytes[text->length] = byte;
    text->length++;
}

static void field_add(struct text *text, const char *bytes, size_t length, unsigned width,
                      char filler)
{
    for (size_t i = length; i < width; i++)
        byte_add(text, filler);
    for (size_t i = 0; i < length; i++)
        byte_add(text, bytes[i]);
}

static void number_add(struct text *text, const struct conversion *conversion, uint64_t value,
                       unsigned base, bool is_negative)
{
    char digits[24];
    size_t at = sizeof digits;

    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    unsigned width = conversion->width;
    if (is_negative && conversion->is_zero_filled) {
        byte_add(text, '-');
        width -= width != 0;
    } else if (is_negative) {
        digits[--at] = '-';
    }
    field_add(text, digits + at, sizeof digits - at, width,
              conversion->is_zero_filled ? '0' : ' ');
}

static unsigned digits_read(const char **format)
{
    unsigned value = 0;

    while (**format >= '0' && **format <= '9' && value < 1000)
        value = value * 10 + (unsigned)(*(*format)++ - '0');
    return value;
}

static struct conversion conversion_read(const char **format, va_list *arguments)
{
    struct conversion c = {0};

    if (**format == '0') {
        c.is_zero_filled = true;
        (*format)++;
    }
    c.width = digits_read(format);
    if (**format == '.') {
        (*format)++;
        c.has_precision = true;
        if (**format == '*') {
            int precision = va_arg(*arguments, int);
            c.precision = precision > 0 ? (unsigned)precision : 0;
            (*format)++;
        } else {
            c.precision = digits_read(format);
        }
    }
    for (; **format == 'l' || **format == 'z'; (*format)++)
        c.long_count++;
    return c;
}

static void string_add(struct text *text, const struct conversion *conversion, const char *string)
{
    size_t length = 0;

    if (string == NULL)
        string = "(null)";
    while ((!conversion->has_precision || length < conversion->precision) && string[length] != 0)
        length++;
    field_add(text, string, length, conversion->width, ' ');
}

static void conversion_add(struct text *text, const char **format, va_list *arguments)
{
    struct conversion c = conversion_read(format, arguments);
    char kind = **format;
    char byte;

    if (kind != 0)
        (*format)++;
    switch (kind) {
    case 'd':
    case 'i': {
        int64_t value = c.long_count ? va_arg(*arguments, int64_t) : va_arg(*arguments, int);
        number_add(text, &c, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0);
        break;
    }
    case 'u':
    case 'x':
        number_add(text, &c,
                   c.long_count ? va_arg(*arguments, uint64_t) : va_arg(*arguments, unsigned),
                   kind == 'u' ? 10 : 16, false);
        break;
    case 's':
        string_add(text, &c, va_arg(*arguments, const char *));
        break;
    case 'c':
        byte = (char)va_arg(*arguments, int);
        field_add(text, &byte, 1, c.width, ' ');
        break;
    case '%':
        byte_add(text, '%');
        break;
    default:
        fail("a log or text format holds a conversion that crenel.h does not name");
    }
}

size_t text_format_list(char *bytes, size_t capacity, const char *format, va_list arguments)
{
    struct text text = {.bytes = bytes, .capacity = capacity == 0 ? 0 : capacity - 1};
    va_list list;

    va_copy(list, arguments);
    while (*format != 0) {
        char c = *format++;
        if (c == '%')
            conversion_add(&text, &format, &list);
        else
            byte_add(&text, c);
    }
    va_end(list);
    if (capacity != 0)
        bytes[text.length < text.capacity ? text.length : text.capacity] = 0;
    return text.length;
}

size_t text_format(char *bytes, size_t capacity, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    size_t length = text_format_list(bytes, capacity, format, arguments);
    va_end(arguments);
    return length;
}
