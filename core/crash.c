// SPDX-License-Identifier: ISC
// Crash reports as text.
#include "core/crash.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct line {
    char *text;
    size_t capacity, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = line->capacity - line->used;
    int length = vsnprintf(line->text + line->used, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        line->used += (size_t)length < room ? (size_t)length : room - 1;
}

// Numbers of Linux on x86-64 and aarch64; core has no signal.h of its own.
static const char *signal_name(uint32_t signal)
{
    switch (signal) {
    case 4: return "SIGILL: ";
    case 5: return "SIGTRAP: ";
    case 6: return "SIGABRT: ";
    case 7: return "SIGBUS: ";
    case 8: return "SIGFPE: ";
    case 9: return "SIGKILL: ";
    case 11: return "SIGSEGV: ";
    case 31: return "SIGSYS: ";
    default: return signal == 0 ? "" : "signal: ";
    }
}

void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity)
{
    struct line line = {text, capacity, 0};
    put(&line, "%s%.*s", signal_name(crash->signal), (int)strnlen(crash->what, sizeof crash->what),
        crash->what);
    if (crash->instruction != UINT64_MAX)
        put(&line, " at %s+0x%llx", name, (unsigned long long)crash->instruction);
    for (unsigned i = 0; i < crash->frame_count && i < LINK_FRAMES_MAX && i < 3; i++)
        put(&line, "%s+0x%x", i == 0 ? ", called from " : " ", crash->frames[i] - 1);
    put(&line, " (build ");
    for (unsigned i = 0; i < sizeof crash->build_id; i++)
        put(&line, "%02x", crash->build_id[i]);
    put(&line, ")");
    size_t log = strnlen(crash->last_log, sizeof crash->last_log);
    if (crash->signal == 4 && log != 0)
        put(&line, ": %.*s", (int)log, crash->last_log);
    for (size_t i = 0; i < line.used; i++)
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
}
