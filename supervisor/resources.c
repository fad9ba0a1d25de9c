// SPDX-License-Identifier: ISC
// What the supervisor opens before anything starts: folders, logs, images, listeners, cgroups, pages.
#include "supervisor/supervisor.h"

#include "core/manifest.h"
#include "host/kvm_probe.h"
#include "supervisor/folder.h"
#include "supervisor/installed.h"
#include "supervisor/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS_LEFT_MOST_MS 3000  // dead processes of a killed supervisor get so long to go
#define PASSWORD_FILE_BYTES_MAX (256u * 1024u)
#define PIDS_BESIDE_INSTANCES 8u  // tender, zygote, and instances on their way out

static uid_t owner_of(const struct supervisor *s, const struct member *m)
{
    return s->is_rootless ? (uid_t)-1 : m->uid;
}

static enum status add_member(struct supervisor *s, enum role role, size_t index, const char *name,
                              unsigned user)
{
    struct member *m = &s->members[s->member_count];
    *m = (struct member){.supervisor = s,
                         .role = role,
                         .index = (uint16_t)index,
                         .name = name,
                         .pidfd = -1,
                         .control_fd = -1,
                         .resource_fd = -1,
                         .page_fd = memfd_create("crenel-page", MFD_CLOEXEC | MFD_ALLOW_SEALING),
                         .uid = s->uid_base + user};
    if (m->page_fd < 0 || ftruncate(m->page_fd, STATUS_PAGE_BYTES) != 0 ||
        fcntl(m->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return STATUS_SYSTEM; // sealed, so that its process cannot make our reads fault
    void *page = mmap(NULL, STATUS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->page_fd, 0);
    if (page == MAP_FAILED)
        return STATUS_SYSTEM;
    m->page = page;
    s->member_count++;
    return STATUS_OK;
}

static enum status add_members(struct supervisor *s)
{
    const struct system_view *system = &s->system;
    enum status status = add_member(s, ROLE_AUDIT, 0, "audit", 0);
    if (status == STATUS_OK)
        status = add_member(s, ROLE_STORE, 0, "store", 1);
    if (status == STATUS_OK)
        status = add_member(s, ROLE_ROUTER, 0, "router", 2);
    unsigned user = 3;
    for (size_t i = 0; i < system->service_count && status == STATUS_OK; i++)
        status = add_member(s, ROLE_SERVICE, i, system->services[i].name, user++);
    for (size_t i = 0; i < system->gateway_count && status == STATUS_OK; i++)
        status = add_member(s, ROLE_GATEWAY, i, system->gateways[i].name, user++);
    for (size_t i = 0; i < system->courier_count && status == STATUS_OK; i++)
        status = add_member(s, ROLE_COURIER, i, system->couriers[i].name, user++);
    for (size_t i = 0; i < system->unikernel_count && status == STATUS_OK; i++)
        status = add_member(s, ROLE_TENDER, i, system->unikernels[i].name, user++);
    if (status != STATUS_OK)
        fail(s, "free memory or descriptors", "cannot make status pages: %s", strerror(errno));
    return status;
}

static enum status open_image(struct supervisor *s, struct member *m)
{
    char why[512];
    enum status status = installed_image(s, &s->system.unikernels[m->index], &m->resource_fd, why);
    if (status != STATUS_OK)
        fail(s, "build it and sign the system again with `crenel up`", "%s", why);
    return status;
}

// A listener stays open over versions: clients that connect in between wait for the next one.
enum status resources_listener(struct supervisor *s, const char *address, int *fd)
{
    size_t i = 0;
    while (i < s->listener_count && strcmp(s->listeners[i].address, address) != 0)
        i++;
    if (i == s->listener_count) {
        enum status status = i < LISTENERS_MAX ? listener_open(address, &s->listeners[i].fd) : STATUS_FULL;
        if (status != STATUS_OK)
            return status;
        snprintf(s->listeners[i].address, sizeof s->listeners[i].address, "%s", address);
        s->listener_count++;
    }
    *fd = fcntl(s->listeners[i].fd, F_DUPFD_CLOEXEC, 0);
    return *fd >= 0 ? STATUS_OK : STATUS_SYSTEM;
}

static enum status open_listener(struct supervisor *s, struct member *m)
{
    const struct system_gateway *gateway = &s->system.gateways[m->index];
    enum status status = resources_listener(s, gateway->listen, &m->resource_fd);
    if (status == STATUS_MALFORMED)
        fail(s, "write it as ADDRESS:PORT, \"127.0.0.1:1883\"", "gateway %s: \"%s\" is not an address",
             gateway->name, gateway->listen);
    else if (status != STATUS_OK && errno == EADDRINUSE)
        fail(s, "stop the program that listens there (ss -ltnp), or change `listen` of the gateway",
             "gateway %s: port taken: %s is in use", gateway->name, gateway->listen);
    else if (status != STATUS_OK)
        fail(s, errno == EACCES ? "take a port above 1023, or run as root" : NULL,
             "gateway %s: cannot listen on %s: %s", gateway->name, gateway->listen, strerror(errno));
    return status;
}

static enum status make_group(struct supervisor *s, struct member *m)
{
    const struct system_unikernel *unikernel = &s->system.unikernels[m->index];
    struct cgroup_limits limits = {
        .memory_bytes = (uint64_t)unikernel->memory_kib * 1024,
        .cpu_percent = unikernel->cpu_percent,
        .pids_max = unikernel->instances_max * 2u + PIDS_BESIDE_INSTANCES};
    const char *why;
    enum status status = cgroup_create(&m->cgroup, &s->cgroups, s->cgroup_name, unikernel->name, &limits, &why);
    if (status != STATUS_OK && !s->system.header->is_best_effort)
        fail(s, "see `crenel doctor`; or write `limits: best-effort` in system.yaml",
             "unikernel %s: cannot set its %s", unikernel->name, why);
    return s->system.header->is_best_effort ? STATUS_OK : status;
}

// What the most demanding unikernel needs to know.
static void probe_kvm(struct supervisor *s, struct isolation_facts *facts)
{
    uint8_t asked = ISOLATION_PROCESS;
    for (size_t i = 0; i < s->system.unikernel_count; i++) {
        uint8_t other = s->system.unikernels[i].isolation;
        if (other == ISOLATION_KVM || (other == ISOLATION_ANY && asked == ISOLATION_PROCESS))
            asked = other;
    }
    kvm_probe(facts, asked);
}

// What the host cannot give does not start. The image's wish is in the compiled system's already.
static enum status choose_isolation(struct supervisor *s, struct member *m, const struct isolation_facts *facts)
{
    const struct system_unikernel *unikernel = &s->system.unikernels[m->index];
    struct isolation_reason reason;
    m->isolation = isolation_choose(ISOLATION_ANY, unikernel->isolation, facts, &reason);
    if (m->isolation == ISOLATION_LEVEL_NONE) {
        fail(s, reason.mend, "unikernel %s asks for isolation %s: %s", unikernel->name,
             isolation_text(unikernel->isolation), reason.why);
        return STATUS_DENIED;
    }
    if (m->isolation == ISOLATION_LEVEL_KVM_SOFTWARE)
        notify(s, "warning", "unikernel %s is not isolated by hardware: %s\t%s", unikernel->name, reason.why,
               reason.mend);
    return STATUS_OK;
}

static enum status check_limits(struct supervisor *s)
{
    cgroup_probe(&s->cgroups, "/proc/self/mountinfo", "/proc/self/cgroup");
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        const struct cgroup_mount *mount = &s->cgroups.controllers[i];
        const char *name = cgroup_controller_name((enum cgroup_controller)i);
        if (mount->is_usable)
            continue;
        if (!s->system.header->is_best_effort) {
            fail(s, "run as root, or delegate the controller (see docs/operations.md), or write `limits: best-effort` in system.yaml",
                 "this host cannot enforce limits: cgroup controller %s: %s", name, mount->why);
            return STATUS_DENIED;
        }
        notify(s, "progress", "limits are best-effort: no %s limit (%s)", name, mount->why);
    }
    if (cgroup_remove_system(&s->cgroups, s->cgroup_name, GROUPS_LEFT_MOST_MS) != STATUS_OK) {
        fail(s, "look who is in them, then run `crenel up` again",
             "cgroups crenel/%s are left over and cannot be removed: %s", s->cgroup_name, strerror(errno));
        return STATUS_SYSTEM;
    }
    return STATUS_OK;
}

// The service sees a copy in its own directory: the operator's file stays the operator's.
static enum status copy_password_file(struct supervisor *s, struct member *m)
{
    const struct system_service *service = &s->system.services[m->index];
    char name[96];
    uint8_t *bytes = NULL;
    size_t size = 0;
    int memfd = -1, fd = -1;
    snprintf(name, sizeof name, "password/%s", service->name);
    enum status status = folder_make(s->state_fd, "password", (uid_t)-1);
    if (status == STATUS_OK)
        status = folder_make(s->state_fd, name, owner_of(s, m));
    if (status == STATUS_OK)
        status = folder_seal_file(service->path, PASSWORD_FILE_BYTES_MAX, &memfd, &bytes, &size);
    if (status == STATUS_OK) {
        snprintf(name, sizeof name, "password/%s/passwords", service->name);
        (void)unlinkat(s->state_fd, name, 0);
        fd = openat(s->state_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
        if (fd < 0 || write(fd, bytes, size) != (ssize_t)size ||
            (owner_of(s, m) != (uid_t)-1 && fchown(fd, m->uid, (gid_t)m->uid) != 0))
            status = STATUS_SYSTEM;
    }
    if (status != STATUS_OK)
        fail(s, "give each user a password first: crenel passwd SYSTEM USER (asks for it, or reads one line)",
             "service %s: password file %s: %s", service->name, service->path,
             status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
    if (fd >= 0)
        close(fd);
    if (memfd >= 0)
        close(memfd);
    free(bytes);
    return status;
}

static enum status make_folders(struct supervisor *s)
{
    const struct member *audit = member_of(s, ROLE_AUDIT, 0), *store = member_of(s, ROLE_STORE, 0);
    enum status status = folder_make(s->state_fd, "audit", owner_of(s, audit));
    if (status == STATUS_OK)
        status = folder_make(s->state_fd, "store", owner_of(s, store));
    if (status == STATUS_OK)
        status = folder_make(s->state_fd, "root", (uid_t)-1);
    if (status == STATUS_OK)
        status = folder_open_log(s->state_fd, "logs/system.log", (uid_t)-1, &s->log_fd);
    if (status == STATUS_OK)
        status = resources_next_epoch(s);
    if (status != STATUS_OK)
        fail(s, "make the state folder writable for this user, or give another with --state",
             "cannot prepare %s: %s", s->state_path,
             status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
    return status;
}

enum status resources_open(struct supervisor *s)
{
    s->log_fd = -1;
    enum status status = STATUS_OK;
    struct isolation_facts facts;
    probe_kvm(s, &facts);
    if (!s->is_rootless)
        status = folder_user_base(s->state_fd, s->system.header->name, &s->uid_base);
    if (status != STATUS_OK) {
        fail(s, "make the state folder writable, or remove its file user_base", "cannot choose user ids in %s: %s",
             s->state_path, status_text(status));
        return status;
    }
    status = add_members(s);
    if (status == STATUS_OK)
        status = make_folders(s);
    if (status == STATUS_OK)
        status = check_limits(s);
    for (size_t i = 0; i < s->member_count && status == STATUS_OK; i++) {
        struct member *m = &s->members[i];
        if (m->role == ROLE_GATEWAY)
            status = open_listener(s, m);
        else if (m->role == ROLE_COURIER)
            status = courier_open(s, m);
        else if (m->role == ROLE_SERVICE && s->system.services[m->index].kind != SYSTEM_SERVICE_PASSWORD)
            status = key_open(s, m);
        else if (m->role == ROLE_SERVICE)
            status = copy_password_file(s, m);
        else if (m->role == ROLE_TENDER && (status = open_image(s, m)) == STATUS_OK &&
                 (status = choose_isolation(s, m, &facts)) == STATUS_OK)
            status = make_group(s, m);
    }
    return status;
}

void resources_close(struct supervisor *s)
{
    for (size_t i = 0; i < s->member_count; i++) {
        struct member *m = &s->members[i];
        member_drop_pending(m);
        cgroup_close(&m->cgroup);
        if (m->resource_fd >= 0)
            close(m->resource_fd);
    }
    if (s->member_count != 0 &&
        cgroup_remove_system(&s->cgroups, s->cgroup_name, GROUPS_LEFT_MOST_MS) != STATUS_OK)
        fprintf(stderr, "crenel-supervisor: cgroups crenel/%s stay behind: %s\n", s->cgroup_name,
                strerror(errno));
}

enum status resources_next_epoch(struct supervisor *s)
{
    uint64_t epoch;
    enum status status = folder_read_number(s->state_fd, "epoch", &epoch);
    if (status == STATUS_OK)
        status = folder_write_number(s->state_fd, "epoch", epoch + 1);
    if (status == STATUS_OK)
        s->epoch = epoch + 1;
    return status;
}

enum status resources_rotate_log(struct supervisor *s)
{
    if (!folder_log_is_large(s->log_fd))
        return STATUS_AGAIN;
    enum status status = folder_rotate_log(s->state_fd, "logs/system.log");
    int fd = -1;
    if (status == STATUS_OK)
        status = folder_open_log(s->state_fd, "logs/system.log", (uid_t)-1, &fd);
    if (status != STATUS_OK)
        return status;
    close(s->log_fd);
    s->log_fd = fd;
    return STATUS_OK;
}
