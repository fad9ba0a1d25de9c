// SPDX-License-Identifier: ISC
// crenel logs: what unikernels logged, one JSON object a line; -f follows, over rotation too.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/printable.h"
#include "cli/report.h"
#include "cli/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLL_US 200000

struct view {
    int is_json, is_host;
    const char *unikernel; // only this one, or NULL
};

static void print_line(const struct view *view, char *line)
{
    printable_clean(line); // of the host's log any process may have written a part
    if (view->is_host) {
        puts(line);
        return;
    }
    cJSON *record = cJSON_Parse(line);
    printable_clean_json(record); // a guest's text must not drive the terminal
    const char *unikernel = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "unikernel"));
    if (view->unikernel == NULL || (unikernel != NULL && strcmp(unikernel, view->unikernel) == 0)) {
        const cJSON *time_ms = cJSON_GetObjectItemCaseSensitive(record, "time_ms");
        const char *level = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "level"));
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "text"));
        if (view->is_json || !cJSON_IsNumber(time_ms) || text == NULL) {
            puts(line);
        } else {
            char when[32];
            printable_time(time_ms->valuedouble, when);
            size_t seconds = strlen(when) - 1;
            if (seconds != 0) // 2026-01-02T03:04:05.678Z
                snprintf(when + seconds, sizeof when - seconds, ".%03uZ",
                         (unsigned)((uint64_t)time_ms->valuedouble % 1000));
            printf("%s %-12s %-7s %s\n", when, unikernel != NULL ? unikernel : "-", level != NULL ? level : "-", text);
        }
    }
    cJSON_Delete(record);
}

// Prints whole lines that are there now; an unfinished one waits in *line.
static void print_available(const struct view *view, FILE *file, char **line, size_t *used, size_t *capacity)
{
    int c;
    while ((c = getc(file)) != EOF) {
        if (*used + 2 > *capacity) {
            char *larger = realloc(*line, *capacity = *capacity * 2 + 256);
            if (larger == NULL)
                exit(EXIT_FAILED);
            *line = larger;
        }
        if (c != '\n') {
            (*line)[(*used)++] = (char)c;
            continue;
        }
        (*line)[*used] = 0;
        print_line(view, *line);
        *used = 0;
    }
    clearerr(file);
    fflush(stdout);
}

// Rotation leaves us with a file that another one took the name of; the host log is emptied in its place.
static FILE *reopen_when_rotated(const char *folder, const struct view *view, FILE *file)
{
    cJSON *reply = NULL;
    int fd = -1;
    struct stat ours, theirs;
    if (!state_is_running(folder) ||
        client_ask(folder, "logs", "log", view->is_host ? "host" : "system", &reply, &fd, NULL) != STATUS_OK)
        return NULL;
    cJSON_Delete(reply);
    if (fstat(fileno(file), &ours) != 0 || fstat(fd, &theirs) != 0 || ours.st_ino == theirs.st_ino) {
        close(fd);
        if (ours.st_size < ftell(file))
            rewind(file);
        return file;
    }
    fclose(file);
    return fdopen(fd, "r");
}

int cmd_logs(int argc, char **argv)
{
    struct view view = {.is_json = 0};
    int is_following = 0, fd = -1;
    const char *state = NULL, *system = NULL;
    size_t count;
    const struct argument table[] = {{"--json", &view.is_json, NULL}, {"--state", NULL, &state},
                                     {"-f", &is_following, NULL},     {"--follow", &is_following, NULL},
                                     {"--host", &view.is_host, NULL}, {"--unikernel", NULL, &view.unikernel}};
    char folder[PATH_MAX], path[PATH_MAX];
    cJSON *reply = NULL;
    FILE *file = NULL;
    int code = arguments_read(argc, argv, table, 6, &system, 1, &count);
    if (code != 0)
        return code;
    enum status status = state_find(state, system, folder);
    if (status != STATUS_OK)
        return client_exit_code(status);
    if (state_is_running(folder)) {
        status = client_ask(folder, "logs", "log", view.is_host ? "host" : "system", &reply, &fd, NULL);
        if (status != STATUS_OK)
            return client_exit_code(status);
        cJSON_Delete(reply);
        file = fdopen(fd, "r");
    } else { // of a system that has ended, who may read the file may read it
        is_following = 0;
        snprintf(path, sizeof path, "%.4000s/logs/%s", folder, view.is_host ? "host.log" : "system.log");
        file = fopen(path, "re");
    }
    if (file == NULL) {
        report_error(folder, 0, "run it once with `crenel up`", "no log to read");
        return EXIT_ABSENT;
    }
    char *line = NULL;
    size_t used = 0, capacity = 0;
    print_available(&view, file, &line, &used, &capacity);
    for (unsigned quiet = 0; is_following && file != NULL && !ferror(stdout);) {
        long before = ftell(file);
        usleep(POLL_US);
        print_available(&view, file, &line, &used, &capacity);
        quiet = ftell(file) == before ? quiet + 1 : 0;
        if (quiet % 10 == 9)
            file = reopen_when_rotated(folder, &view, file);
    }
    free(line);
    if (file != NULL)
        fclose(file);
    return EXIT_OK;
}
