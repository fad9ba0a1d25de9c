// SPDX-License-Identifier: ISC
// What the operator reads on standard error: what, where, the mend. And progress.
#ifndef CRENEL_CLI_REPORT_H
#define CRENEL_CLI_REPORT_H

// "crenel: FILE:LINE: WHAT" and, when mend is not NULL, "  mend: MEND". file may be NULL, line 0.
void report_error(const char *file, int line, const char *mend, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

// One line on standard error for work that may take more than a second.
void report_progress(const char *what, ...) __attribute__((format(printf, 1, 2)));

// Exit codes of every command.
enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_ABSENT = 3, EXIT_CONFLICTS = 4, EXIT_DENIED = 5 };

#endif
