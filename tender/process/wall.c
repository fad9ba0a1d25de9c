// SPDX-License-Identifier: ISC
// The process wall: instances are processes that a zygote forks and that this process traces.
//
// Descriptors. Below 64: the tender's own. From 64 on, the same numbers in tender and zygote: the pool,
// the zygote's two pipes (zygote only), then wake and publish eventfd of each slot.
//
// Birth. A slot number goes down the command pipe; {pid, slot} comes back; the tender seizes the
// process (EXITKILL: it dies with the tender) and then lets it go on by a first wake. So no guest
// instruction runs untraced.
// Death. By us (SIGKILL), by a fault (it stops, is read, then killed), or from outside. A slot is free when
// waitpid has seen the end.
// A zygote is retired by closing its command pipe: it answers what it was asked and exits. A new one has
// a new base; instances of the old base know theirs.
#include "tender/wall.h"

#include "core/check.h"
#include "tender/process/fault.h"
#include "tender/process/gate.h"
#include "tender/process/layout.h"
#include "tender/process/zygote.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RETIRE_MS 1000 // a retired zygote answers in microseconds; a stopped one is killed
#define DEATHS_MAX 3   // zygotes in a row that ended without forking anything

struct instance {
    struct process_wall *wall;
    unsigned slot;
    pid_t pid;          // 0: none
    uint8_t is_asked;   // the zygote was told to fork it and has not answered
    uint8_t is_unwanted; // kill it as soon as it is known
    struct layout layout;
    struct loop_watch watch; // of its publish eventfd
};

struct process_wall {
    struct wall wall;
    struct wall_config config;
    struct layout layout; // of the zygote
    struct zygote zygote;
    unsigned deaths;
    struct loop_watch reply_watch, signal_watch;
    int signal_fd;
    struct instance instances[WALL_SLOTS_MAX];
};

static int wake_fd(unsigned slot) { return ZYGOTE_EVENT_FD + 2 * (int)slot; }
static int publish_fd(unsigned slot) { return wake_fd(slot) + 1; }

static struct process_wall *self(struct wall *wall) { return (struct process_wall *)wall; }

static void write_wake(unsigned slot)
{
    uint64_t one = 1;
    check(write(wake_fd(slot), &one, sizeof one) == sizeof one);
}

// Forgets what a dead instance left in its eventfds.
static void drain(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    uint64_t value;
    if (poll(&poll_fd, 1, 0) == 1)
        check(read(fd, &value, sizeof value) == sizeof value);
}

static void instance_end(struct process_wall *wall, struct instance *instance, uint64_t bytes)
{
    instance->pid = 0;
    instance->is_asked = instance->is_unwanted = 0;
    wall->config.events.gone(wall->config.events.context, instance->slot, bytes);
}

static void fail(struct process_wall *wall, const char *what, const char *detail)
{
    fprintf(stderr, "crenel-tender: %s: %s\n", what, detail);
    wall->config.events.failed(wall->config.events.context);
}

static void take_reply(struct process_wall *wall, const struct zygote_reply *reply)
{
    if (reply->pid == -EEXIST)
        return; // the base was taken: it ends, and the next one draws again
    if (reply->pid <= 0) {
        fail(wall, zygote_step(reply->slot), strerror((int)-reply->pid));
        return;
    }
    check(reply->slot < wall->config.memory->slot_count);
    struct instance *instance = &wall->instances[reply->slot];
    instance->is_asked = 0;
    instance->pid = (pid_t)reply->pid;
    wall->deaths = 0;
    if (ptrace(PTRACE_SEIZE, instance->pid, NULL, PTRACE_O_EXITKILL) != 0) {
        // Gone already; or this host forbids tracing, and an untraced guest must not run.
        if (errno != ESRCH)
            fail(wall, "cannot trace an instance", strerror(errno));
        kill(instance->pid, SIGKILL);
    } else if (instance->is_unwanted) {
        kill(instance->pid, SIGKILL);
    } else {
        write_wake(instance->slot);
    }
}

static void start_zygote(struct process_wall *wall);

static void on_reply(void *context, uint32_t events)
{
    struct process_wall *wall = context;
    struct zygote_reply reply;
    (void)events;
    if (read(wall->zygote.reply_fd, &reply, sizeof reply) == sizeof reply) {
        take_reply(wall, &reply);
        return;
    }
    // It died unasked. What it had not answered does not exist.
    loop_remove(wall->config.loop, &wall->reply_watch);
    close(wall->zygote.command_fd);
    close(wall->zygote.reply_fd);
    kill(wall->zygote.pid, SIGKILL);
    if (++wall->deaths >= DEATHS_MAX) {
        fail(wall, "the zygote", "died three times");
        return;
    }
    start_zygote(wall);
    for (unsigned i = 0; i < wall->config.memory->slot_count; i++)
        if (wall->instances[i].is_asked)
            instance_end(wall, &wall->instances[i], 0);
}

static void start_zygote(struct process_wall *wall)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random ||
        layout_make(&wall->layout, wall->config.image, random) != STATUS_OK) {
        fail(wall, "cannot lay out an instance", "arena or stack over 64 MiB, or no random numbers");
        return;
    }
    if (zygote_start(&wall->zygote, wall->config.image, &wall->layout,
                     wall->config.memory->slot_count) != STATUS_OK ||
        loop_add(wall->config.loop, &wall->reply_watch, wall->zygote.reply_fd, EPOLLIN, on_reply,
                 wall) != STATUS_OK)
        fail(wall, "cannot start a zygote", strerror(errno));
}

static void retire_zygote(struct process_wall *wall)
{
    struct zygote_reply reply;
    struct pollfd poll_fd = {.fd = wall->zygote.reply_fd, .events = POLLIN};
    loop_remove(wall->config.loop, &wall->reply_watch);
    close(wall->zygote.command_fd);
    while (poll(&poll_fd, 1, RETIRE_MS) == 1 &&
           read(wall->zygote.reply_fd, &reply, sizeof reply) == sizeof reply)
        take_reply(wall, &reply);
    close(wall->zygote.reply_fd);
    kill(wall->zygote.pid, SIGKILL);
}

static void wall_create(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    const struct layout *layout = &wall->layout;
    struct abi_boot boot = {
        .magic = ABI_BOOT_MAGIC,
        .version = ABI_VERSION,
        .size = sizeof boot,
        .gate = layout->gate,
        .input = layout->input,
        .output = layout->output,
        .arena = layout->arena,
        .arena_bytes = layout->arena_bytes,
        .configuration = layout->boot + sizeof boot,
        .configuration_bytes = wall->config.configuration_bytes,
    };
    check(instance->pid == 0 && !instance->is_asked);
    instance->layout = *layout;
    instance->is_asked = 1;
    drain(wake_fd(slot));
    drain(publish_fd(slot));
    uint64_t command = slot;
    if (getrandom(&boot.canary, sizeof boot.canary, 0) != sizeof boot.canary) {
        fail(wall, "no random numbers", strerror(errno));
        return;
    }
    boot.canary &= ~(uint64_t)0xff; // a string that runs over it ends at its first byte
    if (guest_memory_boot(wall->config.memory, slot, &boot, wall->config.configuration) !=
        STATUS_OK)
        fail(wall, "cannot clear a slot", strerror(errno));
    else if (write(wall->zygote.command_fd, &command, sizeof command) != sizeof command &&
             errno != EPIPE) // a dead zygote shows itself on the reply pipe
        fail(wall, "cannot command the zygote", strerror(errno));
}

static void wall_renew(struct wall *base)
{
    struct process_wall *wall = self(base);
    retire_zygote(wall);
    start_zygote(wall);
    // What the old one owed, because somebody had ended or stopped it, the new one makes.
    for (unsigned i = 0; i < wall->config.memory->slot_count; i++)
        if (wall->instances[i].is_asked) {
            wall->instances[i].is_asked = 0;
            wall_create(base, i);
        }
}

static void wall_wake(struct wall *wall, unsigned slot)
{
    (void)wall;
    write_wake(slot);
}

static void wall_kill(struct wall *base, unsigned slot)
{
    struct instance *instance = &self(base)->instances[slot];
    instance->is_unwanted = 1;
    if (instance->pid != 0)
        kill(instance->pid, SIGKILL);
}

static int wall_examine(struct wall *base, unsigned slot, struct link_crash *crash)
{
    struct process_wall *wall = self(base);
    struct instance *instance = &wall->instances[slot];
    siginfo_t info;
    crash->instruction = UINT64_MAX;
    // WNOWAIT: if it died meanwhile, the end stays for the loop to see.
    if (instance->pid == 0 || ptrace(PTRACE_INTERRUPT, instance->pid, NULL, NULL) != 0 ||
        waitid(P_PID, (id_t)instance->pid, &info, WSTOPPED | WEXITED | WNOWAIT | __WALL) != 0 ||
        info.si_code != CLD_TRAPPED)
        return 0;
    return fault_place(instance->pid, &instance->layout, wall->config.image, crash);
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

static void wall_resume(struct wall *base, unsigned slot)
{
    struct process_wall *wall = self(base);
    if (wall->instances[slot].pid != 0)
        (void)ptrace(PTRACE_CONT, wall->instances[slot].pid, NULL, NULL); // gone: the loop sees its end
}

static void on_publish(void *context, uint32_t events)
{
    struct instance *instance = context;
    struct process_wall *wall = instance->wall;
    uint64_t times;
    (void)events;
    if (read(publish_fd(instance->slot), &times, sizeof times) == sizeof times &&
        instance->pid != 0)
        wall->config.events.published(wall->config.events.context, instance->slot, times);
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
    fault_describe(instance->pid, &info, &instance->layout, wall->config.image, &crash);
    wall->config.events.crashed(wall->config.events.context, instance->slot, &crash);
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
        for (unsigned i = 0; i < wall->config.memory->slot_count; i++) {
            struct instance *instance = &wall->instances[i];
            if (instance->pid != pid)
                continue;
            if (WIFSTOPPED(status))
                take_stop(wall, instance, status);
            else // each page that it touched cost it one fault
                instance_end(wall, instance, (uint64_t)usage.ru_minflt * LAYOUT_PAGE);
            break;
        }
    }
}

// Moves fd to the number that a zygote expects.
static int place(int fd, int number)
{
    if (fd < 0 || fcntl(fd, F_DUPFD_CLOEXEC, number) != number)
        return 0;
    close(fd);
    return 1;
}

static const char *open_slots(struct process_wall *wall)
{
    if (fcntl(wall->config.memory->fd, F_DUPFD_CLOEXEC, ZYGOTE_POOL_FD) != ZYGOTE_POOL_FD)
        return "placing the pool";
    for (unsigned i = 0; i < wall->config.memory->slot_count; i++) {
        struct instance *instance = &wall->instances[i];
        instance->wall = wall;
        instance->slot = i;
        // The guest's write must not block the guest in a way that hides it; the tender's reads never do.
        if (!place(eventfd(0, EFD_CLOEXEC), wake_fd(i)) ||
            !place(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), publish_fd(i)))
            return "making eventfds (does the limit of open files allow 67 + 2 per instance?)";
        if (loop_add(wall->config.loop, &instance->watch, publish_fd(i), EPOLLIN, on_publish,
                     instance) != STATUS_OK)
            return "watching eventfds";
    }
    return NULL;
}

struct wall *wall_process_open(const struct wall_config *config, const char **step)
{
    static const struct wall_calls calls = {wall_create, wall_wake, wall_kill, wall_spent_ms,
                                            wall_examine, wall_resume, wall_renew};
    unsigned a, b, c, d;
    sigset_t signals;
    struct process_wall *wall = calloc(1, sizeof *wall);
    *step = "allocating";
    if (wall == NULL)
        return NULL;
    wall->wall.calls = &calls;
    wall->config = *config;
    *step = "this CPU has no XSAVE, which the gate needs";
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0)
        goto failed;
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
        goto failed;
    if ((*step = open_slots(wall)) != NULL)
        goto failed;
    start_zygote(wall);
    return &wall->wall;
failed:
    free(wall);
    return NULL;
}
