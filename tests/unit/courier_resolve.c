// SPDX-License-Identifier: ISC
// What a courier finds in a text like /etc/hosts, and what it makes of the answers of a name server.
#include "courier/resolve.h"
#include "tests/unit/test.h"

#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct resolve resolve;

// The addresses that a text has for the name, one after the other.
static const char *found(const char *hosts, const char *name)
{
    static char list[512];
    memset(&resolve, 0, sizeof resolve);
    snprintf(resolve.hosts, sizeof resolve.hosts, "%s", hosts);
    snprintf(resolve.host, sizeof resolve.host, "%s", name);
    resolve.port = 8883;
    resolve_in_hosts(&resolve);
    list[0] = 0;
    for (unsigned i = 0; i < resolve.count; i++) {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        memcpy(&in, &resolve.addresses[i].bytes, sizeof in);
        memcpy(&in6, &resolve.addresses[i].bytes, sizeof in6);
        char text[INET6_ADDRSTRLEN];
        int is_v4 = in.sin_family == AF_INET;
        expect(inet_ntop(in.sin_family, is_v4 ? (void *)&in.sin_addr : (void *)&in6.sin6_addr, text, sizeof text) != NULL);
        expect(ntohs(is_v4 ? in.sin_port : in6.sin6_port) == 8883);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i != 0 ? " " : "", text);
    }
    return list;
}

TEST(lines_comments_and_case)
{
    static const char hosts[] = "# names\n\n127.0.0.1\tlocalhost\n 192.0.2.7  cloud.example.org cloud # the cloud\n"
                                "2001:db8::7 Cloud.Example.org\n192.0.2.8 other #cloud\nnonsense cloud\n192.0.2.9";
    expect(strcmp(found(hosts, "localhost"), "127.0.0.1") == 0);
    expect(strcmp(found(hosts, "cloud"), "192.0.2.7") == 0);
    expect(strcmp(found(hosts, "CLOUD.example.org"), "192.0.2.7 2001:db8::7") == 0);
    expect(strcmp(found(hosts, "clou"), "") == 0);
    expect(strcmp(found(hosts, "192.0.2.9"), "") == 0);
    expect(strcmp(found("", "cloud"), "") == 0);
    expect(strcmp(found("192.0.2.1 cloud\r\n192.0.2.2 cloud", "cloud"), "192.0.2.1 192.0.2.2") == 0);
}

TEST(many_and_long_ones)
{
    char hosts[600] = "", long_name[400];
    for (int i = 0; i < 20; i++)
        snprintf(hosts + strlen(hosts), sizeof hosts - strlen(hosts), "192.0.2.1 cloud\n");
    (void)found(hosts, "cloud");
    expect(resolve.count == RESOLVE_ADDRESSES_MAX);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    snprintf(hosts, sizeof hosts, "192.0.2.1 %s", long_name);
    long_name[127] = 0; // as long as a name of ours may be: a part of what stands there
    expect(strcmp(found(hosts, long_name), "") == 0);
}

// ---- A name server, in this process ----

static struct loop loop;
static struct loop_watch server_watch;
static int server_fd;
static unsigned asked;
static enum { KNOWN, UNKNOWN, JUNK } says;
static char outcome[512]; // what the owner was told last

static void on_query(void *context, uint32_t events)
{
    uint8_t bytes[1024];
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof peer;
    (void)context, (void)events;
    ssize_t got = recvfrom(server_fd, bytes, 512, 0, (struct sockaddr *)&peer, &peer_size);
    expect(got > 16);
    asked++;
    size_t at = 12;
    while (bytes[at] != 0)
        at += 1u + bytes[at];
    size_t size = at + 5; // the question ends there
    int is_v6 = bytes[at + 2] == 28;
    bytes[2] = 0x81;
    bytes[3] = says == UNKNOWN ? 0x83 : 0x80;
    bytes[7] = says == UNKNOWN ? 0 : 1;
    static const uint8_t v4[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7};
    static const uint8_t v6[] = {0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    if (says != UNKNOWN) {
        memcpy(bytes + size, is_v6 ? v6 : v4, is_v6 ? sizeof v6 : sizeof v4);
        size += is_v6 ? sizeof v6 : sizeof v4;
    }
    if (says == JUNK) { // another question's number; then one that claims to be longer than it is, and points at itself
        bytes[0] ^= 0xff;
        (void)sendto(server_fd, bytes, size, 0, (struct sockaddr *)&peer, peer_size);
        bytes[0] ^= 0xff;
        bytes[at + 6] = (uint8_t)(at + 5);
        bytes[at + 16] = 0xff;
        (void)sendto(server_fd, bytes, 3, 0, (struct sockaddr *)&peer, peer_size);
    }
    (void)sendto(server_fd, bytes, size, 0, (struct sockaddr *)&peer, peer_size);
}

static void on_found(void *context, const struct resolve_address *address)
{
    (void)context;
    snprintf(outcome, sizeof outcome, "%s", address->bytes.ss_family == AF_INET ? "v4" : "v6");
}

static void on_failed(void *context, const char *why)
{
    (void)context;
    snprintf(outcome, sizeof outcome, "%s", why);
}

static const char *next(void)
{
    outcome[0] = 0;
    resolve_next(&resolve);
    while (outcome[0] == 0 && loop_once(&loop, 1000) == STATUS_OK)
        ;
    return outcome;
}

TEST(a_name_server_is_asked_and_not_trusted)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    struct system_courier courier = {.address = "cloud.plant.test:8883", .is_named = 1};
    const struct resolve_owner owner = {NULL, on_found, on_failed};
    memset(&resolve, 0, sizeof resolve);
    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    expect(bind(server_fd, (struct sockaddr *)&in, sizeof in) == 0 && getsockname(server_fd, (struct sockaddr *)&in, &size) == 0);
    snprintf(courier.resolver, sizeof courier.resolver, "127.0.0.1:%u", ntohs(in.sin_port));
    expect(loop_init(&loop) == STATUS_OK && loop_add(&loop, &server_watch, server_fd, EPOLLIN, on_query, NULL) == STATUS_OK);
    expect(resolve_prepare(&resolve) == STATUS_OK && resolve_begin(&resolve, &loop, &courier, -1, -1, &owner) == STATUS_OK);
    char first[8];
    snprintf(first, sizeof first, "%s", next());
    expect(first[0] == 'v' && resolve_has_more(&resolve) && asked == 2); // both families are asked for
    expect(strcmp(next(), first) != 0 && outcome[0] == 'v' && asked == 2 && !resolve_has_more(&resolve));
    (void)next();
    expect(outcome[0] == 'v' && asked == 4); // none of them led anywhere: asked anew
    resolve_forget(&resolve);
    says = UNKNOWN;
    expect(strcmp(next(), "the name cloud.plant.test has no address: the name server knows none") == 0);
    for (unsigned i = 1; i < RESOLVE_STALE; i++) {
        expect(!resolve_is_stale(&resolve));
        (void)next();
    }
    expect(resolve_is_stale(&resolve));
    says = JUNK;
    for (unsigned i = 0; i < 3; i++)
        expect(next()[0] != 0);
    says = KNOWN;
    resolve_forget(&resolve);
    expect(next()[0] == 'v' && !resolve_is_stale(&resolve));
    memcpy(resolve.hosts, "127.0.0.1 cloud.plant.test", 27);
    resolve_forget(&resolve);
    asked = 0;
    expect(strcmp(next(), "v4") == 0 && asked == 0); // what the host's own file says goes before
    close(server_fd);
    ares_destroy(resolve.ares); // a courier has it to its end
}

int main(void)
{
    RUN(a_name_server_is_asked_and_not_trusted);
    RUN(lines_comments_and_case);
    RUN(many_and_long_ones);
    TEST_END();
}
