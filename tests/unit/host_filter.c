// SPDX-License-Identifier: ISC
// System call filters: what a role does goes on working, anything else ends the process.
#include "host/filter.h"
#include "host/sandbox.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Signal that ended a child which entered the role and then did `act`; 0: it ended well.
static int signal_after(enum filter_role role, void (*act)(void))
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        sandbox_enter(role);
        act();
        _exit(0);
    }
    expect(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void nothing(void) {}
static void execute(void) { (void)execl("/bin/true", "true", (char *)NULL); }
static void open_file(void) { (void)!open("/etc/hostname", O_RDONLY); }
static void open_network(void) { (void)!socket(AF_INET, SOCK_STREAM, 0); }
static void open_link_layer(void) { (void)!socket(AF_PACKET, SOCK_RAW, 0); }
static void open_local(void) { (void)!socket(AF_UNIX, SOCK_STREAM, 0); } // programs of the host, without a network
static void listen_at_port(void) { (void)!listen(STDIN_FILENO, 1); }
static void look(void) { (void)syscall(SYS_ptrace, PTRACE_PEEKDATA, 0, 0, 0); }
static void change(void) { (void)syscall(SYS_ptrace, PTRACE_POKEDATA, 0, 0, 0); }
static void change_registers(void) { (void)syscall(SYS_ptrace, PTRACE_SETREGS, 0, 0, 0); }
static void write_to_another(void) { (void)syscall(SYS_process_vm_writev, getpid(), 0, 0, 0, 0, 0); }
static void read_from_another(void) { (void)syscall(SYS_process_vm_readv, getpid(), 0, 0, 0, 0, 0); }
static void send_a_signal(void) { (void)kill(getpid(), 0); }
static void control_a_device(void) { (void)syscall(SYS_ioctl, 0, 0, 0); }
static void make_namespaces(void) { (void)unshare(CLONE_NEWUSER); }
static void fork_into_namespaces(void) { (void)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }
static void fork_unseen(void) { (void)syscall(SYS_clone3, NULL, 0); }
static void share_memory(void) { (void)syscall(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0); }
static void make_machines_interrupts(void) { (void)syscall(SYS_ioctl, 0, KVM_CREATE_IRQCHIP, 0); }
static void make_machines_device(void) { (void)syscall(SYS_ioctl, 0, KVM_CREATE_DEVICE, 0); }
static void run_a_machine(void) { (void)syscall(SYS_ioctl, 0, KVM_RUN, 0); }
static void be_traced(void) { (void)syscall(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); }
static void writable_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}
static void change_user(void) { (void)!setuid(0); }
static void empty_a_file(void) { (void)!ftruncate(STDERR_FILENO, 0); }
static void move_in_a_file(void) { (void)lseek(STDERR_FILENO, 0, SEEK_SET); }
static void make_process(void)
{
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
        _exit(0);
}
static void own_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ) != 0)
        _exit(9);
}
static void executable_memory(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void executable_later(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

TEST(every_role_can_end_and_use_memory)
{
    for (int role = 0; role < FILTER_ROLES; role++) {
        expect(signal_after((enum filter_role)role, nothing) == 0);
        expect(signal_after((enum filter_role)role, own_memory) == 0);
    }
}

TEST(no_role_executes_a_program_opens_a_network_or_changes_its_user)
{
    for (int role = 0; role < FILTER_ROLES; role++) {
        expect(signal_after((enum filter_role)role, execute) == SIGSYS);
        int is_dialing = role == FILTER_COURIER_CONNECT; // it connects over IP, and only that
        expect(signal_after((enum filter_role)role, open_network) == (is_dialing ? 0 : SIGSYS));
        expect(signal_after((enum filter_role)role, open_link_layer) == SIGSYS);
        expect(signal_after((enum filter_role)role, open_local) == SIGSYS);
        expect(signal_after((enum filter_role)role, listen_at_port) == SIGSYS);
        expect(signal_after((enum filter_role)role, change_user) == SIGSYS);
    }
}

TEST(files_are_for_those_with_a_directory)
{
    expect(signal_after(FILTER_STORE, open_file) == 0);
    expect(signal_after(FILTER_ROUTER, open_file) == SIGSYS);
    expect(signal_after(FILTER_GATEWAY, open_file) == SIGSYS);
    expect(signal_after(FILTER_COURIER_LISTEN, open_file) == SIGSYS);
    expect(signal_after(FILTER_COURIER_CONNECT, open_file) == SIGSYS);
    expect(signal_after(FILTER_TENDER, open_file) == SIGSYS);
}

// Standard error is the host log of all.
TEST(others_can_only_append_to_the_host_log)
{
    static const enum filter_role roles[] = {FILTER_ROUTER,         FILTER_GATEWAY,         FILTER_TENDER,
                                             FILTER_COURIER_LISTEN, FILTER_COURIER_CONNECT, FILTER_TENDER_KVM};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        expect(signal_after(roles[i], empty_a_file) == SIGSYS);
        expect(signal_after(roles[i], move_in_a_file) == SIGSYS);
    }
}

TEST(only_the_tender_makes_processes_and_maps_code)
{
    for (int role = 0; role < FILTER_ROLES; role++) {
        int wanted = role == FILTER_TENDER ? 0 : SIGSYS;
        expect(signal_after((enum filter_role)role, make_process) == wanted);
        expect(signal_after((enum filter_role)role, executable_later) == wanted);
        expect(signal_after((enum filter_role)role, look) == wanted);
        expect(signal_after((enum filter_role)role, executable_memory) == SIGSYS);
        expect(signal_after((enum filter_role)role, writable_code) == SIGSYS);
    }
}

TEST(a_tender_that_was_taken_over_looks_at_its_children_and_no_more)
{
    static void (*const acts[])(void) = {
        change,          change_registers,     write_to_another, read_from_another, send_a_signal, control_a_device,
        make_namespaces, fork_into_namespaces, fork_unseen,      share_memory,      be_traced};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        expect(signal_after(FILTER_TENDER, acts[i]) == SIGSYS);
}

// Threads and machines it makes, and nothing else: no process, no code, no device of a machine.
TEST(a_tender_of_machines_that_was_taken_over)
{
    static void (*const acts[])(void) = {
        look,           change,        write_to_another,         read_from_another,   send_a_signal, control_a_device,
        make_process,   share_memory,  fork_into_namespaces,     make_namespaces,     be_traced,     executable_later,
        writable_code,  open_file,     make_machines_interrupts, make_machines_device};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        expect(signal_after(FILTER_TENDER_KVM, acts[i]) == SIGSYS);
    expect(signal_after(FILTER_TENDER_KVM, run_a_machine) == 0);
    expect(signal_after(FILTER_TENDER, run_a_machine) == SIGSYS);
}

TEST(a_process_that_did_not_enter_is_found_out)
{
    const char *why = "";
    expect(sandbox_verify(getpid(), getuid(), &why) == STATUS_DENIED);
    expect(sandbox_verify(getpid(), getuid() + 1, &why) == STATUS_DENIED &&
           strcmp(why, "it did not change its user id") == 0);
}

int main(void)
{
    if (IS_SANITIZED) {
        SKIP(host_filter, "the sanitizer makes system calls that no role may");
        return 0;
    }
    RUN(every_role_can_end_and_use_memory);
    RUN(no_role_executes_a_program_opens_a_network_or_changes_its_user);
    RUN(files_are_for_those_with_a_directory);
    RUN(others_can_only_append_to_the_host_log);
    RUN(only_the_tender_makes_processes_and_maps_code);
    RUN(a_tender_that_was_taken_over_looks_at_its_children_and_no_more);
    RUN(a_tender_of_machines_that_was_taken_over);
    RUN(a_process_that_did_not_enter_is_found_out);
    TEST_END();
}
