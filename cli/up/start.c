// SPDX-License-Identifier: ISC
// What a supervisor says while it brings a system up (supervisor/notify.c).
#include "cli/up/start.h"

#include "cli/report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int start_relay(int fd, int *is_error)
{
    FILE *lines = fdopen(dup(fd), "r");
    char line[800];
    int is_ready = 0;
    *is_error = 0;
    while (!is_ready && lines != NULL && fgets(line, sizeof line, lines) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *text = strchr(line, ' ');
        if (text == NULL)
            continue;
        *text++ = 0;
        char *mend = strchr(text, '\t');
        if (mend != NULL)
            *mend++ = 0;
        if (strcmp(line, "error") == 0) {
            report_error(NULL, 0, mend != NULL && *mend != 0 ? mend : NULL, "%s", text);
            *is_error = 1;
        } else if (strcmp(line, "warning") == 0) {
            report_error(NULL, 0, mend, "WARNING: %s", text);
        } else {
            report_progress("%s", text);
        }
        is_ready = strcmp(line, "ready") == 0;
    }
    if (lines != NULL)
        fclose(lines);
    if (!is_ready && !*is_error)
        report_error(NULL, 0, "see logs/host.log in the state folder", "the supervisor ended before the system served");
    return is_ready;
}
