// SPDX-License-Identifier: ISC
// The words of a crash report: the same in `ps`, dead letters, the audit log and `crenel run`. The report may come from
// a hostile tender: any bytes give some words, those that do not print become '?', and a text is always terminated.
#ifndef CRENEL_CORE_CRASH_H
#define CRENEL_CORE_CRASH_H

#include "proto/link.h"

#include <stddef.h>

#define CRASH_TEXT_BYTES 240u
#define CRASH_WORDS_BYTES 80u

// "SIGSEGV: write to 0x8 in page 0 at decode+0x1a3, called from +0x9f +0x22 (build 0123456789abcdef): LAST LOG"
// Frames are given as the call's own address, so that `crenel symbolize` names the caller's line. The last log
// record is told when the unikernel stopped itself (SIGILL), because it then says why.
void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity);

// What it did: "write to 0x8 in page 0".
void crash_words(const struct link_crash *crash, char text[CRASH_WORDS_BYTES]);

// Where it was, as an offset into the image: in wait(), the caller's. UINT64_MAX: outside of the image.
uint64_t crash_instruction(const struct link_crash *crash);

// The address that it touched, in the image as an offset; 0: none.
uint64_t crash_address(const struct link_crash *crash);

#endif
