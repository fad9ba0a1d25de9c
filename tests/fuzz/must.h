// SPDX-License-Identifier: ISC
// What must hold in a fuzz target.
#ifndef CRENEL_TESTS_MUST_H
#define CRENEL_TESTS_MUST_H

#include <stdio.h> // a target may have turned stderr away
#include <stdlib.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
