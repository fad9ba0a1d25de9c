// SPDX-License-Identifier: ISC
// Moving what the host reads while it reads it. A guest has one processor and is held in the gate while the host
// looks; here a thread of this program plays a second one: it has the instance's memory mapped, and changes it all the time.
#include "tests/attack/attack.h"

#include "core/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLICE_BYTES 65536u // boot, input and output of slot 0, which lie first in the pool
#define OUTPUT_AT (ABI_BOOT_BYTES + ABI_INPUT_BYTES)
#define WANTED 64u         // events that were taken, and that were refused
#define EVENTS_MAX 20000u

GUEST(publish)
{
    set_published(boot, 0);
    wait_for_host(boot);
    for (;;) {
        set_published(boot, put_end(boot, 0));
        (void)put_end(boot, 16); // behind what is published
        wait_for_host(boot);
    }
}

struct mover {
    volatile uint32_t *word; // in the instance's output
    uint32_t values[2];
    int is_running, is_over;
};

static void *move(void *context)
{
    struct mover *mover = context;
    for (unsigned i = 0; !__atomic_load_n(&mover->is_over, __ATOMIC_RELAXED); i++) {
        *mover->word = mover->values[i & 1];
        __atomic_store_n(&mover->is_running, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

// The pool's memory, through the tender's descriptor. NULL: this user may not, or this wall has none.
static uint8_t *map_pool(const struct stage *stage)
{
    char path[320], target[64];
    uint8_t *found = NULL;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)stage->tender);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && found == NULL && (entry = readdir(folder)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/fd/%.20s", (int)stage->tender, entry->d_name);
        ssize_t size = readlink(path, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        int fd = strstr(target, "crenel-pool") != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        void *at = mmap(NULL, SLICE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        found = at == MAP_FAILED ? NULL : at;
    }
    if (folder != NULL)
        closedir(folder);
    return found;
}

// What reaches the router is what was judged: one END of 16 bytes.
static int is_one_end(const struct stage *stage)
{
    struct abi_end end;
    memcpy(&end, stage->records, sizeof end);
    return stage->effects.record_bytes == sizeof end && end.record.size == sizeof end && end.record.kind == ABI_END &&
           end.record.zero == 0;
}

// Events until enough were taken and enough refused.
static void race(struct stage *stage, struct mover *mover)
{
    unsigned events = 0, ended = 0, refused = 0;
    while (!__atomic_load_n(&mover->is_running, __ATOMIC_RELAXED))
        usleep(100);
    unsigned wanted = stage->is_without ? EVENTS_MAX : WANTED;
    for (; events < EVENTS_MAX && (ended < wanted || refused < wanted) && !stage->has_failed; events++) {
        stage_event(stage, (const uint64_t[ACT_WORDS]){1});
        ended += stage->effects.outcome == LINK_ENDED;
        refused += stage->effects.outcome == LINK_CONTRACT;
        if (stage->effects.outcome == LINK_ENDED && !is_one_end(stage))
            stage_fail(stage, "NOT CONTAINED: what reached the router is not what was judged");
        else if (stage->effects.outcome != LINK_ENDED && stage->effects.outcome != LINK_CONTRACT)
            stage_fail(stage, "NOT CONTAINED: neither taken nor refused");
    }
    if (!stage->has_failed && (ended < WANTED || refused < WANTED))
        stage->skip_reason = "no processor was free for the thread";
    else if (!stage->has_failed && stage->is_without)
        stage->skip_reason = "the host was never met between two reads: a matter of luck on a busy machine";
    else if (!stage->has_failed)
        stage_note(stage, "%u events: %u taken whole, %u refused", events, ended, refused);
}

// The tender and its instance on one processor, the thread on another.
static void play_race(struct stage *stage, const struct attack *attack)
{
    cpu_set_t all, one, other;
    pthread_t thread;
    CPU_ZERO(&one);
    check(sched_getaffinity(0, sizeof all, &all) == 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    CPU_XOR(&other, &all, &one);
    if (CPU_COUNT(&other) == 0) {
        stage->skip_reason = "one processor: nobody can move what another reads";
        return;
    }
    check(sched_setaffinity(0, sizeof one, &one) == 0);
    int has_begun = stage_begin(stage, attack->guest, &attack->options);
    uint8_t *pool = has_begun ? map_pool(stage) : NULL;
    if (!has_begun) {
        stage_fail(stage, "the tender did not start");
    } else if (pool == NULL) {
        stage->skip_reason = "this user may not open the tender's pool, or this wall has none";
    } else {
        struct mover mover = {(volatile uint32_t *)(void *)(pool + OUTPUT_AT + attack->words[1]),
                              {(uint32_t)attack->words[2], (uint32_t)attack->words[3]}, 0, 0};
        stage_event(stage, (const uint64_t[ACT_WORDS]){1}); // init is over: its memory is what all others begin with
        check(pthread_create(&thread, NULL, move, &mover) == 0 &&
              pthread_setaffinity_np(thread, sizeof other, &other) == 0);
        race(stage, &mover);
        __atomic_store_n(&mover.is_over, 1, __ATOMIC_RELAXED);
        (void)pthread_join(thread, NULL);
        (void)munmap(pool, SLICE_BYTES);
    }
    stage_end(stage);
    check(sched_setaffinity(0, sizeof all, &all) == 0);
}

#define RACE(NAME, MECHANISM, AT, A, B)                                                            \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_publish, .play_alone = play_race, \
        .words = {1, AT, A, B}                                                                     \
    }

static const struct attack attacks[] = {
    RACE("move_published_bytes", "READ_ONCE", 0, 16, 32),
    RACE("move_published_out_of_range", "PUBLISHED_RANGE", 0, 16, 0xfffffff8),
    RACE("move_a_record_size", "READ_ONCE", 8, 16, 24),
    RACE("move_a_record_kind", "READ_ONCE", 12, ABI_END, ABI_EVENT),
};

struct attack_table attacks_races(void)
{
    return (struct attack_table){"moving what the host reads", attacks, sizeof attacks / sizeof attacks[0]};
}
