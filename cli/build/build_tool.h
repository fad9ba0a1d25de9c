// SPDX-License-Identifier: ISC
// The tools behind a build: where our files lie, and running gcc and addr2line.
#ifndef CRENEL_CLI_BUILD_TOOL_H
#define CRENEL_CLI_BUILD_TOOL_H

#include "cli/build/build_layout.h"
#include "cli/build/build_source.h"

#include <limits.h>

// The folder with include/, libcrenel.a, image.ld: ../guest or ../share/crenel/guest of the folder in
// which this program lies, or what CRENEL_GUEST names. Absence is reported.
enum status tool_guest_folder(char folder[PATH_MAX]) MUST_USE;

// Formats a path; longer than PATH_MAX is reported.
enum status tool_path(char path[PATH_MAX], const char *format, ...) MUST_USE
    __attribute__((format(printf, 2, 3)));

// Runs a program found in PATH. output: a file that takes its standard output and error, or NULL: as
// ours. A program that cannot be started is reported (gcc with its mend); its failure is not:
// STATUS_DENIED.
enum status tool_run(char *const *arguments, const char *output) MUST_USE;

// Reads a whole file of at most `most` bytes; *bytes (caller frees) is followed by a zero byte. Not reported.
enum status tool_read(const char *path, size_t most, char **bytes, size_t *size) MUST_USE;

// Writes `text` lines "function\tfile:line" of an address in NAME.debug to `text`; "" if unknown.
void tool_symbolize(const char *debug_path, uint64_t address, char *text, size_t capacity);

// One compile-and-link run. Errors are reported.
struct tool_build {
    const struct build_source *source;
    char guest[PATH_MAX]; // tool_guest_folder
    char work[PATH_MAX];  // holds generated files and objects
    char debug[PATH_MAX]; // the linker's result
};
// Compiles what is due, in its variant; links in the layout's way, with a map in WORK/map.
enum status tool_compile(const struct tool_build *build, const struct layout *layout) MUST_USE;
enum status tool_link(const struct tool_build *build, const struct layout *layout) MUST_USE;

#endif
