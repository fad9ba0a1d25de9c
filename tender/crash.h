// SPDX-License-Identifier: ISC
// One line about a crash, for status pages and the host log.
#ifndef CRENEL_TENDER_CRASH_H
#define CRENEL_TENDER_CRASH_H

#include "proto/link.h"

#include <stddef.h>

// "SIGSEGV: write to 0x… below the stack at decode+0x1a3 (build 0123456789abcdef)"
void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity);

#endif
