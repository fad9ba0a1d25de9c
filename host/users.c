// SPDX-License-Identifier: ISC
// A container often is a user namespace with 65536 ids, or has no_new_privs.
#include "host/users.h"

#include <stdio.h>
#include <sys/prctl.h>

// Does one line (first inside, first outside, count) hold all of ours?
static int is_mapped(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 1; // no user namespaces in this kernel
    unsigned long long inside, outside, count;
    int is_found = 0;
    while (!is_found && fscanf(file, "%llu %llu %llu", &inside, &outside, &count) == 3)
        is_found = inside <= USERS_FIRST &&
                   inside + count >= USERS_FIRST + USERS_SLOTS * USERS_PER_SYSTEM;
    fclose(file);
    return is_found;
}

const char *users_why_not(void)
{
    // A process of system mode begins with user 0 effective and its own one real, which that flag undoes at execve.
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return "no_new_privs is set";
    if (!is_mapped("/proc/self/uid_map") || !is_mapped("/proc/self/gid_map"))
        return "the user ids 2000000 to 3048575 do not exist in this container";
    return NULL;
}
