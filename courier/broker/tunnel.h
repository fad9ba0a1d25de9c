// SPDX-License-Identifier: ISC
// Streams between two couriers through an MQTT 5 broker, as if the one had connected to the other.
//
// Both are clients of the broker. On a TOPIC, the side that connects publishes on TOPIC/up and takes TOPIC/down, the side that
// listens the other way round. Each payload is a struct tunnel_head, little-endian, and its bytes:
//   KNOCK  down; stream 0: who listens has come to the broker. Who connects does so now, or asks (ALIVE) after the stream it has
//   OPEN   up: a new stream, named by a random number
//   DATA   the next bytes of it. `number` counts them in each direction, from 0
//   ALIVE  every TUNNEL_ALIVE_MS: `number` is what the next DATA will have
//   END    no more DATA comes, and nothing more is taken. Also the answer to what names a stream that is not there
// A broker may drop, and gives again what it is not sure of: a DATA with a number that was there is ignored; a gap, or silence
// of TUNNEL_SILENT_MS, ends the stream. What was under way is then sent again over the next one, as after every end of a
// connection (courier/session.h). All streams end with the connection to the broker.
//
// Nothing here is secret or authentic: whoever has rights on the topic can read, cut and make up packets. The stream carries
// TLS between the two couriers, with a certificate on each side, so a packet that was made up ends a stream at most.
//
// The connection to the broker is TCP, or TLS on it, for what is said to the broker alone (courier/tls.h).
//
// To its line (courier/line.h) a stream is one end of a pair of sockets; the other end is here.
#ifndef CRENEL_COURIER_BROKER_TUNNEL_H
#define CRENEL_COURIER_BROKER_TUNNEL_H

#include "courier/broker/mqtt5.h"
#include "courier/retry.h"
#include "courier/tls.h"
#include "host/loop.h"
#include "proto/status_page.h"
#include "proto/system.h"

#include <sys/socket.h>

#define TUNNEL_MAGIC 0x3174656e75546e43u // "CnTunet1"
#define TUNNEL_STREAMS_MAX 12u
#define TUNNEL_TICK_MS 1000
#define TUNNEL_ALIVE_MS 5000
#define TUNNEL_SILENT_MS 20000
#define TUNNEL_BROKER_MS 10000 // to connect to the broker, to subscribe

enum tunnel_kind { TUNNEL_KNOCK = 1, TUNNEL_OPEN = 2, TUNNEL_DATA = 3, TUNNEL_ALIVE = 4, TUNNEL_END = 5 };

struct tunnel_head {
    uint64_t magic, stream;
    uint64_t number; // KNOCK, OPEN, END: 0
    uint32_t kind;   // enum tunnel_kind
    uint32_t zero;
};
_Static_assert(sizeof(struct tunnel_head) == 32, "tunnel_head");

struct tunnel;
struct tunnel_stream {
    struct tunnel *tunnel;
    uint64_t id; // 0: free
    uint64_t given, taken; // numbers of the next DATA
    int64_t heard_ms, said_ms;
    size_t held; // bytes of the DATA that is being taken that the line has already
    int fd;
    struct loop_watch watch;
};

struct tunnel_owner {
    void *context;
    void (*dial)(void *context);                 // tunnel_connect() or tunnel_unreachable() follows, now or later
    void (*ready)(void *context);                // who connects may open a stream now
    void (*accept)(void *context, int fd);       // takes fd
    void (*lost)(void *context, const char *why); // the broker
};

struct tunnel {
    struct loop *loop;
    struct courier_page *page;
    struct tunnel_owner owner;
    struct mqtt5_terms terms;
    int is_listening;
    const char *address;         // the broker's, as the system says
    struct tls_context *context; // NULL: no TLS to it
    struct tls *tls;             // NULL: there is none, or not yet
    int fd; // -1: there is no broker now
    int is_connected, is_receiving;
    struct loop_watch watch;
    struct loop_timer tick, retry;
    int64_t retry_ms, deadline_ms, heard_ms, pinged_ms;
    struct tunnel_stream streams[TUNNEL_STREAMS_MAX];
    struct mqtt5 mqtt;
};

// Begins to connect, over TLS if there is a context. The password is read and its descriptor closed (-1: there is none).
// STATUS_MALFORMED: it is not one.
enum status tunnel_begin(struct tunnel *tunnel, struct loop *loop, const struct system_courier *courier, struct tls_context *context,
                         int password_fd, struct courier_page *page, const struct tunnel_owner *owner) MUST_USE;
// Where the broker is; or nobody knows now.
void tunnel_connect(struct tunnel *tunnel, const struct sockaddr_storage *address, socklen_t size);
void tunnel_unreachable(struct tunnel *tunnel);
// A new stream of who connects: the line's end of it, or -1 (no broker, or it takes nothing now).
int tunnel_open(struct tunnel *tunnel);

#endif
