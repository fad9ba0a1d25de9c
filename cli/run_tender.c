// SPDX-License-Identifier: ISC
// The tender gets what a supervisor would give it: control link, compiled system, status page, image,
// router link (proto/control.h). The system holds one unikernel with nothing connected: what its messages
// may be is judged here, by the manifest.
#include "cli/run_tender.h"

#include "cli/report.h"
#include "host/kvm_probe.h"
#include "host/sealed_file.h"
#include "proto/control.h"
#include "proto/status_page.h"
#include "proto/system.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_MEMORY_KIB 65536u

uint8_t *run_system(const struct run_config *config, size_t *size)
{
    const struct manifest *manifest = &config->image->manifest;
    const struct manifest_header *from = manifest->header;
    size_t tables = sizeof(struct system_signature) + sizeof(struct system_header);
    size_t configuration = tables + sizeof(struct system_unikernel);
    *size = configuration + (config->configuration_bytes + 7) / 8 * 8;
    uint8_t *bytes = calloc(1, *size);
    if (bytes == NULL)
        return NULL;
    struct system_signature signature = {.magic = SYSTEM_MAGIC, .version = SYSTEM_VERSION};
    signature.body_bytes = (uint32_t)(*size - sizeof signature);
    struct system_header header = {.name = "run", .tenant = "run", .security_version = 1,
                                   .is_best_effort = 1};
    struct system_unikernel unikernel = {
        .configuration_offset = (uint32_t)configuration,
        .configuration_bytes = (uint32_t)config->configuration_bytes,
        .memory_kib = RUN_MEMORY_KIB,
        .cpu_percent = 100,
        .deadline_ms = config->deadline_ms,
        .instances_max = from->lifetime == LIFETIME_CONNECTION ? RUN_CONNECTIONS_MAX : 1,
        .lifetime = from->lifetime,
        .isolation = config->isolation,
        .input_count = from->input_count,
        .output_count = from->output_count,
        .namespace_count = from->namespace_count,
        .writes_max = from->writes_max,
        .refusal_count = from->refusal_count,
    };
    struct system_table *table[] = {&header.unikernels, &header.flows,    &header.namespaces,
                                    &header.principals, &header.gateways, &header.services, &header.couriers,
                                    &header.checks,     &header.machines, &header.schemas,
                                    &header.never,      &header.configuration};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        table[i]->offset = (uint32_t)(i == 0 ? tables : configuration);
    header.unikernels.count = 1;
    header.configuration.count = (uint32_t)config->configuration_bytes;
    memcpy(unikernel.name, from->name, sizeof unikernel.name);
    memcpy(unikernel.image_digest, config->digest, sizeof unikernel.image_digest);
    memset(unikernel.inputs, 0xff, sizeof unikernel.inputs); // SYSTEM_NONE
    memset(unikernel.outputs, 0xff, sizeof unikernel.outputs);
    memset(unikernel.namespaces, 0xff, sizeof unikernel.namespaces);
    for (size_t i = 0; i < from->refusal_count; i++)
        memcpy(unikernel.refusals[i], manifest->refusals[i].name, SYSTEM_NAME_BYTES);
    // The tender reads the image through the descriptor that it is handed; the path is for messages.
    snprintf(unikernel.image_path, sizeof unikernel.image_path, "/%.*s",
             (int)sizeof unikernel.image_path - 2,
             config->image_path[0] == '/' ? config->image_path + 1 : config->image_path);
    memcpy(bytes, &signature, sizeof signature);
    memcpy(bytes + sizeof signature, &header, sizeof header);
    memcpy(bytes + tables, &unikernel, sizeof unikernel);
    if (config->configuration_bytes != 0)
        memcpy(bytes + configuration, config->configuration, config->configuration_bytes);
    return bytes;
}

static int make_memfd(const char *name, const void *bytes, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd >= 0 && (ftruncate(fd, (off_t)size) != 0 ||
                    (bytes != NULL && pwrite(fd, bytes, size, 0) != (ssize_t)size))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static _Noreturn void become_tender(const char *path, const char *role, pid_t parent, int control, int system,
                                    int page)
{
    // Out of the way first: the numbers wanted below may be in use by each other.
    int high[3] = {fcntl(control, F_DUPFD, 100), fcntl(system, F_DUPFD, 101),
                   fcntl(page, F_DUPFD, 102)};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char role_text[16];
    char *const argv[] = {(char[]){"crenel-tender"}, role_text, (char[]){"0"}, NULL};
    char *const environment[] = {NULL};
    snprintf(role_text, sizeof role_text, "%s", role);
    if (null >= 0 && dup2(null, 0) == 0 && dup2(2, 1) == 1 &&
        dup2(high[0], CONTROL_FD) == CONTROL_FD &&
        dup2(high[1], CONTROL_SYSTEM_FD) == CONTROL_SYSTEM_FD &&
        dup2(high[2], CONTROL_PAGE_FD) == CONTROL_PAGE_FD && close_range(6, ~0u, 0) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() == parent)
        execve(path, argv, environment);
    _exit(127);
}

static enum status attach(int control_fd, enum control_what what, int fd)
{
    struct control_record record = {.size = sizeof record, .kind = CONTROL_ATTACH,
                                    .what = (uint16_t)what};
    return channel_send_fd(control_fd, &record, sizeof record, fd);
}

static enum status tender_path(char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 32);
    if (length <= 0)
        return STATUS_SYSTEM;
    path[length] = 0;
    char *name = strrchr(path, '/') + 1;
    snprintf(name, 32, "crenel-tender");
    return access(path, X_OK) == 0 ? STATUS_OK : STATUS_SYSTEM;
}

// What the host cannot give does not start. Opens what the tender will need for it.
static enum status choose_isolation(struct run_tender *tender, const struct run_config *config)
{
    struct isolation_facts facts;
    struct isolation_reason reason;
    uint8_t image_asks = config->image->manifest.header->isolation;
    kvm_probe(&facts, isolation_asked(image_asks, config->isolation));
    enum isolation_level level = isolation_choose(image_asks, config->isolation, &facts, &reason);
    if (level == ISOLATION_LEVEL_NONE) {
        report_error(config->image_path, 0, reason.mend, "it cannot be isolated as asked: %s", reason.why);
        return STATUS_DENIED;
    }
    if (level == ISOLATION_LEVEL_KVM_SOFTWARE)
        report_error(config->image_path, 0, reason.mend, "WARNING: it is not isolated by hardware: %s", reason.why);
    if (level == ISOLATION_LEVEL_PROCESS)
        return STATUS_OK;
    tender->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    return tender->kvm_fd >= 0 ? STATUS_OK : STATUS_SYSTEM;
}

static enum status hand_over(struct run_tender *tender, const struct run_config *config,
                             int router_fd)
{
    struct link_hello hello;
    size_t size = 0;
    int image_fd = -1;
    enum status status = sealed_file(config->image->bytes, config->image->size, &image_fd);
    if (status == STATUS_OK)
        status = attach(tender->control_fd, CONTROL_IMAGE, image_fd);
    if (status == STATUS_OK)
        status = attach(tender->control_fd, CONTROL_ROUTER_LINK, router_fd);
    if (status == STATUS_OK && tender->kvm_fd >= 0)
        status = attach(tender->control_fd, CONTROL_KVM, tender->kvm_fd);
    if (status == STATUS_OK)
        status = attach(tender->control_fd, CONTROL_START, -1);
    if (image_fd >= 0)
        close(image_fd);
    close(router_fd); // or its death would not be seen here
    if (status == STATUS_OK)
        status = channel_receive(&tender->link, &hello, sizeof hello, &size, 1);
    if (status == STATUS_OK && (size != sizeof hello || hello.header.kind != LINK_HELLO))
        status = STATUS_MALFORMED;
    return status;
}

enum status run_tender_start(struct run_tender *tender, const struct run_config *config)
{
    char path[PATH_MAX];
    int control[2], link[2];
    size_t size;
    *tender = (struct run_tender){.control_fd = -1, .kvm_fd = -1, .link = {.fd = -1}};
    if (tender_path(path) != STATUS_OK) {
        report_error(path, 0, "install crenel-tender beside crenel", "cannot run it: %s",
                     strerror(errno));
        return STATUS_SYSTEM;
    }
    enum status status = choose_isolation(tender, config);
    if (status != STATUS_OK)
        return status;
    uint8_t *system = run_system(config, &size);
    int system_fd = system == NULL ? -1 : make_memfd("crenel-system", system, size);
    int page_fd = make_memfd("crenel-page", NULL, STATUS_PAGE_BYTES);
    free(system);
    if (system_fd < 0 || page_fd < 0 || channel_pair(control) != STATUS_OK ||
        channel_pair(link) != STATUS_OK) {
        report_error(NULL, 0, NULL, "cannot make what a tender needs: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    pid_t parent = getpid();
    fflush(stdout);
    tender->pid = fork();
    if (tender->pid == 0)
        become_tender(path, tender->kvm_fd >= 0 ? "tender-kvm" : "tender", parent, control[1], system_fd, page_fd);
    close(control[1]);
    close(system_fd);
    close(page_fd);
    tender->control_fd = control[0];
    channel_init(&tender->link, link[0], NULL, 0);
    channel_gather(&tender->link, NULL, tender->inbox, CHANNEL_PACKET_BYTES);
    status = tender->pid < 0 ? STATUS_SYSTEM : hand_over(tender, config, link[1]);
    if (status != STATUS_OK)
        report_error(config->image_path, 0, "the lines above say why; crenel doctor says what this host lacks",
                     "the tender did not start (%s)", status_text(status));
    return status;
}

void run_tender_stop(struct run_tender *tender)
{
    int status;
    channel_close(&tender->link);
    if (tender->control_fd >= 0)
        close(tender->control_fd);
    if (tender->kvm_fd >= 0)
        close(tender->kvm_fd);
    if (tender->pid > 0)
        (void)waitpid(tender->pid, &status, 0);
}
