// SPDX-License-Identifier: ISC
// The kvm wall: each instance is a virtual machine, run by a thread of its slot.
//
// A slot belongs to the loop's thread or to its own, never to both. The loop's thread gives it away with a task
// (`go`); its own thread does the task, leaves what came of it, gives it back (`done`) and rings the doorbell, which
// makes the loop look. Everything that the pool sees happens in the loop's thread. To hurry a thread that
// runs guest code, the loop sets immediate_exit, so that a KVM_RUN which has not begun returns at once, and sends a
// signal whose handler does nothing, so that one which has begun returns, too.
//
// An instance whose slot is not away stands still: KVM_RUN has returned. So it can be made pristine wherever it
// stood. Threads stay with their slots; machines are made and closed by them, so that the loop does not wait.
#include "tender/wall.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "tender/kvm/stop.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#define THREAD_STACK_BYTES 65536u
#define GENERATIONS_MAX (WALL_SLOTS_MAX + 1u)
#define HURRY SIGUSR1

enum task { MAKE, RUN, END };

struct instance {
    struct kvm_wall *wall;
    pthread_t thread;
    sem_t go, done;
    uint8_t has_thread;
    uint8_t is_alive;    // there is, or will be, a machine
    uint8_t is_away;     // the slot is its thread's; else the loop's
    uint8_t is_unwanted; // end it as soon as it is back
    uint8_t is_initial;  // its init runs
    enum task task;
    const char *step;       // of MAKE: what failed, or NULL
    enum machine_stop stop; // of RUN
    int error;              // errno of either
    struct machine machine;
    struct machine_memory memory;
    struct pages *pages;
    uint64_t resume; // not 0: it is pristine, and goes on here when it is woken
    uint64_t bytes;  // of END: what it had touched
    int64_t spent_before_ms; // its thread, by earlier instances
};

struct kvm_wall {
    struct wall wall;
    struct wall_config config;
    struct machine_host host;
    struct pages *current;
    uint8_t *frames; // a page for each slot
    int bell_fd;
    struct loop_watch bell_watch;
    struct instance instances[WALL_SLOTS_MAX];
    struct pages generations[GENERATIONS_MAX];
};

static struct kvm_wall *self(struct wall *wall) { return (struct kvm_wall *)wall; }

static unsigned slot_of(const struct instance *instance)
{
    return (unsigned)(instance - instance->wall->instances);
}

static void fail(struct kvm_wall *wall, const char *what)
{
    fprintf(stderr, "crenel-tender: %s: %s\n", what, strerror(errno));
    wall->config.events.failed(wall->config.events.context);
}

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        check(errno == EINTR);
}

// ---- the slot's thread

static void *serve(void *context)
{
    struct instance *instance = context;
    struct rusage before = {0}, after;
    for (;;) {
        await(&instance->go);
        if (instance->task == MAKE) {
            check(getrusage(RUSAGE_THREAD, &before) == 0);
            instance->step = machine_open(&instance->machine, &instance->wall->host, &instance->memory);
        } else if (instance->task == RUN) {
            instance->stop = machine_run(&instance->machine, &instance->pages->layout);
        } else {
            machine_close(&instance->machine);
            check(getrusage(RUSAGE_THREAD, &after) == 0);
            instance->bytes = (uint64_t)(after.ru_minflt - before.ru_minflt) * LAYOUT_PAGE;
        }
        instance->error = errno;
        check(sem_post(&instance->done) == 0 && eventfd_write(instance->wall->bell_fd, 1) == 0);
    }
    return NULL;
}

// ---- the loop's thread

static void give(struct instance *instance, enum task task)
{
    check(!instance->is_away);
    if (task == RUN)
        instance->machine.run->immediate_exit = 0;
    instance->task = task;
    instance->is_away = 1;
    check(sem_post(&instance->go) == 0);
}

// Brings a guest's slot back at once. Making and closing a machine take their time.
static void hurry(struct instance *instance)
{
    if (instance->task != RUN)
        return;
    __atomic_store_n(&instance->machine.run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    check(pthread_kill(instance->thread, HURRY) == 0);
}

static void release_pages(struct kvm_wall *wall, struct pages *pages)
{
    if (pages->users == 0 && pages != wall->current)
        pages_free(pages);
}

static void wall_renew(struct wall *base)
{
    struct kvm_wall *wall = self(base);
    struct pages *old = wall->current, *next = wall->generations;
    uint64_t random;
    while (next->fixed != NULL)
        next++;
    check(next < wall->generations + GENERATIONS_MAX);
    if (getrandom(&random, sizeof random, 0) != sizeof random ||
        pages_make(next, wall->config.image, random) != STATUS_OK) {
        fail(wall, "cannot lay out an instance");
        return;
    }
    wall->current = next;
    guest_memory_begin(wall->config.memory, wall->config.image, &next->layout);
    if (old != NULL)
        release_pages(wall, old);
}

static void wall_wake(struct wall *base, unsigned slot)
{
    struct instance *instance = &self(base)->instances[slot];
    uint64_t stack_pointer = instance->resume != 0 ? instance->resume : machine_stack_pointer(&instance->machine);
    check(instance->is_alive && !instance->is_away);
    if (machine_enter(&instance->machine, &instance->pages->layout, stack_pointer, instance->resume != 0) !=
        STATUS_OK)
        fail(self(base), "loading a virtual processor");
    instance->resume = 0;
    give(instance, RUN);
}

static void take_wait(struct instance *instance)
{
    struct kvm_wall *wall = instance->wall;
    struct guest_memory *memory = wall->config.memory;
    unsigned slot = slot_of(instance);
    if (instance->is_initial && instance->pages == wall->current && !memory->is_captured &&
        guest_memory_capture(memory, slot, machine_stack_pointer(&instance->machine)) != STATUS_OK)
        fail(wall, "cannot read an instance's memory");
    instance->is_initial = 0;
    wall->config.events.published(wall->config.events.context, slot);
}

static void take_end(struct instance *instance)
{
    struct kvm_wall *wall = instance->wall;
    instance->is_alive = instance->is_unwanted = 0;
    instance->pages->users--;
    release_pages(wall, instance->pages);
    wall->config.events.gone(wall->config.events.context, slot_of(instance), instance->bytes);
}

static void take_fault(struct instance *instance)
{
    struct kvm_wall *wall = instance->wall;
    struct link_crash crash = {0};
    machine_place(&instance->machine, wall->config.memory, slot_of(instance), &instance->pages->layout,
                  wall->config.image, &crash);
    wall->config.events.crashed(wall->config.events.context, slot_of(instance), &crash);
}

static void take_back(struct instance *instance)
{
    struct kvm_wall *wall = instance->wall;
    int is_lost = instance->task == RUN && instance->stop == MACHINE_LOST;
    instance->is_away = 0;
    errno = instance->error;
    if (is_lost)
        fprintf(stderr, "crenel-tender: running a virtual processor: %s\n", strerror(errno));
    if (instance->task == MAKE && instance->step != NULL)
        fail(wall, instance->step);
    else if (instance->task == END)
        take_end(instance);
    else if (instance->is_unwanted || is_lost)
        give(instance, END);
    else if (instance->task == MAKE && instance->is_initial)
        wall_wake(&wall->wall, slot_of(instance));
    else if (instance->task == MAKE || instance->stop == MACHINE_WAITS)
        take_wait(instance);
    else if (instance->stop == MACHINE_FAULTS)
        take_fault(instance);
    else
        give(instance, RUN); // interrupted by somebody else's signal, or nobody is interested any more
}

static void on_bell(void *context, uint32_t events)
{
    struct kvm_wall *wall = context;
    eventfd_t ignored;
    (void)events;
    check(eventfd_read(wall->bell_fd, &ignored) == 0 || errno == EAGAIN);
    for (unsigned i = 0; i < wall->config.memory->slot_count; i++)
        if (wall->instances[i].is_away && sem_trywait(&wall->instances[i].done) == 0)
            take_back(&wall->instances[i]);
}

static int start_thread(struct instance *instance)
{
    pthread_attr_t attributes;
    sem_init(&instance->go, 0, 0);
    sem_init(&instance->done, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    errno = pthread_create(&instance->thread, &attributes, serve, instance);
    instance->has_thread = errno == 0;
    pthread_attr_destroy(&attributes);
    return instance->has_thread;
}

static int64_t wall_spent_ms(struct wall *base, unsigned slot)
{
    struct instance *instance = &self(base)->instances[slot];
    struct timespec spent;
    clockid_t clock;
    if (!instance->is_alive || pthread_getcpuclockid(instance->thread, &clock) != 0 ||
        clock_gettime(clock, &spent) != 0)
        return INT64_MAX / 2; // not there: nobody to excuse
    return (int64_t)spent.tv_sec * 1000 + spent.tv_nsec / 1000000 - instance->spent_before_ms;
}

static void wall_create(struct wall *base, unsigned slot)
{
    struct kvm_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    struct guest_memory *memory = wall->config.memory;
    check(!instance->is_alive);
    guest_memory_boot(memory, slot, &wall->current->layout, wall->config.configuration,
                      wall->config.unikernel->configuration_bytes);
    instance->wall = wall;
    instance->pages = wall->current;
    instance->pages->users++;
    instance->memory = (struct machine_memory){
        wall->current, wall->frames + (size_t)slot * LAYOUT_PAGE, memory->bytes + slot * memory->slice_bytes,
        ABI_BOOT_BYTES + ABI_INPUT_BYTES, memory->slice_bytes};
    instance->is_alive = 1;
    instance->is_initial = !memory->is_captured;
    instance->resume = memory->resume;
    if (guest_memory_restore(memory, slot) != STATUS_OK ||
        (!instance->has_thread && !start_thread(instance))) {
        fail(wall, "cannot begin an instance");
        return;
    }
    instance->spent_before_ms = 0;
    instance->spent_before_ms = wall_spent_ms(base, slot);
    give(instance, MAKE);
}

static int wall_restore(struct wall *base, unsigned slot)
{
    struct kvm_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    struct guest_memory *memory = wall->config.memory;
    if (!MECHANISM(RESTORE))
        return 1;
    if (!instance->is_alive || instance->is_away || instance->is_unwanted ||
        instance->pages != wall->current || !memory->is_captured ||
        guest_memory_restore(memory, slot) != STATUS_OK)
        return 0;
    instance->resume = memory->resume;
    return 1;
}

static void wall_kill(struct wall *base, unsigned slot)
{
    struct instance *instance = &self(base)->instances[slot];
    instance->is_unwanted = 1;
    if (!instance->is_away)
        give(instance, END);
    else
        hurry(instance);
}

static void wall_examine(struct wall *base, unsigned slot, struct link_crash *crash)
{
    struct kvm_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    if (!instance->is_alive || !instance->is_away)
        return;
    hurry(instance);
    await(&instance->done);
    if (instance->task != RUN || instance->stop != MACHINE_INTERRUPTED) {
        check(sem_post(&instance->done) == 0); // it came back by itself: for the bell, unless it is killed for being late
    } else {
        instance->is_away = 0;
        machine_place(&instance->machine, wall->config.memory, slot, &instance->pages->layout,
                      wall->config.image, crash);
    }
}

static void do_nothing(int signal) { (void)signal; }

struct wall *wall_kvm_open(const struct wall_config *config, int kvm_fd, const char **step)
{
    static const struct wall_calls calls = {wall_create,   wall_wake,    wall_restore, wall_kill,
                                            wall_spent_ms, wall_examine, wall_renew};
    static struct kvm_wall the_wall;
    struct kvm_wall *wall = &the_wall;
    const struct sigaction handler = {.sa_handler = do_nothing}; // no SA_RESTART: KVM_RUN is to return
    wall->wall.calls = &calls;
    wall->config = *config;
    *step = machine_host_open(&wall->host, kvm_fd);
    if (*step != NULL)
        return NULL;
    *step = "taking signals";
    signal(SIGPIPE, SIG_IGN);
    if (sigaction(HURRY, &handler, NULL) != 0)
        return NULL;
    *step = "making the stubs' stacks";
    wall->frames = mmap(NULL, config->memory->slot_count * (size_t)LAYOUT_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wall->frames == MAP_FAILED)
        return NULL;
    *step = "making a doorbell";
    wall->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wall->bell_fd < 0 ||
        loop_add(config->loop, &wall->bell_watch, wall->bell_fd, EPOLLIN, on_bell, wall) != STATUS_OK)
        return NULL;
    wall_renew(&wall->wall);
    return &wall->wall;
}
