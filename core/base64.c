// SPDX-License-Identifier: ISC
// Base64. Decoding accepts exactly what encoding gives: it encodes again and compares.
#include "core/base64.h"

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_group(char out[4], const uint8_t *bytes, size_t count)
{
    uint32_t group = (uint32_t)bytes[0] << 16 | (count > 1 ? (uint32_t)bytes[1] << 8 : 0) |
                     (count > 2 ? (uint32_t)bytes[2] : 0);
    out[0] = alphabet[group >> 18];
    out[1] = alphabet[group >> 12 & 63];
    out[2] = count > 1 ? alphabet[group >> 6 & 63] : '=';
    out[3] = count > 2 ? alphabet[group & 63] : '=';
}

size_t base64_encode(char *text, const uint8_t *bytes, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; i < size; i += 3, length += 4)
        encode_group(text + length, bytes + i, size - i < 3 ? size - i : 3);
    return length;
}

static uint32_t digit(char c)
{
    for (uint32_t i = 0; i < 64; i++)
        if (alphabet[i] == c)
            return i;
    return 0; // the comparison finds it
}

int base64_decode(uint8_t *bytes, size_t size, const char *text, size_t length)
{
    if (length != BASE64_LENGTH(size))
        return 0;
    for (size_t i = 0; i < size; i += 3, text += 4) {
        size_t count = size - i < 3 ? size - i : 3;
        uint32_t group = digit(text[0]) << 18 | digit(text[1]) << 12 | digit(text[2]) << 6 | digit(text[3]);
        for (size_t j = 0; j < count; j++)
            bytes[i + j] = (uint8_t)(group >> (16 - 8 * j));
        char again[4];
        encode_group(again, bytes + i, count);
        for (size_t j = 0; j < 4; j++)
            if (again[j] != text[j])
                return 0;
    }
    return 1;
}
