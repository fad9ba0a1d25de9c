// SPDX-License-Identifier: ISC
// The verdict. Every way to doubt the host's KVM leads downwards: hardware, software, none.
#include "host/isolation.h"

#include "core/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MEND_HARDWARE                                                                              \
    "use a host whose CPU shows vmx or svm (bare metal, or nested virtualization switched on) with kvm_intel or kvm_amd"

static enum isolation_kvm none(const struct isolation_facts *facts, struct isolation_reason *reason)
{
    int error = facts->open_error != 0 ? facts->open_error : facts->make_error;
    if (facts->open_error == ENOENT || facts->open_error == ENODEV || facts->open_error == ENXIO) {
        snprintf(reason->why, sizeof reason->why, "no /dev/kvm");
        reason->mend = facts->has_vmx || facts->has_svm
                           ? "modprobe kvm_intel or kvm_amd; in a container, hand it /dev/kvm"
                           : MEND_HARDWARE;
    } else if (facts->open_error != 0) {
        snprintf(reason->why, sizeof reason->why, "/dev/kvm cannot be opened: %s", strerror(error));
        reason->mend = "run as root, or add this user to the group kvm; in a container, hand it /dev/kvm";
    } else if (facts->make_error != 0) {
        snprintf(reason->why, sizeof reason->why, "/dev/kvm opens, but refuses %s: %s", facts->make_step,
                 strerror(error));
        reason->mend = MEND_HARDWARE;
    } else {
        snprintf(reason->why, sizeof reason->why, "this KVM has no %s", facts->lacks);
        reason->mend = "boot Linux 5.5 or later";
    }
    return ISOLATION_KVM_NONE;
}

enum isolation_kvm isolation_judge(const struct isolation_facts *facts, struct isolation_reason *reason)
{
    *reason = (struct isolation_reason){.mend = NULL};
    if (facts->open_error != 0 || facts->make_error != 0 || facts->lacks[0] != 0)
        return none(facts, reason);
    int is_enforcing = facts->looked_at != 0 && facts->enforced == facts->looked_at;
    if (is_enforcing && (facts->has_vmx || facts->has_svm) && facts->software[0] == 0) {
        snprintf(reason->why, sizeof reason->why,
                 "hardware KVM (%s): it enforces all %u things that a guest is held by",
                 facts->has_vmx ? "vmx" : "svm", facts->looked_at);
        return ISOLATION_KVM_HARDWARE;
    }
    reason->mend = MEND_HARDWARE;
    if (!is_enforcing && facts->looked_at != 0)
        snprintf(reason->why, sizeof reason->why, "software KVM%s%s%s: it does not enforce %u of %u things: %s",
                 facts->software[0] != 0 ? " (" : "", facts->software, facts->software[0] != 0 ? ")" : "",
                 facts->looked_at - facts->enforced, facts->looked_at, facts->not_enforced);
    else if (facts->software[0] != 0)
        snprintf(reason->why, sizeof reason->why, "software KVM (%s)", facts->software);
    else
        snprintf(reason->why, sizeof reason->why, "software KVM: %s",
                 facts->has_vmx || facts->has_svm ? "it was seen to enforce nothing"
                                                  : "the CPU shows neither vmx nor svm");
    return ISOLATION_KVM_SOFTWARE;
}

uint8_t isolation_asked(uint8_t image_asks, uint8_t system_asks)
{
    return system_asks != ISOLATION_ANY ? system_asks : image_asks;
}

enum isolation_level isolation_choose(uint8_t image_asks, uint8_t system_asks,
                                      const struct isolation_facts *facts, struct isolation_reason *reason)
{
    uint8_t asked = isolation_asked(image_asks, system_asks);
    *reason = (struct isolation_reason){.mend = NULL};
    if (image_asks != ISOLATION_ANY && image_asks != asked) {
        snprintf(reason->why, sizeof reason->why, "the image asks for isolation %s, the system for %s",
                 isolation_text(image_asks), isolation_text(system_asks));
        reason->mend = "use the isolation that the image asks for";
        return ISOLATION_LEVEL_NONE;
    }
    if (asked == ISOLATION_PROCESS)
        return ISOLATION_LEVEL_PROCESS;
    if (asked != ISOLATION_ANY && asked != ISOLATION_KVM) {
        snprintf(reason->why, sizeof reason->why, "no host gives isolation %s in this version", isolation_text(asked));
        reason->mend = "write `isolation: kvm`, `process` or `any`";
        return ISOLATION_LEVEL_NONE;
    }
    enum isolation_kvm kvm = isolation_judge(facts, reason);
    if (kvm == ISOLATION_KVM_HARDWARE) {
        reason->why[0] = 0;
        return ISOLATION_LEVEL_KVM;
    }
    if (asked == ISOLATION_ANY)
        return ISOLATION_LEVEL_PROCESS;
    return kvm == ISOLATION_KVM_SOFTWARE ? ISOLATION_LEVEL_KVM_SOFTWARE : ISOLATION_LEVEL_NONE;
}

const char *isolation_level_text(enum isolation_level level)
{
    static const char *const texts[] = {"none", "process", "kvm", "kvm-software"};
    return texts[level];
}

const char *isolation_text(uint8_t asked)
{
    static const char *const texts[] = {"any", "process", "kvm", "enclave"};
    return asked < sizeof texts / sizeof texts[0] ? texts[asked] : "?";
}
