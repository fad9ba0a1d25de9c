// SPDX-License-Identifier: ISC
// The process wall with guests made of a few lines of C: birth, turns, faults, death.
#include "tests/unit/wall_checks.h"

#include <signal.h>
#include <unistd.h>

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

TEST(system_call)
{
    expect_crash(guest_syscall, SIGSYS, "system call 39");
    expect(last_crash.number == 39 && crash_instruction(&last_crash) != UINT64_MAX);
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

// Children of ours, oldest first: the zygote, then instances. An old zygote may still be on its way out.
static void children(pid_t *pids, unsigned count)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (unsigned found = 0; found != count;) {
        char line[256] = "", *at = line;
        FILE *file = fopen(path, "r");
        check(file != NULL && fgets(line, sizeof line, file) != NULL);
        fclose(file);
        for (found = 0; *at >= '0' && *at <= '9'; at += *at == ' ', found++) {
            pid_t pid = (pid_t)strtol(at, &at, 10);
            if (found < count)
                pids[found] = pid;
        }
        if (found != count)
            check(loop_once(&loop, 20) == STATUS_OK);
    }
}

TEST(killed_from_outside)
{
    pid_t pids[2];
    expect(begin(guest_echo, 3));
    children(pids, 2);
    kill(pids[1], SIGKILL);
    expect(until(&gone, 1));
    expect(crashed == 0);
}

TEST(zygote_killed_from_outside)
{
    pid_t zygote;
    expect(begin(guest_echo, 3));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 1));
    children(&zygote, 1);
    kill(zygote, SIGKILL);
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
    pid_t zygote;
    expect(begin(guest_echo, 3));
    wall->calls->kill(wall, 3);
    expect(until(&gone, 1));
    children(&zygote, 1);
    kill(zygote, SIGKILL);
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
    if (!open_wall(guest_echo, wall_process_open))
        return 1;
    RUN_WALL_CHECKS();
    RUN(system_call);
    RUN(int80);
    RUN(vsyscall);
    RUN(gate_middle);
    RUN(zygote_page_is_gone);
    RUN(killed_from_outside);
    RUN(zygote_killed_from_outside);
    RUN(zygote_killed_before_it_is_retired);
    TEST_END();
}
