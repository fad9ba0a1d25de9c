// SPDX-License-Identifier: ISC
// The process wall: instances are processes that a zygote forks and that this process traces.
//
// All that zygote and instances ever ask is one call that the filter hands to us (gate.c): the kernel says
// which process called from which instruction, and holds it until we answer. From a zygote it means "what
// next", and the answer is a slot. From an instance it means "I wait".
//
// Birth. An instance's first call comes before its first guest instruction, so its argument, the slot,
// is the zygote's word; all later arguments are the guest's. It is traced (EXITKILL: it dies with the
// tender) before that call is answered.
// Death. By us (SIGKILL), by a fault (it stops, is read, then killed), or from outside. A slot is free when
// waitpid has seen the end.
// A generation is one zygote and the instances that came from it: one base, one filter, one listener. Renewing
// kills the zygote, not its instances; the generation ends with its last process, when its listener hangs up.
#include "tender/wall.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "tender/fault.h"
#include "tender/process/gate.h"
#include "tender/process/zygote.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEATHS_MAX 3u // zygotes and unborn children in a row that ended, with nothing born between
#define DRAWS_MAX 16u // of a base; a region is taken with a probability far below one in a thousand
// One for each instance; one more for each that faults before the loop comes to see that a listener hung up.
#define GENERATIONS_MAX (2 * WALL_SLOTS_MAX + 2u)

struct generation {
    struct process_wall *wall;
    struct layout layout;
    struct zygote zygote;
    uint64_t zygote_call; // not 0: the zygote waits for a command
    int is_open;
    unsigned slot;           // that the zygote was told last
    struct loop_watch watch; // of the listener
};

struct instance {
    struct generation *generation;
    pid_t pid;          // 0: none
    uint64_t call;      // not 0: it waits, and this call is to be answered
    uint8_t is_asked;   // not born yet
    uint8_t is_sent;    // the zygote was told to fork it
    uint8_t is_initial; // its init runs
    uint8_t is_unwanted; // kill it as soon as it is known
};

struct process_wall {
    struct wall wall;
    struct wall_config config;
    struct generation *current; // its zygote forks
    unsigned deaths;
    struct loop_watch signal_watch;
    int signal_fd;
    struct instance instances[WALL_SLOTS_MAX];
    struct generation generations[GENERATIONS_MAX];
};

static struct process_wall *self(struct wall *wall) { return (struct process_wall *)wall; }

static unsigned slot_count(const struct process_wall *wall) { return wall->config.memory->slot_count; }

static unsigned slot_of(const struct process_wall *wall, const struct instance *instance)
{
    return (unsigned)(instance - wall->instances);
}

// NULL: nobody's.
static struct instance *instance_with(struct process_wall *wall, pid_t pid)
{
    for (unsigned i = 0; i < slot_count(wall); i++)
        if (wall->instances[i].pid == pid)
            return &wall->instances[i];
    return NULL;
}

static void fail(struct process_wall *wall, const char *what)
{
    fprintf(stderr, "crenel-tender: %s: %s\n", what, strerror(errno));
    wall->config.events.failed(wall->config.events.context);
}

// A caller that has died meanwhile is seen by its end.
static void answer(const struct generation *generation, uint64_t *call, int64_t value)
{
    struct seccomp_notif_resp response = {.id = *call, .val = value};
    *call = 0;
    check(ioctl(generation->zygote.listener_fd, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 ||
          errno == ENOENT);
}

// Gives a waiting zygote the next slot that is to be born.
static void command_zygote(struct process_wall *wall)
{
    struct generation *current = wall->current;
    for (unsigned i = 0; i < slot_count(wall) && current->zygote_call != 0; i++)
        if (wall->instances[i].is_asked && !wall->instances[i].is_sent) {
            wall->instances[i].is_sent = 1;
            current->slot = i;
            answer(current, &current->zygote_call, (int64_t)i + 1);
        }
}

static void take_zygote(struct process_wall *wall, struct generation *generation,
                        const struct seccomp_notif *call)
{
    int64_t done = (int64_t)call->data.args[0];
    struct instance *told = &wall->instances[generation->slot];
    generation->zygote_call = call->id;
    if (done < 0) {
        errno = (int)-done;
        fail(wall, zygote_step(call->data.args[1]));
    } else if (generation == wall->current) {
        if (done > 0 && told->is_sent && told->pid == 0)
            told->pid = (pid_t)done; // the child that it was told to make, not born yet
        command_zygote(wall);
    }
}

static void take_birth(struct process_wall *wall, struct generation *generation,
                       const struct seccomp_notif *call)
{
    uint64_t slot = call->data.args[0];
    check(slot < slot_count(wall));
    struct instance *instance = &wall->instances[slot];
    if (!instance->is_asked || instance->generation != generation) {
        kill((pid_t)call->pid, SIGKILL); // one too many, or of a zygote that was given up: nobody waits for it
        return;
    }
    instance->is_asked = instance->is_sent = 0;
    instance->pid = (pid_t)call->pid;
    instance->call = call->id;
    wall->deaths = 0;
    if (ptrace(PTRACE_SEIZE, instance->pid, NULL,
               MECHANISM(DIE_WITH_TENDER) ? PTRACE_O_EXITKILL : 0) != 0) {
        // Gone already; or this host forbids tracing, and an untraced guest must not run.
        if (errno != ESRCH)
            fail(wall, "cannot trace an instance");
        kill(instance->pid, SIGKILL);
    } else if (instance->is_unwanted) {
        kill(instance->pid, SIGKILL);
    } else if (instance->is_initial) {
        wall->wall.calls->wake(&wall->wall, (unsigned)slot);
    } else {
        wall->config.events.published(wall->config.events.context, (unsigned)slot);
    }
}

static void take_wait(struct process_wall *wall, struct instance *instance,
                      const struct seccomp_notif *call)
{
    unsigned slot = slot_of(wall, instance);
    struct guest_memory *memory = wall->config.memory;
    instance->call = call->id;
    if (instance->is_unwanted)
        return; // its SIGKILL is on the way
    guest_memory_set_resume(memory, slot, 0);
    if (instance->is_initial && instance->generation == wall->current && !memory->is_captured &&
        guest_memory_capture(memory, slot, call->data.args[0]) != STATUS_OK)
        fail(wall, "cannot read an instance's memory");
    instance->is_initial = 0;
    wall->config.events.published(wall->config.events.context, slot);
}

static void start_zygote(struct process_wall *wall);

static void on_call(void *context, uint32_t events)
{
    struct generation *generation = context;
    struct process_wall *wall = generation->wall;
    struct seccomp_notif call = {0};
    if ((events & EPOLLIN) == 0) { // hung up: no process is left that could call
        loop_remove(wall->config.loop, &generation->watch);
        close(generation->zygote.listener_fd);
        generation->is_open = 0;
        generation->zygote_call = 0;
        return;
    }
    struct pollfd more = {.fd = generation->zygote.listener_fd, .events = POLLIN};
    do {
        call = (struct seccomp_notif){0};
        if (ioctl(generation->zygote.listener_fd, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
            return; // the caller died
        struct instance *instance = instance_with(wall, (pid_t)call.pid);
        if ((pid_t)call.pid == generation->zygote.pid)
            take_zygote(wall, generation, &call);
        else if (instance != NULL && !instance->is_asked)
            take_wait(wall, instance, &call);
        else
            take_birth(wall, generation, &call);
    } while (generation->is_open && poll(&more, 1, 0) == 1 && (more.revents & POLLIN) != 0);
}

static void start_zygote(struct process_wall *wall)
{
    struct generation *next = wall->generations;
    enum status status = STATUS_AGAIN;
    while (next->is_open)
        next++;
    check(next < wall->generations + GENERATIONS_MAX);
    *next = (struct generation){.wall = wall};
    for (unsigned draws = 0; status == STATUS_AGAIN && draws < DRAWS_MAX; draws++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            break;
        layout_make(&next->layout, wall->config.image, random);
        status = zygote_start(&next->zygote, wall->config.image, &next->layout, wall->config.memory->fd,
                              wall->config.memory->slice_bytes);
    }
    wall->current = next;
    guest_memory_begin(wall->config.memory, wall->config.image, &next->layout);
    next->is_open = status == STATUS_OK;
    if (status != STATUS_OK ||
        loop_add(wall->config.loop, &next->watch, next->zygote.listener_fd, EPOLLIN, on_call, next) !=
            STATUS_OK)
        fail(wall, "starting a zygote");
}

static void prepare(struct process_wall *wall, unsigned slot)
{
    struct instance *instance = &wall->instances[slot];
    struct guest_memory *memory = wall->config.memory;
    guest_memory_boot(memory, slot, &wall->current->layout, wall->config.configuration,
                      wall->config.unikernel->configuration_bytes);
    if (guest_memory_restore(memory, slot) != STATUS_OK)
        fail(wall, "cannot clear a slot");
    instance->generation = wall->current;
    instance->is_asked = 1;
    instance->is_initial = !memory->is_captured;
}

static void wall_create(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    check(wall->instances[slot].pid == 0 && !wall->instances[slot].is_asked);
    prepare(wall, slot);
    command_zygote(wall);
}

// A new zygote, which also makes what the old one owes. A child of the old one that has not called yet finds
// that nobody waits for it.
static void wall_renew(struct wall *base)
{
    struct process_wall *wall = self(base);
    if (wall->current->zygote.pid != 0)
        kill(wall->current->zygote.pid, SIGKILL);
    wall->current->zygote_call = 0;
    start_zygote(wall);
    for (unsigned i = 0; i < slot_count(wall); i++)
        if (wall->instances[i].is_asked) {
            if (wall->instances[i].pid != 0)
                kill(wall->instances[i].pid, SIGKILL);
            wall->instances[i].pid = 0;
            wall->instances[i].is_sent = 0;
            prepare(wall, i);
        }
}

static void wall_wake(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    check(instance->call != 0);
    answer(instance->generation, &instance->call, 0);
}

static int wall_restore(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    struct guest_memory *memory = wall->config.memory;
    if (!MECHANISM(RESTORE))
        return 1;
    return instance->call != 0 && !instance->is_unwanted && instance->generation == wall->current &&
           memory->is_captured && guest_memory_restore(memory, slot) == STATUS_OK;
}

static void wall_kill(struct wall *base, unsigned slot)
{
    struct instance *instance = &self(base)->instances[slot];
    instance->is_unwanted = 1;
    if (instance->pid != 0)
        kill(instance->pid, SIGKILL);
}

// Of an instance that stopped.
static void place(struct process_wall *wall, const struct instance *instance, struct link_crash *crash)
{
    struct user_regs_struct at;
    if (ptrace(PTRACE_GETREGS, instance->pid, NULL, &at) == 0)
        fault_place(wall->config.memory, slot_of(wall, instance), wall->config.image,
                    &instance->generation->layout, at.rip, at.rsp, at.rbp, crash);
}

static void wall_examine(struct wall *base, unsigned slot, struct link_crash *crash)
{
    struct process_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    siginfo_t info;
    // WNOWAIT: if it died meanwhile, the end stays for the loop to see.
    if (instance->pid != 0 && ptrace(PTRACE_INTERRUPT, instance->pid, NULL, NULL) == 0 &&
        waitid(P_PID, (id_t)instance->pid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) == 0 &&
        info.si_code == CLD_TRAPPED)
        place(wall, instance, crash);
}

static int64_t wall_spent_ms(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    struct timespec spent;
    // The clock of a process by its id, as clock_getcpuclockid(3) makes it: ~pid << 3 | CPUCLOCK_SCHED.
    clockid_t clock = (clockid_t)(~(unsigned)wall->instances[slot].pid << 3 | 2u);
    if (wall->instances[slot].pid == 0 || clock_gettime(clock, &spent) != 0)
        return INT64_MAX / 2; // not there: nobody to excuse
    return (int64_t)spent.tv_sec * 1000 + spent.tv_nsec / 1000000;
}

// A traced instance stopped: by its own fault, or because somebody outside sent it a signal.
static void take_stop(struct process_wall *wall, struct instance *instance, int status)
{
    siginfo_t info;
    struct link_crash crash = {0};
    if (instance->is_unwanted)
        return; // its SIGKILL is on the way
    if (status >> 16 != 0 || ptrace(PTRACE_GETSIGINFO, instance->pid, NULL, &info) != 0 ||
        info.si_code <= 0) {
        kill(instance->pid, SIGKILL);
        return;
    }
    crash.signal = (uint32_t)info.si_signo;
    crash.number = (uint32_t)(info.si_signo == SIGSYS ? info.si_syscall : info.si_code);
    crash.address = (uint64_t)(uintptr_t)info.si_addr;
    place(wall, instance, &crash);
    wall->config.events.crashed(wall->config.events.context, slot_of(wall, instance), &crash);
}

static void take_end(struct process_wall *wall, struct instance *instance, const struct rusage *usage)
{
    *instance = (struct instance){0};
    wall->config.events.gone(wall->config.events.context, slot_of(wall, instance),
                             (uint64_t)usage->ru_minflt * LAYOUT_PAGE); // each page that it touched cost it one fault
}

static void take_zygote_end(struct process_wall *wall)
{
    wall->current->zygote.pid = 0; // somebody else's from now on
    if (++wall->deaths < DEATHS_MAX) {
        wall_renew(&wall->wall);
        return;
    }
    errno = ECHILD;
    fail(wall, "the zygote died three times");
}

static int is_old_zygote(const struct process_wall *wall, pid_t pid)
{
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (wall->generations[i].zygote.pid == pid)
            return 1;
    return 0;
}

// A child ended that nobody had named: the one that the zygote was told to make, which is asked for again; or the last
// one of an old zygote: then one child is made too many, and finds that nobody waits for it (take_birth).
static void take_stranger(struct process_wall *wall, pid_t pid)
{
    struct instance *instance = &wall->instances[wall->current->slot];
    if (is_old_zygote(wall, pid) || !instance->is_sent || instance->pid != 0)
        return;
    instance->is_sent = 0;
    if (++wall->deaths < DEATHS_MAX)
        return;
    errno = ECHILD;
    fail(wall, "instances end before they are born (is their memory limit too small?)");
}

static void on_signal(void *context, uint32_t events)
{
    struct process_wall *wall = context;
    struct signalfd_siginfo ignored[8];
    struct rusage usage;
    int status;
    pid_t pid;
    (void)events;
    (void)!read(wall->signal_fd, ignored, sizeof ignored);
    while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0) {
        struct instance *instance = instance_with(wall, pid);
        if (pid == wall->current->zygote.pid && !WIFSTOPPED(status))
            take_zygote_end(wall);
        else if (instance == NULL)
            take_stranger(wall, pid);
        else if (WIFSTOPPED(status))
            take_stop(wall, instance, status);
        else
            take_end(wall, instance, &usage);
    }
}

struct wall *wall_process_open(const struct wall_config *config, const char **step)
{
    static const struct wall_calls calls = {wall_create,   wall_wake,    wall_restore, wall_kill,
                                            wall_spent_ms, wall_examine, wall_renew};
    static struct process_wall the_wall;
    struct process_wall *wall = &the_wall;
    unsigned a, b, c, d;
    sigset_t signals;
    wall->wall.calls = &calls;
    wall->config = *config;
    *step = "this CPU has no XSAVE, which the gate needs";
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0)
        return NULL;
    *step = "taking signals";
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    wall->signal_fd = sigprocmask(SIG_BLOCK, &signals, NULL) == 0
                          ? signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)
                          : -1;
    if (wall->signal_fd < 0 ||
        loop_add(config->loop, &wall->signal_watch, wall->signal_fd, EPOLLIN, on_signal, wall) !=
            STATUS_OK)
        return NULL;
    start_zygote(wall);
    return &wall->wall;
}
