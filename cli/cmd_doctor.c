// SPDX-License-Identifier: ISC
// crenel doctor: what this host can and cannot enforce, each with the mend.
// Exit code 1 when anything is missing.
#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/report.h"
#include "host/cgroup.h"
#include "host/users.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const verdicts[] = {"ok", "degraded", "missing"};

#define NOFILE_WANTED 4096u
#define PIDS_WANTED 4096u
#define MQTT_PORT 1883

void doctor_say(struct doctor *doctor, const char *what, enum verdict verdict, const char *mend, const char *format, ...)
{
    char text[600];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    doctor->missing += verdict == VERDICT_MISSING;
    doctor->degraded += verdict == VERDICT_DEGRADED;
    if (!doctor->is_json) {
        printf("%-9s %-22s %s\n", verdicts[verdict], what, text);
        // Rows with one mend follow each other: it is said once.
        if (verdict != VERDICT_OK && mend != NULL && (doctor->mend == NULL || strcmp(mend, doctor->mend) != 0))
            printf("          %-22s mend: %s\n", "", mend);
        doctor->mend = verdict != VERDICT_OK ? mend : NULL;
        return;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "check", what);
    cJSON_AddStringToObject(row, "verdict", verdicts[verdict]);
    cJSON_AddStringToObject(row, "detail", text);
    if (verdict != VERDICT_OK && mend != NULL)
        cJSON_AddStringToObject(row, "mend", mend);
    cJSON_AddItemToArray(doctor->rows, row);
}

int doctor_file_has(const char *path, const char *word)
{
    char line[8192];
    int is_found = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && !is_found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = ' '; // a word at the end, too, has a space behind it
        is_found = strstr(line, word) != NULL;
    }
    if (file != NULL)
        fclose(file);
    return is_found;
}

static long read_number(const char *path, long otherwise)
{
    long value = otherwise;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return otherwise;
    if (fscanf(file, "%ld", &value) != 1)
        value = otherwise;
    fclose(file);
    return value;
}

static void check_cgroups(struct doctor *doctor)
{
    struct cgroup_host host;
    int versions = 0;
    cgroup_probe(&host, "/proc/self/mountinfo", "/proc/self/cgroup");
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        const struct cgroup_mount *mount = &host.controllers[i];
        char what[32];
        versions |= mount->version;
        snprintf(what, sizeof what, "cgroup %s", cgroup_controller_name((enum cgroup_controller)i));
        if (mount->is_usable)
            doctor_say(doctor, what, VERDICT_OK, NULL, "version %d, groups below %s/crenel", mount->version, mount->base);
        else
            doctor_say(doctor, what, VERDICT_MISSING,
                       mount->version == 0 ? "mount the controller (systemd does; or see docs/operations.md), or write limits: best-effort"
                                           : "run as root, or have the controller delegated (systemd-run --user -p Delegate=yes), or write limits: best-effort",
                       "%s", mount->why);
    }
    const char *modes[] = {"none", "version 1", "version 2", "versions 1 and 2 mixed"};
    int has_v2 = doctor_file_has("/proc/self/mountinfo", " - cgroup2 ");
    doctor_say(doctor, "cgroups", versions != 0 ? VERDICT_OK : VERDICT_MISSING, "mount cgroups", "%s",
               modes[(versions & 1) | (has_v2 ? 2 : 0)]);
}

// Tries the namespaces that a process of ours gets, in a child.
static int try_namespaces(int is_rootless)
{
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                 (is_rootless ? CLONE_NEWUSER : 0),
        .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    int error = errno;
    if (child > 0)
        (void)waitpid((pid_t)child, NULL, 0);
    return child > 0 ? 0 : error;
}

static void check_namespaces(struct doctor *doctor)
{
    const char *why_not = users_why_not();
    int error = geteuid() == 0 ? try_namespaces(0) : EPERM;
    if (geteuid() == 0 && error == 0 && why_not != NULL) {
        doctor_say(doctor, "system mode", VERDICT_DEGRADED, "start it outside of the container; until then it runs rootless", "%s", why_not);
        error = EPERM;
    } else if (geteuid() == 0)
        doctor_say(doctor, "system mode", error == 0 ? VERDICT_OK : VERDICT_DEGRADED,
                   "give it CAP_SYS_ADMIN (a container: --cap-add SYS_ADMIN), or run rootless",
                   error == 0 ? "namespaces, one user id per process%s" : "namespaces are refused: %s",
                   error == 0 ? "" : strerror(error));
    int rootless = try_namespaces(1);
    doctor_say(doctor, "user namespaces", rootless == 0 ? VERDICT_OK : error == 0 ? VERDICT_DEGRADED : VERDICT_MISSING,
               "sysctl user.max_user_namespaces=10000; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0, or run as root",
               rootless == 0 ? "rootless mode works%s" : "rootless mode cannot start: %s", rootless == 0 ? "" : strerror(rootless));
}

static void check_kernel(struct doctor *doctor)
{
    struct utsname name;
    if (uname(&name) == 0)
        doctor_say(doctor, "kernel", VERDICT_OK, NULL, "%s %s", name.sysname, name.release);
    long scope = read_number("/proc/sys/kernel/yama/ptrace_scope", -1);
    doctor_say(doctor, "ptrace scope", scope == 0 ? VERDICT_DEGRADED : VERDICT_OK, "sysctl kernel.yama.ptrace_scope=1",
               scope < 0 ? "no yama; user ids keep processes apart in system mode" :
               scope == 0 ? "0: programs of one user may trace each other (rootless: user namespaces still keep ours apart)"
                          : "restricted");
}

static void check_limits(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        doctor_say(doctor, "open files", limit.rlim_max >= NOFILE_WANTED ? VERDICT_OK : VERDICT_DEGRADED,
                   "raise the hard limit: ulimit -Hn, LimitNOFILE=", "hard limit %llu", (unsigned long long)limit.rlim_max);
    long pids = read_number("/proc/sys/kernel/pid_max", 0);
    doctor_say(doctor, "process ids", pids >= (long)PIDS_WANTED ? VERDICT_OK : VERDICT_DEGRADED, "sysctl kernel.pid_max=32768",
               "pid_max %ld", pids);
    long buffer = read_number("/proc/sys/net/core/wmem_max", 0);
    doctor_say(doctor, "socket buffers", geteuid() == 0 || buffer >= 131072 ? VERDICT_OK : VERDICT_MISSING,
               "sysctl net.core.wmem_max=212992", "wmem_max %ld; one commit is up to 128 KiB", buffer);
    char bytes[16];
    int is_ready = getrandom(bytes, sizeof bytes, GRND_NONBLOCK) == (ssize_t)sizeof bytes;
    doctor_say(doctor, "entropy", is_ready ? VERDICT_OK : VERDICT_MISSING, "give the machine a random device (virtio-rng), or wait",
               "%s", is_ready ? "the kernel's generator is seeded" : "the kernel's generator is not seeded yet");
}

static void check_port(struct doctor *doctor)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(MQTT_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    int is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                  bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    doctor_say(doctor, "port 1883", is_free ? VERDICT_OK : VERDICT_DEGRADED, "stop the broker that listens there, or listen elsewhere",
               is_free ? "free on 127.0.0.1%s" : "not free on 127.0.0.1: %s", is_free ? "" : strerror(errno));
    if (fd >= 0)
        close(fd);
    long first = read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", 1024);
    doctor_say(doctor, "ports", VERDICT_OK, NULL, "%s may listen from port %ld", geteuid() == 0 ? "other users" : "this user", first);
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor doctor = {.is_json = 0};
    size_t count;
    const struct argument table[] = {{"--json", &doctor.is_json, NULL}};
    int code = arguments_read(argc, argv, table, 1, NULL, 0, &count);
    if (code != 0)
        return code;
    doctor.rows = cJSON_CreateArray();
    check_kernel(&doctor);
    doctor_isolation(&doctor);
    check_cgroups(&doctor);
    check_namespaces(&doctor);
    check_limits(&doctor);
    check_port(&doctor);
    if (doctor.is_json) {
        char *text = cJSON_PrintUnformatted(doctor.rows);
        if (text != NULL)
            puts(text);
        cJSON_free(text);
    } else if (doctor.missing != 0)
        printf("\n%d missing: a system that needs it does not start\n", doctor.missing);
    else
        printf("\nnothing is missing: systems start here%s\n",
               doctor.degraded != 0 ? "; with less where it says degraded" : "");
    cJSON_Delete(doctor.rows);
    return doctor.missing != 0 ? EXIT_FAILED : EXIT_OK;
}
