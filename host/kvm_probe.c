// SPDX-License-Identifier: ISC
// The rows are what separates a KVM that holds a hostile guest from one that only runs a friendly one. doctor and
// the choice of isolation rest on them; tests/unit/host_kvm_probe.c shows that they fail where a wall is left out.
#include "host/kvm_probe.h"

#include "core/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROBE_SECONDS_MAX 10
#define TIMED_CALLS 64

#define UD (1u << 6)
#define GP (1u << 13)
#define PF (1u << 14)
#define DENIED (GP | UD) // either: processors differ
#define NOT_PERMITTED 0xffffffffu // -EPERM: KVM answers, and does nothing for ring 3

// name, what it must do, the instructions. Behind each stands the call to the host with eax: "it went on".
#define ROWS(X)                                                                                    \
    X(rdtsc, .vectors = GP, "rdtsc")                                                               \
    X(rdtscp, .vectors = DENIED, "rdtscp")                                                         \
    X(rdpmc, .vectors = DENIED, "rdpmc")                                                           \
    X(cpuid, .vectors = GP, "cpuid")                                                               \
    X(cpuid_vendor, .calls_with = 0x6e657243, "cpuid; mov %ebx, %eax", .asks_cpuid = 1)            \
    X(cpuid_leaf_1, .calls_with = 0, "mov $1, %eax; cpuid; mov %ecx, %eax", .asks_cpuid = 1)       \
    X(cpuid_leaf_7, .calls_with = 0, "mov $7, %eax; xor %ecx, %ecx; cpuid; mov %ebx, %eax", .asks_cpuid = 1) \
    X(avx, .vectors = UD, "vxorps %ymm0, %ymm0, %ymm0")                                            \
    X(avx512, .vectors = UD, "vpxord %zmm0, %zmm0, %zmm0")                                         \
    X(xgetbv, .vectors = UD, "xor %ecx, %ecx; xgetbv")                                             \
    X(xsetbv, .vectors = DENIED, "xor %ecx, %ecx; mov $7, %eax; xsetbv")                           \
    X(xsave, .vectors = UD, "xsave (%rsi)")                                                        \
    X(sse_and_x87_work, .calls_with = 3,                                                           \
      "fld1; fistpl -8(%rsp); mov $2, %eax; movd %eax, %xmm1; movd %xmm1, %eax; add -8(%rsp), %eax") \
    X(write_read_only, .stores_to = KVM_GUEST_CODE, "mov %eax, (%rbx)")                            \
    X(execute_data, .vectors = PF, "movb $0xc3, (%rsi); call *%rsi", .error_code = 0x15)           \
    X(execute_stack, .vectors = PF, "movb $0xc3, -64(%rsp); lea -64(%rsp), %rax; call *%rax", .error_code = 0x15) \
    X(read_supervisor, .vectors = PF, "mov (%rbp), %eax", .error_code = 5)                         \
    X(write_supervisor, .vectors = PF, "mov %eax, (%rbp)", .error_code = 7)                        \
    X(read_page_0, .vectors = PF, "mov 8(%rax), %eax", .error_code = 4)                            \
    X(read_upper_half, .vectors = PF, "mov $0xffffffff80000000, %rax; mov (%rax), %eax", .error_code = 4) \
    X(in, .vectors = GP, "in $0x60, %al")                                                          \
    X(out, .vectors = GP, "out %al, $0x80")                                                        \
    X(ins, .vectors = GP, "mov $0x60, %edx; mov %rsi, %rdi; insb")                                 \
    X(outs, .vectors = GP, "mov $0x80, %edx; outsb")                                               \
    X(cli, .vectors = GP, "cli")                                                                   \
    X(sti, .vectors = GP, "sti")                                                                   \
    X(popf_gives_no_port, .vectors = GP, "push $0x3202; popf; cli")                                \
    X(hlt, .vectors = GP, "hlt")                                                                   \
    X(rdmsr, .vectors = GP, "mov $0xc0000080, %ecx; rdmsr")                                        \
    X(wrmsr, .vectors = GP, "mov $0xc0000080, %ecx; wrmsr")                                        \
    X(read_control, .vectors = GP, "mov %cr3, %rax")                                               \
    X(write_control, .vectors = GP, "mov %rax, %cr4")                                              \
    X(write_cr8, .vectors = GP, "mov %rax, %cr8")                                                  \
    X(read_debug, .vectors = GP, "mov %dr7, %rax")                                                 \
    X(clts, .vectors = GP, "clts")                                                                 \
    X(lmsw, .vectors = GP, "lmsw %ax")                                                             \
    X(lgdt, .vectors = GP, "lgdt (%rsi)")                                                          \
    X(lidt, .vectors = GP, "lidt (%rsi)")                                                          \
    X(lldt, .vectors = GP, "lldt %ax")                                                             \
    X(ltr, .vectors = GP, "ltr %ax")                                                               \
    X(sgdt_is_the_guests, .calls_with = 0x5000, "sgdt -16(%rsp); mov -14(%rsp), %eax")             \
    X(invlpg, .vectors = GP, "invlpg (%rsi)")                                                      \
    X(wbinvd, .vectors = GP, "wbinvd")                                                             \
    X(invd, .vectors = GP, "invd")                                                                 \
    X(clac, .vectors = UD, "clac")                                                                 \
    X(swapgs, .vectors = GP, "swapgs")                                                             \
    X(iretq_to_ring_0, .vectors = GP,                                                              \
      "lea 1f(%rip), %rcx; push $0x18; push %rsp; push $2; push $0x10; push %rcx; iretq; 1:")      \
    X(far_return_to_ring_0, .vectors = GP, "lea 1f(%rip), %rcx; push $0x10; push %rcx; lretq; 1:") \
    X(far_return_to_32_bits, .vectors = GP, "lea 1f(%rip), %rcx; push $0x23; push %rcx; lretq; 1:") \
    X(load_ring_0_stack, .vectors = GP, "mov $0x18, %eax; mov %eax, %ss")                          \
    X(syscall, .vectors = UD, "syscall")                                                           \
    X(sysenter, .vectors = DENIED, "sysenter")                                                     \
    X(sysret, .vectors = DENIED, "sysretq")                                                        \
    X(int_80, .vectors = GP, "int $0x80")                                                          \
    X(int_gate, .vectors = GP, "int $13")                                                          \
    X(wrfsbase, .vectors = UD, "wrfsbase %rax")                                                    \
    X(rdgsbase, .vectors = UD, "rdgsbase %rax")                                                    \
    X(rdpkru, .vectors = UD, "xor %ecx, %ecx; rdpkru")                                             \
    X(vmrun, .vectors = DENIED, "vmrun")                                                           \
    X(vmxoff, .vectors = DENIED, "vmxoff")                                                         \
    X(monitor, .vectors = DENIED, "mov %rsi, %rax; xor %ecx, %ecx; xor %edx, %edx; monitor") \
    X(vmcall, .vectors = DENIED, "vmcall", .calls_with = NOT_PERMITTED)                            \
    X(vmmcall, .vectors = DENIED, "vmmcall", .calls_with = NOT_PERMITTED)

#define ROW_CODE(row, wanted, text, ...)                                                           \
    __asm__(".pushsection .rodata\nkvm_row_" #row ": " text "\nmov %eax, (%rdi)\nkvm_row_end_" #row ":\n.popsection"); \
    extern const uint8_t kvm_row_##row[] __attribute__((visibility("hidden")));                     \
    extern const uint8_t kvm_row_end_##row[] __attribute__((visibility("hidden")));
#define ROW_ENTRY(row, wanted, text, ...)                                                          \
    {.name = #row, .code = kvm_row_##row, .code_end = kvm_row_end_##row, wanted, __VA_ARGS__},
ROWS(ROW_CODE)
static const struct kvm_row rows[] = {ROWS(ROW_ENTRY)};
ROW_CODE(again, , "1: mov %eax, (%rdi); jmp 1b", )

const struct kvm_row *kvm_probe_rows(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

static int is_as_wanted(const struct kvm_row *row, const struct kvm_guest_outcome *outcome)
{
    switch (outcome->end) {
    case KVM_GUEST_FAULTED:
        return (row->vectors >> outcome->vector & 1) != 0 &&
               (outcome->vector != 14 || outcome->error_code == row->error_code);
    case KVM_GUEST_STORED:
        return row->stores_to != 0 && outcome->address == row->stores_to;
    case KVM_GUEST_CALLED:
        return (row->vectors == 0 || row->calls_with != 0) && row->stores_to == 0 &&
               outcome->value == row->calls_with;
    case KVM_GUEST_OTHER:
        break;
    }
    return 0;
}

int kvm_probe_row(struct kvm_guest *guest, const struct kvm_row *row, struct kvm_guest_outcome *outcome)
{
    *outcome = (struct kvm_guest_outcome){.end = KVM_GUEST_OTHER, .reason = KVM_EXIT_UNKNOWN};
    unsigned walls = guest->walls;
    if (row->asks_cpuid)
        guest->walls &= ~(unsigned)KVM_GUEST_CPUID_FAULTS;
    enum status status = kvm_guest_load(guest, row->code, (size_t)(row->code_end - row->code));
    guest->walls = walls;
    return status == STATUS_OK && kvm_guest_run(guest, outcome) == STATUS_OK && is_as_wanted(row, outcome);
}

void kvm_probe_text(const struct kvm_guest_outcome *outcome, char *text, size_t capacity)
{
    switch (outcome->end) {
    case KVM_GUEST_FAULTED:
        snprintf(text, capacity, "fault %u, error code 0x%x, address 0x%llx", outcome->vector, outcome->error_code,
                 (unsigned long long)outcome->address);
        break;
    case KVM_GUEST_STORED:
        snprintf(text, capacity, "a store to 0x%llx", (unsigned long long)outcome->address);
        break;
    case KVM_GUEST_CALLED:
        snprintf(text, capacity, "it went on, eax 0x%x", outcome->value);
        break;
    case KVM_GUEST_OTHER:
        snprintf(text, capacity, outcome->reason == KVM_EXIT_UNKNOWN ? "KVM refused to run it" : "exit reason %u",
                 outcome->reason);
        break;
    }
}

static const struct {
    int number, bits;
    const char *name;
} needed[] = { // by the tender's kvm wall, and to look
    {KVM_CAP_USER_MEMORY, 1, "user memory"},
    {KVM_CAP_READONLY_MEM, 1, "read-only memory"},
    {KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS, "registers in the run page"},
    {KVM_CAP_IMMEDIATE_EXIT, 1, "immediate exit"},
    {KVM_CAP_XCRS, 1, "extended control registers"},
    {KVM_CAP_XSAVE, 1, "vector state"},
    {KVM_CAP_EXT_CPUID, 1, "CPUID table"},
};

static void look_at_flags(struct isolation_facts *facts)
{
    char line[8192];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL && strncmp(line, "flags", 5) != 0)
        line[0] = 0;
    if (file != NULL) {
        line[strcspn(line, "\n")] = ' ';
        facts->has_vmx = strstr(line, " vmx ") != NULL;
        facts->has_svm = strstr(line, " svm ") != NULL;
        fclose(file);
    }
    if (access("/sys/module/kvm_pvm", F_OK) == 0)
        snprintf(facts->software, sizeof facts->software, "kvm_pvm");
}

static int64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void time_a_call(struct kvm_guest *guest, struct isolation_facts *facts)
{
    struct kvm_guest_outcome outcome;
    if (kvm_guest_load(guest, kvm_row_again, (size_t)(kvm_row_end_again - kvm_row_again)) != STATUS_OK)
        return;
    for (int i = 0; i < TIMED_CALLS; i++) {
        int64_t begin = clock_ns();
        if (kvm_guest_run(guest, &outcome) != STATUS_OK || outcome.end != KVM_GUEST_CALLED)
            return;
        int64_t spent = clock_ns() - begin;
        if (spent < INT32_MAX && (facts->exit_ns == 0 || (uint32_t)spent < facts->exit_ns))
            facts->exit_ns = (uint32_t)spent;
    }
}

static void look_at_rows(struct kvm_guest *guest, struct isolation_facts *facts)
{
    struct kvm_guest_outcome outcome;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        facts->looked_at++;
        if (kvm_probe_row(guest, &rows[i], &outcome)) {
            facts->enforced++;
            continue;
        }
        size_t used = strlen(facts->not_enforced), room = sizeof facts->not_enforced - used;
        if (strlen(rows[i].name) + 3 + sizeof ", ..." <= room)
            snprintf(facts->not_enforced + used, room, "%s%s", used == 0 ? "" : ", ", rows[i].name);
        else if (strstr(facts->not_enforced, "...") == NULL)
            snprintf(facts->not_enforced + used, room, ", ...");
    }
}

static void look_at_kvm(struct isolation_facts *facts)
{
    struct kvm_guest guest;
    const char *step;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        facts->open_error = errno;
        return;
    }
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        snprintf(facts->lacks, sizeof facts->lacks, "API version %d", KVM_API_VERSION);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && facts->lacks[0] == 0; i++)
        if ((ioctl(kvm, KVM_CHECK_EXTENSION, needed[i].number) & needed[i].bits) != needed[i].bits)
            snprintf(facts->lacks, sizeof facts->lacks, "%s", needed[i].name);
    if (facts->lacks[0] == 0) {
        if (kvm_guest_open(&guest, kvm, KVM_GUEST_ALL, &step) == STATUS_OK) {
            look_at_rows(&guest, facts);
            time_a_call(&guest, facts);
            kvm_guest_close(&guest);
        } else {
            facts->make_error = errno;
            snprintf(facts->make_step, sizeof facts->make_step, "%s", step);
        }
    }
    close(kvm);
}

// In a child: whatever a strange KVM does to it ends with it.
static void run_rows(struct isolation_facts *facts)
{
    struct isolation_facts *seen =
        mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED) {
        facts->open_error = errno;
        return;
    }
    *seen = *facts;
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        (void)signal(SIGALRM, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)alarm(PROBE_SECONDS_MAX);
        look_at_kvm(seen);
        _exit(0);
    }
    int status = 0;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    *facts = *seen;
    if (child < 0 || got != child || status != 0) { // what it saw until then proves nothing
        facts->make_error = child < 0 ? errno : ETIMEDOUT;
        snprintf(facts->make_step, sizeof facts->make_step, "to run a guest");
    }
    munmap(seen, sizeof *seen);
}

void kvm_probe(struct isolation_facts *facts, uint8_t asked)
{
    *facts = (struct isolation_facts){0};
    if (asked == ISOLATION_PROCESS)
        return;
    look_at_flags(facts);
    if (access("/dev/kvm", R_OK | W_OK) != 0)
        facts->open_error = errno;
    else if (asked != ISOLATION_ANY || (facts->software[0] == 0 && (facts->has_vmx || facts->has_svm)))
        run_rows(facts);
}
