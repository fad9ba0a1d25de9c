// SPDX-License-Identifier: ISC
// Names become addresses.
#include "courier/resolve.h"

#include "core/check.h"

#include <ares.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TIMEOUT_MS 2000
#define TRIES 2

// ---- Addresses that are written somewhere ----

int resolve_literal(const char *host, uint16_t port, struct resolve_address *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
        memcpy(&address->bytes, &in, address->size = sizeof in);
        return 1;
    }
    if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
        memcpy(&address->bytes, &in6, address->size = sizeof in6);
    return address->size != 0;
}

// The next word of the line that ends at `end`, or NULL.
static const char *word_next(const char **at, const char *end, char *word, size_t capacity)
{
    const char *begin = *at;
    while (begin < end && (*begin == ' ' || *begin == '\t' || *begin == '\r'))
        begin++;
    const char *behind = begin;
    while (behind < end && *behind != ' ' && *behind != '\t' && *behind != '\r')
        behind++;
    *at = behind;
    if (behind == begin)
        return NULL;
    snprintf(word, capacity, "%.*s", (int)(behind - begin), begin); // what is too long is no name and no address of ours
    return word;
}

// Begins behind the line, or at its end if it is the last; *end is where its text ends: at a comment.
static const char *line_end_of(const char *line, const char **end)
{
    const char *behind = line + strcspn(line, "\n");
    size_t text = strcspn(line, "#\n");
    *end = line + text;
    return *behind == 0 ? behind : behind + 1;
}

void resolve_in_hosts(struct resolve *resolve)
{
    char first[64], name[sizeof resolve->host + 1];
    const char *line = resolve->hosts, *end;
    while (*line != 0 && resolve->count < RESOLVE_ADDRESSES_MAX) {
        const char *at = line;
        line = line_end_of(line, &end);
        if (word_next(&at, end, first, sizeof first) == NULL)
            continue;
        while (word_next(&at, end, name, sizeof name) != NULL)
            if (strcasecmp(name, resolve->host) == 0) {
                resolve->count += (unsigned)resolve_literal(first, resolve->port, &resolve->addresses[resolve->count]);
                break;
            }
    }
}

// The name servers of a text like /etc/resolv.conf, as c-ares wants them.
static void servers_read(const char *text, char *list, size_t capacity)
{
    char word[64];
    struct resolve_address address;
    unsigned count = 0;
    const char *line = text, *end;
    list[0] = 0;
    while (*line != 0 && count < RESOLVE_SERVERS_MAX) {
        const char *at = line;
        line = line_end_of(line, &end);
        if (word_next(&at, end, word, sizeof word) == NULL || strcmp(word, "nameserver") != 0 ||
            word_next(&at, end, word, sizeof word) == NULL || !resolve_literal(word, 0, &address))
            continue;
        size_t used = strlen(list);
        snprintf(list + used, capacity - used, "%s%s", used != 0 ? "," : "", word);
        count++;
    }
}

static void file_read(int fd, char text[RESOLVE_FILE_BYTES_MAX])
{
    size_t used = 0;
    ssize_t got;
    while (fd >= 0 && used < RESOLVE_FILE_BYTES_MAX - 1 && (got = read(fd, text + used, RESOLVE_FILE_BYTES_MAX - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = 0;
    if (fd >= 0)
        close(fd);
}

// ---- c-ares ----

static void settle(struct resolve *resolve)
{
    struct timeval within;
    const struct timeval *next = ares_timeout(resolve->ares, NULL, &within);
    loop_timer_set(resolve->loop, &resolve->timer, next == NULL ? 0 : next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
}

static void on_socket(void *context, uint32_t events)
{
    const struct resolve_socket *socket = context;
    struct resolve *resolve = socket->resolve;
    int fd = socket->watch.fd;
    ares_process_fd(resolve->ares, (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
    settle(resolve);
}

static void on_timer(void *context)
{
    struct resolve *resolve = context;
    ares_process_fd(resolve->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(resolve);
}

// c-ares says what it wants to know of a socket of its own; nothing: it is about to close it.
static void on_interest(void *context, ares_socket_t fd, int wants_read, int wants_write)
{
    struct resolve *resolve = context;
    struct resolve_socket *socket = NULL, *free = NULL;
    uint32_t events = (wants_read ? EPOLLIN : 0u) | (wants_write ? EPOLLOUT : 0u);
    for (size_t i = 0; i < RESOLVE_SOCKETS_MAX; i++) {
        struct resolve_socket *one = &resolve->sockets[i];
        if (one->is_used && one->watch.fd == fd)
            socket = one;
        else if (!one->is_used)
            free = one;
    }
    if (socket != NULL && events != 0) {
        loop_change(resolve->loop, &socket->watch, events);
    } else if (socket != NULL) {
        loop_remove(resolve->loop, &socket->watch);
        socket->is_used = 0;
    } else if (events != 0 && free != NULL) { // one too many is not listened to; its query times out
        free->resolve = resolve;
        free->is_used = loop_add(resolve->loop, &free->watch, fd, events, on_socket, free) == STATUS_OK;
    }
}

enum status resolve_prepare(struct resolve *resolve)
{
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES, .timeout = TIMEOUT_MS, .tries = TRIES,
                                   .ndots = 1, .lookups = (char[]){"b"}, .sock_state_cb = on_interest, .sock_state_cb_data = resolve};
    // All that it would read files for.
    int given = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS | ARES_OPT_DOMAINS |
                ARES_OPT_SERVERS | ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS || ares_init_options(&resolve->ares, &options, given) != ARES_SUCCESS)
        return STATUS_SYSTEM;
    return STATUS_OK;
}

static void give_next(struct resolve *resolve)
{
    check(resolve->next < resolve->count);
    resolve->failures = 0;
    resolve->owner.found(resolve->owner.context, &resolve->addresses[resolve->next++]);
}

static void fail(struct resolve *resolve, const char *reason)
{
    char why[256];
    snprintf(why, sizeof why, "the name %.100s has no address: %s", resolve->host, reason);
    resolve->failures++;
    resolve->owner.failed(resolve->owner.context, why);
}

static void on_answer(void *context, int code, int timeouts, struct ares_addrinfo *answer)
{
    struct resolve *resolve = context;
    (void)timeouts;
    resolve->is_asking = 0;
    for (const struct ares_addrinfo_node *node = answer == NULL ? NULL : answer->nodes; node != NULL && resolve->count < RESOLVE_ADDRESSES_MAX;
         node = node->ai_next) {
        struct resolve_address *address = &resolve->addresses[resolve->count];
        if ((node->ai_family != AF_INET && node->ai_family != AF_INET6) || node->ai_addrlen > (int)sizeof address->bytes)
            continue;
        *address = (struct resolve_address){.size = (socklen_t)node->ai_addrlen};
        memcpy(&address->bytes, node->ai_addr, address->size);
        resolve->count++;
    }
    ares_freeaddrinfo(answer);
    resolve->kept_ms = loop_clock_ms();
    if (resolve->count != 0)
        give_next(resolve);
    else
        fail(resolve, code == ARES_ENOTFOUND || code == ARES_ENODATA || code == ARES_SUCCESS ? "the name server knows none"
                      : code == ARES_ECONNREFUSED || code == ARES_ETIMEOUT                   ? "no name server answers"
                                                                                             : ares_strerror(code));
}

enum status resolve_begin(struct resolve *resolve, struct loop *loop, const struct system_courier *courier, int servers_fd, int hosts_fd,
                          const struct resolve_owner *owner)
{
    char list[256];
    const char *colon = strrchr(courier->address, ':');
    check(colon != NULL); // as compiled
    int is_v6 = courier->address[0] == '[';
    resolve->loop = loop;
    resolve->owner = *owner;
    resolve->is_named = courier->is_named;
    resolve->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    snprintf(resolve->host, sizeof resolve->host, "%.*s", (int)(colon - courier->address) - 2 * is_v6, courier->address + is_v6);
    if (!resolve->is_named)
        return resolve_literal(resolve->host, resolve->port, &resolve->addresses[0]) ? STATUS_OK : STATUS_MALFORMED;
    loop_timer_add(loop, &resolve->timer, on_timer, resolve);
    file_read(servers_fd, resolve->hosts);
    servers_read(resolve->hosts, list, sizeof list);
    if (courier->resolver[0] != 0)
        snprintf(list, sizeof list, "%s", courier->resolver);
    file_read(hosts_fd, resolve->hosts);
    if (list[0] != 0 && ares_set_servers_ports_csv(resolve->ares, list) != ARES_SUCCESS)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

void resolve_next(struct resolve *resolve)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT | ARES_AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    if (!resolve->is_named) {
        resolve->owner.found(resolve->owner.context, &resolve->addresses[0]);
        return;
    }
    if (resolve->is_asking)
        return;
    if (resolve_has_more(resolve)) {
        give_next(resolve);
        return;
    }
    resolve->count = resolve->next = 0;
    resolve_in_hosts(resolve);
    if (resolve->count != 0) {
        resolve->kept_ms = loop_clock_ms();
        give_next(resolve);
        return;
    }
    snprintf(port, sizeof port, "%u", resolve->port);
    resolve->is_asking = 1;
    ares_getaddrinfo(resolve->ares, resolve->host, port, &hints, on_answer, resolve);
    settle(resolve);
}

int resolve_has_more(const struct resolve *resolve)
{
    return resolve->is_named && resolve->next < resolve->count && loop_clock_ms() - resolve->kept_ms < RESOLVE_KEEP_MS;
}

void resolve_forget(struct resolve *resolve) { resolve->next = resolve->count; }

int resolve_is_stale(const struct resolve *resolve) { return resolve->failures >= RESOLVE_STALE; }
