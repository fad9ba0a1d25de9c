// SPDX-License-Identifier: ISC
// The kvm wall: what every wall must pass, and what a captured guest finds in a virtual machine: no instruction
// that tells it anything, no way to ring 0, tables that lead nowhere else, and nothing of an earlier event.
//
// A software KVM does not enforce all that hardware does. What it lets a guest do is skipped by name there, and
// is an error where the processor has virtualization.
#include "tests/unit/wall_checks.h"

#include "tender/kvm/gate.h"
#include "tender/kvm/machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static int is_hardware(void)
{
    static char flags[65536];
    FILE *file = fopen("/proc/cpuinfo", "re");
    check(file != NULL);
    size_t size = fread(flags, 1, sizeof flags - 1, file);
    fclose(file);
    flags[size] = 0;
    return (strstr(flags, " vmx") != NULL || strstr(flags, " svm") != NULL) && access("/sys/module/kvm_pvm", F_OK) != 0;
}

// ---- instructions

#define ROW_BYTES 32
// Where a row goes on that was not refused.
GUEST static void guest_publish(const struct abi_boot *boot)
{
    WAIT(boot);
    HANG();
}

// A row of the table: an instruction that must be refused; behind it, the way to "it was not".
#define ROW(text) ".balign 32, 0x90\n " text "\n jmp kvm_test_not_refused\n"
__asm__(".pushsection guest_text, \"ax\", @progbits\n .balign 32\n .global kvm_test_rows\n kvm_test_rows:\n"
        ROW("rdtsc") ROW("rdtscp") ROW("cpuid") ROW("rdpmc") ROW("syscall") ROW("sysenter") ROW("int $0x80")
        ROW("int $4") ROW("int $32") ROW("hlt") ROW("cli") ROW("sti") ROW("in $0x80, %al") ROW("out %al, $0x80")
        ROW("insb") ROW("outsb") ROW("lgdt (%rsp)") ROW("lidt (%rsp)") ROW("lldt %ax") ROW("ltr %ax") ROW("clts")
        ROW("mov %cr0, %rax") ROW("mov %rax, %cr3") ROW("mov %rax, %cr4") ROW("mov %rax, %cr8") ROW("mov %rax, %dr7")
        ROW("rdmsr") ROW("wrmsr") ROW("invd") ROW("wbinvd") ROW("invlpg (%rsp)") ROW("swapgs") ROW("sysretq")
        ROW("push $0x10\n push %rax\n lretq") ROW("push $0x23\n push %rax\n lretq") ROW("mov $0x10, %eax\n mov %eax, %ss")
        ROW("xor %ecx, %ecx\n xgetbv") ROW("and $-64, %rsp\n xsave (%rsp)") ROW("vaddps %ymm0, %ymm1, %ymm2")
        ROW("vpxorq %zmm0, %zmm1, %zmm2") ROW("wrfsbase %rax") ROW("rdgsbase %rax") ROW("rdpid %rax")
        ROW("xor %ecx, %ecx\n xor %edx, %edx\n wrpkru") ROW("monitor") ROW("clac")
        "kvm_test_not_refused:\n mov %r12, %rdi\n jmp guest_publish\n .popsection\n");

static const char *const rows[] = {
    "rdtsc", "rdtscp", "cpuid", "rdpmc", "syscall", "sysenter", "int_80", "int_4", "int_32", "hlt", "cli", "sti",
    "in", "out", "ins", "outs", "lgdt", "lidt", "lldt", "ltr", "clts", "read_cr0", "write_cr3", "write_cr4",
    "write_cr8", "write_dr7", "rdmsr", "wrmsr", "invd", "wbinvd", "invlpg", "swapgs", "sysret", "to_ring_0",
    "to_32_bits", "ring_0_stack", "xgetbv", "xsave", "avx", "avx512", "wrfsbase", "rdgsbase", "rdpid", "wrpkru",
    "monitor", "clac"};
// What a software KVM has been seen to let through: enforced by hardware only.
static const char soft[] = " rdtsc rdtscp cpuid xgetbv xsave avx avx512 wrfsbase rdgsbase rdpid ";

// Jumps to a row of the table; publishes when that came back.
GUEST static void guest_row(const struct abi_boot *boot)
{
    WAIT(boot);
    uint64_t row = *(const volatile uint64_t *)(uintptr_t)boot->input;
    register const struct abi_boot *kept __asm__("r12") = boot; // cpuid writes rbx
    __asm__ volatile("lea kvm_test_rows(%%rip), %%rcx\n add %%rax, %%rcx\n xor %%eax, %%eax\n jmp *%%rcx"
                     : : "a"(row * ROW_BYTES), "r"(kept) : "rcx", "memory");
    HANG();
}

static void run_rows(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[40], word[40];
        snprintf(name, sizeof name, "refused_%s", rows[i]);
        snprintf(word, sizeof word, " %s ", rows[i]);
        check(fresh(guest_row));
        show_words((const uint64_t[]){i}, 1);
        enum outcome found = outcome(LIMIT_MS);
        if (found == CRASHED)
            printf("ok %s\n", name);
        else if (!is_hardware() && strstr(soft, word) != NULL)
            printf("skip %s - this KVM is software and does not enforce it\n", name);
        else
            printf("not ok %s - it was %s\n", name, found == PUBLISHED ? "carried out" : "not ended"), test_failures++;
    }
}

// ---- ring 0 and the tables

static void expect_unreachable(uint64_t address)
{
    expect(touch(address, 0) == CRASHED && last_crash.signal == SIGSEGV);
    expect(touch(address, 1) == CRASHED && last_crash.signal == SIGSEGV);
    const uint64_t words[PROBE_WORDS] = {address};
    expect(jump(words, LIMIT_MS) == CRASHED && last_crash.signal == SIGSEGV);
}

TEST(ring_0_is_out_of_reach)
{
    const uint64_t addresses[] = {KVM_STUB, KVM_STUB + KVM_HALTS, KVM_STACK, KVM_STACK_END, KVM_FIXED, KVM_TABLES,
                                  KVM_FRAME, KVM_SHOWN, KVM_SLICE, 0, 0x7ffffffff000, 0xffff800000000000,
                                  0x800000000000}; // the last: no address at all
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        expect_unreachable(addresses[i]);
}

struct walk {
    const struct pages *pages;
    unsigned leaves, executable, upper;
};

// Every entry of every table: what docs/tender.md says of them.
static void walk_table(struct walk *walk, uint64_t guest, unsigned level, uint64_t address, uint64_t user)
{
    expect(guest >= KVM_TABLES && guest < KVM_TABLES + walk->pages->table_bytes);
    const uint64_t *table = (const uint64_t *)(const void *)(walk->pages->tables + (guest - KVM_TABLES));
    for (uint64_t i = 0; i < 512; i++) {
        uint64_t entry = table[i], to = entry & 0xffffffffff000u, at = address | i << (12 + 9 * level);
        if (entry == 0)
            continue;
        int is_upper = (int)(at >> 47 & 1);
        expect((entry & 0x21) == 0x21 && (entry & 0x98) == 0); // present, accessed; no large page, no odd memory type
        expect(((entry & user) >> 2 & 1) == !is_upper);
        if (level != 0) {
            walk_table(walk, to, level - 1, at, entry & user);
            continue;
        }
        int is_writable = (entry & 2) != 0, is_executable = entry >> 63 == 0;
        walk->leaves++;
        walk->executable += (unsigned)is_executable;
        walk->upper += (unsigned)is_upper;
        expect((entry & 0x40) != 0);            // dirty
        expect(!(is_writable && is_executable));
        expect(to < KVM_TABLES || to >= KVM_FRAME); // no way to the tables
        expect(is_upper == (to == KVM_FIXED || to == KVM_FRAME));
        expect(!is_writable || to == KVM_FRAME || to >= KVM_SLICE);
        expect(!is_executable || to < KVM_TABLES);
    }
}

TEST(tables_lead_nowhere_else)
{
    struct pages pages;
    struct walk walk = {.pages = &pages};
    make_image(guest_echo);
    for (uint64_t random = 0; random < 1000; random += 37) {
        expect(pages_make(&pages, &image, random * 0x9e3779b97f4a7c15u) == STATUS_OK);
        walk = (struct walk){.pages = &pages};
        walk_table(&walk, KVM_TABLES, 3, 0, 4);
        // Text, gate, stub; and in ring 0 the stub and its stack.
        expect(walk.executable == image.span_bytes / 4096 + 2 && walk.upper == 2);
        pages_free(&pages);
    }
}

// Should the tables be wrong, the slot still is read-only. (Nobody's tables are edited after a machine has run.)
GUEST static void guest_write_own_text(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint8_t *text;
    __asm__("lea guest_publish(%%rip), %0" : "=r"(text));
    *text = 0xf4;
    WAIT(boot);
    HANG();
}

static uint64_t *leaf_of(struct pages *pages, uint64_t address)
{
    uint64_t guest = KVM_TABLES;
    for (unsigned level = 3;; level--) {
        uint64_t *entry = (uint64_t *)(void *)(pages->tables + (guest - KVM_TABLES)) + (address >> (12 + 9 * level)) % 512;
        if (level == 0)
            return entry;
        guest = *entry & 0xffffffffff000u;
    }
}

TEST(text_is_read_only_even_with_wrong_tables)
{
    static struct machine_host host;
    struct pages pages;
    struct machine machine;
    uint8_t *frame = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t offset = (uint64_t)((const uint8_t *)(uintptr_t)guest_publish - __start_guest_text);
    make_image(guest_write_own_text);
    expect(frame != MAP_FAILED && machine_host_open(&host, open("/dev/kvm", O_RDWR | O_CLOEXEC)) == NULL);
    for (int is_wrong = 0; is_wrong < 2; is_wrong++) {
        struct machine_fault fault;
        expect(pages_make(&pages, &image, 7) == STATUS_OK);
        if (is_wrong)
            *leaf_of(&pages, pages.layout.image + offset) |= 2;
        const uint8_t *text = pages.fixed + pages.fixed_bytes - pages.layout.image_bytes + offset;
        uint8_t before = *text;
        guest_memory_begin(&memory, &image, &pages.layout);
        expect(guest_memory_restore(&memory, 0) == STATUS_OK);
        const struct machine_memory parts = {&pages, frame, memory.bytes, ABI_BOOT_BYTES + ABI_INPUT_BYTES,
                                             memory.slice_bytes};
        guest_memory_boot(&memory, 0, &pages.layout, NULL, 0);
        expect(machine_open(&machine, &host, &parts) == NULL);
        expect(machine_enter(&machine, &pages.layout, memory.resume, 0) == STATUS_OK);
        expect(machine_run(&machine, &pages.layout) == MACHINE_WAITS);
        expect(machine_enter(&machine, &pages.layout, machine_stack_pointer(&machine), 0) == STATUS_OK);
        expect(machine_run(&machine, &pages.layout) == MACHINE_FAULTS);
        machine_fault(&machine, &fault);
        expect(is_wrong ? fault.vector == KVM_VECTORS : fault.vector == 14);
        expect(*text == before);
        machine_close(&machine);
        pages_free(&pages);
    }
    munmap(frame, 4096);
    close(host.kvm_fd);
}

// ---- the gate

GUEST static void guest_own_int3(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("int3");
    WAIT(boot);
    HANG();
}

TEST(int3_of_its_own) { expect_crash(guest_own_int3, SIGTRAP, "exception 3"); }

// A jump to each byte of the gate: a crash, or a wait() is all that can come of it.
TEST(every_byte_of_the_gate)
{
    check(fresh(guest_jump));
    struct abi_boot boot = boot_of();
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
    unsigned waits = 0;
    for (uint64_t at = 0; at < (uint64_t)(kvm_gate_return - kvm_gate_begin) + 24; at++) {
        const uint64_t words[PROBE_WORDS] = {boot.gate + at, 0x8011, 0, 0, 0, 0};
        waits += jump(words, LIMIT_MS) == PUBLISHED;
    }
    expect(waits >= 8 && waits < 20); // each push, and int3
}

// ---- turns

GUEST static void guest_count(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint64_t *counter = (volatile uint64_t *)(uintptr_t)boot->arena;
    while (*(const volatile uint64_t *)(uintptr_t)boot->input == 1)
        ++*counter;
    ((volatile uint64_t *)(uintptr_t)boot->output)[1] = *counter;
    PUBLISHED(boot) = 8;
    WAIT(boot);
    HANG();
}

static void change_input(uint64_t word)
{
    guest_memory_show(&memory, 0, (const uint8_t *)&word, sizeof word);
}

TEST(examined_while_it_runs)
{
    unsigned seen = 0;
    for (unsigned round = 0; seen < 20 && round < 2000; round++) { // it may not have come out of the gate
        struct link_crash crash = {0};
        expect(begin(guest_count, 0));
        show(0, 1);
        usleep(round * 10);
        wall->calls->examine(wall, 0, &crash);
        expect(crash_instruction(&crash) == UINT64_MAX || crash_instruction(&crash) < image.span_bytes);
        seen += crash_instruction(&crash) != UINT64_MAX;
        expect(crashed == 0 && published == 1 && wall->calls->spent_ms(wall, 0) < 100000);
        wall->calls->kill(wall, 0);
        expect(until(&gone, 1));
    }
    expect(seen == 20);
}

// Signals from outside end nothing.
TEST(signals_from_outside)
{
    expect(begin(guest_count, 0));
    show(0, 1);
    for (int i = 0; i < 50; i++) {
        DIR *tasks = opendir("/proc/self/task");
        check(tasks != NULL);
        for (struct dirent *entry; (entry = readdir(tasks)) != NULL;)
            if (entry->d_name[0] != '.')
                (void)syscall(SYS_tgkill, getpid(), strtol(entry->d_name, NULL, 10), SIGUSR1);
        closedir(tasks);
        usleep(100);
    }
    change_input(2);
    expect(until(&published, 2) && crashed == 0 && gone == 0);
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    check(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

// Killed while it is made, while it runs, while it waits: it ends each time, and nothing stays open.
TEST(killed_at_any_moment)
{
    expect(begin(guest_hang, 0));
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
    unsigned before = count_descriptors();
    for (unsigned i = 0; i < 60; i++) {
        published = crashed = gone = 0;
        wall->calls->create(wall, 0);
        if (i % 3 != 0)
            expect(until(&published, 1));
        if (i % 3 == 2)
            show(0, 0);
        if (i % 2 != 0)
            usleep(i * 10);
        wall->calls->kill(wall, 0);
        expect(until(&gone, 1) && crashed == 0);
    }
    expect(count_descriptors() == before);
}

// An instance of an old base works on, and is not made pristine any more.
TEST(renewed_while_one_lives)
{
    expect(begin(guest_echo, 2));
    wall->calls->renew(wall);
    wall->calls->create(wall, 1);
    expect(until(&published, 2));
    show(2, 5);
    expect(until(&published, 3) && result(2) == 6);
    expect(wall->calls->restore(wall, 2) == 0 && wall->calls->restore(wall, 1) == 1);
    wall->calls->kill(wall, 1);
    wall->calls->kill(wall, 2);
    expect(until(&gone, 2));
}

// ---- pristine

// Input 1: writes a secret wherever it can, and waits. Else: says what it finds.
__asm__(".pushsection guest_text, \"ax\", @progbits\n .balign 32\n"
        "guest_plant:\n"
        " mov $0x5ec2e7, %rax\n movq %rax, %xmm0\n movq %rax, %xmm15\n fld1\n push %rax\n fildq (%rsp)\n pop %rcx\n"
        " mov %rax, %r15\n mov %rax, %r14\n mov %rax, %rbp\n mov $0x2b, %ecx\n mov %ecx, %ds\n mov %ecx, %es\n"
        " mov %ecx, %fs\n mov %ecx, %gs\n movl $0x7f80, -4(%rsp)\n ldmxcsr -4(%rsp)\n std\n jmp *%rbx\n"
        "guest_plant_wide:\n" // what a software KVM does not take away
        " mov $0x5ec2e7, %rax\n wrfsbase %rax\n wrgsbase %rax\n vpbroadcastq %rax, %zmm0\n vpbroadcastq %rax, %zmm31\n"
        " kmovq %rax, %k5\n jmp *%rbx\n"
        "guest_look:\n"
        " pushfq\n pop %rax\n and $0x4ded, %eax\n mov $0x5ec2e7, %edx\n xor %ecx, %ecx\n cmp %rdx, %r15\n sete %cl\n or %rcx, %rax\n"
        " cmp %rdx, %r14\n sete %cl\n or %rcx, %rax\n cmp %rdx, %rbp\n sete %cl\n or %rcx, %rax\n"
        " mov %ds, %ecx\n or %rcx, %rax\n"
        " mov %es, %ecx\n or %rcx, %rax\n mov %fs, %ecx\n or %rcx, %rax\n mov %gs, %ecx\n or %rcx, %rax\n"
        " movq %xmm15, %rcx\n or %rcx, %rax\n movq %xmm0, %rcx\n or %rcx, %rax\n"
        " stmxcsr -4(%rsp)\n mov -4(%rsp), %ecx\n xor $0x1f80, %ecx\n or %rcx, %rax\n"
        " sub $32, %rsp\n fnstenv (%rsp)\n movzwl 8(%rsp), %ecx\n xor $0xffff, %ecx\n or %rcx, %rax\n add $32, %rsp\n ret\n"
        "guest_look_wide:\n"
        " rdfsbase %rax\n rdgsbase %rcx\n or %rcx, %rax\n kmovq %k5, %rcx\n or %rcx, %rax\n"
        " vextracti64x4 $1, %zmm0, %ymm1\n vmovq %xmm1, %rcx\n or %rcx, %rax\n vmovdqu64 %zmm31, %zmm1\n"
        " vmovq %xmm1, %rcx\n or %rcx, %rax\n ret\n .popsection\n");

enum { PLANT = 1, PLANT_WIDE = 2, LOOK = 3, LOOK_WIDE = 4 };

GUEST static void guest_secret(const struct abi_boot *boot)
{
    uint64_t found;
    __asm__ volatile("call *%%rbx\n lea guest_look(%%rip), %%rcx\n call *%%rcx"
                     : "=a"(found) : "b"(boot->gate)
                     : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    volatile uint64_t *output = (volatile uint64_t *)(uintptr_t)boot->output;
    volatile uint64_t *arena = (volatile uint64_t *)(uintptr_t)boot->arena;
    uint64_t word = *(const volatile uint64_t *)(uintptr_t)boot->input;
    uint64_t here = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    volatile uint64_t *stack = (volatile uint64_t *)(uintptr_t)((here & ~4095ul) - 4096);
    if (word == PLANT || word == PLANT_WIDE) {
        for (unsigned i = 0; i < boot->arena_bytes / 8; i++)
            arena[i] = 0x5ec2e7;
        for (unsigned i = 1; i < ABI_OUTPUT_BYTES / 8; i++)
            output[i] = 0x5ec2e7;
        for (unsigned i = 0; i < 512; i++)
            stack[i] = 0x5ec2e7;
        if (word == PLANT)
            __asm__ volatile("lea guest_plant(%%rip), %%rcx\n jmp *%%rcx" : : "b"(boot->gate) : "rcx", "memory");
        __asm__ volatile("lea guest_plant_wide(%%rip), %%rcx\n jmp *%%rcx" : : "b"(boot->gate) : "rcx", "memory");
    }
    for (unsigned i = 0; i < boot->arena_bytes / 8; i++)
        found |= arena[i];
    for (unsigned i = 1; i < ABI_OUTPUT_BYTES / 8; i++)
        found |= output[i];
    for (unsigned i = 0; i < 512; i++)
        found |= stack[i];
    if (word == LOOK_WIDE)
        __asm__ volatile("lea guest_look_wide(%%rip), %%rcx\n call *%%rcx" : "=a"(found) : : "rcx", "memory", "cc");
    output[1] = found;
    PUBLISHED(boot) = 8;
    WAIT(boot);
    HANG();
}

// What the look finds after the plant, with or without being made pristine between; ~0: refused.
static uint64_t planted(uint64_t plant, uint64_t look)
{
    if (!begin(guest_secret, 0))
        return 1;
    show(0, plant);
    uint64_t found = ~(uint64_t)0;
    if (until(&published, 2) && crashed == 0) {
        expect(wall->calls->restore(wall, 0) == 1);
        show(0, look);
        expect(until(&published, 3));
        found = result(0);
    }
    if (crashed == 0)
        wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
    return found;
}

TEST(nothing_is_left_of_an_earlier_event) { expect(planted(PLANT, LOOK) == 0); }

int main(void)
{
    if (IS_SANITIZED) {
        SKIP(tender_kvm, "guests are made of this program's own code");
        return 0;
    }
    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        SKIP(tender_kvm, strerror(errno));
        return 0;
    }
    if (!open_wall(guest_echo, open_kvm))
        return 1;
    RUN_WALL_CHECKS();
    run_rows();
    RUN(ring_0_is_out_of_reach);
    RUN(tables_lead_nowhere_else);
    RUN(text_is_read_only_even_with_wrong_tables);
    RUN(int3_of_its_own);
    RUN(every_byte_of_the_gate);
    RUN(examined_while_it_runs);
    RUN(signals_from_outside);
    RUN(killed_at_any_moment);
    RUN(renewed_while_one_lives);
    RUN(nothing_is_left_of_an_earlier_event);
    // Vector state that only a software KVM lets a guest reach: if it can be planted, it must be gone as well.
    uint64_t wide = planted(PLANT_WIDE, LOOK_WIDE);
    if (wide == ~(uint64_t)0)
        printf("ok vector_state_is_refused\n");
    else
        printf(wide == 0 ? "ok vector_state_is_gone\n" : "not ok vector_state_is_gone - found 0x%llx\n", (unsigned long long)wide);
    return test_failures != 0 || (wide != 0 && wide != ~(uint64_t)0);
}
