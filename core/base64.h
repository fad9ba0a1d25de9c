// SPDX-License-Identifier: ISC
// Base64 (RFC 4648, standard alphabet, padded), one encoding per value.
#ifndef CRENEL_CORE_BASE64_H
#define CRENEL_CORE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#define BASE64_LENGTH(bytes) (((bytes) + 2u) / 3u * 4u)

// Writes BASE64_LENGTH(size) characters and no zero byte; returns that length.
size_t base64_encode(char *text, const uint8_t *bytes, size_t size);
// 1 and exactly `size` bytes, or 0 when text is not the encoding of so many bytes.
int base64_decode(uint8_t *bytes, size_t size, const char *text, size_t length);

#endif
