// SPDX-License-Identifier: ISC
// crenel symbolize IMAGE ADDRESS...: function and line of addresses in a crash report.
//
// The symbols lie beside the image, in NAME.debug; the linker's addresses in it are the image's.
#include "cli/build/build_tool.h"
#include "cli/command.h"
#include "cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// "0x1a3", "1a3" or "decode+0x1a3", as crash reports write it.
static int address_parse(const char *text, uint64_t *address)
{
    const char *plus = strrchr(text, '+');
    const char *digits = plus == NULL ? text : plus + 1;
    char *end;

    errno = 0;
    *address = strtoull(digits, &end, 16);
    return end != digits && *end == 0 && errno == 0 && digits[0] != '-';
}

int cmd_symbolize(int argc, char **argv)
{
    char debug[PATH_MAX];

    if (argc < 3 || argv[1][0] == '-')
        return EXIT_USAGE;
    size_t length = strlen(argv[1]);
    if (length > 4 && strcmp(argv[1] + length - 4, ".img") == 0)
        length -= 4;
    else if (length > 6 && strcmp(argv[1] + length - 6, ".debug") == 0)
        length -= 6;
    if (tool_path(debug, "%.*s.debug", (int)length, argv[1]) != STATUS_OK)
        return EXIT_FAILED;
    if (access(debug, R_OK) != 0) {
        report_error(debug, 0, "crenel build DIR writes it beside the image", "%s", strerror(errno));
        return EXIT_ABSENT;
    }
    for (int i = 2; i < argc; i++) {
        uint64_t address;
        char text[1024];
        if (!address_parse(argv[i], &address)) {
            report_error(NULL, 0, "write for example 0x1a3", "'%s' is not an address", argv[i]);
            return EXIT_USAGE;
        }
        tool_symbolize(debug, address, text, sizeof text);
        char *tab = strchr(text, '\t');
        if (tab == NULL) {
            printf("0x%llx: unknown\n", (unsigned long long)address);
            continue;
        }
        *tab = 0;
        printf("0x%llx: %s at %s\n", (unsigned long long)address, text, tab + 1);
    }
    return EXIT_OK;
}
