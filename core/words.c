// SPDX-License-Identifier: ISC
// Words behind one another in memory that somebody else has.
#include "core/words.h"

#include <stdarg.h>
#include <stdio.h>

void words_add(struct words *words, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = words->capacity - words->used;
    int length = vsnprintf(words->text + words->used, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        words->used += (size_t)length < room ? (size_t)length : room - 1;
}
