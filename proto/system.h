// SPDX-License-Identifier: ISC
// The compiled system: one flat, signed, reproducible file.
//
// The CLI compiles system.yaml into it and signs it; supervisor, router, store, tender and gateway
// read it and parse no YAML. Layout:
//   struct system_signature                     the first 128 bytes
//   struct system_header                        signed from here to the end of the file
//   tables at the offsets the header names, each 8-byte aligned, in the order of the header
//   schema blocks; the `never` rules; configuration bytes
// The signature is Ed25519 over the bytes behind struct system_signature. Valid if and only if the
// signature verifies under a key the reader was given and system_open() accepts the rest: every
// offset, count and index in bounds, names printable and terminated, no table overlapping another.
// Indices are 0-based; SYSTEM_NONE means none. The system's identity is SHA-256 of the whole file.
#ifndef CRENEL_PROTO_SYSTEM_H
#define CRENEL_PROTO_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#define SYSTEM_MAGIC 0x6d747379536c4e43u // "CNlSystm"
#define SYSTEM_VERSION 4u
#define SYSTEM_BYTES_MAX (1024u * 1024u)
#define SYSTEM_NONE 0xffffu
#define SYSTEM_NAME_BYTES 32u
#define SYSTEM_PATH_BYTES 224u
#define SYSTEM_UNIKERNELS_MAX 32u
#define SYSTEM_FLOWS_MAX 128u
#define SYSTEM_RECEIVERS_MAX 8u // of one flow
#define SYSTEM_NAMESPACES_MAX 64u
#define SYSTEM_SCHEMAS_MAX 64u
#define SYSTEM_PRINCIPALS_MAX 64u
#define SYSTEM_NEVER_BYTES_MAX 16384u
#define SYSTEM_GATEWAYS_MAX 4u
#define SYSTEM_SERVICES_MAX 4u
#define SYSTEM_COURIERS_MAX 4u
#define SYSTEM_PEERS_MAX 16u // of one courier
#define SYSTEM_PLACES_MAX (SYSTEM_UNIKERNELS_MAX + SYSTEM_SERVICES_MAX + SYSTEM_COURIERS_MAX)
#define SYSTEM_KEY_FIELDS_MAX 4u
#define SYSTEM_KEYS_MAX 1000000u // of one flow
#define SYSTEM_LIVE_MS_MAX (366ull * 86400000u) // a time to live or a deadline
#define SYSTEM_KEY_BYTES_MAX 136u // largest that the key field of a flow may be
#define SYSTEM_CHECKS_MAX 1024u
#define SYSTEM_FLOW_CHECKS_MAX 64u
#define SYSTEM_MACHINES_MAX 16u
#define SYSTEM_STATES_MAX 16u      // of one machine
#define SYSTEM_TRANSITIONS_MAX 32u // of one machine
#define SYSTEM_CONDITIONS_MAX 3u   // of one transition
#define SYSTEM_WINDOW_MAX 1024u
#define SYSTEM_STATE_BYTES_MAX (1024u * 1024u * 1024u) // of all keys of all flows (core/flow_check.h)

struct system_signature {
    uint64_t magic; // SYSTEM_MAGIC
    uint32_t version;
    uint32_t body_bytes; // behind this struct
    uint8_t public_key[32];
    uint8_t signature[64];
    uint8_t zero[16];
};

struct system_table {
    uint32_t offset; // from the start of the file
    uint32_t count;  // entries (bytes for configuration)
};

struct system_header {
    char name[SYSTEM_NAME_BYTES];
    char tenant[SYSTEM_NAME_BYTES];
    uint32_t security_version;
    uint8_t is_best_effort;      // limits the host cannot enforce are accepted
    uint8_t stop_on_audit_failure;
    uint8_t zero[2];
    struct system_table unikernels; // struct system_unikernel
    struct system_table flows;      // struct system_flow
    struct system_table namespaces; // struct system_namespace
    struct system_table principals; // struct system_principal
    struct system_table gateways;   // struct system_gateway
    struct system_table services;   // struct system_service
    struct system_table checks;     // struct system_check, those of one flow behind those of the flow before it
    struct system_table machines;   // struct system_machine
    struct system_table couriers;   // struct system_courier
    struct system_table schemas;    // uint32_t file offsets of schema blocks (core/schema.h)
    // Text for people, proved when the system was compiled: a line each, FROM, TO and what unless_through names,
    // with a tab between them.
    struct system_table never;
    struct system_table configuration; // bytes
};

#define SYSTEM_INSTANCES_MAX 256u // slots of a tender

struct system_unikernel {
    char name[SYSTEM_NAME_BYTES];
    char image_path[SYSTEM_PATH_BYTES]; // absolute
    uint8_t image_digest[32];
    uint32_t configuration_offset; // into the file
    uint32_t configuration_bytes;  // <= ABI_CONFIGURATION_BYTES_MAX
    uint32_t memory_kib;           // limit of the unikernel's cgroup
    uint32_t cpu_percent;          // of one CPU, for the unikernel
    uint32_t deadline_ms;          // of one event; <= the manifest's
    uint16_t instances_max;        // at once (connection: connections at once); <= SYSTEM_INSTANCES_MAX
    uint8_t lifetime;              // enum manifest_lifetime
    uint8_t isolation;             // enum manifest_isolation that the system asks for
    uint16_t input_count, output_count;
    uint16_t inputs[32];  // manifest input index -> flow index, or SYSTEM_NONE
    uint16_t outputs[32]; // manifest output index -> flow index, or SYSTEM_NONE
    uint16_t namespace_count, writes_max;
    uint16_t namespaces[8]; // manifest namespace index -> namespace index, or SYSTEM_NONE
    uint16_t refusal_count;
    uint16_t fan_out; // messages that one event may send at most, over all outputs; 0: what the outputs say
    uint32_t line;    // of the source
    char refusals[16][SYSTEM_NAME_BYTES];
};

enum system_flow_kind { SYSTEM_PLAIN = 0, SYSTEM_REQUEST = 1, SYSTEM_REPLY = 2 };
enum system_endpoint { // what a flow begins or ends at
    SYSTEM_UNIKERNEL = 0,
    SYSTEM_GATEWAY = 1,      // the outside, through that gateway
    SYSTEM_SERVICE = 2,      // a host service process
    SYSTEM_SUBSCRIPTION = 3, // the router's own table of subscriptions
    SYSTEM_RECEIPTS = 4,     // sender only: what became of the messages that the receiver sent
    SYSTEM_COURIER = 5,      // another node, through that courier
};

struct system_receiver {
    uint8_t kind; // enum system_endpoint
    uint8_t zero;
    uint16_t index; // of the unikernel, gateway, service or courier
    uint16_t port;  // manifest input index of a unikernel; index of the peer of a courier
    uint16_t older_schema; // 0: it takes the flow's schema; else 1 + index of an older one that messages are cut to
};

struct system_flow {
    char name[SYSTEM_NAME_BYTES];
    uint8_t sender_kind; // enum system_endpoint
    uint8_t kind;        // enum system_flow_kind
    uint16_t sender;     // index
    uint16_t sender_port; // manifest output index
    uint16_t pair;       // REQUEST: the flow that carries its replies
    uint16_t schema;     // index into schemas
    uint16_t receiver_count;
    struct system_receiver receivers[SYSTEM_RECEIVERS_MAX];
    uint8_t is_durable;
    // A receiver is of lifetime connection, and the flow comes neither from its gateway nor from the
    // unikernel itself (then it goes to the same connection: a timer) nor is it a reply: each
    // connection that joined gets a copy.
    uint8_t is_broadcast;
    uint8_t is_payload_kept; // dead letters hold the payload
    uint8_t is_rate_per_connection;
    uint16_t count_max;     // messages per event of the sender at most
    uint16_t key_field;     // schema field index or SYSTEM_NONE
    uint16_t check_first, check_count; // of the table of checks
    uint32_t keys_max;      // states that are set aside for the checks; 0: they need none
    uint32_t cap;           // durable: messages that may wait in the store
    uint32_t rate_per_second; // 0 never: a rate is mandatory
    uint32_t rate_burst;
    uint64_t principals;    // bit i: principal i may send; 0 with is_open: anyone
    uint8_t is_open;        // no principal is asked for
    uint8_t is_newest_kept; // durable: a new message pushes out the oldest one, nobody waits for room
    uint8_t is_observed;    // its checks refuse nothing: what they would have refused is counted
    uint8_t is_actuator;    // what it leads to acts on the world
    uint8_t is_bytes_per_connection;
    uint8_t is_sealed;      // its schema has a sealed field, which its source allows
    uint8_t is_dead_counted; // what fails is counted and audited; no dead letter is kept
    uint8_t zero2[1];
    // How long and how much may wait.
    uint64_t bytes_max; // durable: COMMIT_ROW_BYTES and more for each message that waits in the store
    uint64_t live_ms;   // plain, durable: time to live of what waits; request: its deadline; 0: none
    uint32_t line;      // of the source
    uint32_t bytes_per_second, bytes_burst; // 0: only messages are counted
    uint32_t zero;
};

// Checks of flow state: each measures one thing of a message, mostly against what the messages of the same key
// before it left, and refuses it if that is more than `most` (core/flow_check.h). In this order in a flow.
enum system_check_kind {
    SYSTEM_CHECK_LOW = 1, // how far the field is above its schema's minimum: to learn, refuses nothing
    SYSTEM_CHECK_HIGH,    // how far below its maximum
    SYSTEM_CHECK_FRESH,   // how far the field is from the host's clock
    SYSTEM_CHECK_ORDER,   // how far the field is behind the highest; what was seen before is refused
    SYSTEM_CHECK_STEP,    // how far the field moved
    SYSTEM_CHECK_SLOPE,   // how far in `ticks` of time
    SYSTEM_CHECK_MACHINE, // 0 or, if the state has no transition for it, more
    SYSTEM_CHECK_RATE,    // tokens that are used up, of `most`; per_second come back
    SYSTEM_CHECK_BYTES,   // the same for bytes of payload
    SYSTEM_CHECK_KINDS,
};

struct system_check {
    uint8_t kind;      // enum system_check_kind
    uint8_t zero;
    uint16_t field;    // index in the schema, or SYSTEM_NONE: of MACHINE, RATE and BYTES
    uint16_t time_field; // SLOPE: a field that says when, or SYSTEM_NONE: the host's clock does
    uint16_t machine;  // index; else SYSTEM_NONE
    uint32_t line;     // of the source; 0: nobody wrote it, it is there to learn
    uint32_t id;       // names its state in the store: unlike all others of the flow
    uint32_t window;   // ORDER: numbers that may come late, once; 0: none, it must rise
    uint32_t per_second; // RATE, BYTES
    uint64_t ticks;    // FRESH: of the field in a second; SLOPE: of its time; STEP: ms after which it begins anew; 0: never
    uint64_t most;     // UINT64_MAX: refuses nothing
};

struct system_condition { // a field in a range; bounds have the schema's form of that type (minimum, maximum)
    uint16_t field;
    uint16_t zero[3];
    int64_t low, high;
};

struct system_transition {
    uint32_t from, to; // states, by the hash of their names (core/flow_check.h), which is what the store keeps
    uint32_t condition_count; // all of them hold
    uint32_t zero;
    struct system_condition conditions[SYSTEM_CONDITIONS_MAX];
};

struct system_machine { // for messages of one schema. The first transition that fits is taken
    char name[SYSTEM_NAME_BYTES]; // the same with another schema is another
    uint16_t schema;
    uint16_t state_count, transition_count;
    uint16_t start; // index
    char states[SYSTEM_STATES_MAX][SYSTEM_NAME_BYTES];
    struct system_transition transitions[SYSTEM_TRANSITIONS_MAX];
};

struct system_namespace {
    char name[SYSTEM_NAME_BYTES];
    uint16_t schema;
    uint16_t key_count, index_count;
    uint16_t key_fields[SYSTEM_KEY_FIELDS_MAX];
    uint16_t index_fields[SYSTEM_KEY_FIELDS_MAX];
    uint16_t zero;
    uint32_t records_max; // put of a new record is refused (namespace) beyond this
    uint32_t line;        // of the source
    uint32_t readers; // bit i: unikernel i may read
    uint32_t writers; // bit i: unikernel i may write
};

struct system_principal {
    char name[SYSTEM_NAME_BYTES]; // user name
};

struct system_gateway {
    char name[SYSTEM_NAME_BYTES];
    char listen[64]; // "127.0.0.1:1883"
    uint16_t unikernel; // that serves each connection, lifetime connection
    uint16_t connections_max;
    uint16_t input_flow;  // gateway -> unikernel, schema wire/1
    uint16_t output_flow; // unikernel -> gateway, schema wire/1
    uint32_t output_bytes_max; // waiting for one slow connection before events for it wait
    uint32_t slow_ms; // a connection that takes nothing for so long while bytes wait is ended
};

// A courier carries flows to and from other nodes (docs/nodes.md). Where it listens, several may be at the other end,
// each known by the name in its certificate.
// With MQTT5 the address is a broker's, for both sides, and TLS goes through it (courier/broker/tunnel.h).
enum system_transport { SYSTEM_TLS = 1, SYSTEM_MQTT5 = 2 };
struct system_peer {
    char name[64];      // in its certificate
    uint16_t principal; // index + 1 of the principal of that name; 0: it is none
    uint16_t zero[3];
};
struct system_courier {
    char name[SYSTEM_NAME_BYTES];
    char address[128];    // "192.0.2.7:8883"
    uint8_t is_listening; // there; else it connects
    uint8_t transport;    // enum system_transport
    uint16_t peer_count;
    uint8_t is_named;     // a name stands for the address, which is asked for at each connection
    uint8_t zero[3];
    char resolver[64];    // of a name: "192.0.2.53:53" is asked, not the host's name servers; or empty
    char certificate[SYSTEM_PATH_BYTES], key[SYSTEM_PATH_BYTES], authority[SYSTEM_PATH_BYTES]; // absolute
    char topic[64], user[SYSTEM_NAME_BYTES], password[SYSTEM_PATH_BYTES]; // MQTT5; user and password (a file): both or none
    char broker_authority[SYSTEM_PATH_BYTES]; // MQTT5: whose certificates the broker's is to be one of; empty: no TLS to it
    struct system_peer peers[SYSTEM_PEERS_MAX];
};

// A password service answers requests. The others turn each message of one plain, durable flow into one of another.
enum system_service_kind {
    SYSTEM_SERVICE_PASSWORD = 1,
    SYSTEM_SERVICE_SEAL, SYSTEM_SERVICE_OPEN, SYSTEM_SERVICE_SIGN, SYSTEM_SERVICE_VERIFY, // docs/nodes.md
};
struct system_service {
    char name[SYSTEM_NAME_BYTES];
    uint16_t kind; // enum system_service_kind
    uint16_t request_flow, reply_flow; // of the others: what comes in, what goes out
    uint16_t zero;
    char path[SYSTEM_PATH_BYTES];    // the password file or the key file, absolute
    char channel[SYSTEM_NAME_BYTES]; // of the others: what both ends call it; of a password service zero
};

_Static_assert(sizeof(struct system_signature) == 128, "system_signature");
_Static_assert(sizeof(struct system_header) == 168, "system_header");
_Static_assert(sizeof(struct system_flow) % 8 == 0, "system_flow");
_Static_assert(sizeof(struct system_check) == 40, "system_check");
_Static_assert(sizeof(struct system_transition) == 88, "system_transition");
_Static_assert(sizeof(struct system_machine) % 8 == 0, "system_machine");
_Static_assert(sizeof(struct system_unikernel) % 8 == 0, "system_unikernel");
_Static_assert(sizeof(struct system_namespace) % 8 == 0, "system_namespace");
_Static_assert(sizeof(struct system_gateway) % 8 == 0, "system_gateway");
_Static_assert(sizeof(struct system_courier) % 8 == 0, "system_courier");
_Static_assert(sizeof(struct system_service) % 8 == 0, "system_service");

#endif
