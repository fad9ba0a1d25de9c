// SPDX-License-Identifier: ISC
// The process wall with guests made of a few lines of C: birth, turns, faults, death.
#include "tests/unit/wall_fixture.h"

#include <signal.h>
#include <unistd.h>

GUEST static void guest_echo(const struct abi_boot *boot)
{
    for (;;) {
        WAIT(boot);
        const volatile uint64_t *input = (const volatile uint64_t *)(uintptr_t)boot->input;
        ((volatile uint64_t *)(uintptr_t)boot->output)[1] = input[0] + 1;
        PUBLISHED(boot) = 8;
    }
}

GUEST static void guest_null(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint64_t *null = NULL;
    __asm__("" : "+r"(null)); // the compiler knows better than to write there
    null[1] = 1;
    HANG();
}

GUEST static void guest_below_stack(const struct abi_boot *boot)
{
    WAIT(boot);
    volatile uint8_t *stack = __builtin_frame_address(0);
    for (;;)
        *--stack = 1;
}

GUEST static void guest_write_text(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint8_t *)(uintptr_t)guest_null = 1;
    HANG();
}

GUEST static void guest_write_boot(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint64_t *)(uintptr_t)&boot->canary = 1;
    HANG();
}

GUEST static void guest_write_input(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint64_t *)(uintptr_t)boot->input = 1;
    HANG();
}

GUEST static void guest_execute_arena(const struct abi_boot *boot)
{
    WAIT(boot);
    *(volatile uint8_t *)(uintptr_t)boot->arena = 0xc3;
    ((void (*)(void))(uintptr_t)boot->arena)();
    HANG();
}

GUEST static void guest_syscall(const struct abi_boot *boot)
{
    WAIT(boot);
    long result = 39; // getpid
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
    HANG();
}

GUEST static void guest_int80(const struct abi_boot *boot)
{
    WAIT(boot);
    long result = 20;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    HANG();
}

GUEST static void guest_vsyscall(const struct abi_boot *boot)
{
    WAIT(boot);
    ((long (*)(void *))0xffffffffff600400ul)((void *)(uintptr_t)boot->output);
    HANG();
}

// Jumps to the `syscall` of wait() with a call of its own in the registers.
GUEST static void guest_gate_middle(const struct abi_boot *boot)
{
    WAIT(boot);
    const uint8_t *gate = (const uint8_t *)(uintptr_t)boot->gate;
    while (gate[0] != 0x0f || gate[1] != 0x05)
        gate++;
    __asm__ volatile("jmp *%0" : : "r"(gate), "a"(1), "D"(2), "S"(boot), "d"(8));
    HANG();
}

GUEST static void guest_read_zygote_page(const struct abi_boot *boot)
{
    WAIT(boot);
    (void)*(const volatile uint8_t *)(uintptr_t)(boot->gate - 8192);
    HANG();
}

GUEST static void guest_hang(const struct abi_boot *boot)
{
    WAIT(boot);
    HANG();
}

// What the host must not have left in registers, as one word: 0 if they are clean.
GUEST static void guest_registers(const struct abi_boot *boot)
{
    uint64_t dirt = 0;
    for (;;) {
        ((volatile uint64_t *)(uintptr_t)boot->output)[1] = dirt;
        uint64_t gate = boot->gate;
        __asm__ volatile("movq %[seven], %%xmm3\n call *%[gate]\n"
                         "mov %%rcx, %[dirt]\n or %%rdx, %[dirt]\n or %%rsi, %[dirt]\n"
                         "sub %[boot], %%rdi\n or %%rdi, %[dirt]\n or %%r8, %[dirt]\n or %%r9, %[dirt]\n"
                         "or %%r10, %[dirt]\n or %%r11, %[dirt]\n or %%rax, %[dirt]\n"
                         "movq %%xmm3, %%rax\n or %%rax, %[dirt]\n"
                         "mov -16(%%rsp), %%rax\n and $0, %%rax\n"
                         : [dirt] "=&b"(dirt)
                         : [gate] "r"(gate), [seven] "r"((uint64_t)7), [boot] "r"(boot)
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm3",
                           "memory", "cc");
        PUBLISHED(boot) = 8;
    }
}

static void show(unsigned slot, uint64_t word)
{
    guest_memory_show(&memory, slot, (const uint8_t *)&word, sizeof word);
    wall->calls->wake(wall, slot);
}

static uint64_t result(unsigned slot)
{
    _Alignas(8) static uint8_t bytes[ABI_OUTPUT_BYTES];
    uint32_t size = 0;
    uint64_t word = 0;
    check(guest_memory_take(&memory, slot, 0, bytes, &size) == STATUS_OK);
    memcpy(&word, bytes, sizeof word);
    return size == 8 ? word : UINT64_MAX;
}

TEST(echo)
{
    expect(begin(guest_echo, 2));
    for (uint64_t i = 1; i <= 3; i++) {
        show(2, i * 10);
        expect(until(&published, 1 + (unsigned)i));
        expect(result(2) == i * 10 + 1);
    }
    wall->calls->kill(wall, 2);
    expect(until(&gone, 1));
    expect(crashed == 0 && last_bytes > 0 && last_bytes < 40 * 4096);
}

TEST(registers_are_constants)
{
    expect(begin(guest_registers, 0));
    show(0, 1);
    expect(until(&published, 2));
    expect(result(0) == 0);
    wall->calls->kill(wall, 0);
    expect(until(&gone, 1));
}

TEST(a_new_base_for_each_zygote)
{
    uint64_t bases[2];
    for (int i = 0; i < 2; i++) {
        expect(begin(guest_echo, 0));
        struct abi_boot boot;
        memcpy(&boot, memory.bytes, sizeof boot);
        bases[i] = boot.gate;
        expect((boot.canary & 0xff) == 0 && boot.canary != 0);
        wall->calls->kill(wall, 0);
        expect(until(&gone, 1));
    }
    expect(bases[0] != bases[1]);
}

static void expect_crash(void (*entry)(const struct abi_boot *), int signal, const char *what)
{
    expect(begin(entry, 1));
    show(1, 0);
    expect(until(&crashed, 1));
    if (strstr(last_crash.what, what) == NULL)
        fprintf(stderr, "# what: %s, wanted: %s\n", last_crash.what, what);
    expect((int)last_crash.signal == signal);
    expect(strstr(last_crash.what, what) != NULL);
    expect(until(&gone, 1));
}

TEST(null) { expect_crash(guest_null, SIGSEGV, "write to 0x8 in page 0"); }
TEST(below_stack) { expect_crash(guest_below_stack, SIGSEGV, "below the stack"); }
TEST(write_text) { expect_crash(guest_write_text, SIGSEGV, "in text"); }
TEST(write_boot) { expect_crash(guest_write_boot, SIGSEGV, "in the boot block"); }
TEST(write_input) { expect_crash(guest_write_input, SIGSEGV, "in the input"); }
TEST(execute_data) { expect_crash(guest_execute_arena, SIGSEGV, "in the arena"); }
TEST(system_call)
{
    expect_crash(guest_syscall, SIGSYS, "system call 39");
    expect(last_crash.syscall == 39 && last_crash.instruction != UINT64_MAX);
}
TEST(int80) { expect_crash(guest_int80, SIGSYS, "system call"); }
// Where the kernel has that page it reaches the filter; kernels as Debian builds them have none.
TEST(vsyscall)
{
    char line[256] = "";
    FILE *maps = fopen("/proc/self/maps", "r");
    check(maps != NULL);
    while (strstr(line, "[vsyscall]") == NULL && fgets(line, sizeof line, maps) != NULL)
        ;
    fclose(maps);
    if (strstr(line, "[vsyscall]") != NULL)
        expect_crash(guest_vsyscall, SIGSYS, "system call 201");
    else
        expect_crash(guest_vsyscall, SIGSEGV, "jump to 0xffffffffff600400");
}
TEST(gate_middle) { expect_crash(guest_gate_middle, SIGSYS, "system call 1"); }
TEST(zygote_page_is_gone) { expect_crash(guest_read_zygote_page, SIGSEGV, "in the zygote's page"); }

TEST(examine_says_where_it_hangs)
{
    expect(begin(guest_hang, 1));
    show(1, 0);
    struct link_crash crash = {0};
    usleep(1000);
    wall->calls->examine(wall, 1, &crash);
    expect(crash.instruction < image.span_bytes);
    wall->calls->kill(wall, 1);
    expect(until(&gone, 1));
}

TEST(killed_from_outside)
{
    expect(begin(guest_echo, 3));
    // Only a child of ours can be meant: the zygote and this instance.
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    check(file != NULL);
    expect(fgets(line, sizeof line, file) != NULL);
    fclose(file);
    int zygote = 0, instance = 0;
    expect(sscanf(line, "%d %d", &zygote, &instance) == 2);
    kill(instance, SIGKILL);
    expect(until(&gone, 1));
    expect(crashed == 0);
}

TEST(zygote_killed_from_outside)
{
    expect(begin(guest_echo, 3));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 1));
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    check(file != NULL);
    expect(fgets(line, sizeof line, file) != NULL);
    fclose(file);
    kill((pid_t)strtol(line, NULL, 10), SIGKILL);
    published = 0;
    for (int i = 0; i < 3; i++)
        check(loop_once(&loop, 20) == STATUS_OK);
    wall->calls->create(wall, 3);
    expect(until(&published, 1));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 2));
}

// A fault comes while the zygote is dead and has not answered: no slot may be lost by that.
TEST(zygote_killed_before_it_is_retired)
{
    expect(begin(guest_echo, 3));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 1));
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    check(file != NULL);
    expect(fgets(line, sizeof line, file) != NULL);
    fclose(file);
    kill((pid_t)strtol(line, NULL, 10), SIGKILL);
    usleep(2000);
    published = 0;
    wall->calls->create(wall, 3);
    wall->calls->renew(wall);
    expect(until(&published, 1));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 2));
}

int main(void)
{
    if (IS_SANITIZED) {
        SKIP(tender_process, "the sanitizer's shadow lies where images are mapped");
        return 0;
    }
    if (!open_wall(guest_echo))
        return 1;
    RUN(echo);
    RUN(registers_are_constants);
    RUN(a_new_base_for_each_zygote);
    RUN(null);
    RUN(below_stack);
    RUN(write_text);
    RUN(write_boot);
    RUN(write_input);
    RUN(execute_data);
    RUN(system_call);
    RUN(int80);
    RUN(vsyscall);
    RUN(gate_middle);
    RUN(zygote_page_is_gone);
    RUN(examine_says_where_it_hangs);
    RUN(killed_from_outside);
    RUN(zygote_killed_from_outside);
    RUN(zygote_killed_before_it_is_retired);
    TEST_END();
}
