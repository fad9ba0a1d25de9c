// SPDX-License-Identifier: ISC
// What this host has to hold a guest with: KVM for isolation kvm; system call filters, the processor's and the
// kernel's protections for isolation process. What can be tried is tried, in a child.
#include "cli/doctor.h"

#include "core/manifest.h"
#include "host/kvm_probe.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV // Linux 5.19
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define VULNERABILITIES "/sys/devices/system/cpu/vulnerabilities"

static void check_virtualization(struct doctor *doctor)
{
    static const char *const named[] = {"does not start", "", "works", "works, with a warning: good for tests"};
    struct isolation_facts facts;
    struct isolation_reason reason;
    char timed[48] = "";
    kvm_probe(&facts, ISOLATION_KVM);
    enum isolation_kvm kvm = isolation_judge(&facts, &reason);
    if (facts.exit_ns != 0)
        snprintf(timed, sizeof timed, "; a call to the host takes %.1f us", facts.exit_ns / 1000.0);
    doctor_say(doctor, "virtualization", kvm == ISOLATION_KVM_HARDWARE ? VERDICT_OK : VERDICT_DEGRADED, reason.mend,
               "%s%s", reason.why, timed);
    enum isolation_level any = isolation_choose(ISOLATION_ANY, ISOLATION_ANY, &facts, &reason);
    enum isolation_level by_name = isolation_choose(ISOLATION_ANY, ISOLATION_KVM, &facts, &reason);
    doctor_say(doctor, "isolation", VERDICT_OK, NULL, "`any` is %s here; `kvm` %s%s%s", isolation_level_text(any),
               named[by_name], by_name == ISOLATION_LEVEL_NONE ? ": " : "",
               by_name == ISOLATION_LEVEL_NONE ? reason.why : "");
}

// Runs `what` in a child: its exit code, or minus the signal that ended it.
static int in_child(int (*what)(void))
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(what());
    if (child < 0 || waitpid(child, &status, 0) != child)
        return EAGAIN;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// A filter that allows everything, with a listener: 0, or errno.
static int install_listener(unsigned long flags)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = 1, .filter = &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
        return errno;
    return 0;
}
static int try_listener(void) { return install_listener(SECCOMP_FILTER_FLAG_NEW_LISTENER); }
static int try_killable(void)
{
    return install_listener(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
}

static void check_seccomp(struct doctor *doctor)
{
    unsigned action = SECCOMP_RET_KILL_PROCESS;
    int has_filter = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
    doctor_say(doctor, "seccomp", has_filter ? VERDICT_OK : VERDICT_MISSING,
               "boot a kernel with CONFIG_SECCOMP_FILTER", "%s",
               has_filter ? "filters can end a process" : "no filters: nothing starts");
    int error = in_child(try_listener);
    if (error != 0) {
        doctor_say(doctor, "seccomp notification", VERDICT_MISSING,
                   error == EBUSY ? "start it outside of that container, or switch its runtime's listener off"
                                  : "boot Linux 5.5 or later",
                   error == EBUSY ? "whoever started this shell watches its system calls: no tender can%s"
                                  : "a tender cannot be told of a guest's call: %s",
                   error == EBUSY ? "" : strerror(error));
        return;
    }
    int has_killable = in_child(try_killable) == 0;
    doctor_say(doctor, "seccomp notification", VERDICT_OK, NULL, "a tender can be told of a guest's call%s",
               has_killable ? ", and only a kill interrupts that"
                            : "; signals interrupt that (Linux 5.19 changes it)");
}

static void check_processor(struct doctor *doctor)
{
    static const struct {
        const char *flag;
        const char *without;
    } wanted[] = {
        {" xsave ", "the gate clears vector registers with it: no unikernel starts"},
        {" nx ", "data could be executed: no unikernel starts"},
        {" umip ", "sgdt tells where the kernel keeps its tables; no image holds it"},
        {" smep ", "the kernel may run a guest's memory"},
        {" smap ", "the kernel may read a guest's memory by mistake"},
        {" fsgsbase ", "the kernel saves the thread base the slow way"},
    };
    char lacks[400] = "";
    enum verdict verdict = VERDICT_OK;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (doctor_file_has("/proc/cpuinfo", wanted[i].flag))
            continue;
        size_t used = strlen(lacks);
        snprintf(lacks + used, sizeof lacks - used, "%sno%s(%s)", used != 0 ? "; " : "", wanted[i].flag, wanted[i].without);
        verdict = i < 2 ? VERDICT_MISSING : verdict == VERDICT_OK ? VERDICT_DEGRADED : verdict;
    }
    doctor_say(doctor, "processor", verdict, "a newer processor, or a hypervisor that shows these flags", "%s",
               lacks[0] != 0 ? lacks : "xsave, nx, umip, smep, smap, fsgsbase");
}

static int is_controlled(int what)
{
    int state = prctl(PR_GET_SPECULATION_CTRL, what, 0, 0, 0);
    return state == PR_SPEC_NOT_AFFECTED ||
           (state > 0 && (state & (PR_SPEC_PRCTL | PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE)) != 0);
}

// The kernel's own verdict is in sysfs; the two controls are what an instance is started with.
static void check_speculation(struct doctor *doctor)
{
    char holes[200] = "", path[300];
    DIR *folder = opendir(VULNERABILITIES);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        size_t used = strlen(holes);
        snprintf(path, sizeof path, VULNERABILITIES "/%s", entry->d_name);
        if (entry->d_name[0] != '.' && doctor_file_has(path, "Vulnerable") &&
            used + strlen(entry->d_name) + 3 < sizeof holes)
            snprintf(holes + used, sizeof holes - used, "%s%s", used != 0 ? ", " : "", entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    int has_store = is_controlled(PR_SPEC_STORE_BYPASS), has_branch = is_controlled(PR_SPEC_INDIRECT_BRANCH);
    int is_ok = folder != NULL && holes[0] == 0 && has_store && has_branch;
    doctor_say(doctor, "speculation", is_ok ? VERDICT_OK : VERDICT_DEGRADED,
               "update microcode and kernel, boot without mitigations=off; else keep secrets off this host", "%s%s%s%s",
               folder == NULL    ? "the kernel says nothing about this processor"
               : holes[0] != 0   ? "the kernel calls this processor vulnerable: "
                                 : "the kernel knows no open hole",
               holes, has_store ? "" : "; store bypass stays on for a guest",
               has_branch ? "" : "; no barrier for a guest's indirect branches");
}

void doctor_isolation(struct doctor *doctor)
{
    check_seccomp(doctor);
    check_virtualization(doctor);
    check_processor(doctor);
    check_speculation(doctor);
}
