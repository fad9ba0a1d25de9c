// SPDX-License-Identifier: ISC
// Base64 (RFC 4648, standard alphabet, padded), one encoding per value.
#ifndef CRENEL_CORE_BASE64_H
#define CRENEL_CORE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define BASE64_LENGTH(bytes) (((bytes) + 2u) / 3u * 4u)

// Writes BASE64_LENGTH(size) characters and no zero byte; returns that length.
/*@ requires size <= 0x1000000 && (size > 0 ==> \valid_read(bytes + (0 .. size - 1)));
    requires size > 0 ==> \valid(text + (0 .. BASE64_LENGTH(size) - 1));
    assigns text[0 .. BASE64_LENGTH(size) - 1];
    ensures \result == BASE64_LENGTH(size); */
size_t base64_encode(char *text, const uint8_t *bytes, size_t size);
// 1 and exactly `size` bytes, or 0 when text is not the encoding of so many bytes.
/*@ requires size <= 0x1000000 && (size > 0 ==> \valid(bytes + (0 .. size - 1)));
    requires length > 0 ==> \valid_read(text + (0 .. length - 1));
    assigns bytes[0 .. size - 1]; */
int base64_decode(uint8_t *bytes, size_t size, const char *text, size_t length);

#endif
