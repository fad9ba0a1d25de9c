// SPDX-License-Identifier: ISC
// How long until a new instance has answered, beside posix_spawn of a static program.
//
//   spawn_bench HELLO CONNECTION-IMAGE MESSAGE-IMAGE RESIDENT-IMAGE ROUNDS
//
// It plays supervisor and router to crenel-tender (which must lie beside it), as `crenel run` does. One event
// at a time but for those, measured in turn in each round, so that they meet the same machine:
//   spawn       posix_spawn of HELLO until its first byte
//   connection  first message of a new connection until its EFFECTS: the instance is created in between
//   message     a message until its EFFECTS: met by a pristine instance that was made while nothing was asked
//   resident    the same with an instance that is kept: the way alone
//   message-64, resident-64  of 64 messages that are sent at once until the EFFECTS of all, the part of one
//   cold        a tender forked, executed, its zygote and instance made, one message served, all ended
// Prints for each: name, p50 and p99 in microseconds.
#include "cli/build/build.h"
#include "cli/run_tender.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 100000u
#define KINDS 7u
#define COLD 4u
#define MANY 5u // and behind it: the tenders of message and resident again

// publish/1 (schemas/publish.yaml) with one byte of payload, as it is sent.
struct publish_short {
    uint8_t qos, is_duplicate;
    uint16_t topic_length;
    char topic[128];
    uint16_t payload_length;
    uint8_t payload[2];
};
_Static_assert(sizeof(struct publish_short) == 136, "publish/1 up to its first two bytes of payload");

struct subject {
    const char *name;
    struct run_tender tender;
    uint8_t *image_bytes;
    struct image image;
    int is_connection;
    int64_t *ns;
    uint8_t gathered[CHANNEL_PACKET_BYTES];
};

static void fail(const char *what)
{
    fprintf(stderr, "spawn_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void subject_start(struct subject *subject, const char *name, const char *path, unsigned rounds, int is_cold)
{
    uint8_t digest[32];
    subject->name = name;
    subject->ns = calloc(rounds, sizeof subject->ns[0]);
    if (subject->ns == NULL)
        fail("memory");
    if (path == NULL)
        return;
    if (image_read(path, &subject->image_bytes, &subject->image, digest) != STATUS_OK)
        exit(1);
    subject->is_connection = subject->image.manifest.header->lifetime == LIFETIME_CONNECTION;
    if (is_cold)
        return;
    struct run_config config = {.image_path = path, .image = &subject->image, .digest = digest,
                                .configuration = "", .deadline_ms = 1000};
    if (run_tender_start(&subject->tender, &config) != STATUS_OK)
        exit(1);
    channel_gather(&subject->tender.link, subject->gathered, subject->tender.inbox, CHANNEL_PACKET_BYTES);
}

static void expect(struct subject *subject, uint16_t kind)
{
    static uint8_t packet[LINK_BYTES_MAX];
    struct link_header header;
    size_t size;
    do {
        if (channel_receive(&subject->tender.link, packet, sizeof packet, &size, 1) != STATUS_OK)
            fail("the tender ended");
        memcpy(&header, packet, sizeof header);
    } while (header.kind != kind);
    if (kind == LINK_EFFECTS) {
        struct link_effects effects;
        memcpy(&effects, packet, sizeof effects);
        if (effects.outcome != LINK_ENDED)
            fail("the event failed");
    }
}

// Of `count` events that are sent at once.
static int64_t measure_events(struct subject *subject, uint64_t number, unsigned count)
{
    struct publish_short message = {.topic_length = 1, .topic = "a", .payload_length = 1, .payload = "x"};
    struct link_deliver deliver = {
        .header = {sizeof deliver + sizeof message, LINK_DELIVER, 0, number},
        .record = {sizeof(struct abi_event) + sizeof message, ABI_EVENT, 0},
        .number = number,
        .time_ms = 1,
        .connection = subject->is_connection ? number : 0,
        .attempt = 1,
        .payload_bytes = sizeof message,
    };
    int64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        deliver.header.handle = number + i;
        if (channel_send_parts(&subject->tender.link,
                               (struct channel_part[]){{&deliver, sizeof deliver}, {&message, sizeof message}},
                               2) != STATUS_OK)
            fail("send");
    }
    if (channel_flush(&subject->tender.link) != STATUS_OK)
        fail("send");
    for (unsigned i = 0; i < count; i++)
        expect(subject, LINK_EFFECTS);
    int64_t end = now_ns();
    if (subject->is_connection) {
        struct link_header close_record = {sizeof close_record, LINK_CLOSE, 0, number};
        if (channel_send(&subject->tender.link, &close_record, sizeof close_record) != STATUS_OK ||
            channel_flush(&subject->tender.link) != STATUS_OK)
            fail("send");
        expect(subject, LINK_GONE);
    }
    return end - start;
}

// The whole life of a tender, what its parent prepares for it included.
static int64_t measure_cold(struct subject *subject, const char *path)
{
    static const uint8_t digest[32];
    struct run_config config = {.image_path = path, .image = &subject->image, .digest = digest,
                                .configuration = "", .deadline_ms = 1000};
    int64_t start = now_ns();
    if (run_tender_start(&subject->tender, &config) != STATUS_OK)
        exit(1);
    (void)measure_events(subject, 1, 1);
    run_tender_stop(&subject->tender);
    return now_ns() - start;
}

static int64_t measure_spawn(char *path)
{
    int ends[2];
    char byte, *argv[] = {path, NULL}, *environment[] = {NULL};
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe(ends) != 0 || posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1) != 0)
        fail("pipe");
    int64_t start = now_ns();
    if (posix_spawn(&pid, path, &actions, NULL, argv, environment) != 0)
        fail(path);
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        fail("no answer");
    int64_t end = now_ns();
    close(ends[0]);
    (void)waitpid(pid, NULL, 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    return end - start;
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "spawn_bench HELLO CONNECTION-IMAGE MESSAGE-IMAGE RESIDENT-IMAGE ROUNDS\n");
        return 2;
    }
    unsigned rounds = (unsigned)strtoul(argv[5], NULL, 10);
    if (rounds == 0 || rounds > ROUNDS_MAX)
        return 2;
    static const char *const names[KINDS] = {"spawn",      "connection",  "message", "resident", "cold",
                                              "message-64", "resident-64"};
    static struct subject subjects[KINDS];
    for (unsigned i = 0; i < MANY; i++)
        subject_start(&subjects[i], names[i], i == 0 ? NULL : argv[i == COLD ? 3 : 1 + i], rounds, i == COLD);
    for (unsigned i = MANY; i < KINDS; i++)
        subject_start(&subjects[i], names[i], NULL, rounds, 0);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < KINDS; i++) {
            struct timespec pause = {0, 500000}; // what was made ahead is ready, for all alike
            (void)nanosleep(&pause, NULL);
            subjects[i].ns[round] = i == 0      ? measure_spawn(argv[1])
                                    : i == COLD ? measure_cold(&subjects[i], argv[3])
                                    : i >= MANY ? measure_events(&subjects[2 + i - MANY], 1, LINK_BATCH_MAX) / LINK_BATCH_MAX
                                                : measure_events(&subjects[i], round + 1, 1);
        }
    for (unsigned i = 0; i < KINDS; i++) {
        qsort(subjects[i].ns, rounds, sizeof subjects[i].ns[0], compare);
        printf("%s %.1f %.1f\n", subjects[i].name, (double)subjects[i].ns[rounds / 2] / 1e3,
               (double)subjects[i].ns[(size_t)rounds * 99 / 100] / 1e3);
        if (i > 0 && i < COLD)
            run_tender_stop(&subjects[i].tender);
        free(subjects[i].image_bytes);
        free(subjects[i].ns);
    }
    return 0;
}
