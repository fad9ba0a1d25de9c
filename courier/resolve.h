// SPDX-License-Identifier: ISC
// The addresses of the name that a courier connects to.
//
// A name is asked for anew at each connection: first in the host's /etc/hosts, then at its name servers, for IPv4 and IPv6 at
// once. Its addresses are tried one after the other; when none of them led to a link, the name is asked for again. It is taken as it
// is written: no search list. Who answers is not trusted: the certificate says who is there (courier/tls.h).
//
// c-ares, in this process alone, behind its filter: it encodes, sends and decodes. It opens no file there; what it would read comes
// from the supervisor, which copies the files and looks at no byte of them. Glibc's getaddrinfo() would read files, load modules
// and wait. The host's files are those of this process's start; a name that is not found for long ends the process (is_stale), so
// that it gets them anew: a host that boots knows its name servers late.
#ifndef CRENEL_COURIER_RESOLVE_H
#define CRENEL_COURIER_RESOLVE_H

#include "host/loop.h"
#include "proto/system.h"

#include <sys/socket.h>

#define RESOLVE_ADDRESSES_MAX 8u // of one name
#define RESOLVE_SERVERS_MAX 3u
#define RESOLVE_SOCKETS_MAX 16u
#define RESOLVE_FILE_BYTES_MAX (64u * 1024u)
#define RESOLVE_KEEP_MS 60000 // an answer
#define RESOLVE_STALE 15u     // failures in a row: about a minute (courier/retry.h)

struct resolve_address {
    struct sockaddr_storage bytes;
    socklen_t size;
};

struct resolve_owner {
    void *context;
    void (*found)(void *context, const struct resolve_address *address);
    void (*failed)(void *context, const char *why);
};

struct resolve_socket {
    struct resolve *resolve;
    struct loop_watch watch;
    int is_used;
};

struct resolve {
    struct loop *loop;
    struct resolve_owner owner;
    struct ares_channeldata *ares;
    char host[128];
    uint16_t port;
    int is_named, is_asking;
    unsigned failures; // in a row
    int64_t kept_ms;
    unsigned count, next; // addresses that were found, and which of them is tried next
    struct resolve_address addresses[RESOLVE_ADDRESSES_MAX];
    struct loop_timer timer;
    struct resolve_socket sockets[RESOLVE_SOCKETS_MAX];
    char hosts[RESOLVE_FILE_BYTES_MAX]; // terminated
};

// Before the sandbox closes: c-ares takes its seed from /dev/urandom, and no other file.
enum status resolve_prepare(struct resolve *resolve) MUST_USE;
// The descriptors are copies of /etc/resolv.conf (-1: the courier names its name server) and /etc/hosts, closed here; both -1
// where an address is written.
enum status resolve_begin(struct resolve *resolve, struct loop *loop, const struct system_courier *courier, int servers_fd, int hosts_fd,
                          const struct resolve_owner *owner) MUST_USE;
// `found` or `failed` follows, once, now or later.
void resolve_next(struct resolve *resolve);
// Another address is there to be tried at once.
int resolve_has_more(const struct resolve *resolve);
// A link was made: the next one begins with asking.
void resolve_forget(struct resolve *resolve);
int resolve_is_stale(const struct resolve *resolve);

// "192.0.2.7", "2001:db8::7". 0: it is none.
int resolve_literal(const char *host, uint16_t port, struct resolve_address *address);
// Appends what a text like /etc/hosts has for the name.
void resolve_in_hosts(struct resolve *resolve);

#endif
