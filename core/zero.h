// SPDX-License-Identifier: ISC
// Padding and reserved bytes are zero: the one question that every reader of a format of ours asks.
#ifndef CRENEL_CORE_ZERO_H
#define CRENEL_CORE_ZERO_H

#include <stddef.h>
#include <stdint.h>

// Bytes [from, to) are zero.
/*@ requires from < to ==> \valid_read(bytes + (from .. to - 1));
    assigns \nothing;
    ensures \result <==> \forall integer i; from <= i < to ==> bytes[i] == 0; */
static inline int is_zero(const uint8_t *bytes, size_t from, size_t to)
{
    /*@ loop invariant from <= i && (from <= to ==> i <= to);
        loop invariant \forall integer j; from <= j < i ==> bytes[j] == 0;
        loop assigns i;
        loop variant to - i; */
    for (size_t i = from; i < to; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

#endif
