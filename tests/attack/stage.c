// SPDX-License-Identifier: ISC
// Plays supervisor and router to one crenel-tender, as `crenel run` does.
#include "tests/attack/attack.h"

#include "cli/run_tender.h"
#include "core/check.h"
#include "core/crash.h"
#include "host/sealed_file.h"
#include "proto/control.h"
#include "proto/status_page.h"
#include "proto/system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void stage_note(struct stage *stage, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(stage->seen, sizeof stage->seen, format, list);
    va_end(list);
}

void stage_fail(struct stage *stage, const char *format, ...)
{
    va_list list;
    if (stage->has_failed)
        return; // the first reason is the one that counts
    va_start(list, format);
    vsnprintf(stage->seen, sizeof stage->seen, format, list);
    va_end(list);
    stage->has_failed = 1;
}

static int memory_file(const void *bytes, size_t size)
{
    int fd = memfd_create("attack", MFD_CLOEXEC);
    check(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    check(bytes == NULL || pwrite(fd, bytes, size, 0) == (ssize_t)size);
    return fd;
}

static _Noreturn void become_tender(const struct stage *stage, const char *program, int control, int system)
{
    int page = memory_file(NULL, STATUS_PAGE_BYTES);
    int high[3] = {fcntl(control, F_DUPFD, 100), fcntl(system, F_DUPFD, 101), fcntl(page, F_DUPFD, 102)};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int errors = open(stage->error_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char *const argv[] = {(char[]){"crenel-tender"},
                          stage->wall == ATTACK_KVM ? (char[]){"tender-kvm"} : (char[]){"tender"}, (char[]){"0"}, NULL};
    char *const environment[] = {NULL};
    if (null >= 0 && errors >= 0 && dup2(null, 0) == 0 && dup2(errors, 1) == 1 && dup2(errors, 2) == 2 &&
        dup2(high[0], CONTROL_FD) == CONTROL_FD && dup2(high[1], CONTROL_SYSTEM_FD) == CONTROL_SYSTEM_FD &&
        dup2(high[2], CONTROL_PAGE_FD) == CONTROL_PAGE_FD && close_range(6, ~0u, 0) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0)
        execve(program, argv, environment);
    _exit(127);
}

static int system_file(const struct stage *stage, const struct stage_options *options,
                       const struct manifest_header *header, const uint8_t digest[32])
{
    struct image image = {.manifest = {.header = header}};
    struct run_config config = {.image_path = "attack", .image = &image, .digest = digest, .configuration = "",
                                .deadline_ms = options->deadline_ms != 0 ? options->deadline_ms : 1000};
    size_t size;
    uint8_t *bytes = run_system(&config, &size);
    check(bytes != NULL);
    struct system_unikernel unikernel;
    uint8_t *at = bytes + sizeof(struct system_signature) + sizeof(struct system_header);
    memcpy(&unikernel, at, sizeof unikernel);
    unikernel.isolation = stage->wall == ATTACK_KVM ? ISOLATION_KVM : ISOLATION_PROCESS;
    unikernel.instances_max = options->instances != 0 ? options->instances : 1;
    memcpy(at, &unikernel, sizeof unikernel);
    int fd = memory_file(bytes, size);
    free(bytes);
    return fd;
}

static void attach(int control_fd, enum control_what what, int fd)
{
    struct control_record record = {.size = sizeof record, .kind = CONTROL_ATTACH, .what = (uint16_t)what};
    (void)!channel_send_fd(control_fd, &record, sizeof record, fd); // a tender that refused is gone already
}

// What the tender said last, without its name.
static void last_words(struct stage *stage, off_t from)
{
    char text[512] = "";
    int fd = open(stage->error_path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? pread(fd, text, sizeof text - 1, from) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    const char *say = strstr(text, ": ");
    stage_note(stage, "%.150s", say != NULL ? say + 2 : "it ended without a word");
}

int stage_begin(struct stage *stage, const struct attack_guest *guest, const struct stage_options *options)
{
    static uint8_t image[IMAGE_BYTES_MAX];
    struct manifest_header header;
    struct stat before = {0};
    struct link_hello hello = {0};
    uint8_t digest[32];
    int control[2], link[2];
    size_t size = attack_image(guest, options, image, &header);
    crypto_hash_sha256(digest, image, size);
    int image_fd = -1, system_fd = system_file(stage, options, &header, digest);
    if (options->is_unsealed)
        image_fd = memory_file(image, size);
    else
        check(sealed_file(image, size, &image_fd) == STATUS_OK);
    check(channel_pair(control) == STATUS_OK && channel_pair(link) == STATUS_OK);
    (void)stat(stage->error_path, &before);
    fflush(NULL);
    stage->tender = fork();
    check(stage->tender >= 0);
    if (stage->tender == 0)
        become_tender(stage, options->is_unscanned ? stage->unscanned_program : stage->program, control[1],
                      system_fd);
    close(control[1]);
    close(system_fd);
    stage->control_fd = control[0];
    channel_init(&stage->link, link[0], NULL, 0);
    channel_gather(&stage->link, NULL, stage->inbox, CHANNEL_PACKET_BYTES);
    attach(control[0], CONTROL_IMAGE, image_fd);
    attach(control[0], CONTROL_ROUTER_LINK, link[1]);
    if (stage->wall == ATTACK_KVM)
        attach(control[0], CONTROL_KVM, stage->kvm_fd);
    attach(control[0], CONTROL_START, -1);
    close(image_fd);
    close(link[1]);
    stage->next_handle = 1;
    if (channel_receive(&stage->link, &hello, sizeof hello, &size, 1) == STATUS_OK && size == sizeof hello &&
        hello.header.kind == LINK_HELLO)
        return 1;
    channel_close(&stage->link);
    close(stage->control_fd);
    (void)waitpid(stage->tender, NULL, 0);
    stage->tender = 0;
    last_words(stage, before.st_size);
    return 0;
}

void stage_end(struct stage *stage)
{
    int status;
    if (stage->tender == 0)
        return;
    if (waitpid(stage->tender, &status, WNOHANG) != 0)
        stage_fail(stage, "NOT CONTAINED: the tender has ended (status 0x%x)", status);
    channel_close(&stage->link);
    close(stage->control_fd);
    for (int ms = 0; waitpid(stage->tender, &status, WNOHANG) == 0; ms++) {
        usleep(1000);
        if (ms == (stage->has_failed ? 20 : stage->silence_ms)) {
            stage_fail(stage, "NOT CONTAINED: the tender does not end");
            kill(stage->tender, SIGKILL);
        }
    }
    stage->tender = 0;
}

void stage_kill(struct stage *stage)
{
    kill(stage->tender, SIGKILL);
    (void)waitpid(stage->tender, NULL, 0);
    channel_close(&stage->link);
    close(stage->control_fd);
    stage->tender = 0;
}

uint64_t stage_send(struct stage *stage, const void *payload, size_t bytes)
{
    uint64_t handle = stage->next_handle++;
    struct link_deliver deliver = {
        .header = {(uint32_t)(sizeof deliver + bytes), LINK_DELIVER, 0, handle},
        .record = {(uint32_t)(sizeof(struct abi_event) + bytes), ABI_EVENT, 0},
        .number = handle,
        .time_ms = 1,
        .attempt = 1,
        .payload_bytes = (uint32_t)bytes,
    };
    check(bytes <= ABI_PAYLOAD_BYTES_MAX && bytes % 8 == 0);
    if (channel_send_parts(&stage->link, (struct channel_part[]){{&deliver, sizeof deliver}, {payload, bytes}},
                           2) != STATUS_OK)
        stage_fail(stage, "NOT CONTAINED: the tender is gone");
    return handle;
}

// An ANSWER with one absent item: what attackers get from the store does not matter.
static void answer(struct stage *stage, uint64_t handle)
{
    struct {
        struct link_header header;
        struct abi_answer answer;
        struct abi_item item;
    } packet = {.header = {sizeof packet, LINK_ANSWER, 0, handle},
                .answer = {.record = {sizeof packet.answer + sizeof packet.item, ABI_ANSWER, 0}, .item_count = 1},
                .item = {.status = ABI_ITEM_ABSENT}};
    if (channel_send(&stage->link, &packet, sizeof packet) != STATUS_OK)
        stage_fail(stage, "NOT CONTAINED: the tender is gone");
}

uint64_t stage_receive(struct stage *stage)
{
    static uint8_t packet[LINK_BYTES_MAX];
    struct link_header header;
    size_t size;
    for (;;) {
        struct pollfd ready = {.fd = stage->link.fd, .events = POLLIN};
        if ((!channel_has_more(&stage->link) && poll(&ready, 1, stage->silence_ms) != 1) ||
            channel_receive(&stage->link, packet, sizeof packet, &size, 1) != STATUS_OK) {
            stage_fail(stage, "NOT CONTAINED: the tender is %s", ready.revents != 0 ? "gone" : "silent");
            return 0;
        }
        memcpy(&header, packet, sizeof header);
        if (header.kind == LINK_READ)
            answer(stage, header.handle);
        if (header.kind == LINK_EFFECTS)
            break;
    }
    const uint8_t *at = packet + sizeof stage->effects;
    memcpy(&stage->effects, packet, sizeof stage->effects);
    memset(&stage->crash, 0, sizeof stage->crash);
    memset(stage->records, 0, sizeof stage->records);
    if (stage->effects.outcome == LINK_FAULT || stage->effects.outcome == LINK_DEADLINE) {
        memcpy(&stage->crash, at, sizeof stage->crash);
        at += sizeof stage->crash;
    }
    check(stage->effects.record_bytes <= sizeof stage->records &&
          at + stage->effects.record_bytes <= packet + size);
    memcpy(stage->records, at, stage->effects.record_bytes);
    return header.handle;
}

void stage_event(struct stage *stage, const uint64_t words[ACT_WORDS])
{
    uint64_t handle = stage_send(stage, words, ACT_WORDS * sizeof words[0]);
    uint64_t found = stage_receive(stage);
    if (found != 0 && found != handle)
        stage_fail(stage, "NOT CONTAINED: effects of event %llu, not of %llu", (unsigned long long)found,
                   (unsigned long long)handle);
}

const uint64_t *stage_message(const struct stage *stage, size_t *bytes)
{
    const struct abi_send *send = (const struct abi_send *)(const void *)stage->records;
    if (stage->effects.record_bytes < sizeof *send || send->record.kind != ABI_SEND)
        return NULL;
    *bytes = send->payload_bytes;
    return (const uint64_t *)(const void *)(stage->records + sizeof *send);
}

void stage_describe(const struct stage *stage, char text[160])
{
    const struct link_crash *crash = &stage->crash;
    char what[CRASH_WORDS_BYTES];
    crash_words(crash, what);
    switch (stage->effects.outcome) {
    case LINK_FAULT:
        if (crash->signal != 0)
            snprintf(text, 160, "SIG%s: %s", sigabbrev_np((int)crash->signal), what);
        else
            snprintf(text, 160, "fault: %s", what);
        break;
    case LINK_DEADLINE: snprintf(text, 160, "%s", what); break;
    case LINK_CONTRACT: snprintf(text, 160, "contract: %s", stage->effects.text); break;
    case LINK_ENDED: {
        size_t bytes = 0;
        const uint64_t *message = stage_message(stage, &bytes);
        if (message != NULL && bytes >= 8)
            snprintf(text, 160, "ended, and told 0x%llx", (unsigned long long)message[0]);
        else
            snprintf(text, 160, "ended");
        break;
    }
    case LINK_REFUSED: snprintf(text, 160, "ended in a refusal"); break;
    default: snprintf(text, 160, "lost"); break;
    }
}

const struct attack_outcome *attack_expected(const struct stage *stage, const struct attack *attack)
{
    return stage->wall == ATTACK_KVM ? &attack->kvm : &attack->process;
}

void stage_judge(struct stage *stage, const struct attack_outcome *expected, const char *what)
{
    char text[160];
    if (stage->has_failed)
        return;
    stage_describe(stage, text);
    unsigned outcome = stage->effects.outcome;
    int is_met = (outcome == LINK_ENDED && expected->is_ended) ||
                 (outcome == LINK_DEADLINE && expected->is_deadline) ||
                 (outcome == LINK_CONTRACT && expected->is_contract) ||
                 (outcome == LINK_FAULT && expected->is_fault &&
                  (expected->signals == 0 || stage->wall == ATTACK_KVM ||
                   (expected->signals >> stage->crash.signal & 1) != 0));
    if (is_met && expected->text != NULL && strstr(text, expected->text) == NULL)
        is_met = 0;
    if (is_met)
        stage_note(stage, "%s%s%s", what, what[0] != 0 ? ": " : "", text);
    else
        stage_fail(stage, "NOT CONTAINED: %s%s%s", what, what[0] != 0 ? ": " : "", text);
}
