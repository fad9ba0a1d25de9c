// SPDX-License-Identifier: ISC
// One publisher and one subscriber of MQTT 3.1.1 in one process: how fast, how late, how many lost.
//
//   mqtt_bench PORT SUBSCRIBER-PORT QOS PUBLISH-TOPIC SUBSCRIBE-TOPIC MESSAGES WINDOW [CREDENTIALS-FILE]
//
// A closed loop: at most WINDOW messages are between publish and subscriber at any time, so the same load
// meets every broker and nothing is lost for want of a queue. WINDOW 1 gives the latency of an idle system,
// a larger one its throughput. A message that does not arrive within 5 seconds is lost. Both connections
// acknowledge QoS 1 at once. CREDENTIALS-FILE: two lines for the publisher (user, password), two for the
// subscriber. Prints one line: messages/s, p50 and p99 in microseconds, lost.
//
// WINDOW as "20s", with QoS 1: a slow subscriber. Then so many publications are unacknowledged at any time, and the
// subscriber, with little room in its kernel, takes SLOW_BYTES a millisecond, less than the publisher sends. Lost is what
// was acknowledged to the publisher and does not arrive.
//
// WINDOW as "rounds" or "burst": messages between two unikernels (tests/bench/relay). The publisher tells one of them
// to begin, the subscriber hears when it has ended: FABRIC_STARTS times with MESSAGES each, and the times printed are those
// of a start, divided by MESSAGES.
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD_BYTES 100u // number, then time in nanoseconds, then filling, as hexadecimal text
#define LOST_MS 5000
#define MESSAGES_MAX 1000000
#define BUFFER_BYTES 65536u
#define SLOW_BYTES 1024u // about eight messages
#define SLOW_ROOM 8192
#define FABRIC_STARTS 20u

struct connection {
    int fd;
    uint8_t in[BUFFER_BYTES];
    size_t in_bytes;
};

static void fail(const char *what)
{
    fprintf(stderr, "mqtt_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n <= 0)
            fail("write");
        bytes += n;
        size -= (size_t)n;
    }
}

static size_t put_text(uint8_t *to, const char *text)
{
    size_t length = strlen(text);
    to[0] = (uint8_t)(length >> 8);
    to[1] = (uint8_t)length;
    memcpy(to + 2, text, length);
    return 2 + length;
}

// A packet with a body under 16 KiB.
static void send_packet(int fd, uint8_t first, const uint8_t *body, size_t size)
{
    uint8_t packet[4096];
    size_t at = 0;
    packet[at++] = first;
    if (size >= 128)
        packet[at++] = (uint8_t)(size % 128 | 128);
    packet[at++] = (uint8_t)(size >= 128 ? size / 128 : size);
    memcpy(packet + at, body, size);
    write_all(fd, packet, at + size);
}

// The next whole packet in the buffer: its size, or 0.
static size_t packet_size(const struct connection *connection, size_t *body)
{
    size_t length = 0;
    for (size_t i = 1; i < 5 && i < connection->in_bytes; i++) {
        length |= (size_t)(connection->in[i] & 127) << (7 * (i - 1));
        if ((connection->in[i] & 128) == 0) {
            *body = i + 1;
            return i + 1 + length <= connection->in_bytes ? i + 1 + length : 0;
        }
    }
    return 0;
}

static void drop_packet(struct connection *connection, size_t size)
{
    connection->in_bytes -= size;
    memmove(connection->in, connection->in + size, connection->in_bytes);
}

static void receive(struct connection *connection, size_t most)
{
    size_t room = BUFFER_BYTES - connection->in_bytes;
    ssize_t n = read(connection->fd, connection->in + connection->in_bytes, room < most ? room : most);
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        fail("read");
    connection->in_bytes += (size_t)n;
}

// Waits for one packet of the given type and drops it.
static void expect(struct connection *connection, uint8_t type, uint8_t code_at, uint8_t code_most)
{
    size_t body = 0, size;
    while ((size = packet_size(connection, &body)) == 0)
        receive(connection, BUFFER_BYTES);
    if (connection->in[0] >> 4 != type || connection->in[body + code_at] > code_most) {
        errno = EACCES;
        fail(type == 2 ? "CONNACK" : "SUBACK");
    }
    drop_packet(connection, size);
}

static void open_connection(struct connection *connection, int port, const char *name, int room, FILE *credentials)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (room != 0)
        setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char user[64] = "", password[256] = "";
    if (credentials != NULL && (fgets(user, sizeof user, credentials) == NULL ||
                                fgets(password, sizeof password, credentials) == NULL))
        fail("credentials");
    user[strcspn(user, "\n")] = 0;
    password[strcspn(password, "\n")] = 0;
    uint8_t body[512];
    size_t size = put_text(body, "MQTT");
    body[size++] = 4;
    body[size++] = (uint8_t)(0x02 | (user[0] ? 0xc0 : 0));
    body[size++] = 0;
    body[size++] = 60;
    size += put_text(body + size, name);
    if (user[0]) {
        size += put_text(body + size, user);
        size += put_text(body + size, password);
    }
    send_packet(connection->fd, 0x10, body, size);
    expect(connection, 2, 1, 0);
}

static void subscribe(struct connection *connection, const char *topic, uint8_t qos)
{
    uint8_t body[300] = {0, 1};
    size_t size = 2 + put_text(body + 2, topic);
    body[size++] = qos;
    send_packet(connection->fd, 0x82, body, size);
    expect(connection, 9, 2, 1);
}

static void publish(struct connection *connection, const char *topic, uint8_t qos, uint32_t number)
{
    uint8_t body[512];
    char payload[PAYLOAD_BYTES + 1];
    size_t size = put_text(body, topic);
    if (qos > 0) {
        uint16_t id = (uint16_t)(number % 60000 + 1);
        body[size++] = (uint8_t)(id >> 8);
        body[size++] = (uint8_t)id;
    }
    snprintf(payload, sizeof payload, "%08" PRIx32 "%016" PRIx64 "%076d", number, (uint64_t)now_ns(), 0);
    memcpy(body + size, payload, PAYLOAD_BYTES);
    send_packet(connection->fd, (uint8_t)(0x30 | qos << 1), body, size + PAYLOAD_BYTES);
}

struct run {
    uint32_t messages;
    int64_t *latency_ns; // by number; 0: not there yet
    uint32_t received, duplicates, acknowledged;
};

// Takes every whole packet that has arrived: counts publications, acknowledges them.
static void take_packets(struct connection *connection, struct run *run)
{
    size_t body = 0, size;
    while ((size = packet_size(connection, &body)) != 0) {
        const uint8_t *at = connection->in + body;
        uint8_t first = connection->in[0];
        if (first >> 4 == 3) {
            size_t topic = (size_t)at[0] << 8 | at[1];
            const uint8_t *payload = at + 2 + topic;
            if (first & 6) {
                send_packet(connection->fd, 0x40, payload, 2);
                payload += 2;
            }
            char number[9] = {0}, time[17] = {0};
            memcpy(number, payload, 8);
            memcpy(time, payload + 8, 16);
            uint32_t index = (uint32_t)strtoul(number, NULL, 16);
            if (index < run->messages && run->latency_ns[index] == 0) {
                run->latency_ns[index] = now_ns() - (int64_t)strtoull(time, NULL, 16);
                run->received++;
            } else {
                run->duplicates++;
            }
        }
        run->acknowledged += first >> 4 == 4;
        drop_packet(connection, size);
    }
}

// Returns when it began to wait for what is lost, or was done.
static int64_t run_slowly(struct run *run, struct connection *publisher, struct connection *subscriber, const char *topic,
                          uint32_t window)
{
    uint32_t sent = 0;
    int64_t last = now_ns(), next = last;
    while (run->received < run->messages && now_ns() - last < (int64_t)LOST_MS * 1000000) {
        while (sent < run->messages && sent - run->acknowledged < window)
            publish(publisher, topic, 1, sent++);
        struct pollfd fds[2] = {{publisher->fd, POLLIN, 0}, {subscriber->fd, POLLIN, 0}};
        if (poll(fds, 2, 1) < 0)
            fail("poll");
        if (fds[0].revents) {
            receive(publisher, BUFFER_BYTES);
            take_packets(publisher, run);
            last = now_ns();
        }
        if (fds[1].revents && now_ns() >= next) {
            receive(subscriber, SLOW_BYTES);
            take_packets(subscriber, run);
            last = next = now_ns();
            next += 1000000;
        } else if (fds[1].revents && !fds[0].revents) {
            struct timespec pause = {.tv_nsec = 200000};
            nanosleep(&pause, NULL);
        }
    }
    return last;
}

// Returns when the last message came.
static int64_t run_closed(struct run *run, struct connection *publisher, struct connection *subscriber,
                          const char *topic, uint8_t qos, uint32_t window)
{
    uint32_t sent = 0, lost = 0;
    int64_t last = now_ns();
    while (run->received + lost < run->messages) {
        while (sent < run->messages && sent - run->received - lost < window)
            publish(publisher, topic, qos, sent++);
        struct pollfd fds[2] = {{subscriber->fd, POLLIN, 0}, {publisher->fd, POLLIN, 0}};
        int ready = poll(fds, 2, LOST_MS);
        if (ready < 0)
            fail("poll");
        if (ready == 0)
            lost = sent - run->received;
        uint32_t before = run->received;
        for (int i = 0; i < 2; i++)
            if (fds[i].revents) {
                receive(i == 0 ? subscriber : publisher, BUFFER_BYTES);
                take_packets(i == 0 ? subscriber : publisher, run);
            }
        if (run->received != before)
            last = now_ns();
    }
    return last;
}

// Returns when the last start had ended.
static int64_t run_fabric(struct run *run, struct connection *publisher, struct connection *subscriber, const char *topic,
                          const char *word)
{
    int64_t now = now_ns();
    size_t body = 0, size;
    for (uint32_t i = 0; i < FABRIC_STARTS; i++) {
        uint8_t start[128];
        char text[32];
        int length = snprintf(text, sizeof text, "%-6s %" PRIu32, word, run->messages);
        size = put_text(start, topic);
        memcpy(start + size, text, (size_t)length);
        int64_t began = now_ns();
        send_packet(publisher->fd, 0x30, start, size + (size_t)length);
        while ((size = packet_size(subscriber, &body)) == 0)
            receive(subscriber, BUFFER_BYTES);
        drop_packet(subscriber, size);
        now = now_ns();
        run->latency_ns[i] = (now - began) / run->messages;
        run->received += run->messages;
    }
    return now;
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    if (argc != 8 && argc != 9) {
        fprintf(stderr, "mqtt_bench PORT SUBSCRIBER-PORT QOS PUBLISH-TOPIC SUBSCRIBE-TOPIC MESSAGES WINDOW "
                        "[CREDENTIALS-FILE]\n");
        return 2;
    }
    static struct connection publisher, subscriber;
    int port = (int)strtol(argv[1], NULL, 10);
    int subscriber_port = (int)strtol(argv[2], NULL, 10);
    uint8_t qos = (uint8_t)strtoul(argv[3], NULL, 10);
    struct run run = {.messages = (uint32_t)strtoul(argv[6], NULL, 10)};
    uint32_t window = (uint32_t)strtoul(argv[7], NULL, 10);
    int is_fabric = strcmp(argv[7], "rounds") == 0 || strcmp(argv[7], "burst") == 0;
    if (run.messages == 0 || run.messages > MESSAGES_MAX || (window == 0 && !is_fabric))
        return 2;
    uint32_t times = is_fabric ? FABRIC_STARTS : run.messages;
    run.latency_ns = calloc(times, sizeof run.latency_ns[0]);
    FILE *credentials = argc == 9 ? fopen(argv[8], "re") : NULL;
    if (run.latency_ns == NULL || (argc == 9 && credentials == NULL))
        fail("start");
    int is_slow = strchr(argv[7], 's') != NULL;
    open_connection(&publisher, port, "bench-publisher", 0, credentials);
    open_connection(&subscriber, subscriber_port, "bench-subscriber", is_slow ? SLOW_ROOM : 0, credentials);
    subscribe(&subscriber, argv[5], qos);

    int64_t start = now_ns();
    int64_t last = is_fabric ? run_fabric(&run, &publisher, &subscriber, argv[4], argv[7])
                   : is_slow ? run_slowly(&run, &publisher, &subscriber, argv[4], window)
                             : run_closed(&run, &publisher, &subscriber, argv[4], qos, window);
    uint32_t owed = is_slow ? run.acknowledged : run.messages;
    uint32_t lost = run.received < owed ? owed - run.received : 0;
    int64_t *sorted = run.latency_ns;
    uint32_t count = 0;
    for (uint32_t i = 0; i < times; i++)
        if (run.latency_ns[i] != 0)
            sorted[count++] = run.latency_ns[i];
    qsort(sorted, count, sizeof sorted[0], compare);
    double seconds = (double)(last - start) / 1e9;
    printf("%.0f %.2f %.2f %u\n", seconds > 0 ? (double)run.received / seconds : 0.0,
           count ? (double)sorted[count / 2] / 1e3 : 0.0,
           count ? (double)sorted[(size_t)count * 99 / 100] / 1e3 : 0.0, lost);
    free(run.latency_ns);
    return 0;
}
