// SPDX-License-Identifier: ISC
// Signed notes and checkpoints: text in, text out.
#include "core/tlog_note.h"

#include "core/base64.h"
#include "core/check.h"

#include <string.h>

#define ED25519 0x01 // algorithm byte of a key
#define DASH "\xe2\x80\x94 " // U+2014 and a space: how a signature line begins
#define DASH_BYTES 4u

int note_name_is_valid(const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++)
        if (name[length] <= 0x20 || name[length] >= 0x7f || name[length] == '+')
            return 0;
    return length > 0 && length < NOTE_NAME_BYTES;
}

void note_key_id(uint8_t id[4], const char *name, const uint8_t public_key[NOTE_KEY_BYTES],
                 tlog_hash *hash)
{
    uint8_t key[2 + NOTE_KEY_BYTES] = {'\n', ED25519};
    uint8_t digest[TLOG_HASH_BYTES];
    memcpy(key + 2, public_key, NOTE_KEY_BYTES);
    hash(digest, name, strlen(name), key, sizeof key);
    memcpy(id, digest, 4);
}

void note_key_encode(char text[NOTE_VKEY_BYTES], const char *prefix, const char *name,
                     const uint8_t id[4], const uint8_t key[NOTE_KEY_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t tagged[1 + NOTE_KEY_BYTES] = {ED25519};
    memcpy(tagged + 1, key, NOTE_KEY_BYTES);
    size_t at = 0, prefix_length = strlen(prefix), name_length = strlen(name);
    check(note_name_is_valid(name) && prefix_length + name_length + 55 < NOTE_VKEY_BYTES);
    memcpy(text, prefix, prefix_length);
    at += prefix_length;
    memcpy(text + at, name, name_length);
    at += name_length;
    text[at++] = '+';
    for (int i = 0; i < 4; i++) {
        text[at++] = digits[id[i] >> 4];
        text[at++] = digits[id[i] & 15];
    }
    text[at++] = '+';
    at += base64_encode(text + at, tagged, sizeof tagged);
    text[at] = '\0';
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum status note_key_decode(const char *text, const char *prefix, char name[NOTE_NAME_BYTES],
                            uint8_t id[4], uint8_t key[NOTE_KEY_BYTES])
{
    size_t prefix_length = strlen(prefix);
    if (strncmp(text, prefix, prefix_length) != 0)
        return STATUS_MALFORMED;
    text += prefix_length;
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '\n')
        length--;
    const char *plus = memchr(text, '+', length);
    size_t name_length = plus != NULL ? (size_t)(plus - text) : 0;
    uint8_t tagged[1 + NOTE_KEY_BYTES], found_id[4];
    if (plus == NULL || name_length >= NOTE_NAME_BYTES ||
        length != name_length + 10 + BASE64_LENGTH(sizeof tagged) || plus[9] != '+' ||
        !base64_decode(tagged, sizeof tagged, plus + 10, BASE64_LENGTH(sizeof tagged)) ||
        tagged[0] != ED25519)
        return STATUS_MALFORMED;
    for (int i = 0; i < 4; i++) {
        int high = hex_digit(plus[1 + 2 * i]), low = hex_digit(plus[2 + 2 * i]);
        if (high < 0 || low < 0)
            return STATUS_MALFORMED;
        found_id[i] = (uint8_t)(high << 4 | low);
    }
    char found_name[NOTE_NAME_BYTES] = {0};
    memcpy(found_name, text, name_length);
    if (!note_name_is_valid(found_name))
        return STATUS_MALFORMED;
    memcpy(name, found_name, sizeof found_name);
    memcpy(id, found_id, 4);
    memcpy(key, tagged + 1, NOTE_KEY_BYTES);
    return STATUS_OK;
}

size_t checkpoint_encode(const struct checkpoint *checkpoint, char text[NOTE_TEXT_BYTES_MAX])
{
    check(note_name_is_valid(checkpoint->origin));
    size_t at = strlen(checkpoint->origin);
    memcpy(text, checkpoint->origin, at);
    text[at++] = '\n';
    char digits[20];
    size_t count = 0;
    uint64_t size = checkpoint->size;
    do {
        digits[count++] = (char)('0' + size % 10);
        size /= 10;
    } while (size != 0);
    while (count > 0)
        text[at++] = digits[--count];
    text[at++] = '\n';
    at += base64_encode(text + at, checkpoint->root, TLOG_HASH_BYTES);
    text[at++] = '\n';
    check(at < NOTE_TEXT_BYTES_MAX);
    return at;
}

enum status checkpoint_decode(struct checkpoint *checkpoint, const char *text, size_t length)
{
    struct checkpoint found = {0};
    const char *end = text + length;
    const char *line = memchr(text, '\n', length);
    if (line == NULL || line == text || (size_t)(line - text) >= NOTE_NAME_BYTES)
        return STATUS_MALFORMED;
    memcpy(found.origin, text, (size_t)(line - text));
    for (line++; line < end && *line >= '0' && *line <= '9'; line++) {
        if (found.size > UINT64_MAX / 10 - 9)
            return STATUS_MALFORMED;
        found.size = found.size * 10 + (uint64_t)(*line - '0');
    }
    if (found.size >> (8 * TLOG_LEVELS_MAX) != 0 || line >= end || *line++ != '\n' ||
        (size_t)(end - line) != BASE64_LENGTH(TLOG_HASH_BYTES) + 1 || end[-1] != '\n' ||
        !base64_decode(found.root, TLOG_HASH_BYTES, line, BASE64_LENGTH(TLOG_HASH_BYTES)) ||
        !note_name_is_valid(found.origin))
        return STATUS_MALFORMED;
    // One encoding per value: leading zeros and the like do not come back the same.
    char again[NOTE_TEXT_BYTES_MAX];
    if (checkpoint_encode(&found, again) != length || memcmp(again, text, length) != 0)
        return STATUS_MALFORMED;
    *checkpoint = found;
    return STATUS_OK;
}

size_t note_sign(char text[NOTE_TEXT_BYTES_MAX], size_t text_length, const char *name,
                 const uint8_t id[4], const uint8_t signature[NOTE_SIGNATURE_BYTES])
{
    uint8_t tagged[4 + NOTE_SIGNATURE_BYTES];
    memcpy(tagged, id, 4);
    memcpy(tagged + 4, signature, NOTE_SIGNATURE_BYTES);
    size_t name_length = strlen(name), at = text_length;
    check(at + name_length + DASH_BYTES + 3 + BASE64_LENGTH(sizeof tagged) < NOTE_TEXT_BYTES_MAX);
    text[at++] = '\n';
    memcpy(text + at, DASH, DASH_BYTES);
    at += DASH_BYTES;
    memcpy(text + at, name, name_length);
    at += name_length;
    text[at++] = ' ';
    at += base64_encode(text + at, tagged, sizeof tagged);
    text[at++] = '\n';
    return at;
}

enum status note_open(const char *note, size_t length, const char *name, const uint8_t id[4],
                      size_t *text_length, uint8_t signature[NOTE_SIGNATURE_BYTES])
{
    // The empty line: the last "\n\n" (signature lines hold none).
    size_t split = 0;
    for (size_t i = 0; i + 1 < length; i++)
        if (note[i] == '\n' && note[i + 1] == '\n')
            split = i + 1;
    if (split == 0 || note[length - 1] != '\n')
        return STATUS_MALFORMED;
    enum status status = STATUS_ABSENT;
    size_t name_length = strlen(name);
    for (const char *line = note + split + 1, *end = note + length; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        size_t rest = next != NULL ? (size_t)(next - line) : 0;
        if (rest < DASH_BYTES || memcmp(line, DASH, DASH_BYTES) != 0)
            return STATUS_MALFORMED;
        const char *key = line + DASH_BYTES;
        rest -= DASH_BYTES;
        uint8_t tagged[4 + NOTE_SIGNATURE_BYTES];
        if (rest == name_length + 1 + BASE64_LENGTH(sizeof tagged) &&
            memcmp(key, name, name_length) == 0 && key[name_length] == ' ' &&
            base64_decode(tagged, sizeof tagged, key + name_length + 1,
                          BASE64_LENGTH(sizeof tagged)) &&
            memcmp(tagged, id, 4) == 0 && status == STATUS_ABSENT) {
            memcpy(signature, tagged + 4, NOTE_SIGNATURE_BYTES);
            *text_length = split;
            status = STATUS_OK;
        }
        line = next + 1;
    }
    return status;
}
