// SPDX-License-Identifier: ISC
// Instructions that only a kernel may execute, and those that tell the time, the processor or the host. An image
// may not hold the latter at all (images.c); here they run on a tender that lets such an image in.
#include "tests/attack/attack.h"

#include "tender/kvm/pages.h"

#define CLOBBERS "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc"

// A guest that executes `code`: rax = rbx = rdx = 0, rcx = 0x10, rsi and rdi = 128 bytes of its own.
#define INSTRUCTION(NAME, CODE)                                                                    \
    GUEST(NAME)                                                                                    \
    {                                                                                              \
        (void)next_act(boot);                                                                      \
        uint64_t own[16] = {0}, result;                                                            \
        __asm__ volatile("xor %%eax, %%eax\n xor %%ebx, %%ebx\n xor %%edx, %%edx\n mov $0x10, %%ecx\n"       \
                         "lea %1, %%rsi\n mov %%rsi, %%rdi\n" CODE "\n mov %%rax, %0"              \
                         : "=&r"(result), "+m"(own)                                                \
                         :                                                                         \
                         : CLOBBERS);                                                              \
        escaped(boot, result);                                                                     \
    }

INSTRUCTION(hlt, "hlt")
INSTRUCTION(cli, "cli")
INSTRUCTION(sti, "sti")
INSTRUCTION(in_keyboard, "in $0x60, %%al")
INSTRUCTION(in_pci, "mov $0xcf8, %%edx\n in %%dx, %%eax")
INSTRUCTION(out_reset, "mov $0xfe, %%al\n out %%al, $0x64")
INSTRUCTION(ins_string, "mov $0x60, %%edx\n insb")
INSTRUCTION(outs_string, "mov $0x80, %%edx\n outsb")
INSTRUCTION(lgdt, "lgdt (%%rsi)")
INSTRUCTION(lidt, "lidt (%%rsi)")
INSTRUCTION(lldt, "lldt %%ax")
INSTRUCTION(ltr, "ltr %%cx")
INSTRUCTION(lmsw, "lmsw %%ax")
INSTRUCTION(clts, "clts")
INSTRUCTION(read_cr0, "mov %%cr0, %%rax")
INSTRUCTION(read_cr3, "mov %%cr3, %%rax")
INSTRUCTION(write_cr3, "mov %%rax, %%cr3")
INSTRUCTION(write_cr4, "mov %%rax, %%cr4")
INSTRUCTION(read_dr7, "mov %%dr7, %%rax")
INSTRUCTION(write_dr0, "mov %%rsi, %%dr0")
INSTRUCTION(invlpg, "invlpg (%%rsi)")
INSTRUCTION(invpcid, "invpcid (%%rsi), %%rax")
INSTRUCTION(invd, "invd")
INSTRUCTION(wbinvd, "wbinvd")
INSTRUCTION(rdmsr, "rdmsr")
INSTRUCTION(wrmsr, "wrmsr")
INSTRUCTION(swapgs, "swapgs")
INSTRUCTION(clac, "clac")
INSTRUCTION(monitor, "mov %%rsi, %%rax\n xor %%ecx, %%ecx\n monitor")
INSTRUCTION(mwait, "xor %%ecx, %%ecx\n mwait")
INSTRUCTION(xsetbv, "xor %%ecx, %%ecx\n mov $3, %%eax\n xsetbv")
INSTRUCTION(xsaves, "xsaves64 (%%rsi)")
INSTRUCTION(vmlaunch, "vmlaunch")
INSTRUCTION(vmxoff, "vmxoff")
INSTRUCTION(vmrun, "vmrun")
INSTRUCTION(vmfunc, "vmfunc")
INSTRUCTION(getsec, "getsec")
INSTRUCTION(encls, "encls")
INSTRUCTION(rsm, "rsm")
INSTRUCTION(sysret, "sysretq")
INSTRUCTION(sysexit, "sysexitq")
INSTRUCTION(wrusss, ".byte 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x06") // wrussq %rax, (%rsi)

INSTRUCTION(rdpmc, "xor %%ecx, %%ecx\n rdpmc")
INSTRUCTION(rdtsc, "rdtsc")
INSTRUCTION(rdtscp, "rdtscp")
INSTRUCTION(cpuid, "cpuid")
INSTRUCTION(xgetbv, "xor %%ecx, %%ecx\n xgetbv")
INSTRUCTION(rdfsbase, "rdfsbase %%rax")
INSTRUCTION(wrgsbase, "wrgsbase %%rsi")
INSTRUCTION(sgdt, "sgdt (%%rsi)\n mov 2(%%rsi), %%rax")
INSTRUCTION(sidt, "sidt (%%rsi)\n mov 2(%%rsi), %%rax")

// sgdt and sidt give the kernel's addresses and, through them, the processor's number. With UMIP they fault, and
// Linux answers with constants. In a virtual machine they name its own tables, which lie at the same place in all.
static int is_constant(const struct stage *stage, uint64_t address)
{
    return stage->wall == ATTACK_KVM ? address == KVM_STUB + KVM_GDT || address == KVM_STUB + KVM_IDT
                                     : address == 0xfffffffffffe0000u || address == 0xffffffffffff0000u;
}

static void play_table_address(struct stage *stage, const struct attack *attack)
{
    size_t bytes = 0;
    stage_event(stage, (const uint64_t[ACT_WORDS]){1});
    const uint64_t *message = stage_message(stage, &bytes);
    if (message != NULL && !is_constant(stage, message[0]))
        stage_judge(stage, attack_expected(stage, attack), "an address of the kernel's");
    else if (message != NULL)
        stage_note(stage, "a constant: 0x%llx", (unsigned long long)message[0]);
    else
        stage_judge(stage, attack_expected(stage, attack), "");
}

#define STOPPED {.is_fault = 1, .signals = 1u << SIGSEGV | 1u << SIGILL}
#define PRIVILEGED(NAME)                                                                           \
    {                                                                                              \
        .name = "privileged_" #NAME, .mechanism = {"ring 3", "ring 3"}, .guest = &guest_##NAME, \
        .options = {.is_unscanned = 1}, .process = STOPPED, .kvm = STOPPED                         \
    }
// Making it fault would cost up to 10 us at each switch to and from an instance.
#define SOFTWARE "software KVM does not enforce it"
#define ALONE "nothing at run time: the image scan alone keeps it out"
#define CLOCK(NAME, PROCESS, KVM, ...)                                                             \
    {                                                                                              \
        .name = "clock_" #NAME, .mechanism = {PROCESS, KVM}, .guest = &guest_##NAME, \
        .options = {.is_unscanned = 1}, .process = STOPPED, .kvm = STOPPED, __VA_ARGS__            \
    }

// What an image may not hold, and kvm switches off besides.
#define SWITCHED_OFF(NAME, KVM)                                                                    \
    {                                                                                              \
        .name = "processor_" #NAME, .mechanism = {"image scan", KVM}, .guest = &guest_##NAME,      \
        .options = {.is_unscanned = 1}, .kvm = STOPPED, .alone = ALONE, .not_on_software_kvm = SOFTWARE \
    }

static const struct attack attacks[] = {
    PRIVILEGED(hlt), PRIVILEGED(cli), PRIVILEGED(sti), PRIVILEGED(in_keyboard), PRIVILEGED(in_pci),
    PRIVILEGED(out_reset), PRIVILEGED(ins_string), PRIVILEGED(outs_string), PRIVILEGED(lgdt), PRIVILEGED(lidt),
    PRIVILEGED(lldt), PRIVILEGED(ltr), PRIVILEGED(lmsw), PRIVILEGED(clts), PRIVILEGED(read_cr0), PRIVILEGED(read_cr3),
    PRIVILEGED(write_cr3), PRIVILEGED(write_cr4), PRIVILEGED(read_dr7), PRIVILEGED(write_dr0), PRIVILEGED(invlpg),
    PRIVILEGED(invpcid), PRIVILEGED(invd), PRIVILEGED(wbinvd), PRIVILEGED(rdmsr), PRIVILEGED(wrmsr),
    PRIVILEGED(swapgs), PRIVILEGED(clac), PRIVILEGED(monitor), PRIVILEGED(mwait), PRIVILEGED(xsetbv),
    PRIVILEGED(xsaves), PRIVILEGED(vmlaunch), PRIVILEGED(vmxoff), PRIVILEGED(vmrun), PRIVILEGED(vmfunc),
    PRIVILEGED(getsec), PRIVILEGED(encls), PRIVILEGED(rsm), PRIVILEGED(sysret), PRIVILEGED(sysexit),
    PRIVILEGED(wrusss),
    CLOCK(rdtsc, "image scan", "TSC_FAULT", .alone = ALONE, .not_on_software_kvm = SOFTWARE),
    CLOCK(rdtscp, "image scan", "TSC_FAULT", .alone = ALONE, .not_on_software_kvm = SOFTWARE),
    CLOCK(rdpmc, "CR4.PCE is off", "CR4.PCE is off"),
    SWITCHED_OFF(cpuid, "cpuid faults"), SWITCHED_OFF(xgetbv, "CR4.OSXSAVE is off"),
    SWITCHED_OFF(rdfsbase, "CR4.FSGSBASE is off"), SWITCHED_OFF(wrgsbase, "CR4.FSGSBASE is off"),
    {.name = "kernel_address_sgdt", .mechanism = {"UMIP", "UMIP"}, .guest = &guest_sgdt,
     .options = {.is_unscanned = 1}, .process = STOPPED,
     .kvm = STOPPED, .play = play_table_address},
    {.name = "kernel_address_sidt", .mechanism = {"UMIP", "UMIP"}, .guest = &guest_sidt,
     .options = {.is_unscanned = 1}, .process = STOPPED,
     .kvm = STOPPED, .play = play_table_address},
};

struct attack_table attacks_processor(void)
{
    return (struct attack_table){"privileged instructions, ports, clocks", attacks, sizeof attacks / sizeof attacks[0]};
}
