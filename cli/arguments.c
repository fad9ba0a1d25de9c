// SPDX-License-Identifier: ISC
// Arguments of a command.
#include "cli/arguments.h"

#include "cli/report.h"

#include <stdio.h>
#include <string.h>

static int usage(const char *command, const char *what, const char *which)
{
    char mend[64];
    snprintf(mend, sizeof mend, "crenel help %.40s", command);
    report_error(NULL, 0, mend, "%s: %s '%s'", command, what, which);
    return EXIT_USAGE;
}

int arguments_read(int argc, char **argv, const struct argument *table, size_t table_count,
                   const char **operands, size_t most, size_t *count)
{
    *count = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == 0) {
            if (*count == most)
                return usage(argv[0], "one argument too many:", argv[i]);
            operands[(*count)++] = argv[i];
            continue;
        }
        const struct argument *found = NULL;
        size_t length = strcspn(argv[i], "=");
        for (size_t k = 0; k < table_count && found == NULL; k++)
            if (strlen(table[k].name) == length && memcmp(table[k].name, argv[i], length) == 0)
                found = &table[k];
        if (found == NULL || (found->value == NULL && argv[i][length] == '='))
            return usage(argv[0], "unknown option", argv[i]);
        if (found->flag != NULL)
            *found->flag = 1;
        if (found->value == NULL)
            continue;
        if (argv[i][length] == '=')
            *found->value = argv[i] + length + 1;
        else if (i + 1 < argc)
            *found->value = argv[++i];
        else
            return usage(argv[0], "a value is missing after", argv[i]);
    }
    return 0;
}
