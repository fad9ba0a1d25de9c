// SPDX-License-Identifier: ISC
// Base64. Decoding accepts exactly what encoding gives: it encodes again and compares.
#include "core/base64.h"

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/*@ requires 1 <= count && \valid_read(bytes + (0 .. (count < 3 ? count : 3) - 1));
    requires \valid(out + (0 .. 3));
    assigns out[0 .. 3]; */
static void encode_group(char out[4], const uint8_t *bytes, size_t count)
{
    uint32_t second = count > 1 ? bytes[1] : 0, third = count > 2 ? bytes[2] : 0;
    uint32_t group = bytes[0] * 65536u + second * 256u + third;
    out[0] = alphabet[group >> 18];
    out[1] = alphabet[group >> 12 & 63];
    out[2] = count > 1 ? alphabet[group >> 6 & 63] : '=';
    out[3] = count > 2 ? alphabet[group & 63] : '=';
}

size_t base64_encode(char *text, const uint8_t *bytes, size_t size)
{
    size_t length = 0;
    /*@ loop invariant i % 3 == 0 && i < size + 3 && length == i / 3 * 4;
        loop assigns i, length, text[0 .. BASE64_LENGTH(size) - 1];
        loop variant size + 3 - i; */
    for (size_t i = 0; i < size; i += 3, length += 4)
        encode_group(text + length, bytes + i, size - i < 3 ? size - i : 3);
    return length;
}

//@ assigns \nothing; ensures \result < 64;
static uint32_t digit(char c)
{
    /*@ loop invariant i <= 64;
        loop assigns i;
        loop variant 64 - i; */
    for (uint32_t i = 0; i < 64; i++)
        if (alphabet[i] == c)
            return i;
    return 0; // the comparison finds it
}

int base64_decode(uint8_t *bytes, size_t size, const char *text, size_t length)
{
    if (length != BASE64_LENGTH(size))
        return 0;
    /*@ loop invariant i % 3 == 0 && i < size + 3 && text == \at(text, Pre) + i / 3 * 4;
        loop assigns i, text, bytes[0 .. size - 1];
        loop variant size + 3 - i; */
    for (size_t i = 0; i < size; i += 3, text += 4) {
        size_t count = size - i < 3 ? size - i : 3;
        uint32_t group = digit(text[0]) << 18 | digit(text[1]) << 12 | digit(text[2]) << 6 | digit(text[3]);
        /*@ loop invariant j <= count;
            loop assigns j, bytes[i .. i + count - 1];
            loop variant count - j; */
        for (size_t j = 0; j < count; j++)
            bytes[i + j] = (uint8_t)(group >> (16 - 8 * j));
        char again[4];
        encode_group(again, bytes + i, count);
        /*@ loop invariant j <= 4;
            loop assigns j;
            loop variant 4 - j; */
        for (size_t j = 0; j < 4; j++)
            if (again[j] != text[j])
                return 0;
    }
    return 1;
}
