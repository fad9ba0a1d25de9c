// SPDX-License-Identifier: ISC
// Which isolation follows from what was seen on a host and what image and system ask for: every combination.
#include "host/isolation.h"

#include "core/manifest.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static const struct isolation_facts hardware = {.has_svm = 1, .looked_at = 9, .enforced = 9};
static const struct isolation_facts software = {
    .software = "kvm_pvm", .looked_at = 9, .enforced = 7, .not_enforced = "rdtsc, cpuid"};
static const struct isolation_facts absent = {.open_error = ENOENT};

static struct isolation_reason reason;

static enum isolation_kvm judge(struct isolation_facts facts) { return isolation_judge(&facts, &reason); }

TEST(hardware_is_what_enforces_everything_and_shows_its_flag)
{
    struct isolation_facts facts = hardware;
    expect(judge(facts) == ISOLATION_KVM_HARDWARE && strstr(reason.why, "svm") != NULL && reason.mend == NULL);
    facts.has_svm = 0, facts.has_vmx = 1;
    expect(judge(facts) == ISOLATION_KVM_HARDWARE && strstr(reason.why, "vmx") != NULL);
}

// One doubt is enough.
TEST(each_doubt_makes_it_software)
{
    struct isolation_facts facts = hardware;
    facts.has_svm = 0;
    expect(judge(facts) == ISOLATION_KVM_SOFTWARE && strstr(reason.why, "neither vmx nor svm") != NULL);
    facts = hardware;
    snprintf(facts.software, sizeof facts.software, "kvm_pvm");
    expect(judge(facts) == ISOLATION_KVM_SOFTWARE && strstr(reason.why, "kvm_pvm") != NULL);
    facts = hardware;
    facts.enforced--;
    snprintf(facts.not_enforced, sizeof facts.not_enforced, "rdtsc");
    expect(judge(facts) == ISOLATION_KVM_SOFTWARE && strstr(reason.why, "1 of 9 things: rdtsc") != NULL);
    facts = hardware;
    facts.looked_at = facts.enforced = 0; // nothing was seen to hold
    expect(judge(facts) == ISOLATION_KVM_SOFTWARE && strstr(reason.why, "enforce nothing") != NULL);
    expect(reason.mend != NULL);
    facts.has_svm = 0; // or the flags had settled it
    expect(judge(facts) == ISOLATION_KVM_SOFTWARE && strstr(reason.why, "neither vmx nor svm") != NULL);
}

TEST(what_cannot_run_a_guest_is_none)
{
    struct isolation_facts facts = hardware;
    facts.open_error = EACCES;
    expect(judge(facts) == ISOLATION_KVM_NONE && strstr(reason.mend, "group kvm") != NULL);
    facts.open_error = ENOENT;
    expect(judge(facts) == ISOLATION_KVM_NONE && strstr(reason.mend, "modprobe") != NULL);
    facts.has_svm = 0;
    expect(judge(facts) == ISOLATION_KVM_NONE && strstr(reason.mend, "use a host") != NULL);
    facts = hardware;
    facts.make_error = EINVAL;
    snprintf(facts.make_step, sizeof facts.make_step, "a processor");
    expect(judge(facts) == ISOLATION_KVM_NONE && strstr(reason.why, "a processor") != NULL && reason.mend != NULL);
    facts = hardware;
    snprintf(facts.lacks, sizeof facts.lacks, "read-only memory");
    expect(judge(facts) == ISOLATION_KVM_NONE && strstr(reason.why, "read-only memory") != NULL);
}

static enum isolation_level choose(uint8_t image, uint8_t system, const struct isolation_facts *facts)
{
    return isolation_choose(image, system, facts, &reason);
}

TEST(any_takes_hardware_and_else_process)
{
    expect(choose(ISOLATION_ANY, ISOLATION_ANY, &hardware) == ISOLATION_LEVEL_KVM && reason.why[0] == 0);
    expect(choose(ISOLATION_ANY, ISOLATION_ANY, &software) == ISOLATION_LEVEL_PROCESS);
    expect(strstr(reason.why, "does not enforce 2 of 9 things") != NULL && reason.mend != NULL);
    expect(choose(ISOLATION_ANY, ISOLATION_ANY, &absent) == ISOLATION_LEVEL_PROCESS);
}

// Whoever names it, the image or the system or both.
TEST(what_is_named_is_given_or_does_not_start)
{
    for (int named = 1; named <= 3; named++) {
        uint8_t image_process = named & 1 ? ISOLATION_PROCESS : ISOLATION_ANY;
        uint8_t system_process = named & 2 ? ISOLATION_PROCESS : ISOLATION_ANY;
        uint8_t image_kvm = named & 1 ? ISOLATION_KVM : ISOLATION_ANY;
        uint8_t system_kvm = named & 2 ? ISOLATION_KVM : ISOLATION_ANY;
        uint8_t image_enclave = named & 1 ? ISOLATION_ENCLAVE : ISOLATION_ANY;
        uint8_t system_enclave = named & 2 ? ISOLATION_ENCLAVE : ISOLATION_ANY;
        expect(choose(image_process, system_process, &hardware) == ISOLATION_LEVEL_PROCESS && reason.why[0] == 0);
        expect(choose(image_kvm, system_kvm, &hardware) == ISOLATION_LEVEL_KVM && reason.why[0] == 0);
        expect(choose(image_kvm, system_kvm, &software) == ISOLATION_LEVEL_KVM_SOFTWARE);
        expect(strstr(reason.why, "software KVM (kvm_pvm)") != NULL && reason.mend != NULL);
        expect(choose(image_kvm, system_kvm, &absent) == ISOLATION_LEVEL_NONE);
        expect(strcmp(reason.why, "no /dev/kvm") == 0 && reason.mend != NULL);
        expect(choose(image_enclave, system_enclave, &hardware) == ISOLATION_LEVEL_NONE);
        expect(strstr(reason.why, "enclave") != NULL && reason.mend != NULL);
    }
}

TEST(image_and_system_that_disagree_do_not_start)
{
    expect(choose(ISOLATION_PROCESS, ISOLATION_KVM, &hardware) == ISOLATION_LEVEL_NONE);
    expect(strcmp(reason.why, "the image asks for isolation process, the system for kvm") == 0);
    expect(choose(ISOLATION_KVM, ISOLATION_PROCESS, &hardware) == ISOLATION_LEVEL_NONE);
    expect(choose(7, ISOLATION_ANY, &hardware) == ISOLATION_LEVEL_NONE);
}

int main(void)
{
    RUN(hardware_is_what_enforces_everything_and_shows_its_flag);
    RUN(each_doubt_makes_it_software);
    RUN(what_cannot_run_a_guest_is_none);
    RUN(any_takes_hardware_and_else_process);
    RUN(what_is_named_is_given_or_does_not_start);
    RUN(image_and_system_that_disagree_do_not_start);
    TEST_END();
}
