// SPDX-License-Identifier: ISC
// Router <-> endpoint: one SOCK_SEQPACKET socket each, any number of records per packet (host/channel.h).
//
// Endpoints are tenders (one per unikernel version), host services, and gateways. The router
// trusts none of them: it copies each packet into private memory before it looks at it.
//
// Tenders and host services ("receivers"). After start the receiver sends HELLO with the number of
// instances that it can have at once, and how many events may be with it for each; the router then sends at most that
// many DELIVERs without an EFFECTS for them. For each DELIVER: any number of READ -> ANSWER rounds, then exactly one EFFECTS.
// `handle` is the router's name for the event and comes back unchanged.
//   EFFECTS come in any order, but those of a connection's events in theirs.
//   DELIVER with connection != 0 goes to the instance of that connection (lifetime connection), which
//   is created when it is first named. At most `batch` events of a connection are with the tender.
//   CLOSE ends that instance; the tender answers GONE. The tender sends GONE unasked when an instance
//   of a connection was lost (its event, if any, had its EFFECTS first).
//
// Couriers are receivers that also bring messages from other nodes. BRING names flow, peer and the message's place in
// the peer's stream: `previous` is the sequence of the one that the courier brought before from that peer on that flow,
// 0 if it does not know. The message is inspected and committed like an effect of the courier; BROUGHT says, after
// the commit, what became of it (REASON_LOST: it was not taken, bring it again; a refused one is a dead letter). What the
// store has had of that peer is taken without an effect. At most LINK_BRINGS_MAX of a flow may be without their BROUGHT.
//
// Gateways. OPEN says that a connection began, INPUT carries bytes from outside, SHUT that the outside
// ended it. After each INPUT the gateway sends nothing more for that connection until TAKEN comes back
// (the event ended and its effects are committed or released) or END. OUTPUT carries bytes to the outside;
// the gateway answers DRAINED with the number of bytes once they were given to the kernel. END tells
// the gateway to flush and close; nothing is sent for that connection afterwards by either side.
//
// Sizes: records and packets up to LINK_BYTES_MAX. The receiver of a malformed record closes the link.
#ifndef CRENEL_PROTO_LINK_H
#define CRENEL_PROTO_LINK_H

#include "abi/abi.h"
#include "proto/layout.h"

#include <stddef.h>

#define LINK_VERSION 3u
#define LINK_BYTES_MAX 65536u
#define LINK_BATCH_MAX 64u

enum link_kind {
    // receivers
    LINK_HELLO = 1,   // receiver -> router: struct link_hello
    LINK_DELIVER = 2, // router -> receiver: struct link_deliver, context, payload
    LINK_READ = 3,    // receiver -> router: struct link_header, then abi READ records as published
    LINK_ANSWER = 4,  // router -> receiver: struct link_header, then one abi ANSWER record
    LINK_EFFECTS = 5, // receiver -> router: struct link_effects, then the abi records
    LINK_CLOSE = 6,   // router -> receiver: struct link_header, handle = connection
    LINK_GONE = 7,    // receiver -> router: struct link_header, handle = connection
    LINK_BRING = 8,   // courier -> router: struct link_bring, payload; handle: the courier's own
    LINK_BROUGHT = 9, // router -> courier: struct link_brought
    // gateways
    LINK_OPEN = 16,    // gateway -> router: struct link_header, then text: peer address
    LINK_INPUT = 17,   // gateway -> router: struct link_header, then bytes (1..LINK_INPUT_BYTES_MAX)
    LINK_SHUT = 18,    // gateway -> router: struct link_header
    LINK_TAKEN = 19,   // router -> gateway: struct link_header
    LINK_OUTPUT = 20,  // router -> gateway: struct link_header, then bytes
    LINK_DRAINED = 21, // gateway -> router: struct link_drained
    LINK_END = 22,     // router -> gateway: struct link_header
};

#define LINK_INPUT_BYTES_MAX 2048u
#define LINK_BRINGS_MAX 64u

// Built-in schemas of the two flows between a gateway and the unikernel that serves its
// connections; examples carry the same definition as schemas/wire.yaml.
//   wire/1: is_closed bool (in: the outside closed; out: close after these bytes), bytes bytes[2048]
// Every event of a new connection begins with the INPUTs as they come; SHUT arrives as wire with
// is_closed = 1 and no bytes, and is the connection's last event.

struct link_header {
    uint32_t size; // of the packet
    uint16_t kind;
    uint16_t zero;
    uint64_t handle; // the event (receivers) or the connection (gateways, CLOSE, GONE)
};

struct link_hello {
    struct link_header header; // handle 0
    uint32_t version;          // LINK_VERSION
    uint16_t instances;        // at once
    uint16_t batch;            // events with it at once, for each instance; <= LINK_BATCH_MAX
    uint8_t image_digest[32];  // zero for host services
};

// From `record` on it is the input record that a guest is shown (struct abi_event, context, payload).
struct link_deliver {
    struct link_header header;
    uint64_t connection; // 0: none; to a courier: the identity of the store (proto/commit.h)
    struct abi_record record; // ABI_EVENT; its size is the rest of the packet
    uint64_t number;
    int64_t time_ms;
    uint16_t flow; // index into the manifest's inputs; to a courier the system's
    uint16_t attempt;
    uint32_t principal;
    uint32_t context_bytes; // follows the struct, padded to 8
    uint32_t payload_bytes; // follows, padded to 8
    uint8_t seed[32];
};

enum link_outcome {
    LINK_ENDED = 0,    // END with verdict DONE; records follow
    LINK_REFUSED = 1,  // END with verdict REFUSED; code is the manifest's refusal
    LINK_FAULT = 2,    // the guest crashed: struct link_crash follows, then the records as far as published
    LINK_DEADLINE = 3, // struct link_crash follows
    LINK_CONTRACT = 4, // the guest broke the ABI; text says how
    LINK_LOST = 5,     // the instance was killed from outside: the host's doing, deliver again
};

struct link_effects {
    struct link_header header;
    uint16_t outcome; // enum link_outcome
    uint16_t code;
    uint32_t record_bytes; // abi records (SEND, WRITE, LOG and the final END) behind this struct
    char text[64];         // zero-terminated, printable: detail of CONTRACT, else empty
};

// Facts about an instance that was stopped; core/crash.h makes words of them.
enum link_cause {
    LINK_CAUSE_SIGNAL,           // of Linux; number: its si_code, address: si_addr, or number: the call of a SIGSYS
    LINK_CAUSE_EXCEPTION,        // of an x86-64 processor; number: vector, detail: error code, address: CR2
    LINK_CAUSE_MACHINE,          // number: the exit of KVM, which no machine of ours makes
    LINK_CAUSE_DEADLINE,         // number: ms
    LINK_CAUSE_DEADLINE_IN_INIT, // number: ms
};

#define LINK_FRAMES_MAX 8u
#define LINK_CODE_BYTES 16u
struct link_crash {
    uint32_t cause;       // enum link_cause
    uint32_t signal;      // Linux number, 0 for a deadline
    uint32_t number, detail;
    uint64_t address;     // that was touched
    uint64_t rip;         // 0: not known, and nothing else of what follows
    uint8_t code[LINK_CODE_BYTES]; // of the instruction, as far as it lies in the image's text
    struct layout layout;
    uint8_t build_id[8];
    uint32_t frame_count;
    uint32_t frames[LINK_FRAMES_MAX]; // return addresses, offsets into the image
    uint32_t zero;
    char last_log[ABI_LOG_BYTES_MAX]; // the last LOG record found, escaped, zero-terminated
};

// Where a message stands in what a peer sends.
struct link_source {
    uint64_t stream;   // of the peer's store: another one begins anew
    uint64_t sequence; // rises on each flow, with gaps
    uint64_t previous;
    uint16_t peer;     // index among the courier's peers
    uint16_t zero[3];
};

struct link_bring {
    struct link_header header;
    struct link_source source;
    uint16_t flow; // system's index
    uint16_t zero;
    uint32_t payload_bytes; // follows, padded to 8
};

struct link_brought {
    struct link_header header;
    uint32_t reason; // enum reason
    uint32_t zero;
};

struct link_drained {
    struct link_header header;
    uint64_t bytes;
};

_Static_assert(sizeof(struct link_header) == 16, "link_header");
_Static_assert(sizeof(struct link_deliver) == 24 + sizeof(struct abi_event) &&
                   offsetof(struct link_deliver, record) == 24 &&
                   offsetof(struct link_deliver, seed) - 24 == offsetof(struct abi_event, seed), "link_deliver");
_Static_assert(sizeof(struct link_source) == 32, "link_source");
_Static_assert(sizeof(struct link_bring) == 56, "link_bring");
_Static_assert(sizeof(struct link_effects) == 88, "link_effects");

#endif
