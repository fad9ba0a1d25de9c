// SPDX-License-Identifier: ISC
// Memory of the machine, guest physical = guest linear, all below 2 MiB and mapped by one page table:
//   0x01000  page tables: four pages              ring 0
//   0x05000  GDT, task state segment              ring 0
//   0x06000  IDT: 32 gates, for ring 0 only       ring 0
//   0x07000  stack of ring 0                      ring 0
//   0x08000  32 halts, gate i leads to the i-th   ring 0
//   0x10000  code                                 ring 3, slot read-only
//   0x20000  data                                 ring 3, not executable
//   0x30000  hole: mapped, but no memory there    ring 3
// So a fault ends in the halt that its vector names, with the frame on the stack of ring 0.
#include "host/kvm_guest.h"

#include "core/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES 0x30000u
#define TABLES 0x1000u
#define GDT 0x5000u
#define TSS 0x5800u
#define TSS_BYTES 0x68u
#define IDT 0x6000u
#define STACK_TOP 0x8000u
#define HALTS 0x8000u
#define VECTORS 32u

#define PTE_PRESENT 1u
#define PTE_WRITE 2u
#define PTE_USER 4u
#define PTE_NX (UINT64_C(1) << 63)

#define CR0 0x80050033u // protected mode, paging, write protection, no FPU emulation
#define CR4_TSD 0x4u
#define CR4_BASE 0x6a0u // PAE, PGE, OSFXSR, OSXMMEXCPT
#define CR4_OSXSAVE 0x40000u
#define EFER_BASE 0x500u // long mode; no syscall instruction
#define EFER_NX 0x800u
#define XCR0_X87 1u // SSE needs no bit without OSXSAVE
#define XCR0_AVX 7u
#define FLAGS 0x2u // no interrupts, I/O privilege 0
#define CPUID_ENTRIES 128
#define MSR_MISC_FEATURES 0x140u // bit 0: cpuid in ring 3 is a general protection fault

static void put(struct kvm_guest *guest, uint32_t address, uint64_t value)
{
    memcpy(guest->memory + address, &value, sizeof value);
}

static void write_tables(struct kvm_guest *guest)
{
    uint64_t user = PTE_PRESENT | PTE_WRITE | PTE_USER;
    uint64_t own = PTE_PRESENT | PTE_WRITE | (guest->walls & KVM_GUEST_USER ? 0 : PTE_USER);
    uint64_t no_execute = guest->walls & KVM_GUEST_NX ? PTE_NX : 0;
    uint32_t table = TABLES + 0x3000;
    for (uint32_t level = 0; level < 3; level++)
        put(guest, TABLES + level * 0x1000, (TABLES + (level + 1) * 0x1000) | user);
    for (uint32_t page = TABLES; page <= HALTS; page += 0x1000)
        put(guest, table + page / 0x1000 * 8, page | own);
    put(guest, table + KVM_GUEST_CODE / 0x1000 * 8, KVM_GUEST_CODE | user);
    put(guest, table + KVM_GUEST_DATA / 0x1000 * 8, KVM_GUEST_DATA | user | no_execute);
    put(guest, table + KVM_GUEST_HOLE / 0x1000 * 8, KVM_GUEST_HOLE | user | no_execute);
}

static void write_descriptors(struct kvm_guest *guest)
{
    put(guest, GDT + 0x10, 0x00af9b000000ffff); // code of ring 0
    put(guest, GDT + 0x18, 0x00cf93000000ffff);
    put(guest, GDT + 0x28, 0x00cff3000000ffff); // data of ring 3
    put(guest, GDT + 0x30, 0x00affb000000ffff); // code of ring 3
    put(guest, GDT + 0x40, 0x00008b0000000000 | (TSS_BYTES - 1) | (uint64_t)TSS << 16);
    put(guest, TSS + 4, STACK_TOP);
    put(guest, TSS + 0x66, TSS_BYTES); // no I/O bitmap: it would begin behind the end
    for (uint32_t i = 0; i < VECTORS; i++) {
        uint64_t halt = HALTS + i;
        put(guest, IDT + i * 16, halt | 0x10u << 16 | UINT64_C(0x8e00) << 32); // interrupt gate, ring 0 only
    }
    memset(guest->memory + HALTS, 0xf4, VECTORS);
}

static enum status add_slot(int vm, uint32_t slot, uint32_t flags, uint8_t *memory, uint32_t begin, uint32_t end)
{
    struct kvm_userspace_memory_region region = {.slot = slot,
                                                 .flags = flags,
                                                 .guest_phys_addr = begin,
                                                 .memory_size = end - begin,
                                                 .userspace_addr = (uintptr_t)memory + begin};
    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0 ? STATUS_OK : STATUS_SYSTEM;
}

struct cpuid {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[CPUID_ENTRIES];
};

static enum status set_cpuid(struct kvm_guest *guest, int kvm)
{
    static const struct kvm_cpuid_entry2 ours[] = {
        {.function = 0, .eax = 7, .ebx = 0x6e657243, .edx = 0x72436c65, .ecx = 0x6c656e65}, // "CrenelCrenel"
        {.function = 1, .edx = 0x0788a379}, // fpu pse tsc msr pae mce cx8 apic pge mca cmov pat clfsh mmx fxsr sse sse2
        {.function = 7},
        {.function = 0x80000000, .eax = 0x80000008},
        {.function = 0x80000001, .edx = 0x20100000}, // long mode, no-execute
        {.function = 0x80000008, .eax = 0x3024},     // 48 bits linear, 36 physical
    };
    struct cpuid table = {.head.nent = CPUID_ENTRIES};
    if (guest->walls & KVM_GUEST_CPUID) {
        table.head.nent = sizeof ours / sizeof ours[0];
        memcpy(table.entries, ours, sizeof ours);
    } else if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &table) != 0)
        return STATUS_SYSTEM;
    return ioctl(guest->vcpu, KVM_SET_CPUID2, &table) == 0 ? STATUS_OK : STATUS_SYSTEM;
}

enum status kvm_guest_open(struct kvm_guest *guest, int kvm, unsigned walls, const char **step)
{
    *guest = (struct kvm_guest){.vm = -1, .vcpu = -1, .memory = MAP_FAILED, .run = MAP_FAILED, .walls = walls};
    *step = "memory";
    guest->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (guest->memory == MAP_FAILED || size <= 0)
        goto refused;
    guest->run_bytes = (size_t)size;
    *step = "a virtual machine";
    if ((guest->vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
        goto refused;
    *step = "its memory";
    uint32_t readonly = walls & KVM_GUEST_READONLY ? KVM_MEM_READONLY : 0;
    if (add_slot(guest->vm, 0, 0, guest->memory, TABLES, KVM_GUEST_CODE) != STATUS_OK ||
        add_slot(guest->vm, 1, readonly, guest->memory, KVM_GUEST_CODE, KVM_GUEST_CODE + 0x1000) != STATUS_OK ||
        add_slot(guest->vm, 2, 0, guest->memory, KVM_GUEST_DATA, KVM_GUEST_DATA + 0x1000) != STATUS_OK)
        goto refused;
    *step = "a processor";
    if ((guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0)) < 0 ||
        (guest->run = mmap(NULL, guest->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0)) ==
            MAP_FAILED)
        goto refused;
    *step = "its CPUID table";
    if (set_cpuid(guest, kvm) != STATUS_OK)
        goto refused;
    return STATUS_OK;
refused:
    kvm_guest_close(guest);
    return STATUS_SYSTEM;
}

void kvm_guest_close(struct kvm_guest *guest)
{
    int error = errno;
    if (guest->run != MAP_FAILED)
        munmap(guest->run, guest->run_bytes);
    if (guest->vcpu >= 0)
        close(guest->vcpu);
    if (guest->vm >= 0)
        close(guest->vm);
    if (guest->memory != MAP_FAILED)
        munmap(guest->memory, MEMORY_BYTES);
    errno = error;
}

static void fill_sregs(struct kvm_sregs *sregs, unsigned walls)
{
    int is_user = (walls & KVM_GUEST_RING_3) != 0;
    uint8_t ring = is_user ? 3 : 0;
    struct kvm_segment data = {.limit = 0xffffffff, .selector = is_user ? 0x2b : 0x18, .type = 3, .present = 1,
                               .dpl = ring, .db = 1, .s = 1, .g = 1};
    struct kvm_segment code = {.limit = 0xffffffff, .selector = is_user ? 0x33 : 0x10, .type = 11, .present = 1,
                               .dpl = ring, .s = 1, .l = 1, .g = 1};
    sregs->cs = code;
    sregs->ss = sregs->ds = sregs->es = sregs->fs = sregs->gs = data;
    sregs->tr = (struct kvm_segment){.base = TSS, .limit = TSS_BYTES - 1, .selector = 0x40, .type = 11, .present = 1};
    sregs->ldt = (struct kvm_segment){.unusable = 1};
    sregs->gdt = (struct kvm_dtable){.base = GDT, .limit = 0x4f};
    sregs->idt = (struct kvm_dtable){.base = IDT, .limit = VECTORS * 16 - 1};
    sregs->cr0 = CR0;
    sregs->cr2 = 0;
    sregs->cr3 = TABLES;
    sregs->cr4 = CR4_BASE | (walls & KVM_GUEST_TSD ? CR4_TSD : 0) | (walls & KVM_GUEST_NO_XSAVE ? 0 : CR4_OSXSAVE);
    sregs->efer = EFER_BASE | (walls & KVM_GUEST_NX ? EFER_NX : 0);
}

enum status kvm_guest_load(struct kvm_guest *guest, const uint8_t *code, size_t size)
{
    check(size <= KVM_GUEST_CODE_MAX);
    struct kvm_run *run = guest->run;
    run->immediate_exit = 1; // the last run may have left a store half done: KVM ends it first
    while (ioctl(guest->vcpu, KVM_RUN, 0) == 0)
        ;
    run->immediate_exit = 0;
    if (errno != EINTR)
        return STATUS_SYSTEM;
    memset(guest->memory + GDT, 0, KVM_GUEST_CODE - GDT);
    memset(guest->memory + KVM_GUEST_DATA, 0, 0x1000);
    memset(guest->memory + KVM_GUEST_CODE, 0xf4, 0x1000);
    memcpy(guest->memory + KVM_GUEST_CODE, code, size);
    write_tables(guest);
    write_descriptors(guest);
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = KVM_GUEST_CODE, .rsp = KVM_GUEST_DATA + 0xf00, .rdi = KVM_GUEST_HOLE,
                            .rsi = KVM_GUEST_DATA, .rbx = KVM_GUEST_CODE, .rbp = KVM_GUEST_SUPERVISOR, .rflags = FLAGS};
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0].value = guest->walls & KVM_GUEST_NO_XSAVE ? XCR0_X87 : XCR0_AVX};
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } faults = {{.nmsrs = 1}, {.index = MSR_MISC_FEATURES, .data = (guest->walls & KVM_GUEST_CPUID_FAULTS) != 0}};
    if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs) != 0 || ioctl(guest->vcpu, KVM_SET_MSRS, &faults) != 1)
        return STATUS_SYSTEM;
    fill_sregs(&sregs, guest->walls);
    if (ioctl(guest->vcpu, KVM_SET_SREGS, &sregs) != 0 || ioctl(guest->vcpu, KVM_SET_XCRS, &xcrs) != 0 ||
        ioctl(guest->vcpu, KVM_SET_REGS, &regs) != 0)
        return STATUS_SYSTEM;
    return STATUS_OK;
}

// A halt in ring 0 is the end of an exception. The frame on the stack tells the rest.
static enum status read_fault(struct kvm_guest *guest, struct kvm_guest_outcome *outcome)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    if (ioctl(guest->vcpu, KVM_GET_REGS, &regs) != 0 || ioctl(guest->vcpu, KVM_GET_SREGS, &sregs) != 0)
        return STATUS_SYSTEM;
    if (regs.rip <= HALTS || regs.rip > HALTS + VECTORS)
        return STATUS_OK; // a halt that was none of ours
    outcome->end = KVM_GUEST_FAULTED;
    outcome->vector = (uint32_t)(regs.rip - HALTS - 1);
    if (regs.rsp >= GDT && regs.rsp <= STACK_TOP - 8)
        memcpy(&outcome->error_code, guest->memory + regs.rsp, sizeof outcome->error_code);
    outcome->address = sregs.cr2;
    return STATUS_OK;
}

enum status kvm_guest_run(struct kvm_guest *guest, struct kvm_guest_outcome *outcome)
{
    struct kvm_run *run = guest->run;
    int code;
    do
        code = ioctl(guest->vcpu, KVM_RUN, 0);
    while (code != 0 && errno == EINTR);
    if (code != 0)
        return STATUS_SYSTEM;
    *outcome = (struct kvm_guest_outcome){.end = KVM_GUEST_OTHER, .reason = run->exit_reason};
    if (run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write) {
        outcome->end = run->mmio.phys_addr == KVM_GUEST_HOLE ? KVM_GUEST_CALLED : KVM_GUEST_STORED;
        outcome->address = run->mmio.phys_addr;
        memcpy(&outcome->value, run->mmio.data, sizeof outcome->value);
    }
    return run->exit_reason == KVM_EXIT_HLT ? read_fault(guest, outcome) : STATUS_OK;
}
