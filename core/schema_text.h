// SPDX-License-Identifier: ISC
// Character classes and denied sinks of strings: which bytes a string field may hold.
#ifndef CRENEL_CORE_SCHEMA_TEXT_H
#define CRENEL_CORE_SCHEMA_TEXT_H

#include <stddef.h>
#include <stdint.h>

// May a string field of this class (enum schema_class) and these denied sinks (enum schema_deny) hold these bytes?
// Reads each byte once, in order.
/*@ requires length <= 0xffff && (length > 0 ==> \valid_read(bytes + (0 .. length - 1)));
    assigns \nothing; */
int text_is_good(unsigned class, unsigned deny, const uint8_t *bytes, size_t length);

#endif
