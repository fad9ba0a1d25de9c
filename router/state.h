// SPDX-License-Identifier: ISC
// The engine's tables, and what its files offer one another. Seen by router/ only.
//
// A message lives in a slot from its arrival to its end. An event is a message that was started: it
// holds the message, the reservation of its worst case, and later its effects, until they are
// committed or released. Slots suffice by construction: each volatile flow has a quota, each receiver
// of durable messages a window of credit, each connection its own inputs and copies.
#ifndef CRENEL_ROUTER_STATE_H
#define CRENEL_ROUTER_STATE_H

#include "abi/abi.h"
#include "core/manifest.h"
#include "proto/commit.h"
#include "proto/link.h"
#include "router/engine.h"

#define ROUTER_NONE UINT32_MAX
#define ROUTER_WINDOW 64u        // durable messages of one flow for one receiver in the router
#define ROUTER_CREDIT_STEP 16u   // room is told to the store in such steps
#define ROUTER_QUOTA 256u        // volatile messages of one flow, at least
#define ROUTER_COPIES 8u         // broadcast copies per connection, on average
#define ROUTER_OWN 6u            // messages of one connection to itself, beyond those of two events
#define ROUTER_CAPACITY_MAX 256u // events of one receiver at once
#define ROUTER_PIPELINE 64u      // events of one receiver that wait for their commit
#define ROUTER_READS_MAX 64u     // store reads of one event
#define ROUTER_BUCKETS 1024u     // of keys in flight; a collision only serialises
#define ROUTER_KEY_BYTES_MAX 136u
#define ROUTER_ATTEMPTS_MAX 3u
#define ROUTER_CONFLICTS_MAX 8u
#define ROUTER_RETRY_MS 100 // a commit that the store could not take
#define ROUTER_TOKEN_MS 10  // effects that wait for tokens or for a key
#define ROUTER_FLUSH_MS 1000
#define ROUTER_BODY_BYTES (ABI_PAYLOAD_BYTES_MAX + ABI_CONTEXT_BYTES_MAX)
#define ROUTER_COUNTERS_PER_EVENT 64u

enum message_state {
    MESSAGE_FREE,
    MESSAGE_QUEUED,  // in the queue of its receiver or connection
    MESSAGE_DELAYED, // a volatile timer
    MESSAGE_STARTED, // an event has it
    MESSAGE_PARENT,  // a broadcast whose copies are under way
    MESSAGE_ENDING,  // durable, ends without an event: its COMMIT is under way
};

struct message {
    uint32_t next, previous; // in its list
    uint32_t parent;         // a broadcast copy: the message it is of, which has the body
    uint32_t copies;         // of a parent: not yet ended
    uint8_t state;           // enum message_state
    uint8_t is_durable;      // number is the outbox id
    uint8_t is_input;        // from a gateway: TAKEN is owed
    uint8_t is_last;         // of its connection
    uint8_t is_throttled;    // was counted so
    uint8_t has_key;
    uint8_t conflicts;
    uint8_t outcome; // enum reason: of a parent so far; of ENDING: what is counted
    uint16_t flow, receiver, port;
    uint16_t attempt;
    uint16_t asker, asker_flow; // as struct commit_send
    uint32_t principal;
    uint32_t key; // hash
    uint32_t context_bytes, payload_bytes;
    uint64_t number, order, connection;
    int64_t time_ms, due_ms;
};

struct list { // of messages
    uint32_t head, tail, count;
};

enum event_state {
    EVENT_FREE,
    EVENT_STARTED, // with its receiver
    EVENT_READING, // its receiver waits for an ANSWER
    EVENT_WAITING, // effects judged; no tokens, key held by another event, or store not now
    EVENT_COMMITTING,
};

struct event_read {
    uint16_t namespace_index, op, key_bytes, zero;
    uint64_t version;
    uint8_t key[ABI_KEY_BYTES_MAX];
};

struct event {
    uint32_t next; // free or waiting list
    uint32_t generation;
    uint32_t message;
    uint16_t receiver;
    uint8_t state;     // enum event_state
    uint8_t is_dead;   // failed: reason, code and text hold
    uint8_t is_paid;   // tokens were taken
    uint8_t is_held;   // cursors are reserved
    uint8_t is_throttled; // was counted so
    uint8_t is_judged; // effects passed, or failed
    uint8_t waits;     // READ rounds
    uint16_t reason, code;
    uint32_t principal;
    uint16_t read_count, read_done, write_count, own;
    uint16_t counts[MANIFEST_FLOWS_MAX]; // judged sends per output
    int64_t retry_ms;
    uint32_t record_bytes;
    char text[240]; // of a dead letter
    char audit[768];
    _Alignas(8) uint8_t records[ABI_OUTPUT_BYTES];
    struct event_read reads[ROUTER_READS_MAX];
};

struct bucket { // zero: full
    int64_t tokens; // thousandths
    int64_t at_ms;
};

struct flow_state {
    uint8_t is_durable; // waits in the store
    uint8_t is_queued;  // volatile, waits in the router
    uint8_t is_own;     // queued, from a connection's instance to itself: room is per connection
    uint16_t fan_out;   // messages per send
    int32_t connection_bucket; // column in connection_buckets, or -1
    uint32_t request;   // of a reply flow: its request flow, or ROUTER_NONE
    uint64_t limit;     // cap or quota
    uint64_t waiting;   // entered, not ended
    uint64_t reserved;
    uint32_t keys;      // with a cursor
    struct bucket bucket;
};

struct receiver { // a unikernel's tender or a host service
    const char *name;
    const uint16_t *inputs, *outputs; // system's flows
    uint16_t input_count, output_count;
    uint8_t is_connection; // lifetime
    uint8_t is_attached;   // said HELLO
    uint8_t is_credited; // has said HELLO once
    uint8_t is_credit_due;
    uint32_t capacity, capacity_max;
    uint32_t with_receiver, in_flight;
    struct {
        uint32_t due, held; // held + due + what the store may still send = ROUTER_WINDOW
    } credit[SYSTEM_FLOWS_MAX]; // of durable messages; for each flow, so that none waits behind another's backlog
    uint32_t copies, copies_max;
    uint32_t own_need, own_max; // messages on own flows: of one event, of one connection at most
    uint32_t turn; // connection that is looked at first
    struct list queue; // without a connection
    struct bucket log_bucket;
    uint64_t log_dropped;
    uint8_t busy[ROUTER_BUCKETS]; // a key of this bucket is in flight
};

enum connection_state { CONNECTION_FREE, CONNECTION_OPEN, CONNECTION_CLOSING };
struct connection {
    uint64_t handle; // the gateway's
    uint32_t generation;
    uint16_t gateway, receiver;
    uint8_t state;          // enum connection_state
    uint8_t is_busy;        // an event is in flight
    uint8_t has_instance;   // was named to the tender, which has not said GONE
    uint8_t is_close_sent;
    uint8_t is_input_owed;  // INPUT came, TAKEN not sent
    uint8_t is_shut;
    uint32_t principal;
    uint32_t joined; // bit: manifest input
    uint32_t own;    // messages on own flows, not ended
    uint64_t output_bytes; // given to the gateway, not drained
    int64_t progress_ms;   // last time something drained, or waiting began
    struct list queue;
};

struct key_entry {
    uint32_t next;
    uint32_t holder; // event whose commit will raise it, or ROUTER_NONE
    uint16_t flow, key_bytes;
    uint32_t is_known; // sequence holds
    uint64_t sequence, held_sequence;
    uint8_t key[ROUTER_KEY_BYTES_MAX];
};

struct key_table {
    struct key_entry *entries;
    uint32_t *heads; // by hash
    uint32_t capacity, used, free_head, head_mask;
};

struct engine {
    const struct system_view *system;
    struct router_page *page;
    struct engine_io io;
    uint64_t epoch, number, order;
    int64_t now_ms, wall_ms, flush_ms;
    uint8_t is_ready, is_flushing, is_dirty, is_refused_flush;
    uint8_t is_journal_due;  // dropped lines are to be counted in the log
    uint8_t is_token_wanted; // a connection's input waits for tokens
    struct message *messages;
    uint8_t *bodies;
    uint32_t message_count, message_used, message_free;
    struct event *events;
    uint32_t event_count, event_used, event_free;
    uint32_t waiting_head, waiting_tail; // events
    struct receiver *receivers;
    uint32_t receiver_count;
    struct connection *connections;
    uint32_t connection_count, connection_used;
    uint32_t gateway_first[SYSTEM_GATEWAYS_MAX + 1];
    uint32_t gateway_open[SYSTEM_GATEWAYS_MAX];
    struct bucket *connection_buckets;
    uint32_t bucket_columns;
    struct flow_state flows[SYSTEM_FLOWS_MAX];
    struct key_table keys;
    struct list delayed, ending;
    uint64_t fresh[COUNTERS_MAX];    // not yet with the store
    uint64_t flushing[COUNTERS_MAX]; // in the COMMIT under way
    _Alignas(8) uint8_t scratch[COMMIT_BYTES_MAX];
};

// Where a message of an event goes.
struct address {
    uint16_t receiver, port;
    uint64_t connection; // as struct commit_send
    uint16_t asker, asker_flow;
    const uint8_t *context;
    uint32_t context_bytes;
};

// One guest record, checked in form; first and second are context and payload, key and value, or text.
struct effect {
    uint16_t kind;
    union {
        struct abi_send send;
        struct abi_write write;
        struct abi_log log;
        struct abi_end end;
    };
    const uint8_t *first, *second;
};

// ---- message.c ----
void count(struct engine *engine, uint32_t index, uint64_t value); // page, and the store within a second
void count_page(struct engine *engine, uint32_t index, uint64_t value);
uint32_t message_new(struct engine *engine); // check(): slots suffice
void message_free(struct engine *engine, uint32_t index);
uint8_t *message_body(struct engine *engine, uint32_t index); // payload, then at 8 bytes the context
uint8_t *message_context(struct engine *engine, uint32_t index);
void list_append(struct engine *engine, struct list *list, uint32_t index);
void list_remove(struct engine *engine, struct list *list, uint32_t index);
// The connection whose instance takes this message; 0: none.
uint64_t message_connection(const struct engine *engine, const struct message *message);
struct list *message_queue(struct engine *engine, const struct message *message);
void message_enqueue(struct engine *engine, uint32_t index); // new messages
void message_requeue(struct engine *engine, uint32_t index); // back to its place
// Ends a message that has no event (any more): counts it on its flow, tells the store if it is
// durable, and its parent if it is a copy.
void message_end(struct engine *engine, uint32_t index, enum reason reason);
void message_ended(struct engine *engine, uint32_t index, uint32_t result); // its COMMIT came back
void message_settle(struct engine *engine, uint32_t index, enum reason reason); // counted; frees
uint32_t key_hash(const uint8_t *key, size_t key_bytes);
uint32_t key_of(const struct engine *engine, uint16_t flow, const uint8_t *payload, size_t size,
                uint8_t *key, size_t *key_bytes); // hash; *key_bytes 0: none

// ---- schedule.c ----
void schedule(struct engine *engine);
int tokens_take(struct engine *engine, uint16_t flow, uint64_t connection, uint32_t wanted, int is_trial);
void event_unreserve(struct engine *engine, const struct event *event);
struct event *event_find(struct engine *engine, uint64_t handle);
uint64_t event_handle(const struct engine *engine, const struct event *event);
uint32_t event_index(const struct engine *engine, const struct event *event);
// Who sent the event's input: of a broadcast's copy not who stands behind its effects (event->principal).
uint32_t event_sender(const struct engine *engine, const struct event *event);

// ---- judge.c ----
enum status effect_next(const uint8_t *records, size_t size, size_t *at, struct effect *effect) MUST_USE;
// Verdict on all records: REASON_DONE, or the reason with event->text filled. Changes nothing else
// but event->counts and write_count.
enum reason judge(struct engine *engine, struct event *event);
// May an event that principal (0: nobody) stands behind send on that flow?
int is_principal_allowed(const struct system_flow *flow, uint32_t principal);

// ---- cursor.c ----
enum status key_table_create(struct key_table *table, uint32_t capacity) MUST_USE;
void key_table_destroy(struct key_table *table);
void cursor_load(struct engine *engine, uint16_t flow, const uint8_t *key, size_t key_bytes, uint64_t sequence);
// Reserves every cursor that the event's sends raise, or none. REASON_DONE: held; REASON_ENTERED:
// another event holds one, wait; else the refusal, with event->text filled.
enum reason cursors_hold(struct engine *engine, struct event *event);
void cursors_settle(struct engine *engine, struct event *event, int is_taken);

// ---- commit.c ----
#define HANDLE_EVENT 1u
#define HANDLE_MESSAGE 2u
#define HANDLE_FLUSH 3u
#define HANDLE(type, generation, index) ((uint64_t)(type) << 56 | (uint64_t)(generation) << 24 | (index))
// Do messages of that flow wait in the store for that receiver?
static inline int is_spooled_for(const struct system_view *system, uint32_t flow, uint32_t receiver)
{
    return receiver < system->unikernel_count && system->flows[flow].is_durable &&
           system_input_port(&system->flows[flow], (uint16_t)receiver) != SYSTEM_NONE;
}
int event_is_durable(const struct engine *engine, const struct event *event);
void address_of(struct engine *engine, const struct event *event, uint16_t flow, const struct effect *effect,
                uint32_t turn, struct address *address);
// STATUS_TOO_LARGE: the effects do not fit one COMMIT. STATUS_FULL: the store has no room now.
enum status commit_event(struct engine *engine, struct event *event) MUST_USE;
enum status commit_message(struct engine *engine, uint32_t index) MUST_USE;
size_t event_counters(const struct engine *engine, const struct event *event, struct commit_counter *counters);
void counters_flush(struct engine *engine);
void counters_flushed(struct engine *engine, uint32_t result);
void counters_reconcile(struct engine *engine); // once, when the store is READY

// ---- outcome.c ----
enum status effects_receive(struct engine *engine, struct event *event, const uint8_t *bytes, size_t size) MUST_USE;
void event_lost(struct engine *engine, struct event *event);
void event_proceed(struct engine *engine, struct event *event); // judged: pay, hold, commit or release
void event_committed(struct engine *engine, struct event *event, uint32_t result);
void events_retry(struct engine *engine);

// ---- read.c ----
enum status reads_receive(struct engine *engine, struct event *event, const uint8_t *bytes, size_t size) MUST_USE;
enum status answer_receive(struct engine *engine, const uint8_t *bytes, size_t size) MUST_USE;

// ---- connection.c ----
enum status gateway_receive(struct engine *engine, uint16_t gateway, const uint8_t *bytes, size_t size) MUST_USE;
struct connection *connection_find(struct engine *engine, uint64_t id);
uint64_t connection_id(const struct engine *engine, const struct connection *connection);
void connection_end(struct engine *engine, struct connection *connection, int tell_gateway);
void connection_settle(struct engine *engine, struct connection *connection); // CLOSE or free, if idle
void connection_output(struct engine *engine, uint16_t flow, uint64_t id, const uint8_t *payload, size_t size);
void connection_taken(struct engine *engine, struct connection *connection);
void connections_check(struct engine *engine); // slow ones
void gateway_closed(struct engine *engine, uint16_t gateway);
void receiver_connections_end(struct engine *engine, uint32_t receiver);

// ---- journal.c ----
void journal(struct engine *engine, uint32_t receiver, uint32_t level, const uint8_t *text, size_t size);
// A refusal that a unikernel counted: its name in the manifest, and what the guest says to it.
void journal_refusal(struct engine *engine, uint32_t receiver, uint32_t code, const uint8_t *text, size_t size);
void journal_tick(struct engine *engine);
// The dead letter's text and the audit record of a fault, a deadline or a broken contract.
void text_crash(const struct engine *engine, struct event *event, const struct link_effects *effects,
                const struct link_crash *crash); // crash may be NULL

static inline void page_set(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

#endif
