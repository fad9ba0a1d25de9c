// SPDX-License-Identifier: ISC
// What an instance costs, at the border of the tender (tender/wall.h), on one processor.
//
//   wall_bench WALL HELLO ROUNDS      WALL: process or kvm
//
// One event at a time; each row is measured in turn in each round, so that all meet the same machine:
//   exec      vfork and exec of the static program HELLO, until it has ended (the peer)
//   fork      fork of a small static process that ends at once, until it has ended (the floor of any process)
//   life      a new instance created, its first event answered, destroyed
//   fresh     of that: until the first event was answered
//   restored  an instance that has served an event, made pristine, and the next event answered
//   kept      the same with an instance that is kept as it is: the way alone
// The events dirty DIRTY_PAGES pages beside stack and output. Prints for each: name, p50 and p99 in microseconds; then "memory",
// KiB of host memory for each idle instance by kind: anonymous and shared pages, page tables, kernel stacks, slab.
#define WALL_FIXTURE_SLOTS 200
#include "tests/unit/wall_fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 100000u
#define DIRTY_PAGES 2u

enum row { EXEC, FORK, LIFE, FRESH, RESTORED, KEPT, ROWS };
static const char *const names[ROWS] = {"exec", "fork", "life", "fresh", "restored", "kept"};
static double *us[ROWS];

GUEST static void guest_work(const struct abi_boot *boot)
{
    for (;;) {
        WAIT(boot);
        const volatile uint64_t *input = (const volatile uint64_t *)(uintptr_t)boot->input;
        for (unsigned i = 0; i < DIRTY_PAGES; i++)
            ((volatile uint64_t *)(uintptr_t)boot->arena)[i * 512] = 1;
        ((volatile uint64_t *)(uintptr_t)boot->output)[1] = input[0] + 1;
        PUBLISHED(boot) = 8;
    }
}

static double now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void wait_for(const unsigned *counter)
{
    while (*counter == 0)
        check(loop_once(&loop, 1000) == STATUS_OK);
}

static void serve(void)
{
    uint64_t word = 5;
    published = 0;
    guest_memory_show(&memory, 0, (const uint8_t *)&word, sizeof word);
    wall->calls->wake(wall, 0);
    wait_for(&published);
}

static void create(void)
{
    published = gone = 0;
    wall->calls->create(wall, 0);
    wait_for(&published);
}

static void destroy(void)
{
    wall->calls->kill(wall, 0);
    wait_for(&gone);
}

static double measure_exec(char *path)
{
    char *argv[] = {path, NULL}, *environment[] = {NULL};
    double start = now_us();
    pid_t pid = vfork();
    if (pid == 0) {
        close(STDOUT_FILENO); // it would write there
        execve(path, argv, environment);
        _exit(127);
    }
    check(waitpid(pid, NULL, 0) == pid);
    return now_us() - start;
}

static double measure_fork(void)
{
    double start = now_us();
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        syscall(SYS_exit_group, 0);
    check(waitpid(pid, NULL, 0) == pid);
    return now_us() - start;
}

static void measure(unsigned round, char *hello)
{
    us[EXEC][round] = measure_exec(hello);
    us[FORK][round] = measure_fork();
    double start = now_us();
    create();
    serve();
    us[FRESH][round] = now_us() - start;
    destroy();
    us[LIFE][round] = now_us() - start;
    create();
    serve();
    start = now_us();
    check(wall->calls->restore(wall, 0));
    serve();
    us[RESTORED][round] = now_us() - start;
    start = now_us();
    serve();
    us[KEPT][round] = now_us() - start;
    destroy();
}

struct kernel_memory {
    long anonymous, shared, tables, stacks, slab;
};

static struct kernel_memory kernel_memory(void)
{
    struct kernel_memory found = {0};
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    check(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "AnonPages: %ld", &found.anonymous);
        (void)sscanf(line, "Shmem: %ld", &found.shared);
        (void)sscanf(line, "PageTables: %ld", &found.tables);
        (void)sscanf(line, "KernelStack: %ld", &found.stacks);
        (void)sscanf(line, "Slab: %ld", &found.slab);
    }
    fclose(file);
    return found;
}

// Each idle instance has served one event and was made pristine.
static void measure_memory(void)
{
    uint64_t word = 5;
    struct kernel_memory before = kernel_memory();
    for (unsigned i = 0; i < WALL_FIXTURE_SLOTS; i++) {
        published = 0;
        wall->calls->create(wall, i);
        wait_for(&published);
        published = 0;
        guest_memory_show(&memory, i, (const uint8_t *)&word, sizeof word);
        wall->calls->wake(wall, i);
        wait_for(&published);
        check(wall->calls->restore(wall, i));
    }
    struct kernel_memory after = kernel_memory();
    double count = WALL_FIXTURE_SLOTS;
    printf("memory %.1f %.1f %.1f %.1f %.1f\n", (double)(after.anonymous - before.anonymous) / count,
           (double)(after.shared - before.shared) / count, (double)(after.tables - before.tables) / count,
           (double)(after.stacks - before.stacks) / count, (double)(after.slab - before.slab) / count);
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    cpu_set_t one;
    if (rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "wall_bench process|kvm HELLO ROUNDS\n");
        return 2;
    }
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    for (unsigned i = 0; i < ROWS; i++)
        check((us[i] = calloc(rounds, sizeof *us[i])) != NULL);
    header.arena_bytes = 16384;
    if (!open_wall(guest_work, strcmp(argv[1], "kvm") == 0 ? open_kvm : wall_process_open) || !begin(guest_work, 0))
        return 1;
    destroy();
    for (unsigned round = 0; round < rounds; round++)
        measure(round, argv[2]);
    for (unsigned i = 0; i < ROWS; i++) {
        qsort(us[i], rounds, sizeof *us[i], compare);
        printf("%s %.1f %.1f\n", names[i], us[i][rounds / 2], us[i][(size_t)rounds * 99 / 100]);
    }
    measure_memory();
    return 0;
}
