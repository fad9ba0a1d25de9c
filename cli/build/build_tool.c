// SPDX-License-Identifier: ISC
// Runs the tools that a build is made of. What the tools are given never names the folder of the
// checkout in a way that reaches the image.
#include "cli/build/build_tool.h"

#include "cli/report.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum status tool_path(char path[PATH_MAX], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(path, PATH_MAX, format, arguments);
    va_end(arguments);
    if (length >= 0 && length < PATH_MAX)
        return STATUS_OK;
    report_error(path, 0, NULL, "path too long");
    return STATUS_TOO_LARGE;
}

enum status tool_guest_folder(char folder[PATH_MAX])
{
    static const char *const places[] = {"guest", "share/crenel/guest"};
    const char *chosen = getenv("CRENEL_GUEST");
    char self[PATH_MAX];

    if (chosen != NULL && chosen[0] != 0)
        return tool_path(folder, "%s", chosen);
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        report_error("/proc/self/exe", 0, NULL, "%s", strerror(errno));
        return STATUS_SYSTEM;
    }
    self[length] = 0;
    for (int i = 0; i < 2; i++) { // the folder above the one with the program
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = 0;
    }
    for (size_t i = 0; i < 2; i++) {
        char probe[PATH_MAX];
        if (tool_path(folder, "%s/%s", self, places[i]) != STATUS_OK ||
            tool_path(probe, "%s/libcrenel.a", folder) != STATUS_OK)
            return STATUS_TOO_LARGE;
        if (access(probe, R_OK) == 0)
            return STATUS_OK;
    }
    report_error(self, 0, "in a checkout run: make guest", "the library OS is not there");
    return STATUS_ABSENT;
}

static int output_prepare(posix_spawn_file_actions_t *actions, const char *output)
{
    return posix_spawn_file_actions_addopen(actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0644) ||
           posix_spawn_file_actions_adddup2(actions, 1, 2);
}

enum status tool_run(char *const *arguments, const char *output)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int result;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return STATUS_SYSTEM;
    result = output == NULL ? 0 : output_prepare(&actions, output);
    if (result == 0)
        result = posix_spawnp(&pid, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (result != 0) {
        report_error(NULL, 0,
                     result == ENOENT ? "install it: apt-get install gcc binutils" : NULL,
                     "cannot run %s: %s", arguments[0], strerror(result));
        return STATUS_SYSTEM;
    }
    int state;
    while (waitpid(pid, &state, 0) < 0)
        if (errno != EINTR)
            return STATUS_SYSTEM;
    return WIFEXITED(state) && WEXITSTATUS(state) == 0 ? STATUS_OK : STATUS_DENIED;
}

enum status tool_read(const char *path, size_t most, char **bytes, size_t *size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return STATUS_SYSTEM;
    char *buffer = malloc(most + 1);
    enum status status = STATUS_SYSTEM;
    if (buffer != NULL) {
        size_t length = fread(buffer, 1, most + 1, file);
        if (ferror(file))
            status = STATUS_SYSTEM;
        else if (length > most)
            status = STATUS_TOO_LARGE;
        else {
            buffer[length] = 0;
            *bytes = buffer;
            *size = length;
            status = STATUS_OK;
        }
    }
    if (status != STATUS_OK)
        free(buffer);
    int error = errno;
    fclose(file);
    errno = error;
    return status;
}

void tool_symbolize(const char *debug_path, uint64_t address, char *text, size_t capacity)
{
    char number[24], output[] = "/tmp/crenel-symbolize-XXXXXX", path[PATH_MAX];
    char program[] = "addr2line", functions[] = "-fi", executable[] = "-e";
    char *arguments[] = {program, functions, executable, path, number, NULL};
    char *found = NULL;
    size_t size;

    text[0] = 0;
    snprintf(number, sizeof number, "0x%llx", (unsigned long long)address);
    int fd = mkstemp(output);
    if (fd < 0)
        return;
    close(fd);
    if (tool_path(path, "%s", debug_path) == STATUS_OK &&
        tool_run(arguments, output) == STATUS_OK &&
        tool_read(output, 16384, &found, &size) == STATUS_OK) {
        // Pairs of lines, from what is inline outwards. The checked copies of crenel.h stand in the function that is meant.
        char *rest, *name = strtok_r(found, "\n", &rest), *line = strtok_r(NULL, "\n", &rest);
        while (line != NULL && strstr(line, "/crenel.h:") != NULL && *rest != 0) {
            name = strtok_r(NULL, "\n", &rest);
            line = strtok_r(NULL, "\n", &rest);
        }
        char *more = line == NULL ? NULL : strstr(line, " (discriminator"); // says nothing to a reader
        if (more != NULL)
            *more = 0;
        if (line != NULL && strncmp(name, "??", 2) != 0)
            snprintf(text, capacity, "%s\t%s", name, line);
    }
    free(found);
    unlink(output);
}
