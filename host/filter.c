// SPDX-License-Identifier: ISC
// Installing what tools/filters/generate.c made of the tables.
#include "host/filter.h"

#include "core/check.h"
#include "core/mechanism.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter_code.h"

enum status filter_install(enum filter_role role)
{
#define PROGRAM(name) {sizeof(name) / sizeof(name)[0], (struct sock_filter *)(uintptr_t)(name)}
    static const struct sock_fprog programs[FILTER_ROLES] = {
        [FILTER_ROUTER] = PROGRAM(router),     [FILTER_STORE] = PROGRAM(store),
        [FILTER_AUDIT] = PROGRAM(audit),       [FILTER_PASSWORD] = PROGRAM(password),
        [FILTER_GATEWAY] = PROGRAM(gateway),   [FILTER_COURIER_LISTEN] = PROGRAM(courier_listen),
        [FILTER_COURIER_CONNECT] = PROGRAM(courier_connect), [FILTER_TENDER] = PROGRAM(tender),
        [FILTER_TENDER_KVM] = PROGRAM(tender_kvm),
    };
    check(role < FILTER_ROLES);
    if (!MECHANISM(FILTER) || !MECHANISM(TEXT_READ_ONLY) || !MECHANISM(DATA_NO_EXECUTE))
        return STATUS_OK; // instances inherit the tender's filter, which stops those attacks as well
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[role]) == 0 ? STATUS_OK : STATUS_SYSTEM;
}
