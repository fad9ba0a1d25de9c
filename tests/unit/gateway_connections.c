// SPDX-License-Identifier: ISC
// The gateway between real TCP clients and a router that this test plays, all in one thread: every step is one
// round of the loop, so nothing depends on time but the limits, which are made short.
#include "gateway/gateway.h"
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_MAX 20000
#define OUTPUT_BYTES 65536u

static struct loop loop;
static struct gateway gateway;
static struct gateway_page page;
static struct channel router;
static struct sockaddr_in address;

static struct {
    struct link_header header;
    uint8_t bytes[LINK_BYTES_MAX];
    size_t size; // behind the header
} got;

static void start(uint16_t connections_max, uint32_t first_byte_ms, uint32_t slow_ms)
{
    int fds[2];
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct gateway_limits limits = {connections_max, OUTPUT_BYTES, slow_ms, first_byte_ms, 50};
    page = (struct gateway_page){0};
    expect(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
           listen(listener, 64) == 0 &&
           getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    expect(channel_pair(fds) == STATUS_OK && loop_init(&loop) == STATUS_OK &&
           gateway_init(&gateway, &loop, listener, fds[0], &limits, &page) == STATUS_OK);
    static uint8_t inbox[CHANNEL_PACKET_BYTES];
    channel_init(&router, fds[1], NULL, 0);
    channel_gather(&router, NULL, inbox, CHANNEL_PACKET_BYTES);
}

static void stop(void)
{
    gateway_clean_up(&gateway);
    channel_close(&router);
    loop_clean_up(&loop);
}

// Runs the loop until the router gets a record. 0: none came.
static int next(void)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t size;
        uint8_t *record = (uint8_t *)&got;
        memset(&got.header, 0, sizeof got.header);
        if (channel_receive(&router, record, sizeof got.header + sizeof got.bytes, &size, 0) ==
            STATUS_OK) {
            got.size = size - sizeof got.header;
            expect(got.header.size == size);
            return 1;
        }
        if (gateway_turn(&gateway, 1) != STATUS_OK)
            return 0;
    }
    return 0;
}

static int next_is(enum link_kind kind) { return next() && got.header.kind == kind; }

static void rounds(int count)
{
    for (int i = 0; i < count; i++)
        (void)!gateway_turn(&gateway, 1);
}

static void tell(enum link_kind kind, uint64_t id, const void *bytes, size_t size)
{
    struct link_header header = {(uint32_t)(sizeof header + size), (uint16_t)kind, 0, id};
    struct channel_part parts[] = {{&header, sizeof header}, {bytes, size}};
    expect(channel_send_parts(&router, parts, size != 0 ? 2 : 1) == STATUS_OK);
}

static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

// What the client can read, while the gateway works; -1 when it was reset, 0 at the end.
static ssize_t client_read(int fd, void *bytes, size_t size)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        ssize_t count = recv(fd, bytes, size, MSG_DONTWAIT);
        if (count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            return count;
        (void)!gateway_turn(&gateway, 1);
    }
    return -2;
}

static void reset(int fd)
{
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

TEST(bytes_go_both_ways)
{
    char answer[16];
    start(4, 10000, 10000);
    int fd = client();
    expect(next_is(LINK_OPEN) && got.header.handle != 0 && memcmp(got.bytes, "127.0.0.1:", 10) == 0);
    uint64_t id = got.header.handle;
    expect(send(fd, "hello", 5, 0) == 5);
    expect(next_is(LINK_INPUT) && got.header.handle == id && got.size == 5 &&
           memcmp(got.bytes, "hello", 5) == 0);
    tell(LINK_OUTPUT, id, "world", 5);
    expect(next_is(LINK_DRAINED) && *(uint64_t *)(void *)got.bytes == 5);
    expect(client_read(fd, answer, sizeof answer) == 5 && memcmp(answer, "world", 5) == 0);
    expect(page.accepted == 1 && page.open == 1 && page.bytes_in == 5 && page.bytes_out == 5);
    close(fd);
    rounds(3);
    tell(LINK_TAKEN, id, NULL, 0);
    expect(next_is(LINK_SHUT) && got.header.handle == id);
    tell(LINK_END, id, NULL, 0);
    rounds(3);
    expect(page.open == 0);
    stop();
}

TEST(one_input_until_taken)
{
    static char block[5000];
    start(4, 10000, 10000);
    memset(block, 'x', sizeof block);
    int fd = client();
    expect(next_is(LINK_OPEN));
    uint64_t id = got.header.handle;
    expect(send(fd, block, sizeof block, 0) == sizeof block);
    close(fd);
    size_t total = 0;
    for (int i = 0; i < 3; i++) {
        expect(next_is(LINK_INPUT) && got.size <= LINK_INPUT_BYTES_MAX);
        total += got.size;
        rounds(5);
        size_t size;
        expect(channel_receive(&router, &got, sizeof got, &size, 0) == STATUS_AGAIN);
        tell(LINK_TAKEN, id, NULL, 0);
    }
    expect(total == sizeof block);
    expect(next_is(LINK_SHUT)); // the end of the outside comes behind its last bytes
    tell(LINK_END, id, NULL, 0);
    stop();
}

TEST(end_flushes_and_closes)
{
    char answer[16];
    start(1, 10000, 10000);
    int fd = client();
    expect(next_is(LINK_OPEN));
    uint64_t id = got.header.handle;
    expect(send(fd, "unread", 6, 0) == 6);
    expect(next_is(LINK_INPUT));
    expect(send(fd, "and more that nobody reads", 26, 0) == 26);
    tell(LINK_OUTPUT, id, "bye", 3);
    tell(LINK_END, id, NULL, 0);
    // No reset: the client reads everything, then the end.
    expect(client_read(fd, answer, sizeof answer) == 3 && client_read(fd, answer, 1) == 0);
    close(fd);
    rounds(5);
    expect(page.open == 0);
    // A client that never closes is closed by the limit.
    fd = client();
    while (next() && got.header.kind != LINK_OPEN)
        continue;
    tell(LINK_END, got.header.handle, NULL, 0);
    for (int i = 0; i < ROUNDS_MAX && page.open != 0; i++)
        rounds(1);
    expect(page.open == 0);
    close(fd);
    stop();
}

TEST(a_client_that_takes_nothing_harms_nobody_else)
{
    static char block[2048];
    char answer[16];
    start(4, 10000, 1500);
    int slow = client();
    expect(next_is(LINK_OPEN));
    uint64_t slow_id = got.header.handle;
    int other = client();
    expect(next_is(LINK_OPEN));
    uint64_t other_id = got.header.handle;
    expect(send(slow, "x", 1, 0) == 1);
    expect(next_is(LINK_INPUT) && got.header.handle == slow_id);
    // Fill the kernel's buffers and ours up to what the router's accounting allows.
    size_t waiting = 0, sent = 0;
    while (waiting <= OUTPUT_BYTES - sizeof block && sent < (64u << 20)) {
        tell(LINK_OUTPUT, slow_id, block, sizeof block);
        sent += sizeof block;
        waiting += sizeof block;
        rounds(1);
        size_t size;
        while (channel_receive(&router, &got, sizeof got, &size, 0) == STATUS_OK)
            if (got.header.kind == LINK_DRAINED)
                waiting -= *(uint64_t *)(void *)got.bytes;
    }
    expect(waiting > OUTPUT_BYTES - 2 * sizeof block);
    expect(page.open == 2);
    tell(LINK_OUTPUT, other_id, "quick", 5);
    expect(client_read(other, answer, sizeof answer) == 5);
    // After slow_ms it is cut off: its bytes are given back, and SHUT follows once its input is taken.
    uint64_t drained = 0;
    while (drained < waiting && next_is(LINK_DRAINED))
        if (got.header.handle == slow_id)
            drained += *(uint64_t *)(void *)got.bytes;
    expect(drained == waiting);
    rounds(5);
    size_t size;
    expect(channel_receive(&router, &got, sizeof got, &size, 0) == STATUS_AGAIN);
    tell(LINK_TAKEN, slow_id, NULL, 0);
    expect(next_is(LINK_SHUT) && got.header.handle == slow_id);
    tell(LINK_OUTPUT, slow_id, "late", 4); // crossed SHUT on its way
    expect(next_is(LINK_DRAINED));
    tell(LINK_END, slow_id, NULL, 0);
    rounds(3);
    expect(page.open == 1);
    close(slow);
    close(other);
    stop();
}

TEST(overflow_ends_the_connection)
{
    static char block[32768];
    start(1, 10000, 10000);
    int fd = client();
    expect(next_is(LINK_OPEN));
    uint64_t id = got.header.handle;
    int is_shut = 0;
    for (int i = 0; i < 1000 && !is_shut; i++) { // a router that does not count
        tell(LINK_OUTPUT, id, block, sizeof block);
        rounds(1);
        size_t size;
        while (channel_receive(&router, &got, sizeof got, &size, 0) == STATUS_OK)
            is_shut |= got.header.kind == LINK_SHUT;
    }
    expect(is_shut);
    tell(LINK_END, id, NULL, 0);
    rounds(2);
    expect(page.open == 0);
    close(fd);
    stop();
}

TEST(resets_and_silence)
{
    start(2, 10000, 10000);
    int fd = client();
    expect(next_is(LINK_OPEN));
    uint64_t id = got.header.handle;
    expect(send(fd, "x", 1, 0) == 1);
    expect(next_is(LINK_INPUT));
    reset(fd); // while the router has not taken the input
    rounds(5);
    tell(LINK_TAKEN, id, NULL, 0);
    expect(next_is(LINK_SHUT));
    tell(LINK_END, id, NULL, 0);
    rounds(2);
    expect(page.open == 0);
    stop();

    start(2, 30, 10000);
    fd = client();
    expect(next_is(LINK_OPEN));
    expect(next_is(LINK_SHUT)); // it said nothing
    tell(LINK_END, got.header.handle, NULL, 0);
    rounds(2);
    expect(page.open == 0);
    close(fd);
    stop();
}

TEST(connections_are_bounded)
{
    char byte;
    uint64_t ids[8];
    int fds[8];
    start(8, 10000, 10000);
    for (int i = 0; i < 8; i++) {
        fds[i] = client();
        expect(next_is(LINK_OPEN));
        ids[i] = got.header.handle;
        for (int j = 0; j < i; j++)
            expect(ids[i] != ids[j]);
    }
    int more = client();
    expect(client_read(more, &byte, 1) <= 0 && page.refused == 1 && page.open == 8);
    close(more);
    close(fds[3]);
    expect(next_is(LINK_SHUT) && got.header.handle == ids[3]);
    tell(LINK_END, ids[3], NULL, 0);
    rounds(3);
    fds[3] = client(); // its place is free, its id is not used again
    expect(next_is(LINK_OPEN) && got.header.handle != ids[3]);
    tell(LINK_OUTPUT, ids[3], "stale", 5);
    rounds(3);
    expect(recv(fds[3], &byte, 1, MSG_DONTWAIT) < 0);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    stop();
}

TEST(the_end_of_the_router_is_the_end)
{
    start(1, 10000, 10000);
    channel_close(&router);
    rounds(3);
    expect(loop.is_stopping);
    stop();
    start(1, 10000, 10000);
    struct link_header header = {sizeof header, LINK_DELIVER, 0, 1};
    expect(channel_send(&router, &header, sizeof header) == STATUS_OK);
    rounds(3);
    expect(loop.is_stopping);
    stop();
}

int main(void)
{
    RUN(bytes_go_both_ways);
    RUN(one_input_until_taken);
    RUN(end_flushes_and_closes);
    RUN(a_client_that_takes_nothing_harms_nobody_else);
    RUN(overflow_ends_the_connection);
    RUN(resets_and_silence);
    RUN(connections_are_bounded);
    RUN(the_end_of_the_router_is_the_end);
    TEST_END();
}
