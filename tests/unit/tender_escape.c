// SPDX-License-Identifier: ISC
// An attacker who runs any code in an instance: all system calls from all places of the gate, all of its
// memory, and the doors that the processor has beside `syscall`.
#include "tests/unit/wall_probe.h"

#include "tender/process/gate.h"
#include "tender/process/zygote.h"

#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

GUEST static void guest_sysenter(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("mov %%rsp, %%rbp\n sysenter" : : "a"(20) : "memory");
    HANG();
}

// To the 32-bit code segment, where `syscall` and `int 0x80` mean other calls.
GUEST static void guest_far_return(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("push $0x23\n lea 1f(%%rip), %%rax\n push %%rax\n lretq\n1: nop" : : : "rax", "memory");
    HANG();
}

GUEST static void guest_single_step(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop" : : : "memory", "cc");
    HANG();
}

GUEST static void guest_port(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("out %%al, $0x80" : : "a"(0));
    HANG();
}

// wait() with a stack that is not there: an answer that cannot be delivered must not be one more turn.
GUEST static void guest_no_stack(const struct abi_boot *boot)
{
    WAIT(boot);
    __asm__ volatile("mov %0, %%rsp\n jmp *%1" : : "r"(0xffffffffff600800ul), "r"(boot->gate + 4) : "memory");
    HANG();
}

// The address of the `syscall` before a label of the gate.
static uint64_t system_call_before(const struct abi_boot *boot, const uint8_t *after)
{
    return boot->gate + (uint64_t)(after - gate_begin) - 2;
}

// Linux lets these two pass every filter (from 6.14 and 6.18 on); away from a trampoline of the kernel's own,
// which no instance has, they do nothing.
#define URETPROBE 335
#define UPROBE 336

// Each number at each `syscall` of the gate, with the arguments of an honest call: its own works, all others
// end in SIGSYS, also as x32.
TEST(every_number_at_every_system_call_of_the_gate)
{
    const struct {
        const uint8_t *after;
        uint64_t call;
    } places[] = {{gate_after_wait, GATE_CALL}, {gate_after_munmap, SYS_munmap}};
    expect(fresh(guest_jump));
    struct abi_boot boot = boot_of();
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
    for (size_t place = 0; place < 2; place++)
        for (uint64_t number = 0; number <= 1201; number++) {
            uint64_t call = number == 1201 ? GATE_CALL : number > 600 ? 0x40000000u + number - 601 : number;
            uint64_t words[PROBE_WORDS] = {system_call_before(&boot, places[place].after), call,
                                           boot.gate - 8192, 4096, 0, 0};
            enum outcome found = jump(words, SOON_MS);
            if (call == GATE_CALL && place == 0)
                expect(found == PUBLISHED);
            else if (call == SYS_munmap && place == 1)
                expect(found == PUBLISHED); // nothing is there any more; on it goes in the gate, to wait()
            else if (call == UPROBE)
                expect(found != BLOCKED || last_crash.signal != 0); // ENXIO, and on it goes in the gate
            else if (call == URETPROBE)
                expect(found == CRASHED && (last_crash.signal == SIGSYS || last_crash.signal == SIGILL));
            else
                expect(found == CRASHED && last_crash.signal == SIGSYS && last_crash.number == (uint32_t)call);
        }
}

// The right call with other arguments.
TEST(every_argument_is_pinned)
{
    struct abi_boot boot = boot_of();
    uint64_t wait = system_call_before(&boot, gate_after_wait);
    uint64_t unmap = system_call_before(&boot, gate_after_munmap);
    const uint64_t refused[][PROBE_WORDS] = {
        {wait, SYS_munmap, boot.gate - 8192, 4096, 0, 0}, {unmap, GATE_CALL, 0, 0, 0, 0},
        {unmap, SYS_munmap, boot.gate, 4096, 0, 0},       {unmap, SYS_munmap, boot.gate - 8192, 8192, 0, 0},
        {unmap, SYS_munmap, 0, 4096, 0, 0},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        expect(jump(refused[i], LIMIT_MS) == CRASHED && last_crash.signal == SIGSYS);
}

static unsigned count_children(void)
{
    char path[64], line[256] = "";
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    check(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    for (const char *at = line; (at = strchr(at, ' ')) != NULL; at++)
        count++;
    return count;
}

// A jump to each byte of the gate, registers holding clone, fork or execve: a crash, a block, or a wait() is all
// that can come of it. Nothing is born.
TEST(every_byte_of_the_gate)
{
    static const uint64_t calls[] = {SYS_clone, SYS_fork, SYS_execve};
    struct abi_boot boot = boot_of();
    unsigned blocked = 0;
    for (uint64_t at = 0; at < (uint64_t)(gate_end - gate_begin); at++) {
        const uint64_t words[PROBE_WORDS] = {boot.gate + at, calls[at % 3], 0x8011, 0, 0, 0};
        enum outcome found = jump(words, SOON_MS);
        blocked += found == BLOCKED;
    }
    expect(blocked < 100 && count_children() == 1);
}

// What the tender has mapped (this program is one), and where kernels put things.
TEST(nothing_of_the_tender_is_mapped)
{
    int local;
    void *heap = malloc(64);
    const uint64_t addresses[] = {
        0,
        0x10000,
        0x400000,
        (uint64_t)(uintptr_t)&local,
        (uint64_t)(uintptr_t)&memory,
        (uint64_t)(uintptr_t)memory.bytes,
        (uint64_t)(uintptr_t)heap,
        (uint64_t)(uintptr_t)gate_begin,
        (uint64_t)(uintptr_t)getauxval, // in the C library
        getauxval(AT_SYSINFO_EHDR),
        getauxval(AT_SYSINFO_EHDR) - 4096, // vvar
        LAYOUT_USER_END - 1,
        0xffffffffff600000u, // [vsyscall] is there to be called, not to be read
        0xffffffff81000000u,
        0xffff888000000000u,
    };
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        expect(touch(addresses[i], 0) == CRASHED && last_crash.signal == SIGSEGV);
    free(heap);
}

// A page of the tender's in a guard between the parts would stay mapped: such a base is refused.
TEST(a_base_where_the_tender_has_a_page_is_refused)
{
    struct layout layout;
    struct zygote zygote;
    layout_make(&layout, &image, 0x5ec0de);
    const uint64_t guards[] = {layout.base, layout.gate - 4096, layout.boot - 4096, layout.end};
    for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++) {
        void *page = mmap((void *)(uintptr_t)guards[i], 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        expect(page == (void *)(uintptr_t)guards[i]);
        expect(zygote_start(&zygote, &image, &layout, memory.fd, memory.slice_bytes) == STATUS_AGAIN);
        munmap(page, 4096);
    }
}

static void expect_end(void (*entry)(const struct abi_boot *), unsigned signals)
{
    check(fresh(entry));
    show_words((const uint64_t[]){0}, 1);
    expect(outcome(LIMIT_MS) == CRASHED && (signals >> last_crash.signal & 1) != 0);
}

TEST(sysenter) { expect_end(guest_sysenter, 1u << SIGSYS | 1u << SIGSEGV | 1u << SIGILL); }
TEST(far_return) { expect_end(guest_far_return, 1u << SIGSEGV); }
TEST(single_step) { expect_end(guest_single_step, 1u << SIGTRAP); }
TEST(port) { expect_end(guest_port, 1u << SIGSEGV); }

TEST(no_stack)
{
    check(fresh(guest_no_stack));
    show_words((const uint64_t[]){0}, 1);
    expect(until(&crashed, 1) && published == 1 && last_crash.signal == SIGSEGV);
    expect(until(&gone, 1));
}

int main(void)
{
    if (IS_SANITIZED) {
        SKIP(tender_escape, "the sanitizer's shadow lies where images are mapped");
        return 0;
    }
    if (!open_wall(guest_jump, wall_process_open))
        return 1;
    RUN(every_number_at_every_system_call_of_the_gate);
    RUN(every_argument_is_pinned);
    RUN(every_byte_of_the_gate);
    RUN(nothing_of_the_tender_is_mapped);
    RUN(a_base_where_the_tender_has_a_page_is_refused);
    RUN(sysenter);
    RUN(far_return);
    RUN(single_step);
    RUN(port);
    RUN(no_stack);
    TEST_END();
}
