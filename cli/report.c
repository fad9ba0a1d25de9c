// SPDX-License-Identifier: ISC
// Errors and progress on standard error.
#include "cli/report.h"

#include <stdarg.h>
#include <stdio.h>

void report_error(const char *file, int line, const char *mend, const char *what, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("crenel: ", stderr);
    if (file != NULL && line > 0)
        fprintf(stderr, "%s:%d: ", file, line);
    else if (file != NULL)
        fprintf(stderr, "%s: ", file);
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (mend != NULL)
        fprintf(stderr, "  mend: %s\n", mend);
}

void report_progress(const char *what, ...)
{
    va_list arguments;

    fflush(stdout);
    va_start(arguments, what);
    vfprintf(stderr, what, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}
