// SPDX-License-Identifier: ISC
// What each role is started with: program, walls, descriptors, links.
//
// Pairs of links are made before the first of their two owners starts, so that START comes when
// everything is there. The end of an owner without a process waits with it (member.pending).
#include "supervisor/supervisor.h"

#include "host/channel.h"
#include "host/sandbox.h"
#include "host/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)

struct plan {
    const char *program, *role;
    uint64_t namespaces;
    const char *directory; // below the state folder, or NULL
    uint16_t link_what;    // what the router gets at the other end of its link; 0: no link to the router
    uint64_t nofile;
    int grace_ms;
};

// Gateway and courier keep the host's network: a listener was bound there, so its accepted sockets work too; what they may do
// with it is in their filters.
static const struct plan plans[ROLES] = {
    [ROLE_AUDIT] = {"crenel-audit", "audit", NAMESPACES | CLONE_NEWNET, "audit", 0, 256, 5000},
    [ROLE_STORE] = {"crenel-store", "store", NAMESPACES | CLONE_NEWNET, "store",
                    CONTROL_STORE_LINK, 256, 5000},
    [ROLE_ROUTER] = {"crenel-router", "router", NAMESPACES | CLONE_NEWNET, NULL, 0, 1024, 3000},
    [ROLE_SERVICE] = {"crenel-password", "password", NAMESPACES | CLONE_NEWNET, "password",
                      CONTROL_SERVICE_LINK, 256, 2000},
    [ROLE_TENDER] = {"crenel-tender", "tender", NAMESPACES | CLONE_NEWNET, NULL,
                     CONTROL_TENDER_LINK, 0, 2000},
    [ROLE_GATEWAY] = {"crenel-gateway", "gateway", NAMESPACES, NULL, CONTROL_GATEWAY_LINK, 0, 2000},
    [ROLE_COURIER] = {"crenel-courier", "courier", NAMESPACES, NULL, CONTROL_COURIER_LINK, 256, 2000},
};

static void make_link(struct member *a, uint16_t a_what, struct member *b, uint16_t b_what)
{
    int ends[2];
    if (channel_pair(ends) != STATUS_OK) {
        fprintf(stderr, "crenel-supervisor: cannot make a link: %s\n", strerror(errno));
        return; // its owner gets no START-ready link, fails, and is started again
    }
    member_give(a, a_what, b->index, 0, ends[0]);
    member_give(b, b_what, a->index, 0, ends[1]);
}

void launch_links(struct supervisor *s)
{
    struct member *audit = member_of(s, ROLE_AUDIT, 0), *store = member_of(s, ROLE_STORE, 0);
    struct member *router = member_of(s, ROLE_ROUTER, 0);
    if (!s->is_audit_linked) {
        make_link(store, CONTROL_AUDIT_LINK, audit, CONTROL_STORE_AUDIT_LINK);
        s->is_audit_linked = 1;
    }
    for (size_t i = 0; i < s->member_count; i++) {
        struct member *m = &s->members[i];
        if (plans[m->role].link_what == 0 || m->is_linked || !m->is_wanted)
            continue;
        make_link(m, m->role == ROLE_STORE ? CONTROL_ROUTER_STORE_LINK : CONTROL_ROUTER_LINK, router,
                  plans[m->role].link_what);
        m->is_linked = 1;
    }
}

static uint64_t nofile_of(const struct member *m)
{
    const struct supervisor *s = m->supervisor;
    if (m->role == ROLE_TENDER)
        return 256 + 8ul * s->system.unikernels[m->index].instances_max;
    if (m->role == ROLE_GATEWAY)
        return 256 + 2ul * s->system.gateways[m->index].connections_max;
    return plans[m->role].nofile;
}

static int is_kvm(const struct member *m)
{
    return m->isolation == ISOLATION_LEVEL_KVM || m->isolation == ISOLATION_LEVEL_KVM_SOFTWARE;
}

// A service's program follows from its kind.
static int is_sealing(const struct member *m)
{
    return m->role == ROLE_SERVICE && m->supervisor->system.services[m->index].kind != SYSTEM_SERVICE_PASSWORD;
}

static enum status start_process(struct member *m, int control_fd)
{
    struct supervisor *s = m->supervisor;
    static const struct plan sealing = {"crenel-seal", "seal", NAMESPACES | CLONE_NEWNET, NULL, 0, 256, 2000};
    const struct plan *plan = is_sealing(m) ? &sealing : &plans[m->role];
    char path[PATH_MAX + 32], directory[PATH_MAX + 80], role[16], number[16];
    snprintf(path, sizeof path, "%s/%s", s->programs_path, plan->program);
    snprintf(role, sizeof role, "%s%s", plan->role, is_kvm(m) ? "-kvm" : "");
    snprintf(number, sizeof number, "%u", m->index);
    if (m->role == ROLE_SERVICE && plan->directory != NULL)
        snprintf(directory, sizeof directory, "%s/%s/%s", s->state_path, plan->directory, m->name);
    else if (plan->directory != NULL)
        snprintf(directory, sizeof directory, "%s/%s", s->state_path, plan->directory);
    char *argv[] = {path, role, number, NULL};
    struct spawn spawn = {
        .path = path,
        .argv = argv,
        .fds = {-1, STDERR_FILENO, STDERR_FILENO, control_fd, s->system_fd, m->page_fd},
        .fd_count = 6,
        .namespaces = plan->namespaces,
        .is_rootless = s->is_rootless,
        .uid = m->uid,
        .root = s->root_path,
        .directory = plan->directory != NULL ? directory : NULL,
        .cgroup_fds = m->cgroup.procs_fds,
        .cgroup_count = m->cgroup.count,
        .nofile_max = nofile_of(m),
        .is_batch = m->role != ROLE_ROUTER}; // which all talk to: it goes on at once, they when it is done
    const char *step;
    enum status status = spawn_start(&spawn, &m->pid, &m->pidfd, &step);
    if (status != STATUS_OK)
        snprintf(m->last_end, sizeof m->last_end, "cannot %s: %s", step, strerror(errno));
    if (status == STATUS_OK && plan->directory != NULL) {
        int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        m->pending[m->pending_count++] = (struct pending){CONTROL_DIRECTORY, 0, fd};
    }
    return status;
}

// A new open file: read-only, and its offset is nobody else's.
static int reopen(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

// The first 8 bytes of the kernel's random number for this boot, or 0.
static uint64_t boot_identity(void)
{
    char text[40] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    unsigned first = 0, second = 0, third = 0;
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        close(fd);
    }
    return sscanf(text, "%8x-%4x-%4x-", &first, &second, &third) == 3
               ? (uint64_t)first << 32 | (uint64_t)second << 16 | third
               : 0;
}

enum status launch_member(struct member *m)
{
    struct supervisor *s = m->supervisor;
    int control[2];
    launch_links(s);
    // Their counts begin at zero: the store tells the router the totals, the store knows its own.
    if (m->role == ROLE_ROUTER || m->role == ROLE_STORE)
        memset(m->page, 0, STATUS_PAGE_BYTES);
    if (channel_pair(control) != STATUS_OK) {
        snprintf(m->last_end, sizeof m->last_end, "cannot make its control link: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    enum status status = start_process(m, control[1]);
    close(control[1]);
    if (status != STATUS_OK) {
        close(control[0]);
        return status;
    }
    m->control_fd = control[0];
    m->grace_ms = plans[m->role].grace_ms;
    if (m->role == ROLE_AUDIT) {
        int ends[2];
        if (channel_pair(ends) == STATUS_OK) {
            member_give(m, CONTROL_SUPERVISOR_AUDIT_LINK, 0, 0, ends[0]);
            records_attach(&s->records, ends[1]);
        }
    }
    if (m->role == ROLE_ROUTER)
        member_give(m, CONTROL_LOG, 0, 0, fcntl(s->log_fd, F_DUPFD_CLOEXEC, 0));
    if (m->role == ROLE_TENDER)
        member_give(m, CONTROL_IMAGE, m->index, 0, reopen(m->resource_fd));
    if (is_kvm(m))
        member_give(m, CONTROL_KVM, m->index, 0, open("/dev/kvm", O_RDWR | O_CLOEXEC));
    if (is_sealing(m))
        key_give(m);
    if (m->role == ROLE_COURIER)
        courier_give_files(m);
    if (m->role == ROLE_GATEWAY || (m->role == ROLE_COURIER && m->resource_fd >= 0))
        member_give(m, CONTROL_LISTENER, m->index, 0, fcntl(m->resource_fd, F_DUPFD_CLOEXEC, 0));
    size_t count = m->pending_count;
    m->pending_count = 0;
    for (size_t i = 0; i < count; i++)
        member_give(m, m->pending[i].what, m->pending[i].index, 0, m->pending[i].fd);
    member_give(m, CONTROL_START, m->index, m->role == ROLE_STORE ? boot_identity() : s->epoch, -1);
    if (m->role == ROLE_STORE && !s->is_trial)
        member_give(m, CONTROL_CONFIRM, 0, 0, -1);
    return STATUS_OK;
}
