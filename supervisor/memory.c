// SPDX-License-Identifier: ISC
// Resident memory from /proc/PID/statm and smaps_rollup, descendants from /proc/PID/task/PID/children.
#include "supervisor/memory.h"

#include <stdio.h>
#include <unistd.h>

#define DEPTH_MAX 4       // tender, zygote, instance
#define PROCESSES_MAX 4096 // looked at for one answer

static void add(struct memory *memory, pid_t pid, int depth)
{
    char path[64], line[160];
    if (memory->processes >= PROCESSES_MAX)
        return;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    unsigned long long total = 0, resident = 0;
    int got = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    if (got != 2)
        return;
    memory->processes++;
    memory->rss_bytes += resident * (uint64_t)sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    int is_found = 0;
    unsigned long long pss_kib;
    while (file != NULL && !is_found && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Pss: %llu", &pss_kib) == 1) {
            memory->pss_bytes += pss_kib * 1024;
            is_found = 1;
        }
    if (file != NULL)
        fclose(file);
    memory->is_pss_known &= is_found;
    if (depth == DEPTH_MAX)
        return;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    file = fopen(path, "re");
    int child;
    while (file != NULL && fscanf(file, "%d", &child) == 1)
        add(memory, child, depth + 1);
    if (file != NULL)
        fclose(file);
}

struct memory memory_of(pid_t pid)
{
    struct memory memory = {.is_pss_known = 1};
    if (pid > 0)
        add(&memory, pid, 1);
    return memory;
}
