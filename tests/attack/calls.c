// SPDX-License-Identifier: ISC
// Calling the kernel: each class of system call from the guest's own text, then every number there is, then from
// the one place where a call is allowed.
#include "tests/attack/attack.h"

#include <stdio.h>
#include <sys/syscall.h>

// Makes the system call that its words name. The instruction itself is refused by the loader: see images.c.
GUEST(call)
{
    const volatile uint64_t *words = next_act(boot);
    register uint64_t a4 __asm__("r10") = words[5];
    register uint64_t a5 __asm__("r8") = words[6];
    register uint64_t a6 __asm__("r9") = words[7];
    uint64_t result = words[1];
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(words[2]), "S"(words[3]), "d"(words[4]), "r"(a4), "r"(a5), "r"(a6)
                     : "rcx", "r11", "memory");
    escaped(boot, result);
}

#define WAIT_CALL 0x3fffffffu // the number that the gate's call has, if it has one: no kernel knows it
#define NONE 0x6e6f6e65u // "none": the gate holds no such instruction

// Jumps to a `syscall` of the gate (the how-manieth: word 1) with a call of its own in the registers.
GUEST(gate_call)
{
    const volatile uint64_t *words = next_act(boot);
    const volatile uint8_t *gate = (const volatile uint8_t *)(uintptr_t)boot->gate;
    uint64_t wanted = words[1], at = 0;
    for (; at < 4094; at++)
        if (gate[at] == 0x0f && gate[at + 1] == 0x05 && wanted-- == 0)
            break;
    if (at == 4094)
        tell(boot, NONE, 0, 0);
    register uint64_t a4 __asm__("r10") = words[6];
    register uint64_t a5 __asm__("r8") = words[7];
    register uint64_t a6 __asm__("r9") = words[8];
    uint64_t result = words[2];
    __asm__ volatile("call *%[gate]"
                     : "+a"(result)
                     : "D"(words[3]), "S"(words[4]), "d"(words[5]), "r"(a4), "r"(a5), "r"(a6),
                       [gate] "b"(gate + at)
                     : "rcx", "r11", "memory");
    escaped(boot, result);
}

GUEST(int80)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t result = words[1];
    __asm__ volatile("int $0x80" : "+a"(result) : "b"(words[2]), "c"(words[3]), "d"(words[4]) : "memory");
    escaped(boot, result);
}

struct call_list {
    uint64_t base; // added to each number
    uint32_t first, count;   // numbers from here on, or
    const uint16_t *numbers; // these, ended by UINT16_MAX
};

#define CALLS(name, ...)                                                                           \
    static const uint16_t name##_numbers[] = {__VA_ARGS__, UINT16_MAX};                            \
    static const struct call_list name = {.numbers = name##_numbers}
#define NR(call) SYS_##call

CALLS(files, NR(read), NR(write), NR(open), NR(close), NR(stat), NR(lseek), NR(pread64), NR(readv), NR(access),
      NR(dup2), NR(sendfile), NR(fcntl), NR(truncate), NR(getdents64), NR(getcwd), NR(chdir), NR(rename), NR(mkdir),
      NR(unlink), NR(symlink), NR(chmod), NR(chown), NR(openat), NR(splice), NR(copy_file_range), NR(statx),
      NR(openat2), NR(close_range), NR(name_to_handle_at), NR(open_by_handle_at), NR(fanotify_init), NR(inotify_init));
CALLS(memory, NR(mmap), NR(mprotect), NR(munmap), NR(brk), NR(mremap), NR(msync), NR(madvise), NR(mlock),
      NR(remap_file_pages), NR(mbind), NR(memfd_create), NR(memfd_secret), NR(userfaultfd), NR(pkey_mprotect),
      NR(pkey_alloc), NR(process_madvise), NR(process_mrelease), 462 /* mseal */, 453 /* map_shadow_stack */);
CALLS(processes, NR(getpid), NR(fork), NR(vfork), NR(clone), NR(clone3), NR(execve), NR(execveat), NR(exit), NR(exit_group),
      NR(wait4), NR(waitid), NR(getppid), NR(setpgid), NR(setsid), NR(set_tid_address), NR(pidfd_open));
CALLS(signals, NR(rt_sigaction), NR(rt_sigprocmask), NR(rt_sigreturn), NR(rt_sigpending), NR(rt_sigtimedwait),
      NR(rt_sigqueueinfo), NR(rt_sigsuspend), NR(sigaltstack), NR(kill), NR(tkill), NR(tgkill), NR(signalfd4),
      NR(pidfd_send_signal), NR(pause), NR(restart_syscall));
CALLS(network, NR(socket), NR(connect), NR(accept), NR(sendto), NR(recvfrom), NR(sendmsg), NR(recvmsg), NR(bind),
      NR(listen), NR(socketpair), NR(setsockopt), NR(getsockopt), NR(sendmmsg), NR(recvmmsg));
CALLS(clocks, NR(gettimeofday), NR(time), NR(clock_gettime), NR(clock_getres), NR(times), NR(getrusage), NR(adjtimex),
      NR(nanosleep), NR(clock_nanosleep), NR(alarm), NR(setitimer), NR(timer_create), NR(timerfd_create),
      NR(settimeofday), NR(getcpu));
CALLS(ipc, NR(shmget), NR(shmat), NR(semget), NR(semop), NR(msgget), NR(msgsnd), NR(mq_open), NR(futex), NR(pipe2),
      NR(eventfd2), NR(epoll_create1), NR(epoll_wait), NR(poll), NR(select), NR(set_robust_list), NR(futex_waitv));
CALLS(identity, NR(getuid), NR(setuid), NR(setgid), NR(setresuid), NR(setgroups), NR(capget), NR(capset), NR(prctl),
      NR(arch_prctl), NR(personality), NR(umask), NR(add_key), NR(request_key), NR(keyctl), NR(setrlimit),
      NR(prlimit64), NR(uname), NR(sysinfo));
CALLS(namespaces, NR(unshare), NR(setns), NR(chroot), NR(pivot_root), NR(mount), NR(umount2), NR(fsopen),
      NR(open_tree), NR(move_mount), NR(mount_setattr), NR(sethostname));
CALLS(tracing, NR(process_vm_readv), NR(ptrace), NR(process_vm_writev), NR(perf_event_open), NR(bpf), NR(seccomp),
      NR(kcmp), NR(pidfd_getfd), NR(landlock_create_ruleset), NR(landlock_restrict_self), NR(syslog));
CALLS(devices, NR(ioctl), NR(iopl), NR(ioperm), NR(modify_ldt), NR(kexec_load), NR(init_module), NR(finit_module),
      NR(delete_module), NR(reboot), NR(swapon), NR(acct), NR(quotactl));
CALLS(io_rings, NR(io_uring_setup), NR(io_uring_enter), NR(io_uring_register), NR(io_setup), NR(io_submit),
      NR(io_getevents));
CALLS(scheduling, NR(sched_yield), NR(sched_setscheduler), NR(sched_setaffinity), NR(sched_getaffinity),
      NR(setpriority), NR(ioprio_set), NR(membarrier), NR(rseq));
CALLS(entropy, NR(getrandom));
static const struct call_list sweep = {.first = 0, .count = 601};
static const struct call_list sweep_x32 = {.base = 0x40000000u, .first = 0, .count = 601};
static const struct call_list sweep_high = {.base = 0xffffffff00000000u, .first = 0, .count = 8};
static const struct call_list sweep_negative = {.base = 0xffffffffu - 8, .first = 0, .count = 9};

// Linux lets these two pass every filter (from 6.14 and 6.18 on). Away from a trampoline of the kernel's own, which
// no instance has, one ends in SIGILL and the other gives ENXIO.
#define URETPROBE 335u
#define UPROBE 336u

static void judge_call(struct stage *stage, const struct attack *attack, uint64_t number)
{
    static const struct attack_outcome passes = {.is_fault = 1, .is_ended = 1, .is_contract = 1};
    char what[40];
    snprintf(what, sizeof what, "call 0x%llx", (unsigned long long)number);
    stage_judge(stage, number == URETPROBE || number == UPROBE ? &passes : attack_expected(stage, attack), what);
}

static void play_list(struct stage *stage, const struct attack *attack)
{
    const struct call_list *list = attack->detail;
    uint32_t done = 0;
    char text[160];
    // Without a kernel behind it no number is different from another, and each fault costs a machine.
    uint32_t step = stage->wall == ATTACK_KVM && list->count > 100 ? 40 : 1;
    for (uint32_t i = 0;; i += step, done++) {
        uint64_t number = list->numbers != NULL ? list->numbers[i] : list->first + i;
        if (list->numbers != NULL ? number == UINT16_MAX : i >= list->count)
            break;
        uint64_t words[ACT_WORDS] = {1, list->base + number};
        stage_event(stage, words);
        judge_call(stage, attack, list->base + number);
        if (stage->has_failed)
            return;
    }
    stage_describe(stage, text);
    stage_note(stage, "%u calls, each %.100s", done, text);
}

#define OWN_CALLS_MAX 2u // numbers at one place that are the gate's own

// The numbers at each `syscall` of the gate, with the arguments of an honest call.
static void play_gate_list(struct stage *stage, const struct attack *attack)
{
    const struct call_list *list = attack->detail;
    for (uint64_t place = 0;; place++) {
        unsigned own = 0;
        for (uint32_t i = 0; i < list->count && !stage->has_failed; i++) {
            const uint64_t words[ACT_WORDS] = {1, place, list->base + list->first + i};
            size_t bytes;
            stage_event(stage, words);
            const uint64_t *message = stage_message(stage, &bytes);
            if (stage->effects.outcome == LINK_ENDED && message != NULL && message[0] == NONE) {
                stage_note(stage, "%u calls at %u places, each SIGSYS or an honest wait", list->count,
                           (unsigned)place);
                return;
            }
            // A call that the gate makes itself is a wait() that publishes nothing.
            if (stage->effects.outcome != LINK_CONTRACT && stage->effects.outcome != LINK_DEADLINE)
                judge_call(stage, attack, list->base + list->first + i);
            else if (list->base != 0 || ++own > OWN_CALLS_MAX)
                stage_fail(stage, "NOT CONTAINED: call 0x%llx is taken for the gate's own",
                           (unsigned long long)(list->base + list->first + i));
        }
        if (stage->has_failed)
            return;
    }
}

// The calls that the gate makes, with other arguments than its own.
static void play_gate_arguments(struct stage *stage, const struct attack *attack)
{
    static const uint64_t calls[] = {SYS_read, SYS_write, SYS_munmap};
    static const uint64_t hostile[][3] = {{0, 4096, 0}, {2, 4096, 8},      {4096, 4096, 8}, {1ull << 32 | 1, 0, 8},
                                          {1, 4096, 9}, {0, 1ull << 32, 8}, {1, 0, 0},      {66, 0, 16}};
    static const struct attack_outcome unharmed = {.is_fault = 1, .is_contract = 1, .is_deadline = 1};
    unsigned count = 0;
    for (uint64_t place = 0;; place++)
        for (size_t call = 0; call < 3; call++)
            for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++, count++) {
                uint64_t words[ACT_WORDS] = {1, place, calls[call], hostile[i][0], hostile[i][1], hostile[i][2]};
                size_t bytes;
                stage_event(stage, words);
                const uint64_t *message = stage_message(stage, &bytes);
                if (stage->has_failed)
                    return;
                if (stage->effects.outcome == LINK_ENDED && message != NULL && message[0] == NONE) {
                    stage_note(stage, "%u sets of arguments, none of them more than a wait()", count);
                    return;
                }
                stage_judge(stage, calls[call] == SYS_munmap ? &attack->process : &unharmed, "");
            }
}

#define SYS {.is_fault = 1, .signals = 1u << SIGSYS}
#define FAULT {.is_fault = 1}
#define FROM_TEXT(NAME, LIST)                                                                      \
    {                                                                                              \
        .name = NAME, .mechanism = {"FILTER", "ring 3"}, .guest = &guest_call,                     \
        .options = {.is_unscanned = 1}, .process = SYS, .kvm = FAULT, .play = play_list,           \
        .detail = &LIST                                                                            \
    }
#define NOTHING {.is_ended = 1, .text = "told 0x6e6f6e65"}

static const struct attack attacks[] = {
    FROM_TEXT("call_files", files),
    FROM_TEXT("call_memory", memory),
    FROM_TEXT("call_processes", processes),
    FROM_TEXT("call_signals", signals),
    FROM_TEXT("call_network", network),
    FROM_TEXT("call_clocks", clocks),
    FROM_TEXT("call_ipc", ipc),
    FROM_TEXT("call_identity", identity),
    FROM_TEXT("call_namespaces", namespaces),
    FROM_TEXT("call_tracing", tracing),
    FROM_TEXT("call_devices", devices),
    FROM_TEXT("call_io_rings", io_rings),
    FROM_TEXT("call_scheduling", scheduling),
    FROM_TEXT("call_entropy", entropy),
    FROM_TEXT("call_every_number", sweep),
    FROM_TEXT("call_every_x32_number", sweep_x32),
    FROM_TEXT("call_high_half_set", sweep_high),
    FROM_TEXT("call_negative", sweep_negative),
    {.name = "gate_every_number", .mechanism = {"FILTER_NUMBER", "gate without code"}, .guest = &guest_gate_call,
     .options = {.deadline_ms = 50}, .process = SYS, .kvm = NOTHING, .play = play_gate_list, .detail = &sweep},
    {.name = "gate_every_x32_number", .mechanism = {"both filters", "gate without code"}, .guest = &guest_gate_call,
     .options = {.deadline_ms = 50}, .process = SYS, .kvm = NOTHING, .play = play_gate_list, .detail = &sweep_x32},
    {.name = "gate_hostile_arguments", .mechanism = {"FILTER_ARGUMENTS", "gate without code"}, .guest = &guest_gate_call,
     .options = {.deadline_ms = 50}, .process = SYS, .kvm = NOTHING, .play = play_gate_arguments},
    {.name = "wait_from_its_own_text", .mechanism = {"FILTER_ADDRESS", "ring 3"}, .guest = &guest_call,
     .options = {.is_unscanned = 1}, .process = SYS, .kvm = FAULT, .words = {1, WAIT_CALL}},
    {.name = "fork_as_the_zygote_does", .mechanism = {"FILTER_ADDRESS", "ring 3"}, .guest = &guest_call,
     .options = {.is_unscanned = 1}, .process = SYS, .kvm = FAULT, .words = {1, SYS_clone, 0x8011}},
    {.name = "int80_every_number", .mechanism = {"FILTER", "ring 3"}, .guest = &guest_int80, .process = SYS,
     .kvm = FAULT, .play = play_list, .detail = &sweep},
};

struct attack_table attacks_calls(void)
{
    return (struct attack_table){"calling the kernel", attacks, sizeof attacks / sizeof attacks[0]};
}
