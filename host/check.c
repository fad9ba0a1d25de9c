// SPDX-License-Identifier: ISC
// What happens when one of our own assertions fails: say where, stop.
#include "core/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "crenel: bug at %s:%d: %s does not hold\n", file, line, condition);
    abort();
}
