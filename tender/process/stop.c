// SPDX-License-Identifier: ISC
// From a signal and the registers that ptrace shows to the words of fault.h.
#include "tender/process/stop.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static int peek(void *context, uint64_t address, uint64_t *word)
{
    errno = 0;
    long value = ptrace(PTRACE_PEEKDATA, *(const pid_t *)context, (void *)(uintptr_t)address, NULL);
    *word = (uint64_t)value;
    return errno == 0;
}

static int view_make(struct fault_view *view, pid_t *pid, const struct layout *layout, const struct image *image)
{
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, *pid, NULL, &registers) != 0)
        return 0;
    *view = (struct fault_view){layout, image, registers.rip, registers.rsp, registers.rbp, peek, pid};
    return 1;
}

int stop_place(pid_t pid, const struct layout *layout, const struct image *image, struct link_crash *crash)
{
    struct fault_view view;
    crash->instruction = UINT64_MAX;
    return view_make(&view, &pid, layout, image) && fault_place(&view, crash);
}

// The signal does not say what was tried; the instruction does, mostly.
static enum fault_access access_of(const struct fault_view *view, const siginfo_t *info)
{
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    uint8_t code[FAULT_CODE_BYTES];
    fault_code(view, code);
    if (address == view->rip && !layout_is_text(view->layout, view->image, address))
        return FAULT_JUMPS;
    if (info->si_code == SEGV_ACCERR && layout_is_read_only(view->layout, view->image, address))
        return FAULT_WRITES;
    int is_store = fault_is_store(code);
    return is_store < 0 ? FAULT_TOUCHES : is_store ? FAULT_WRITES : FAULT_READS;
}

void stop_describe(pid_t pid, const siginfo_t *info, const struct layout *layout, const struct image *image,
                   struct link_crash *crash)
{
    struct fault_view view;
    crash->signal = (uint32_t)info->si_signo;
    crash->instruction = UINT64_MAX;
    if (!view_make(&view, &pid, layout, image)) {
        snprintf(crash->what, sizeof crash->what, "stopped by signal %d", info->si_signo);
        return;
    }
    (void)fault_place(&view, crash);
    switch (info->si_signo) {
    case SIGSYS:
        crash->syscall = (uint32_t)info->si_syscall;
        snprintf(crash->what, sizeof crash->what, "system call %d", info->si_syscall);
        break;
    case SIGSEGV:
    case SIGBUS:
        if (info->si_code == SI_KERNEL)
            fault_describe_refusal(&view, crash);
        else
            fault_describe_access(&view, access_of(&view, info), (uint64_t)(uintptr_t)info->si_addr, crash);
        break;
    case SIGILL:
        fault_describe_unknown(&view, crash);
        break;
    case SIGFPE:
        snprintf(crash->what, sizeof crash->what, "arithmetic error (division)");
        break;
    default:
        snprintf(crash->what, sizeof crash->what, "signal %d", info->si_signo);
        break;
    }
}
