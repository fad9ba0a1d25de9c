// SPDX-License-Identifier: ISC
// Crash reports as text.
#include "tender/crash.h"

#include <stdio.h>
#include <string.h>

void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity)
{
    const char *signal = crash->signal == 0 ? NULL : sigabbrev_np((int)crash->signal);
    char where[64] = "outside the image";
    char build[17];
    if (crash->instruction != UINT64_MAX)
        snprintf(where, sizeof where, "at %s+0x%llx", name,
                 (unsigned long long)crash->instruction);
    for (unsigned i = 0; i < sizeof crash->build_id; i++)
        snprintf(build + 2 * (size_t)i, 3, "%02x", crash->build_id[i]);
    snprintf(text, capacity, "%s%s%s%s %s (build %s)", signal != NULL ? "SIG" : "",
             signal != NULL ? signal : "", signal != NULL ? ": " : "", crash->what, where, build);
}
