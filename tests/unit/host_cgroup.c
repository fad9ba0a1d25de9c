// SPDX-License-Identifier: ISC
// Cgroups: version 1, 2, mixed and none, on folders that look like the real thing.
//
// A plain folder has no cgroup files, so the tests make those that the code writes; the limits of the real kernel are
// tests/system/supervisor.sh's.
#include "host/cgroup.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];

__attribute__((format(printf, 2, 3))) static void put(const char *name, const char *format, ...)
{
    char path[300], text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(path, sizeof path, "%s/%s", base, name);
    FILE *file = fopen(path, "w");
    expect(file != NULL);
    if (file != NULL) {
        fputs(text, file);
        fclose(file);
    }
}

static void folder(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", base, name);
    expect(mkdir(path, 0755) == 0);
}

static int holds(const char *name, const char *text)
{
    char path[300], line[128] = "";
    snprintf(path, sizeof path, "%s/%s", base, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    (void)!fgets(line, sizeof line, file);
    fclose(file);
    return strcmp(line, text) == 0;
}

static void probe(struct cgroup_host *host)
{
    char mounts[300], own[300];
    snprintf(mounts, sizeof mounts, "%s/mountinfo", base);
    snprintf(own, sizeof own, "%s/own", base);
    cgroup_probe(host, mounts, own);
}

static void begin(void)
{
    snprintf(base, sizeof base, "/tmp/crenel-cgroup-XXXXXX");
    expect(mkdtemp(base) != NULL);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

static void end(void)
{
    expect(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

TEST(no_mount_means_no_limit)
{
    struct cgroup_host host;
    begin();
    put("mountinfo", "1 0 8:1 / / rw - ext4 /dev/vda rw\n");
    put("own", "0::/\n");
    probe(&host);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        expect(!host.controllers[i].is_usable && host.controllers[i].version == 0 &&
               strstr(host.controllers[i].why, "no cgroup mount") != NULL);
    end();
}

TEST(version_2_passes_controllers_down_and_sets_limits)
{
    struct cgroup_host host;
    struct cgroup cgroup;
    const struct cgroup_limits limits = {.memory_bytes = 1 << 20, .cpu_percent = 50, .pids_max = 7};
    const char *why = "";
    begin();
    put("mountinfo", "30 1 0:9 / %s rw,nosuid shared:4 - cgroup2 none rw\n", base);
    put("own", "0::/\n");
    put("cgroup.controllers", "cpu memory pids\n");
    put("cgroup.subtree_control", "cpu memory pids\n");
    folder("crenel");
    put("crenel/cgroup.subtree_control", "cpu memory pids\n");
    folder("crenel/demo");
    put("crenel/demo/cgroup.subtree_control", "cpu memory pids\n");
    folder("crenel/demo/decode");
    for (size_t i = 0; i < 4; i++)
        put((const char *const[]){"crenel/demo/decode/memory.max", "crenel/demo/decode/cpu.max",
                                  "crenel/demo/decode/pids.max", "crenel/demo/decode/cgroup.procs"}[i], "%s", "");
    probe(&host);
    expect(host.controllers[CGROUP_MEMORY].is_usable && host.controllers[CGROUP_MEMORY].version == 2);
    expect(cgroup_create(&cgroup, &host, "demo", "decode", &limits, &why) == STATUS_OK);
    expect(cgroup.count == 1); // one folder carries all three
    expect(holds("crenel/demo/decode/memory.max", "1048576"));
    expect(holds("crenel/demo/decode/cpu.max", "50000 100000"));
    expect(holds("crenel/demo/decode/pids.max", "7"));
    cgroup_close(&cgroup);
    end();
}

TEST(version_2_without_the_file_of_a_limit_fails_and_says_which)
{
    struct cgroup_host host;
    struct cgroup cgroup;
    const struct cgroup_limits limits = {.memory_bytes = 1 << 20, .cpu_percent = 50, .pids_max = 7};
    const char *why = "";
    begin();
    put("mountinfo", "30 1 0:9 / %s rw - cgroup2 none rw\n", base);
    put("own", "0::/\n");
    put("cgroup.controllers", "memory\n");
    put("cgroup.subtree_control", "memory\n");
    folder("crenel");
    put("crenel/cgroup.subtree_control", "memory\n");
    folder("crenel/demo");
    put("crenel/demo/cgroup.subtree_control", "memory\n");
    probe(&host);
    expect(host.controllers[CGROUP_MEMORY].is_usable && !host.controllers[CGROUP_PIDS].is_usable);
    expect(cgroup_create(&cgroup, &host, "demo", "decode", &limits, &why) == STATUS_SYSTEM);
    expect(strstr(why, "memory limit at ") == why && cgroup.count == 0);
    end();
}

// Version 1 is tried out by making a group; a plain folder has no knob in it, so that is refused.
TEST(version_1_without_its_knob_is_not_usable)
{
    struct cgroup_host host;
    begin();
    folder("memory");
    put("mountinfo", "30 1 0:9 / %s/memory rw - cgroup cgroup rw,memory\n", base);
    put("own", "4:memory:/\n");
    probe(&host);
    expect(host.controllers[CGROUP_MEMORY].version == 1 && !host.controllers[CGROUP_MEMORY].is_usable);
    expect(strstr(host.controllers[CGROUP_MEMORY].why, "no write access below") != NULL);
    end();
}

TEST(a_controller_name_is_a_whole_word)
{
    struct cgroup_host host;
    begin();
    folder("cpuacct");
    put("mountinfo", "30 1 0:9 / %s/cpuacct rw - cgroup cgroup rw,cpuacct,cpuset\n", base);
    put("own", "4:cpuacct:/\n");
    probe(&host);
    expect(host.controllers[CGROUP_CPU].version == 0);
    end();
}

int main(void)
{
    RUN(no_mount_means_no_limit);
    RUN(version_2_passes_controllers_down_and_sets_limits);
    RUN(version_2_without_the_file_of_a_limit_fails_and_says_which);
    RUN(version_1_without_its_knob_is_not_usable);
    RUN(a_controller_name_is_a_whole_word);
    TEST_END();
}
