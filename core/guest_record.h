// SPDX-License-Identifier: ISC
// The form of one guest record (abi/abi.h): sizes, ranges, zero padding. Pure; works on a private copy.
//
// What a record means (is the flow allowed, does the message fit its schema) is the router's to judge.
#ifndef CRENEL_CORE_GUEST_RECORD_H
#define CRENEL_CORE_GUEST_RECORD_H

#include "abi/abi.h"

#include <stddef.h>

struct guest_record {
    uint16_t kind;
    union {
        struct abi_read read;
        struct abi_send send;
        struct abi_write write;
        struct abi_log log;
        struct abi_end end;
    };
    const uint8_t *first, *second; // the variable parts: context and payload, key and value, from and end, text
};

// Takes the record at *at. A refusal that it names is below refusal_count. NULL: it is well formed; else the rule that
// it breaks (static text). *at moves behind the record whenever its size can be believed.
const char *guest_record_next(const uint8_t *bytes, size_t size, size_t *at, uint32_t refusal_count,
                              struct guest_record *record);

#endif
