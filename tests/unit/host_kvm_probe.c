// SPDX-License-Identifier: ISC
// What the kvm wall relies on, each row on this host's /dev/kvm. Software KVM does not enforce all of it: there a row
// is skipped. With hardware KVM, also the emulated one of tests/system/kvm_machine.sh, every row must hold.
#include "host/kvm_probe.h"

#include "core/manifest.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int kvm;
static struct isolation_facts facts;

static int is_software(void)
{
    return facts.software[0] != 0 || (!facts.has_svm && !facts.has_vmx);
}

static int test_rows(void)
{
    size_t count;
    const struct kvm_row *rows = kvm_probe_rows(&count);
    struct kvm_guest guest;
    struct kvm_guest_outcome outcome;
    const char *step;
    int failed = 0;
    if (kvm_guest_open(&guest, kvm, KVM_GUEST_ALL, &step) != STATUS_OK) {
        printf("not ok a_machine_can_be_made - %s: %s\n", step, strerror(errno));
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        char text[80];
        int is_enforced = kvm_probe_row(&guest, &rows[i], &outcome);
        kvm_probe_text(&outcome, text, sizeof text);
        if (is_enforced)
            printf("ok kvm_%s\n", rows[i].name);
        else if (is_software())
            printf("skip kvm_%s - software KVM does not enforce it: %s\n", rows[i].name, text);
        else
            printf("not ok kvm_%s - %s\n", rows[i].name, text);
        failed |= !is_enforced && !is_software();
        fflush(stdout);
    }
    kvm_guest_close(&guest);
    return failed;
}

// Each wall left out: the rows that look at it must say so, or they prove nothing.
static const struct {
    const char *row;
    unsigned wall;
} seen_missing[] = {
    {"rdtsc", KVM_GUEST_TSD},
    {"cpuid", KVM_GUEST_CPUID_FAULTS},
    {"cpuid_vendor", KVM_GUEST_CPUID},
    {"cpuid_leaf_1", KVM_GUEST_CPUID},
    {"avx", KVM_GUEST_NO_XSAVE | KVM_GUEST_CPUID},
    {"xgetbv", KVM_GUEST_NO_XSAVE | KVM_GUEST_CPUID},
    {"write_read_only", KVM_GUEST_READONLY},
    {"execute_data", KVM_GUEST_NX},
    {"execute_stack", KVM_GUEST_NX},
    {"read_supervisor", KVM_GUEST_USER},
    {"write_supervisor", KVM_GUEST_USER},
    {"cli", KVM_GUEST_RING_3},
    {"rdmsr", KVM_GUEST_RING_3},
    {"read_control", KVM_GUEST_RING_3},
    {"out", KVM_GUEST_RING_3},
    {"hlt", KVM_GUEST_RING_3},
};

TEST(a_wall_left_out_is_noticed)
{
    size_t count;
    const struct kvm_row *rows = kvm_probe_rows(&count);
    for (size_t i = 0; i < sizeof seen_missing / sizeof seen_missing[0]; i++) {
        struct kvm_guest guest;
        struct kvm_guest_outcome outcome;
        const char *step;
        size_t row = 0;
        while (row < count && strcmp(rows[row].name, seen_missing[i].row) != 0)
            row++;
        expect(row < count);
        if (row == count || kvm_guest_open(&guest, kvm, KVM_GUEST_ALL & ~seen_missing[i].wall, &step) != STATUS_OK) {
            expect(!"a weaker machine can be made");
            return;
        }
        int is_enforced = kvm_probe_row(&guest, &rows[row], &outcome);
        if (is_enforced)
            fprintf(stderr, "%s looks enforced without its wall\n", seen_missing[i].row);
        expect(!is_enforced);
        kvm_guest_close(&guest);
    }
}

TEST(a_machine_is_as_new_after_each_load)
{
    static const uint8_t fill[] = {0x83, 0x06, 0x01, 0x8b, 0x06, 0x89, 0x07}; // addl $1,(%rsi); mov (%rsi),%eax; mov %eax,(%rdi)
    struct kvm_guest guest;
    struct kvm_guest_outcome outcome;
    const char *step;
    if (kvm_guest_open(&guest, kvm, KVM_GUEST_ALL, &step) != STATUS_OK) {
        expect(!"a machine can be made");
        return;
    }
    for (int i = 0; i < 3; i++) {
        expect(kvm_guest_load(&guest, fill, sizeof fill) == STATUS_OK);
        expect(kvm_guest_run(&guest, &outcome) == STATUS_OK);
        expect(outcome.end == KVM_GUEST_CALLED && outcome.value == 1);
    }
    kvm_guest_close(&guest);
}

TEST(the_probe_says_what_the_rows_say)
{
    size_t count;
    struct isolation_reason reason;
    (void)kvm_probe_rows(&count);
    expect(facts.open_error == 0 && facts.make_error == 0 && facts.lacks[0] == 0);
    expect(facts.looked_at == count && facts.exit_ns != 0);
    expect((facts.enforced == count) == (facts.not_enforced[0] == 0));
    enum isolation_kvm kind = isolation_judge(&facts, &reason);
    expect(kind == (facts.enforced == count && !is_software() ? ISOLATION_KVM_HARDWARE : ISOLATION_KVM_SOFTWARE));
}

int main(void)
{
    kvm_probe(&facts, ISOLATION_KVM);
    kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        printf("skip kvm_rows - no /dev/kvm: %s\n", strerror(errno));
        return facts.open_error == 0;
    }
    test_failures += test_rows();
    RUN(a_wall_left_out_is_noticed);
    RUN(a_machine_is_as_new_after_each_load);
    RUN(the_probe_says_what_the_rows_say);
    close(kvm);
    TEST_END();
}
