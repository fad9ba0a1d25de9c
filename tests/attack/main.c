// SPDX-License-Identifier: ISC
// Runs the attacks and prints what became of each.
//
//   attack process|kvm TENDER TENDER-WITHOUT-SCAN ERROR-FILE [--off MECHANISM] [NAME...]
//   attack names: prints them
//
// One line an attack: `ok NAME - MECHANISM: what contained it`. A mechanism in capitals is one of ours
// (core/mechanism.h); in small letters, one of the processor's, of Linux's, or a fact of the design, which no
// build can switch off. With --off the tenders were built without that mechanism: the attacks that name it are run
// alone, and each must now get through.
#include "tests/attack/attack.h"

#include "host/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENCE_MS 20000    // longer than any deadline with all its graces
#define SILENCE_OFF_MS 700  // a tender that lost a mechanism may well be silent

GUEST(honest)
{
    (void)next_act(boot);
    serve(boot);
}

static const char *const wall_names[ATTACK_WALLS] = {"process", "kvm"};

// Whatever the tender's processes left behind has become our child. What dies with it needs a moment.
static void expect_nothing_left(struct stage *stage)
{
    for (int ms = 0; ms < stage->silence_ms; ms++) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            continue;
        if (pid < 0)
            return; // no child
        usleep(1000);
    }
    stage_fail(stage, "NOT CONTAINED: a process was left behind");
    char path[64];
    int child;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
    }
    if (file != NULL)
        fclose(file);
}

static void play(struct stage *stage, const struct attack *attack)
{
    if (attack->play_alone != NULL) {
        attack->play_alone(stage, attack);
        return;
    }
    if (!stage_begin(stage, attack->guest, &attack->options)) {
        char said[160];
        memcpy(said, stage->seen, sizeof said);
        stage_fail(stage, "the tender did not start: %.120s", said);
        return;
    }
    if (attack->play != NULL) {
        attack->play(stage, attack);
    } else {
        uint64_t words[ACT_WORDS];
        memcpy(words, attack->words, sizeof words);
        if (words[0] == HONEST)
            words[0] = 1;
        stage_event(stage, words);
        stage_judge(stage, attack_expected(stage, attack), "");
    }
    // Others are served as before.
    if (!stage->has_failed) {
        char seen[160];
        static const uint64_t honest[ACT_WORDS] = {HONEST};
        static const struct attack_outcome ended = {.is_ended = 1};
        memcpy(seen, stage->seen, sizeof seen);
        stage_event(stage, honest);
        stage_judge(stage, &ended, "the honest event behind it");
        if (!stage->has_failed)
            memcpy(stage->seen, seen, sizeof seen);
    }
    stage_end(stage);
}

struct run {
    struct stage stage;
    const char *off;
    char **names;
    int name_count;
    char first[160]; // with --off: the first that got through
    int passed, failed, skipped;
    int is_software; // KVM without hardware behind it
};

static int is_chosen(const struct run *run, const struct attack *attack)
{
    const char *mechanism = attack->mechanism[run->stage.wall];
    if (mechanism == NULL || (run->off != NULL && strcmp(mechanism, run->off) != 0))
        return 0;
    for (int i = 0; i < run->name_count; i++)
        if (strcmp(run->names[i], attack->name) == 0)
            return 1;
    return run->name_count == 0;
}

static void run_attack(struct run *run, const struct attack *attack)
{
    struct stage stage = run->stage;
    const char *mechanism = attack->mechanism[stage.wall];
    stage.skip_reason = stage.wall == ATTACK_PROCESS ? attack->alone
                        : run->is_software           ? attack->not_on_software_kvm
                                                     : NULL;
    if (stage.skip_reason == NULL) {
        play(&stage, attack);
        expect_nothing_left(&stage);
    }
    if (stage.skip_reason != NULL) {
        run->skipped++;
        if (run->off == NULL)
            printf("skip %-28s - %s\n", attack->name, stage.skip_reason);
        return;
    }
    int gets_through = stage.has_failed && strncmp(stage.seen, "NOT CONTAINED", 13) == 0;
    int is_good = run->off != NULL ? gets_through : !stage.has_failed;
    run->passed += is_good;
    run->failed += !is_good;
    if (run->off == NULL)
        printf("%s %-28s - %s: %s\n", is_good ? "ok" : "not ok", attack->name, mechanism, stage.seen);
    else if (!is_good)
        printf("not ok without_%s - %s is still contained: %s\n", run->off, attack->name, stage.seen);
    else if (run->passed == 1)
        snprintf(run->first, sizeof run->first, "%s: %.100s", attack->name, stage.seen);
    fflush(stdout);
}

// False: this host has no KVM for us; why was printed.
static int open_kvm(struct run *run)
{
    struct isolation_facts facts;
    struct isolation_reason reason;
    kvm_probe(&facts, ISOLATION_KVM);
    enum isolation_kvm kind = isolation_judge(&facts, &reason);
    run->stage.kvm_fd = kind == ISOLATION_KVM_NONE ? -1 : open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (run->stage.kvm_fd < 0)
        printf("skip attacks_under_kvm - %s\n", kind == ISOLATION_KVM_NONE ? reason.why : strerror(errno));
    run->is_software = kind == ISOLATION_KVM_SOFTWARE;
    return run->stage.kvm_fd >= 0;
}

int main(int argc, char **argv)
{
    static struct attack_table (*const rooms[])(void) = {attacks_images, attacks_calls, attacks_doors, attacks_processor,
                                                      attacks_memory, attacks_execution, attacks_records, attacks_races, attacks_time,
                                                      attacks_fresh, attacks_secrets, attacks_outside};
    static struct run run;
    for (size_t i = 0; argc == 2 && i < sizeof rooms / sizeof rooms[0]; i++)
        for (size_t k = 0; k < rooms[i]().count; k++)
            puts(rooms[i]().attacks[k].name);
    if (argc == 2)
        return 0;
    if (argc < 5 || sodium_init() < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
        return 2;
    run.stage.wall = strcmp(argv[1], wall_names[ATTACK_KVM]) == 0 ? ATTACK_KVM : ATTACK_PROCESS;
    run.stage.program = argv[2];
    run.stage.unscanned_program = argv[3];
    run.stage.error_path = argv[4];
    int next = 5;
    if (next + 1 < argc && strcmp(argv[next], "--off") == 0) {
        run.off = argv[next + 1];
        next += 2;
    }
    run.stage.is_without = run.off != NULL;
    run.stage.silence_ms = run.off != NULL ? SILENCE_OFF_MS : SILENCE_MS;
    run.names = argv + next;
    run.name_count = argc - next;
    if (run.stage.wall == ATTACK_KVM && !open_kvm(&run))
        return 0;
    struct stage trial = run.stage;
    if (!stage_begin(&trial, &guest_honest, &(struct stage_options){0})) {
        printf("not ok attacks_under_%s - the tender does not start: %s\n", argv[1], trial.seen);
        return 1;
    }
    stage_end(&trial);
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        struct attack_table table = rooms[i]();
        if (run.off == NULL && run.name_count == 0)
            printf("# %s\n", table.title);
        for (size_t k = 0; k < table.count; k++)
            if (is_chosen(&run, &table.attacks[k]))
                run_attack(&run, &table.attacks[k]);
    }
    const char *under = run.stage.wall == ATTACK_KVM ? "_under_kvm" : "";
    if (run.off == NULL)
        printf("# under %s: %d contained, %d not, %d skipped\n", argv[1], run.passed, run.failed, run.skipped);
    else if (run.passed + run.failed == 0 && run.skipped != 0)
        printf("skip without_%s%s - its attacks do not run on this host\n", run.off, under);
    else if (run.passed != 0)
        printf("ok without_%s%s - %d of %d get through, as %s\n", run.off, under, run.passed, run.passed + run.failed, run.first);
    else
        printf("not ok without_%s%s - no attack that names it gets through\n", run.off, under);
    return run.failed != 0;
}
