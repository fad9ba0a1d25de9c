// SPDX-License-Identifier: ISC
// What the supervisor says: to `crenel up` while that listens, and always to the host log.
//
// A line to `crenel up`: KIND, space, text, and for an error or a warning a tab and the mend. Kinds: progress, warning, ready, error.
#include "supervisor/supervisor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void notify(struct supervisor *s, const char *kind, const char *format, ...)
{
    char text[700], line[760];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (char *at = text; *at != 0; at++)
        if (*at == '\n')
            *at = ' ';
    int length = snprintf(line, sizeof line, "%s %s\n", kind, text);
    if (s->notify_fd >= 0 && length > 0 && write(s->notify_fd, line, (size_t)length) < 0 &&
        errno != EAGAIN) {
        close(s->notify_fd); // nobody listens any more
        s->notify_fd = -1;
    }
    char *mend = strchr(text, '\t');
    if (mend != NULL)
        *mend++ = 0;
    fprintf(stderr, "crenel-supervisor: %s%s%s\n", text, mend != NULL && *mend != 0 ? "; mend: " : "",
            mend != NULL ? mend : "");
}

void fail(struct supervisor *s, const char *mend, const char *format, ...)
{
    if (s->failure[0] != 0)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(s->failure, sizeof s->failure, format, list);
    va_end(list);
    s->exit_code = 1;
    notify(s, "error", "%s\t%s", s->failure, mend != NULL ? mend : "");
}
