// SPDX-License-Identifier: ISC
// The text of one entry: a record in the wrapper that the audit process stamps on it.
//
//   {"source":"store","sequence":12,"time_ms":1700000000000,"record":{...}}
// The first entry of every bundle of 256 also says what had been appended of each source before it, so the
// last bundle alone tells where every source continues:
//   {"source":"store","sequence":257,"time_ms":...,"highest":[256,3],"record":{...}}
// A record that is not a JSON object stands as a string.
#ifndef CRENEL_AUDIT_ENTRY_H
#define CRENEL_AUDIT_ENTRY_H

#include "audit/log.h"

// Writes the text; returns its length. highest: NULL but for the first entry of a bundle.
size_t entry_encode(char text[AUDIT_ENTRY_BYTES_MAX], enum audit_source source, uint64_t sequence,
                    int64_t time_ms, const uint64_t highest[AUDIT_SOURCES], const char *record,
                    size_t length);

// Applies an entry to highest: its list if it has one, then its own sequence.
enum status entry_highest(const uint8_t *text, size_t length, uint64_t highest[AUDIT_SOURCES])
    MUST_USE;

#endif
