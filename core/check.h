// SPDX-License-Identifier: ISC
// check(): assertions about our own bugs. Always on, without side effects, never for bad input.
#ifndef CRENEL_CORE_CHECK_H
#define CRENEL_CORE_CHECK_H

// Hosts define it in host/check.c (prints, aborts); it never returns.
//@ requires never: \false; assigns \nothing; ensures \false;
__attribute__((noreturn)) void check_failed(const char *file, int line, const char *condition);

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_failed(__FILE__, __LINE__, #condition);                                          \
    } while (0)

#endif
