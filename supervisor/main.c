// SPDX-License-Identifier: ISC
// crenel-supervisor [--notify FD] [--tied] STATE_DIR PUBLIC_KEY_FILE...
//
// Acquire everything, start, loop. --notify: progress lines for `crenel up`; --tied: ends when its parent does.
// --lock, --listener and --failed are what it hands to itself when another version takes over (supervisor/replace.h).
// Reads STATE_DIR/system.bin and refuses it unless one of the keys signed it. Parses no YAML.
#include "supervisor/folder.h"
#include "supervisor/installed.h"
#include "supervisor/replace.h"
#include "supervisor/report.h"
#include "supervisor/supervisor.h"

#include "supervisor/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LOOK_MS 5000

static struct supervisor supervisor; // large, and there is one

static enum status open_state(struct supervisor *s, const char *path)
{
    const char *mend = "make it writable for this user, or give another folder with --state";
    if (realpath(path, s->state_path) == NULL ||
        (s->state_fd = open(s->state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        fail(s, mend, "state folder %s: %s", path, strerror(errno));
        return STATUS_SYSTEM;
    }
    if (s->lock_fd < 0)
        s->lock_fd = openat(s->state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        fail(s, mend, "state folder %s: %s", s->state_path, strerror(errno));
        return STATUS_SYSTEM;
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        fail(s, "`crenel down` ends it first", "this system is running already (%s/lock is held)", s->state_path);
        return STATUS_CONFLICT;
    }
    snprintf(s->root_path, sizeof s->root_path, "%.4000s/root", s->state_path);
    s->is_trial = replace_is_trial(s->state_fd);
    return STATUS_OK;
}

// From here on standard error is the host log.
static enum status open_host_log(struct supervisor *s)
{
    int fd = -1;
    enum status status = folder_make(s->state_fd, "logs", (uid_t)-1);
    if (status == STATUS_OK)
        status = folder_open_log(s->state_fd, "logs/host.log", (uid_t)-1, &fd);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (status != STATUS_OK || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) {
        fail(s, "make the state folder writable", "cannot open logs/host.log in %s: %s", s->state_path, strerror(errno));
        return STATUS_SYSTEM;
    }
    close(fd);
    close(null);
    return STATUS_OK;
}

static enum status open_system(struct supervisor *s)
{
    char path[PATH_MAX + 16], why[512];
    uint8_t *bytes = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/system.bin", s->state_path);
    enum status status = folder_seal_file(path, SYSTEM_BYTES_MAX, &s->system_fd, &bytes, &size);
    if (status != STATUS_OK) {
        fail(s, "`crenel up DIR` writes it", "%s: %s", path,
             status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
        return status;
    }
    status = installed_open(s, bytes, size, &s->system, why);
    if (status != STATUS_OK) {
        fail(s, "compile and sign it again with `crenel up DIR`; never edit it", "%s is refused: %s", path, why);
        return status;
    }
    crypto_hash_sha256(s->digest, bytes, size);
    struct stat stat;
    if (fstat(s->state_fd, &stat) != 0)
        return STATUS_SYSTEM;
    // Two state folders may hold systems of one name: their cgroups must not meet.
    uint64_t place = (uint64_t)stat.st_ino * 0x9e3779b97f4a7c15u ^ (uint64_t)stat.st_dev;
    snprintf(s->cgroup_name, sizeof s->cgroup_name, "%s.%08x", s->system.header->name,
             (unsigned)(place >> 32));
    return STATUS_OK;
}

static void signal_ready(void *context, uint32_t events)
{
    struct supervisor *s = context;
    struct signalfd_siginfo info;
    (void)events;
    if (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        fprintf(stderr, "crenel-supervisor: signal %u: stopping\n", info.ssi_signo);
        phases_stop(s);
    }
}

static void look_at_log(void *context)
{
    struct supervisor *s = context;
    struct member *router = member_of(s, ROLE_ROUTER, 0);
    if (resources_rotate_log(s) == STATUS_OK && router->control_fd >= 0)
        member_give(router, CONTROL_LOG, 0, 0, fcntl(s->log_fd, F_DUPFD_CLOEXEC, 0));
    if (folder_log_is_large(STDERR_FILENO) && folder_empty_log(s->state_fd, "logs/host.log") != STATUS_OK)
        (void)!ftruncate(STDERR_FILENO, 0);
    loop_timer_set(&s->loop, &s->log_timer, LOG_LOOK_MS);
}

// The end waits for that (supervisor/phases.c).
static void on_settled(void *context)
{
    struct supervisor *s = context;
    if (s->phase == PHASE_STOPPING)
        phases_step(s);
}

static enum status prepare_loop(struct supervisor *s)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0 || loop_init(&s->loop) != STATUS_OK ||
        (s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
        loop_add(&s->loop, &s->signal_watch, s->signal_fd, EPOLLIN, signal_ready, s) != STATUS_OK) {
        fail(s, NULL, "cannot prepare the event loop: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    loop_timer_add(&s->loop, &s->log_timer, look_at_log, s);
    loop_timer_set(&s->loop, &s->log_timer, LOG_LOOK_MS);
    records_init(&s->records, &s->loop, on_settled, s);
    return STATUS_OK;
}

static void find_programs(struct supervisor *s)
{
    ssize_t length = readlink("/proc/self/exe", s->programs_path, sizeof s->programs_path - 1);
    char *slash = length > 0 ? strrchr(s->programs_path, '/') : NULL;
    if (slash != NULL)
        *slash = 0;
}

static void run(struct supervisor *s)
{
    char digest[2 * sizeof s->digest + 1];
    report_hex(s->digest, sizeof s->digest, digest);
    s->started_ms = loop_wall_clock_ms();
    records_add(&s->records, "system-starting",
                "\"system\":\"%s\",\"digest\":\"%s\",\"epoch\":%llu,\"security_version\":%u,\"mode\":\"%s\"",
                s->system.header->name, digest, (unsigned long long)s->epoch,
                s->system.header->security_version, s->is_rootless ? "rootless" : "system");
    for (size_t i = 0; i < s->system.unikernel_count; i++) {
        report_hex(s->system.unikernels[i].image_digest, 32, digest);
        records_add(&s->records, "image", "\"unikernel\":\"%s\",\"digest\":\"%s\",\"isolation\":\"%s\"",
                    s->system.unikernels[i].name, digest,
                    isolation_level_text(member_of(s, ROLE_TENDER, (unsigned)i)->isolation));
    }
    notify(s, "progress", "starting %zu processes, epoch %llu", s->member_count,
           (unsigned long long)s->epoch);
    phases_start(s);
    if (s->phase != PHASE_ENDED && loop_run(&s->loop) != STATUS_OK)
        fail(s, NULL, "the event loop failed: %s", strerror(errno));
}

// A listening socket of the version before: "5=127.0.0.1:1883".
static void take_listener(struct supervisor *s, const char *text)
{
    char *address;
    int fd = (int)strtol(text, &address, 10);
    if (*address != '=' || s->listener_count == LISTENERS_MAX)
        return;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    s->listeners[s->listener_count].fd = fd;
    snprintf(s->listeners[s->listener_count].address, sizeof s->listeners[0].address, "%s", address + 1);
    s->listener_count++;
}

// Returns the index of the first operand, or 0.
static int read_options(struct supervisor *s, int argc, char **argv)
{
    int at = 1;
    s->notify_fd = s->lock_fd = -1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        int left = argc - at - 1;
        if (strcmp(argv[at], "--notify") == 0 && left > 0)
            s->notify_fd = (int)strtol(argv[++at], NULL, 10);
        else if (strcmp(argv[at], "--tied") == 0)
            s->is_tied = 1;
        else if (strcmp(argv[at], "--lock") == 0 && left > 0)
            s->lock_fd = (int)strtol(argv[++at], NULL, 10);
        else if (strcmp(argv[at], "--listener") == 0 && left > 0)
            take_listener(s, argv[++at]);
        else if (strcmp(argv[at], "--failed") == 0 && left > 1) {
            s->failed = argv[++at];
            s->failed_why = argv[++at];
        }
    }
    s->keys = argv + at + 1;
    s->key_count = argc - at - 1;
    if (s->notify_fd >= 0)
        (void)fcntl(s->notify_fd, F_SETFD, FD_CLOEXEC);
    if (s->lock_fd >= 0)
        (void)fcntl(s->lock_fd, F_SETFD, FD_CLOEXEC);
    return s->key_count >= 1 && s->key_count <= (int)KEYS_MAX ? at : 0;
}

// From the state folder on: everything that can fail because of the version that is installed.
static void serve(struct supervisor *s)
{
    if (open_system(s) != STATUS_OK || prepare_loop(s) != STATUS_OK)
        return;
    s->is_rootless = !privileges_are_enough();
    if (privileges_reduce() != STATUS_OK)
        fail(s, NULL, "cannot reduce privileges: %s", strerror(errno));
    else if (resources_open(s) == STATUS_OK && server_open(s) == STATUS_OK) {
        run(s);
        server_close(s);
    }
    resources_close(s);
}

int main(int argc, char **argv)
{
    struct supervisor *s = &supervisor;
    int at = read_options(s, argc, argv);
    if (at == 0) {
        fprintf(stderr, "usage: crenel-supervisor [--notify FD] [--tied] STATE_DIR PUBLIC_KEY_FILE...\n"
                        "`crenel up` starts it.\n");
        return 2;
    }
    umask(077);
    if (s->is_tied)
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    s->owner = geteuid();
    find_programs(s);
    if (sodium_init() < 0 || open_state(s, argv[at]) != STATUS_OK || open_host_log(s) != STATUS_OK)
        return 1;
    serve(s);
    if (s->is_replacing && s->exit_code == 0)
        replace_switch(s);
    else if (s->exit_code != 0)
        (void)replace_fall_back(s);
    fprintf(stderr, "crenel-supervisor: ended\n");
    return s->exit_code;
}
