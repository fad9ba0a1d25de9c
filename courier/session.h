// SPDX-License-Identifier: ISC
// What two couriers say to each other once TLS (or whatever else) has made a stream between them that is ordered, secret
// and authentic. No input or output here: bytes of the stream in, calls to the owner and bytes for the stream out.
//
// A stream is a row of frames, little-endian, each struct session_frame and a body; no frame is larger than
// SESSION_FRAME_MAX. Both sides begin with HELLO, at once:
//   HELLO    struct session_hello, then flow_count struct session_flow: what this side sends and what it takes
// A side that cannot agree says why and ends:
//   REFUSE   text, printable, without a zero: shown to both operators
// They agree if magic, version and tenant are the same, and the other side takes each flow that one side sends, by the
// same name and with the same schema digest. So a flow has one name in both systems. Then:
//   MESSAGE  struct session_message, payload padded to 8. frame.flow: index in the sender's HELLO
//   ACK      struct session_ack. frame.flow: index in the HELLO of who sent the message
// Of each flow at most `window` messages (which the taker's HELLO names) may be without their ACK; so who takes never has to
// stop reading, and a flow that is full holds up no other, and no ACK. ACKs come in any order, each once, after the message is
// committed (reason DONE), or refused for good (any other). `stream` and `sequence` are as in proto/link.h: a message that
// had no ACK when a stream ended is sent again over the next one, in order.
// What breaks these rules ends the stream.
#ifndef CRENEL_COURIER_SESSION_H
#define CRENEL_COURIER_SESSION_H

#include "abi/abi.h"
#include "core/schema.h"
#include "proto/system.h"

#define SESSION_MAGIC 0x7265697275436e43u // "CnCurier"
#define SESSION_VERSION 1u
#define SESSION_FRAME_MAX 32768u
#define SESSION_OUTPUT_BYTES (512u * 1024u)
#define SESSION_WHY_BYTES 256u

enum session_kind { SESSION_HELLO = 1, SESSION_REFUSE = 2, SESSION_MESSAGE = 3, SESSION_ACK = 4 };

struct session_frame {
    uint32_t size; // with this struct
    uint16_t kind; // enum session_kind
    uint16_t flow; // HELLO, REFUSE: 0
};

struct session_hello {
    uint64_t magic;
    uint32_t version;
    uint32_t flow_count;
    char system[SYSTEM_NAME_BYTES];
    char tenant[SYSTEM_NAME_BYTES];
};

struct session_flow {
    char name[SYSTEM_NAME_BYTES];
    char schema[SCHEMA_NAME_BYTES];
    uint8_t digest[SCHEMA_DIGEST_BYTES]; // of the schema
    uint16_t window; // 0: this side sends it; else takes it
    uint16_t zero[3];
};

struct session_message {
    uint64_t stream, sequence;
    uint32_t payload_bytes;
    uint32_t zero;
};

struct session_ack {
    uint64_t sequence;
    uint32_t reason; // enum reason
    uint32_t zero;
};

_Static_assert(sizeof(struct session_frame) == 8 && sizeof(struct session_hello) == 80 &&
                   sizeof(struct session_flow) == 120 && sizeof(struct session_message) == 24 &&
                   sizeof(struct session_ack) == 16, "session");
_Static_assert(sizeof(struct session_frame) + sizeof(struct session_hello) +
                       SYSTEM_FLOWS_MAX * sizeof(struct session_flow) <= SESSION_FRAME_MAX, "HELLO fits");

// What a side says of itself. Lives as long as its sessions.
struct session_terms {
    struct session_hello hello;
    struct session_flow flows[SYSTEM_FLOWS_MAX];
};

// flow: index in the own terms. They may send and acknowledge.
struct session_owner {
    void *context;
    void (*agreed)(void *context);
    void (*take)(void *context, uint16_t flow, const struct session_message *message, const uint8_t *payload);
    void (*acknowledged)(void *context, uint16_t flow, const struct session_ack *ack);
};

enum session_state { SESSION_GREETING, SESSION_AGREED, SESSION_ENDING };

struct session {
    const struct session_terms *terms;
    struct session_owner owner;
    enum session_state state;
    char peer[SYSTEM_NAME_BYTES];  // the other system's name, once it said it
    uint16_t theirs[SYSTEM_FLOWS_MAX]; // their index -> own
    uint16_t their_count;
    uint16_t window[SYSTEM_FLOWS_MAX]; // own index: of what is sent, theirs; of what is taken, ours
    uint16_t open[SYSTEM_FLOWS_MAX];   // messages without their ACK
    char why[SESSION_WHY_BYTES];       // why it is ending
    size_t input_used;
    size_t output_begin, output_end; // of what is not given away yet
    _Alignas(8) uint8_t input[SESSION_FRAME_MAX];
    uint8_t output[SESSION_OUTPUT_BYTES];
};

void session_begin(struct session *session, const struct session_terms *terms, const struct session_owner *owner);

// Bytes that came. STATUS_OK, or the session is ending: session->why says it; what is in the output (a REFUSE perhaps)
// may still be sent, then the stream ends.
enum status session_receive(struct session *session, const uint8_t *bytes, size_t size) MUST_USE;

// May another message of that flow be sent now? Agreed, its window is open, and there is room.
int session_may_send(const struct session *session, uint16_t flow);
void session_send(struct session *session, uint16_t flow, const struct session_message *message, const uint8_t *payload);

// What became of a message that was taken. STATUS_FULL: the other side does not read; the session is ending.
enum status session_acknowledge(struct session *session, uint16_t flow, const struct session_ack *ack) MUST_USE;

// Bytes for the stream; then how many of them were given away.
size_t session_output(const struct session *session, const uint8_t **bytes);
void session_sent(struct session *session, size_t size);

#endif
