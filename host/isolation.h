// SPDX-License-Identifier: ISC
// Which isolation a unikernel gets: what was looked at on the host in, verdict and reason out.
//
// Hardware and software KVM are told apart by evidence. Hardware is what enforces every row that host/kvm_probe.c
// looks at, on a processor that shows vmx or svm, with no module of a software KVM loaded. Anything less is software:
// it is used when somebody asks for `kvm` by name, with a warning, and never chosen for `any`.
#ifndef CRENEL_HOST_ISOLATION_H
#define CRENEL_HOST_ISOLATION_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

struct isolation_facts { // made by kvm_probe(); looked_at is 0 where that needed no guest
    int open_error;      // errno of opening /dev/kvm; 0: it is open
    int make_error;      // errno of making a first machine; 0: it was made
    char make_step[24];  // what was refused then
    char lacks[32];      // the first capability of KVM that a tender needs and this one lacks; else empty
    uint8_t has_vmx, has_svm;
    char software[16];   // the loaded module that is a software KVM, else empty
    uint32_t looked_at, enforced; // rows
    char not_enforced[64];        // names of the others, as many as fit
    uint32_t exit_ns;    // one call to the host and back, the least of some; a hint, it decides nothing
};

enum isolation_kvm { ISOLATION_KVM_NONE, ISOLATION_KVM_SOFTWARE, ISOLATION_KVM_HARDWARE };

enum isolation_level { // what is in force
    ISOLATION_LEVEL_NONE,
    ISOLATION_LEVEL_PROCESS,
    ISOLATION_LEVEL_KVM,
    ISOLATION_LEVEL_KVM_SOFTWARE,
};

struct isolation_reason {
    char why[400];
    const char *mend; // static text, or NULL
};

// What KVM is here, and why it is no more than that.
enum isolation_kvm isolation_judge(const struct isolation_facts *facts, struct isolation_reason *reason);

// What image and system ask for together: the system may be stricter.
uint8_t isolation_asked(uint8_t image_asks, uint8_t system_asks);

// The isolation of a unikernel for which image and system ask so (enum manifest_isolation). NONE: it does not start,
// reason says why. KVM_SOFTWARE: it starts, reason is the warning. PROCESS for `any`: reason says why it is not kvm.
enum isolation_level isolation_choose(uint8_t image_asks, uint8_t system_asks,
                                      const struct isolation_facts *facts, struct isolation_reason *reason);

// "process", "kvm", "kvm-software"; "none"
const char *isolation_level_text(enum isolation_level level);
// "any", "process", "kvm", "enclave": enum manifest_isolation
const char *isolation_text(uint8_t asked);

#endif
