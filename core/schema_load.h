// SPDX-License-Identifier: ISC
// Numbers in a message: scalars, lengths and counts. Shared by the checker of messages and the reader of their values.
#ifndef CRENEL_CORE_SCHEMA_LOAD_H
#define CRENEL_CORE_SCHEMA_LOAD_H

#include "core/schema.h"

// The path of every field of every message: a call would cost as much as what it does.
#define INLINE static inline __attribute__((always_inline))

/*@ requires \valid_read(bytes + (0 .. 1));
    assigns \nothing;
    ensures \result == bytes[0] + 256 * bytes[1]; */
static inline uint32_t load_16(const uint8_t *bytes)
{
    return bytes[0] + 256u * bytes[1];
}

// Eight bytes as one number.
/*@ requires \valid_read(bytes + (0 .. 7));
    assigns \nothing; */
INLINE uint64_t load_64(const uint8_t *bytes)
{
    return bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 24 |
           (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 | (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

// The scalar at this place of a message, extended to 64 bits as its type says. It lies in one word of eight bytes, since it
// is aligned, and messages have nothing but whole words; so there is no branch on its width.
/*@ requires type_is_scalar(type) && at + width_of(type) <= size && size % 8 == 0;
    requires \valid_read(message + (0 .. size - 1));
    assigns \nothing; */
INLINE uint64_t load(unsigned type, const uint8_t *message, size_t at, size_t size)
{
    static const struct {
        uint64_t mask, sign; // the bits that a type has, and of these the one that counts less than nothing
    } forms[SCHEMA_ENUM + 1] = {
        [SCHEMA_U8] = {0xff, 0},         [SCHEMA_I8] = {0xff, 0x80},
        [SCHEMA_U16] = {0xffff, 0},      [SCHEMA_I16] = {0xffff, 0x8000},
        [SCHEMA_U32] = {UINT32_MAX, 0},  [SCHEMA_I32] = {UINT32_MAX, 0x80000000},
        [SCHEMA_U64] = {UINT64_MAX, 0},  [SCHEMA_I64] = {UINT64_MAX, 0}, // as they are
        [SCHEMA_BOOL] = {0xff, 0},       [SCHEMA_ENUM] = {0xff, 0}};
    //@ assert in_one_word: at / 8 * 8 + 8 <= size;
    (void)size;
    uint64_t value = load_64(message + at / 8 * 8) >> (8 * (at % 8)) & forms[type].mask;
    return (value ^ forms[type].sign) - forms[type].sign;
}

// Its value, length or count, in the first record of an array.
/*@ requires \valid_read(field) && SCHEMA_U8 <= field->type <= SCHEMA_SEALED;
    requires \valid_read(message + (0 .. size - 1)) && value_is_inside(field, size) && size % 8 == 0;
    assigns \nothing;
    ensures field->type >= SCHEMA_STRING ==> \result == message[field->offset] + 256 * message[field->offset + 1]; */
INLINE int64_t value_of(const struct schema_field *field, const uint8_t *message, size_t size)
{
    if (field->type >= SCHEMA_STRING)
        return load_16(message + field->offset);
    return (int64_t)load(field->type, message, field->offset, size);
}

#endif
