// SPDX-License-Identifier: ISC
// A machine is: memory slots (pages.h), one processor in long mode at ring 3, and nothing else: no device, no
// firmware, no interrupt controller, no port, no address that leads out. It stops when ring 0's `hlt` runs,
// which is the only instruction that ring 0 has.
//
// Each time that the guest gets its turn, the host loads all general, segment and control registers and pending
// events with constants. What is switched off, in CR4, EFER and CPUID, is so from the start: AVX and everything
// behind XSAVE, the segment bases' instructions, `rdtsc`, `rdpmc`, `cpuid`, `syscall`. A KVM that does not enforce
// one of these lets the guest run it, and is named by `crenel doctor`.
#include "tender/kvm/machine.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "tender/kvm/gate.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CR0 0x80050033u // PG AM WP NE ET MP PE
#define CR4 (0x620u | (MECHANISM(TSC_FAULT) ? 4u : 0)) // TSD PAE OSFXSR OSXMMEXCPT
#define CR4_UMIP 0x800u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define EFER 0xd00u          // LME LMA NXE; no SCE
#define RFLAGS 0x202u
#define APIC_BASE 0xfee00900u // as after reset; there is none
#define MSR_MISC_FEATURES 0x140u
#define CPUID_FAULTS 1u // cpuid in ring 3 is #GP

#define FIXED_FLAGS (MECHANISM(TEXT_READ_ONLY) && MECHANISM(CONSTANTS_READ_ONLY) ? KVM_MEM_READONLY : 0)
#define SHOWN_FLAGS (MECHANISM(INPUT_READ_ONLY) ? KVM_MEM_READONLY : 0)

#define SUPPORTED_MAX 256u
#define HAS_SMEP (1u << 7)
#define HAS_SMAP (1u << 20)
#define HAS_UMIP (1u << 2)

// Exceptions that push an error code: #DF #TS #NP #SS #GP #PF #AC #CP #VC #SX.
#define WITH_ERROR_CODE 0x60227d00u

_Static_assert(KVM_HALT_BYTES == 8 && KVM_VECTORS * KVM_HALT_BYTES + KVM_HALTS <= LAYOUT_PAGE, "stub");

// The x86-64 baseline, and what the bits in CR4 need. Ring 3 cannot ask for it; KVM looks at it.
static void make_cpuid(struct machine_host *host, const struct kvm_cpuid2 *supported)
{
    uint32_t ebx = 0, ecx = 0, address_bits = 0x3024;
    for (uint32_t i = 0; i < supported->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &supported->entries[i];
        if (entry->function == 7 && entry->index == 0) {
            ebx = entry->ebx & (HAS_SMEP | HAS_SMAP);
            ecx = entry->ecx & HAS_UMIP;
        } else if (entry->function == 0x80000008) {
            address_bits = 0x3000 | (entry->eax & 0xff); // KVM wants the host's physical width
        }
    }
    const struct kvm_cpuid_entry2 entries[MACHINE_CPUID_ENTRIES] = {
        {.function = 0, .eax = 7},
        // FPU TSC MSR PAE CX8 PGE CMOV MMX FXSR SSE SSE2
        {.function = 1, .edx = 0x0780a171},
        {.function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ebx = ebx, .ecx = ecx},
        {.function = 0x80000001, .edx = 1u << 20 | 1u << 29}, // NX, long mode
        {.function = 0x80000008, .eax = address_bits},
    };
    host->cpuid.head.nent = MACHINE_CPUID_ENTRIES;
    memcpy(host->cpuid.entries, entries, sizeof entries);
    host->cr4 = CR4 | (ebx & HAS_SMEP ? CR4_SMEP : 0) | (ebx & HAS_SMAP ? CR4_SMAP : 0) |
                (ecx & HAS_UMIP ? CR4_UMIP : 0);
}

const char *machine_host_open(struct machine_host *host, int kvm_fd)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[SUPPORTED_MAX];
    } supported;
    const int wanted = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    *host = (struct machine_host){.kvm_fd = kvm_fd};
    errno = ENOTSUP;
    if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0 ||
        ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) <= 0 ||
        (ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & wanted) != wanted)
        return "this KVM is too old (it lacks KVM_CAP_SYNC_REGS, READONLY_MEM or IMMEDIATE_EXIT)";
    int run_bytes = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_bytes < (int)sizeof(struct kvm_run))
        return "asking KVM for the size of a processor's page";
    host->run_bytes = (size_t)run_bytes;
    supported.head.nent = SUPPORTED_MAX;
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &supported) != 0)
        return "asking KVM what it can give";
    make_cpuid(host, &supported.head);
    return NULL;
}

static int add_memory(const struct machine *machine, uint32_t slot, uint64_t guest, const uint8_t *bytes,
                      uint64_t size, uint32_t flags)
{
    const struct kvm_userspace_memory_region region = {slot, flags, guest, size, (uint64_t)(uintptr_t)bytes};
    return ioctl(machine->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static const char *make(struct machine *machine, const struct machine_host *host,
                        const struct machine_memory *memory)
{
    const struct pages *pages = memory->pages;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } faulting = {{.nmsrs = 1}, {.index = MSR_MISC_FEATURES, .data = CPUID_FAULTS}};
    machine->vm_fd = ioctl(host->kvm_fd, KVM_CREATE_VM, 0);
    if (machine->vm_fd < 0)
        return "making a virtual machine";
    if (add_memory(machine, 0, KVM_FIXED, pages->fixed, pages->fixed_bytes, FIXED_FLAGS) != 0 ||
        add_memory(machine, 1, KVM_TABLES, pages->tables, pages->table_bytes, 0) != 0 ||
        add_memory(machine, 2, KVM_FRAME, memory->frame, LAYOUT_PAGE, 0) != 0 ||
        add_memory(machine, 3, KVM_SHOWN, memory->slice, memory->shown_bytes, SHOWN_FLAGS) != 0 ||
        add_memory(machine, 4, KVM_SLICE, memory->slice + memory->shown_bytes,
                   memory->slice_bytes - memory->shown_bytes, 0) != 0)
        return "giving memory to a virtual machine";
    machine->vcpu_fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, 0);
    if (machine->vcpu_fd < 0 || ioctl(machine->vcpu_fd, KVM_SET_CPUID2, &host->cpuid) != 0)
        return "making a virtual processor";
    if (ioctl(machine->vcpu_fd, KVM_SET_MSRS, &faulting) != 1)
        return "making cpuid fault";
    machine->run = mmap(NULL, machine->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu_fd, 0);
    if (machine->run == MAP_FAILED) {
        machine->run = NULL;
        return "mapping a virtual processor";
    }
    machine->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    return NULL;
}

const char *machine_open(struct machine *machine, const struct machine_host *host,
                         const struct machine_memory *memory)
{
    *machine = (struct machine){-1, -1, NULL, host->run_bytes, memory->frame};
    const char *step = make(machine, host, memory);
    if (step != NULL) {
        int error = errno;
        machine_close(machine);
        errno = error;
        return step;
    }
    struct kvm_sregs *special = &machine->run->s.regs.sregs;
    *special = (struct kvm_sregs){
        // ds, es, fs and gs hold nothing, as in the process tender
        .cs = {.limit = ~0u, .selector = KVM_CODE_3, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1},
        .ss = {.limit = ~0u, .selector = KVM_DATA_3, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1},
        .ds = {.unusable = 1}, .es = {.unusable = 1}, .fs = {.unusable = 1}, .gs = {.unusable = 1},
        .ldt = {.unusable = 1},
        .tr = {.base = KVM_STUB + KVM_TSS, .limit = KVM_TSS_BYTES - 1, .selector = KVM_TASK, .type = 11, .present = 1},
        .gdt = {.base = KVM_STUB + KVM_GDT, .limit = KVM_GDT_BYTES - 1},
        .idt = {.base = KVM_STUB + KVM_IDT, .limit = KVM_VECTORS * 16 - 1},
        .cr0 = CR0, .cr3 = KVM_TABLES, .cr4 = host->cr4, .efer = EFER, .apic_base = APIC_BASE,
    };
    return NULL;
}

void machine_close(struct machine *machine)
{
    if (machine->run != NULL)
        check(munmap(machine->run, machine->run_bytes) == 0);
    if (machine->vcpu_fd >= 0)
        close(machine->vcpu_fd);
    if (machine->vm_fd >= 0)
        close(machine->vm_fd);
    *machine = (struct machine){.vm_fd = -1, .vcpu_fd = -1};
}

// What the processor pushed when it entered ring 0, from below: rip, cs, rflags, rsp, ss; below them an error code.
static uint64_t pushed(const struct machine *machine, int place)
{
    uint64_t word;
    memcpy(&word, machine->frame + LAYOUT_PAGE + (place - 5) * (int)sizeof word, sizeof word);
    return word;
}

enum status machine_enter(struct machine *machine, const struct layout *layout, uint64_t stack_pointer,
                          int is_pristine)
{
    struct kvm_sync_regs *registers = &machine->run->s.regs;
    if (MECHANISM(CLEAN_REGISTERS))
        registers->regs = (struct kvm_regs){.rflags = RFLAGS};
    else
        registers->regs.rflags = pushed(machine, 2) | RFLAGS;
    registers->regs.rip = layout->gate + (uint64_t)(kvm_gate_return - kvm_gate_begin);
    registers->regs.rsp = stack_pointer;
    registers->regs.rdi = layout->boot;
    registers->events = (struct kvm_vcpu_events){0};
    machine->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    // FCW, MXCSR, and that x87 and SSE are given: all other components become initial.
    static const struct kvm_xsave initial = {.region = {[0] = 0x37f, [24 / 4] = 0x1f80, [512 / 4] = 3}};
    if (MECHANISM(CLEAN_REGISTERS) && is_pristine &&
        ioctl(machine->vcpu_fd, KVM_SET_XSAVE, &initial) != 0)
        return STATUS_SYSTEM;
    return STATUS_OK;
}

static unsigned vector_of(const struct machine *machine)
{
    uint64_t offset = machine->run->s.regs.regs.rip - (KVM_STUB + KVM_HALTS);
    return machine->run->exit_reason == KVM_EXIT_HLT && offset < KVM_VECTORS * KVM_HALT_BYTES
               ? (unsigned)(offset / KVM_HALT_BYTES)
               : KVM_VECTORS;
}

enum machine_stop machine_run(struct machine *machine, const struct layout *layout)
{
    if (ioctl(machine->vcpu_fd, KVM_RUN, 0) != 0)
        return errno == EINTR || errno == EAGAIN ? MACHINE_INTERRUPTED : MACHINE_LOST;
    if (machine->run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        errno = EINVAL; // nothing that ring 3 does makes the processor refuse to enter
        return MACHINE_LOST;
    }
    return vector_of(machine) == KVM_BREAKPOINT &&
                   pushed(machine, 0) == layout->gate + (uint64_t)(kvm_gate_return - kvm_gate_begin)
               ? MACHINE_WAITS
               : MACHINE_FAULTS;
}

uint64_t machine_stack_pointer(const struct machine *machine) { return pushed(machine, 3); }

void machine_fault(const struct machine *machine, struct machine_fault *fault)
{
    const struct kvm_regs *registers = &machine->run->s.regs.regs;
    struct kvm_sregs special;
    *fault = (struct machine_fault){.vector = vector_of(machine), .exit = machine->run->exit_reason,
                                    .rip = registers->rip, .rsp = registers->rsp, .rbp = registers->rbp};
    if (fault->vector == KVM_VECTORS)
        return;
    fault->rip = pushed(machine, 0);
    fault->rsp = pushed(machine, 3);
    if ((WITH_ERROR_CODE >> fault->vector & 1) != 0)
        fault->error = pushed(machine, -1);
    if (ioctl(machine->vcpu_fd, KVM_GET_SREGS, &special) == 0)
        fault->address = special.cr2;
}
