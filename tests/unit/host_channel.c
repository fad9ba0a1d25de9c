// SPDX-License-Identifier: ISC
// Channels: whole records, order kept over a full socket and a wrapping buffer, descriptors, ends.
#include "host/channel.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY 1000u // odd on purpose: records wrap at every offset

static struct channel left, right;
static uint8_t ring[CAPACITY];

static void open_pair(uint8_t *buffer, size_t capacity)
{
    int fds[2];
    expect(channel_pair(fds) == STATUS_OK);
    channel_init(&left, fds[0], buffer, capacity);
    channel_init(&right, fds[1], NULL, 0);
}

static void close_pair(void)
{
    channel_close(&left);
    channel_close(&right);
}

// Record n: n as text, then n % 97 bytes of n.
static size_t make_record(unsigned n, uint8_t *bytes)
{
    memset(bytes, (int)(n & 0xff), 4 + n % 97);
    memcpy(bytes, &n, sizeof n);
    return sizeof n + n % 97;
}

TEST(records_keep_their_borders)
{
    char bytes[16];
    size_t size = 0;
    open_pair(NULL, 0);
    expect(channel_send(&left, "one", 3) == STATUS_OK);
    expect(channel_send_parts(&left, (struct channel_part[]){{"tw", 2}, {"o", 1}}, 2) == STATUS_OK);
    expect(channel_receive(&right, bytes, sizeof bytes, &size, 0) == STATUS_OK && size == 3);
    expect(channel_receive(&right, bytes, sizeof bytes, &size, 0) == STATUS_OK);
    expect(size == 3 && memcmp(bytes, "two", 3) == 0);
    expect(channel_receive(&right, bytes, sizeof bytes, &size, 0) == STATUS_AGAIN);
    close_pair();
}

TEST(too_large_a_record_is_told)
{
    char small[2];
    size_t size = 77;
    open_pair(NULL, 0);
    expect(channel_send(&left, "long", 4) == STATUS_OK);
    expect(channel_receive(&right, small, sizeof small, &size, 0) == STATUS_TOO_LARGE);
    expect(size == 77); // outputs are written on success only
    close_pair();
}

TEST(the_end_of_a_peer_is_told)
{
    char bytes[4];
    size_t size;
    open_pair(NULL, 0);
    channel_close(&right);
    expect(channel_send(&left, "x", 1) == STATUS_CLOSED);
    expect(channel_receive(&left, bytes, sizeof bytes, &size, 0) == STATUS_CLOSED);
    channel_close(&left);
    expect(channel_send(&left, "x", 1) == STATUS_CLOSED);
}

// Never blocks: when socket and buffer are full it says FULL, and nothing of that record is kept.
TEST(order_holds_over_a_wrapping_buffer)
{
    uint8_t record[256], got[256];
    unsigned sent = 0, received = 0, fulls = 0;
    size_t size, got_size;
    open_pair(ring, CAPACITY);
    while (sent < 60000) {
        size = make_record(sent, record);
        enum status status = channel_send(&left, record, size);
        if (status == STATUS_OK) {
            sent++;
            continue;
        }
        expect(status == STATUS_FULL);
        fulls++;
        for (unsigned i = 0; i < 1 + fulls % 700; i++) { // drain a different number each time
            size = make_record(received, record);
            if (channel_receive(&right, got, sizeof got, &got_size, 0) != STATUS_OK)
                break;
            expect(got_size == size && memcmp(got, record, size) == 0);
            received++;
        }
        if (fulls % 2 == 0)
            continue; // the next record is sent while older ones wait and the socket has room
        enum status flushed = channel_flush(&left);
        expect(flushed == STATUS_OK || flushed == STATUS_AGAIN);
    }
    while (received < sent) {
        (void)!channel_flush(&left);
        size = make_record(received, record);
        expect(channel_receive(&right, got, sizeof got, &got_size, 0) == STATUS_OK);
        expect(got_size == size && memcmp(got, record, size) == 0);
        received++;
        if (test_why != NULL)
            break;
    }
    expect(fulls > 10 && !channel_is_waiting(&left));
    close_pair();
}

TEST(a_record_larger_than_the_buffer_is_refused)
{
    static uint8_t large[CAPACITY];
    open_pair(ring, 8);
    while (channel_send(&left, large, 900) == STATUS_OK) // until the socket is full
        ;
    expect(channel_send(&left, large, 900) == STATUS_FULL);
    expect(!channel_is_waiting(&left));
    close_pair();
}

TEST(descriptors_travel)
{
    int fds[2], pipe_fds[2], fd = -1;
    char byte = 0;
    size_t size = 0;
    expect(channel_pair(fds) == STATUS_OK && pipe(pipe_fds) == 0);
    expect(channel_send_fd(fds[0], "f", 1, pipe_fds[1]) == STATUS_OK);
    expect(channel_receive_fd(fds[1], &byte, 1, &size, &fd, 0) == STATUS_OK && fd >= 0);
    expect((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    expect(write(fd, "p", 1) == 1 && read(pipe_fds[0], &byte, 1) == 1 && byte == 'p');
    close(fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(fds[0]);
    close(fds[1]);
}

// Records that are gathered come out one by one, whatever packets they travelled in.
TEST(gathers)
{
    static _Alignas(8) uint8_t packet[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
    static uint8_t record[30000], got[30000];
    size_t size;
    open_pair(NULL, 0);
    channel_gather(&left, packet, NULL, CHANNEL_PACKET_BYTES);
    channel_gather(&right, NULL, inbox, CHANNEL_PACKET_BYTES);
    for (uint32_t i = 4; i < 30000; i += 2997) {
        memcpy(record, &i, sizeof i);
        memset(record + 4, (int)i, i - 4);
        expect(channel_send(&left, record, i) == STATUS_OK);
        if (i < 60000 / 8)
            expect(channel_has_gathered(&left));
    }
    expect(channel_flush(&left) == STATUS_OK && !channel_has_gathered(&left));
    for (uint32_t i = 4; i < 30000; i += 2997) {
        memcpy(record, &i, sizeof i);
        memset(record + 4, (int)i, i - 4);
        expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_OK && size == i);
        expect(memcmp(got, record, i) == 0);
    }
    expect(!channel_has_more(&right) && channel_receive(&right, got, sizeof got, &size, 0) == STATUS_AGAIN);
    close_pair();
}

// A packet that is not made of records costs itself, and the next one is read as if it had not been.
TEST(gathered_by_a_stranger)
{
    static _Alignas(8) uint8_t inbox[CHANNEL_PACKET_BYTES];
    uint8_t packet[64] = {8}, got[16];
    size_t size;
    open_pair(NULL, 0);
    channel_gather(&right, NULL, inbox, CHANNEL_PACKET_BYTES);
    const uint32_t sizes[] = {0, 3, 57, 0xffffffff, 0xfffffff9};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memcpy(packet + 8, &sizes[i], sizeof sizes[i]);
        expect(channel_send(&left, packet, sizeof packet) == STATUS_OK);
        expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_OK && size == 8);
        expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_MALFORMED);
    }
    for (size_t bytes = 1; bytes < 4; bytes++) {
        expect(channel_send(&left, packet, bytes) == STATUS_OK);
        expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_MALFORMED);
    }
    const uint32_t large = 24;
    memcpy(packet + 8, &large, sizeof large);
    expect(channel_send(&left, packet, 40) == STATUS_OK && channel_send(&left, packet, 8) == STATUS_OK);
    expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_OK && size == 8);
    expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_TOO_LARGE);
    expect(channel_receive(&right, got, sizeof got, &size, 0) != STATUS_OK); // 8 bytes are left: a size of 0
    expect(channel_receive(&right, got, sizeof got, &size, 0) == STATUS_OK && size == 8);
    close_pair();
}

int main(void)
{
    RUN(records_keep_their_borders);
    RUN(too_large_a_record_is_told);
    RUN(the_end_of_a_peer_is_told);
    RUN(order_holds_over_a_wrapping_buffer);
    RUN(a_record_larger_than_the_buffer_is_refused);
    RUN(descriptors_travel);
    RUN(gathers);
    RUN(gathered_by_a_stranger);
    TEST_END();
}
