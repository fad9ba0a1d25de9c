// SPDX-License-Identifier: ISC
// A crash report as one line: the same words in `ps`, dead letters and the audit log.
#ifndef CRENEL_CORE_CRASH_H
#define CRENEL_CORE_CRASH_H

#include "proto/link.h"

#include <stddef.h>

#define CRASH_TEXT_BYTES 240u

// "SIGSEGV: write to 0x8 in page 0 at decode+0x1a3, called from +0x9f +0x22 (build 0123456789abcdef): LAST LOG"
// Frames are given as the call's own address, so that `crenel symbolize` names the caller's line. The last log
// record is told when the unikernel stopped itself (SIGILL), because it then says why. The report may come
// from a hostile tender: bytes that do not print become '?', and the text is always terminated.
void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity);

#endif
