// SPDX-License-Identifier: ISC
// What a unit test needs: TEST(name) { ... expect(...) ... } and run it from main with RUN(name).
#ifndef CRENEL_TESTS_TEST_H
#define CRENEL_TESTS_TEST_H

#include <stdio.h>

__attribute__((unused)) static int test_failures; // a benchmark has no tests
__attribute__((unused)) static const char *test_why;
__attribute__((unused)) static char test_why_text[256];

#define TEST(name) static void test_##name(void)
#define expect(condition)                                                                          \
    do {                                                                                           \
        if (!(condition) && test_why == NULL) {                                                    \
            snprintf(test_why_text, sizeof test_why_text, "%s:%d: %s", __FILE__, __LINE__,         \
                     #condition);                                                                  \
            test_why = test_why_text;                                                              \
        }                                                                                          \
    } while (0)
#define RUN(name) RUN_AS(name, #name)
#define RUN_AS(name, title)                                                                        \
    do {                                                                                           \
        test_why = NULL;                                                                           \
        test_##name();                                                                             \
        if (test_why == NULL)                                                                      \
            printf("ok %s\n", title);                                                              \
        else {                                                                                     \
            printf("not ok %s - %s\n", title, test_why);                                           \
            test_failures++;                                                                       \
        }                                                                                          \
        fflush(stdout);                                                                            \
    } while (0)
#define SKIP(name, why) printf("skip %s - %s\n", #name, why)
// A reason to SKIP for what cannot run with address sanitizer's own memory and system calls in the process.
#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif
#define TEST_END() return test_failures != 0

#endif
