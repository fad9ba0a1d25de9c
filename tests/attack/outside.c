// SPDX-License-Identifier: ISC
// What the kernel says of an instance: what it holds, what it may do, and that it dies with its tender. Under the
// process wall only; a virtual machine's guest is nothing to the kernel.
#include "tests/attack/attack.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

GUEST(spin)
{
    (void)next_act(boot);
    spin();
}

// All selectors but cs and ss, both bases, flags: what of an instance lies in the kernel while it does not run.
GUEST(leave)
{
    (void)next_act(boot);
    __asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%fs\n mov %0, %%gs\n std" : : "r"(0x2b));
    set_published(boot, put_end(boot, 0));
    wait_for_host(boot);
    serve(boot);
}

// The instance's process; 0: there is none, or this user may not see it. Children in order of birth: the zygote first.
static unsigned long instance_of(const struct stage *stage)
{
    char path[96];
    unsigned long instance = 0, child;
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)stage->tender, (int)stage->tender);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    for (; fscanf(file, "%lu", &child) == 1; count++)
        instance = child;
    fclose(file);
    return count == 2 ? instance : 0;
}

// What the kernel says, but for what counts up by itself.
static int kernel_state(struct stage *stage, char *text, size_t capacity)
{
    static const char *const files[] = {"status", "maps", "timers", "limits", "personality", "autogroup"};
    static const char *const counts[] = {"Pid:", "Tgid:", "Ngid:", "NSpid:", "NStgid:", "NSpgid:", "NSsid:", "VmHWM",
                                         "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmPTE", "State:", "voluntary",
                                         "nonvoluntary", "VmPeak", "FDSize",
                                         "SigQ"};
    char path[96], line[512];
    size_t used = 0;
    unsigned long instance = instance_of(stage);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && instance != 0; i++) {
        snprintf(path, sizeof path, "/proc/%lu/%s", instance, files[i]);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        while (fgets(line, sizeof line, file) != NULL) {
            int is_count = 0;
            for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
                is_count |= strncmp(line, counts[k], strlen(counts[k])) == 0;
            if (!is_count && used + strlen(line) < capacity)
                used += (size_t)snprintf(text + used, capacity - used, "%s", line);
        }
        fclose(file);
    }
    return used != 0;
}

// Reads twice until nothing changes: an instance that is being made does not look like one that is.
static int settled_state(struct stage *stage, char *text, size_t capacity)
{
    static char again[32768];
    for (unsigned i = 0; i < 200; i++) {
        int is_there = kernel_state(stage, text, capacity);
        usleep(10000);
        if (is_there && kernel_state(stage, again, sizeof again) && strcmp(text, again) == 0)
            return 1;
    }
    stage->skip_reason = "this user may not look at the instance";
    return 0;
}

static void play_kernel_state(struct stage *stage, const struct attack *attack)
{
    static char before[32768], after[32768];
    static const uint64_t honest[ACT_WORDS] = {HONEST};
    (void)attack;
    stage_event(stage, honest);
    if (!settled_state(stage, before, sizeof before))
        return;
    stage_event(stage, (const uint64_t[ACT_WORDS]){1});
    stage_event(stage, honest);
    if (!settled_state(stage, after, sizeof after))
        return;
    size_t at = 0;
    while (before[at] != 0 && before[at] == after[at])
        at++;
    if (before[at] != after[at])
        stage_fail(stage, "NOT CONTAINED: the kernel's view differs at '%.60s'", after + (at > 20 ? at - 20 : 0));
    else
        stage_note(stage, "%zu bytes of /proc say the same", at);
}

static void play_descriptors(struct stage *stage, const struct attack *attack)
{
    static char state[32768];
    char path[96];
    unsigned count = 0;
    (void)attack;
    if (!settled_state(stage, state, sizeof state))
        return;
    snprintf(path, sizeof path, "/proc/%lu/fd", instance_of(stage));
    DIR *folder = opendir(path);
    if (folder == NULL) {
        stage->skip_reason = "this user may not look at the instance";
        return;
    }
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    if (count != 2)
        stage_fail(stage, "NOT CONTAINED: it holds %u descriptors", count - 2);
    else
        stage_note(stage, "/proc/PID/fd is empty");
}

// The lines of /proc/PID/status that detail names, each with what must stand in it.
static void play_status(struct stage *stage, const struct attack *attack)
{
    static char state[32768];
    if (!settled_state(stage, state, sizeof state))
        return;
    for (const char *const *pair = attack->detail; pair[0] != NULL; pair += 2) {
        const char *line = strstr(state, pair[0]);
        if (line == NULL || strncmp(line + strlen(pair[0]), pair[1], strlen(pair[1])) != 0)
            stage_fail(stage, "NOT CONTAINED: %.40s", line != NULL ? line : pair[0]);
        else
            stage_note(stage, "%s%s", pair[0], pair[1]);
    }
}

static void play_speculation(struct stage *stage, const struct attack *attack)
{
    static char state[32768];
    if (!settled_state(stage, state, sizeof state))
        return;
    const char *line = strstr(state, attack->detail);
    const char *says = line != NULL ? line + strlen(attack->detail) : "";
    if (strncmp(says, "thread vulnerable", 17) == 0 || strncmp(says, "conditional enabled", 19) == 0 ||
        strncmp(says, "thread mitigated", 16) == 0)
        stage_fail(stage, "NOT CONTAINED: %s%.24s", (const char *)attack->detail, says);
    else if (strstr(says, "force") == says + 7 || strncmp(says, "conditional force disabled", 26) == 0)
        stage_note(stage, "%s%.*s", (const char *)attack->detail, (int)strcspn(says, "\n"), says);
    else
        stage->skip_reason = "this host's Linux leaves no choice: what it does, it does for all";
}

// The tender is killed while its guest runs: the runner looks for what is left.
static void play_outlive(struct stage *stage, const struct attack *attack)
{
    static const uint64_t act[ACT_WORDS] = {1};
    if (!stage_begin(stage, attack->guest, &attack->options)) {
        stage_fail(stage, "the tender did not start");
        return;
    }
    (void)stage_send(stage, act, sizeof act);
    usleep(100000);
    stage_kill(stage);
    stage_note(stage, "nothing outlives the tender");
}

static const char *const confined[] = {"Seccomp:\t", "2", "NoNewPrivs:\t", "1", NULL};

#define PROCESS_ONLY(NAME, MECHANISM, GUEST_NAME, PLAY, ...)                                       \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, NULL}, .guest = &guest_##GUEST_NAME, .play = PLAY, __VA_ARGS__ \
    }

static const struct attack attacks[] = {
    PROCESS_ONLY("use_an_inherited_descriptor", "NO_DESCRIPTORS", spin, play_descriptors),
    PROCESS_ONLY("gain_rights_by_execve", "filter, no_new_privs", spin, play_status, .detail = confined),
    PROCESS_ONLY("speculate_past_a_store", "SPECULATION", spin, play_speculation,
                 .detail = "Speculation_Store_Bypass:\t"),
    PROCESS_ONLY("speculate_over_a_branch", "SPECULATION", spin, play_speculation,
                 .detail = "SpeculationIndirectBranch:\t"),
    PROCESS_ONLY("secret_in_the_kernel", "filter: no call of a guest's is carried out", leave, play_kernel_state),
    {.name = "outlive_the_tender", .mechanism = {"DIE_WITH_TENDER", "a VM ends with its file"}, .guest = &guest_spin,
     .options = {.deadline_ms = 60000}, .play_alone = play_outlive},
};

struct attack_table attacks_outside(void)
{
    return (struct attack_table){"seen from outside", attacks, sizeof attacks / sizeof attacks[0]};
}
