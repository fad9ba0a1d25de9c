// SPDX-License-Identifier: ISC
// A question with one answer that lets things happen.
#include "cli/consent.h"

#include "cli/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum status consent_ask(const char *unasked, const char *mend, const char *refused)
{
    char line[16] = "";
    if (!isatty(STDIN_FILENO)) {
        report_error(NULL, 0, mend, "%s", unasked);
        return STATUS_DENIED;
    }
    fputs("Is that meant? [y/N] ", stderr);
    if (fgets(line, sizeof line, stdin) != NULL && (strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0))
        return STATUS_OK;
    report_error(NULL, 0, NULL, "%s", refused);
    return STATUS_DENIED;
}
