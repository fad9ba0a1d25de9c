// SPDX-License-Identifier: ISC
// The list, each with its reason.
#include "supervisor/privileges.h"

#include "host/users.h"

#include <linux/capability.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    int capability;
    int is_required;
    const char *reason;
} kept[] = {
    {CAP_SYS_ADMIN, 1, "namespaces and mounts of the processes it starts; cgroups"},
    {CAP_SYS_CHROOT, 1, "their empty root, where pivot_root is refused"},
    {CAP_SETUID, 1, "a user id for each process"},
    {CAP_SETGID, 1, "the same for groups"},
    {CAP_SETPCAP, 1, "dropping what they do not need"},
    {CAP_CHOWN, 1, "directories of store, audit and password belong to their users"},
    {CAP_KILL, 1, "ending processes of other user ids"},
    {CAP_DAC_OVERRIDE, 0, "reading images and the state folder of another user; cgroup files"},
    {CAP_FOWNER, 0, "replacing files in the directories it gave away"},
    {CAP_SYS_PTRACE, 0, "their proportional memory in `crenel ps`"},
    {CAP_NET_BIND_SERVICE, 0, "listening below port 1024"},
    {CAP_NET_ADMIN, 0, "socket buffers large enough for one commit"},
};
#define KEPT_COUNT (sizeof kept / sizeof kept[0])

static int read_capabilities(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capget, &header, data);
}

int privileges_are_enough(void)
{
    struct __user_cap_data_struct data[2];
    if (geteuid() != 0 || users_why_not() != NULL || read_capabilities(data) != 0)
        return 0;
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        unsigned capability = (unsigned)kept[i].capability;
        if (kept[i].is_required && (data[capability / 32].effective >> capability % 32 & 1) == 0)
            return 0;
    }
    return 1;
}

enum status privileges_reduce(void)
{
    // Rootless there is nothing to keep. System mode cannot have no_new_privs: its processes begin with user 0
    // effective and another one real (host/spawn.h), which that flag forbids.
    if (!privileges_are_enough())
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? STATUS_OK : STATUS_SYSTEM;
    uint32_t mask[2] = {0};
    for (size_t i = 0; i < KEPT_COUNT; i++)
        mask[kept[i].capability / 32] |= 1u << kept[i].capability % 32;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if ((mask[capability / 32] >> capability % 32 & 1) == 0 &&
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return STATUS_SYSTEM;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (read_capabilities(data) != 0)
        return STATUS_SYSTEM;
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= mask[i];
        data[i].effective &= mask[i];
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) == 0 ? STATUS_OK : STATUS_SYSTEM;
}
