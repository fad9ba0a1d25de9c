// SPDX-License-Identifier: ISC
// A text that grows until its memory is full; what does not fit is left out.
#ifndef CRENEL_CORE_WORDS_H
#define CRENEL_CORE_WORDS_H

#include <stddef.h>

struct words {
    char *text; // not owned; ends with a zero byte once something was added
    size_t capacity, used;
};

void words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
