// SPDX-License-Identifier: ISC
// The engine's tables, and what its files offer one another. Seen by router/ only.
//
// One thing moves through the router: the message. It lies in a slot from its arrival to its end:
//
//            arrives                instance free, room reserved      EFFECTS, judged
//   FREE ---------------> QUEUED -----------------------> STARTED ---------------------> proceed
//     ^                    ^ | \                         READING (asks the store)          |  |
//     |                    | |  \ broadcast: PARENT       |                               |  |
//     |                    | |        of its copies       | lost, conflict                |  |
//     |                    +-+---------------------------- +                               |  |
//     +---------------------------------------------------------- volatile: released <----+  |
//     +---------- DONE, released <---------- COMMITTING <---------- durable: COMMIT <---------+
//                                             ^ not now, no tokens, a key is held: WAITING, then proceed again
//
// A durable message comes from the store, or is kept (proto/commit.h): QUEUED while the COMMIT that sends it is under way.
// What was judged is WAITING, too, until all that came in the same turn is (judged_proceed).
// A connection has several events in flight. Their effects are judged and released in their order: what comes too
// early has ENDED, and is judged when its turn has come.
// What a courier brings (courier.c) is a message to its own arrivals, whose event is made here and sends it on its flow.
//
// A message that ends without an event (its connection ended, nobody joined, its copies ended, its sender
// is rationed) proceeds too, with its reason and no effects. An event is what a message has from its start
// on: the buffer of what came back, and the reservation of its worst case. Slots suffice by construction:
// each volatile flow has a quota, each receiver of durable messages a window of credit, each connection
// its own inputs, copies and timers.
#ifndef CRENEL_ROUTER_STATE_H
#define CRENEL_ROUTER_STATE_H

#include "core/flow_check.h"
#include "core/guest_record.h"
#include "core/manifest.h"
#include "proto/commit.h"
#include "router/engine.h"
#include "router/keys.h"
#include "router/message.h"
#include "router/slots.h"

#include <string.h>

#define ROUTER_WINDOW 64u        // durable messages of one flow for one receiver in the router
#define ROUTER_KEPT COMMIT_KEPT_MAX
#define ROUTER_QUOTA 256u        // volatile messages of one flow, at least
#define ROUTER_COPIES 8u         // broadcast copies per connection, on average
#define ROUTER_OWN 6u            // messages of one connection to itself, beyond those of two events
#define ROUTER_CAPACITY_MAX 256u // events with one receiver at once
#define ROUTER_PIPELINE 64u      // events of one receiver that wait for their commit
#define ROUTER_READS_MAX 64u     // store reads of one event
#define ROUTER_BUCKETS 8192u     // of keys in flight; a collision only serialises
#define ROUTER_ATTEMPTS_MAX 3u
#define ROUTER_CONFLICTS_MAX 8u
#define ROUTER_RETRY_MS 100 // a commit that the store could not take
#define ROUTER_TOKEN_MS 10  // effects that wait for tokens or for a key
#define ROUTER_FLUSH_MS 1000
#define ROUTER_END_MS 100 // between two looks for what is too late
#define ROUTER_SET_MS 1000 // by more than that the host's clock was set
#define ROUTER_BODY_BYTES (ABI_PAYLOAD_BYTES_MAX + ABI_CONTEXT_BYTES_MAX)
#define ROUTER_COUNTERS_PER_EVENT 96u
#define ROUTER_NOTES 64u // observations of one event that are reported
#define ROUTER_SPENT_MAX 128u // keys that leave at once
#define ROUTER_SENDS_MAX (ABI_OUTPUT_BYTES / (sizeof(struct abi_send) + 8)) // of one event

struct output { // what one event sends on one output
    uint16_t count;         // messages, judged
    uint16_t measured;      // of these by checks that only observe
    uint16_t observed;      // of these would have been refused
    uint32_t payload_bytes; // of all
    uint32_t bytes;         // that those in the COMMIT take in the store
};

struct event {
    struct event *next; // free
    uint32_t principal; // who stands behind its effects
    uint16_t code;      // of REASON_GUEST
    uint8_t failure;    // enum reason: how it failed without a look at its effects, or REASON_DONE
    uint8_t is_paid;    // tokens were taken
    uint8_t is_held;    // the keys of its sends are
    uint8_t is_waiting; // for one of them
    uint8_t is_throttled; // was counted so
    uint16_t waits, reads;           // READ rounds, and READs
    uint16_t write_count, own_count; // judged
    uint8_t is_durable; // it writes, or sends what waits in the store
    uint8_t has_logs;   // among its records
    uint8_t is_stored;  // what it sends is counted as with the store
    uint8_t is_keeping; // messages that it sends
    uint64_t first;                  // number of the first of these
    struct message *kept;            // these
    uint16_t noted_count;
    uint32_t sent_count;             // messages, over all outputs
    uint32_t receipts;               // that these promise
    int64_t sent_ms;                 // the host's clock when its effects arrived
    struct held *held;               // states of keys
    const uint8_t *refused;          // among its records: what `refusal` is of, or NULL
    uint32_t record_bytes, crash_bytes;
    uint32_t seen_bytes, seen_count; // struct commit_read
    char text[COMMIT_TEXT_BYTES_MAX]; // why it failed; from here on nothing is cleared at the start of an event
    struct output outputs[MANIFEST_FLOWS_MAX]; // cleared by judge()
    uint16_t noted[ROUTER_NOTES]; // by which checks
    struct link_crash crash;
    struct commit_refusal refusal;
    uint64_t refusal_state[FLOW_STATE_WORDS_MAX];
    _Alignas(8) uint8_t records[ABI_OUTPUT_BYTES];
    uint8_t seen[ROUTER_READS_MAX * (sizeof(struct commit_read) + ABI_KEY_BYTES_MAX)];
};

struct bucket { // zero: full
    int64_t tokens; // thousandths
    int64_t at_ms;
};

struct flow_state {
    uint8_t is_durable; // waits in the store
    uint8_t is_queued;  // volatile, waits in the router
    uint8_t is_self;    // from a unikernel to itself
    uint8_t is_own;     // and queued, of a connection: room is per connection
    uint32_t bucket_columns[2]; // in connection_buckets, if the rate, or that of bytes, is per connection
    uint64_t need;      // room that an event may need at most; 0: none is reserved
    uint64_t limit;     // cap or quota
    uint32_t brought;   // by a courier, not ended
    struct link_source last; // of these that began, on a flow whose checks keep state (courier.c)
    uint64_t turn;      // order of the last message that may begin before one that waits; 0: none waits
    uint8_t is_in_step; // what the store has not had of that stream is what began and what comes behind it
    uint64_t waiting;   // entered, not ended
    uint64_t reserved;  // a multiple of need
    uint8_t is_keepable;
    uint32_t kept;      // not ended
    uint64_t stored;    // of one that is keepable: in the store, or in a COMMIT under way, and not here
    uint64_t promised;  // of a flow of receipts: messages that will make one
    uint64_t bytes_need, bytes_limit, bytes; // the same, of a durable flow
    uint64_t blocked;   // pass in which its first message had to wait
    struct bucket buckets[2]; // messages, bytes
    uint64_t claim;     // order of the message that has the next tokens; 0: none
    struct key_table keys;
};

struct receiver { // a place (core/system.h), or behind all places the arrivals of a courier
    const struct system_unikernel *is; // of the host's own: what it would be as a unikernel
    uint8_t is_attached;   // said HELLO
    uint32_t instances_max, batch, capacity; // capacity: events with it at once
    uint32_t with_receiver, in_flight;
    uint8_t is_alone; // the event with it: on its last attempt
    uint32_t instances; // of connections; of those that are closing, too: no more than instances_max
    uint32_t copies, copies_max;
    uint32_t own_need, own_max; // messages on own flows: of one event, of one connection at most
    uint16_t receipts; // the flow that brings it receipts, or SYSTEM_NONE
    // In which its events need room: its outputs, and behind them the flow of its receipts, for those that it asks for.
    uint16_t fills[MANIFEST_FLOWS_MAX + 1];
    uint32_t fills_count;
    struct message queue;
    uint64_t queued; // timers left out
    struct bucket log_bucket;
    uint64_t log_dropped;
    uint8_t busy[ROUTER_BUCKETS]; // events in flight whose key is of this bucket
};

enum connection_state { CONNECTION_FREE, CONNECTION_OPEN, CONNECTION_CLOSING, CONNECTION_CLOSED };
struct connection {
    uint64_t handle; // the gateway's
    uint32_t generation;
    uint16_t gateway, receiver;
    uint8_t state;         // enum connection_state
    uint8_t has_failed;    // an event: those behind it are dropped
    uint8_t has_instance;  // was named to the tender, which has not said GONE
    uint8_t is_input_owed; // INPUT came, TAKEN not sent
    uint8_t is_shut;
    uint32_t principal;
    uint32_t joined;       // bit: manifest input
    struct message *first, *last; // events in flight
    uint32_t in_flight;
    uint32_t messages;     // not ended
    uint32_t own;          // of these on own flows
    uint64_t blocked;      // as of a flow
    uint64_t output_bytes; // given to the gateway, not drained
    int64_t progress_ms;   // last time something drained, or waiting began
    int64_t held_ms; // since then what others sent it waits for room that its own event may need; 0: it does not
};

// One SEND on its way to one receiver, in the system's terms.
struct sending {
    struct commit_send send;
    const uint8_t *context, *payload;
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
};

struct engine {
    const struct system_view *system;
    struct schema_plan *plans; // of its schemas
    struct router_page *page;
    struct engine_io io;
    uint64_t epoch, number, order, pass;
    int64_t now_ms, boot_ms, wall_ms, flush_ms, wake_ms;
    int64_t end_ms; // the least of queued messages, or before; INT64_MAX: none
    uint8_t is_ready, is_dirty;
    uint8_t is_settled; // a key was that somebody waits for: he is tried again before others may have it
    uint8_t is_flushing, is_flush_refused;
    struct slots messages, events, held;
    uint8_t *bodies;        // of messages
    struct message waiting; // list
    struct message judged;  // list of those that proceed with the next engine_schedule
    uint32_t settling; // events of kept messages with their receivers
    uint64_t identity; // of the store
    struct system_unikernel hosts[SYSTEM_SERVICES_MAX + 2 * SYSTEM_COURIERS_MAX]; // receivers of the host's own
    struct receiver *receivers;
    uint32_t receiver_count, idle; // idle: of those without an event
    struct connection *connections;
    uint32_t connection_count, connection_used;
    uint32_t gateway_first[SYSTEM_GATEWAYS_MAX + 1], gateway_open[SYSTEM_GATEWAYS_MAX];
    struct bucket *connection_buckets;
    uint32_t bucket_columns;
    struct flow_state flows[SYSTEM_FLOWS_MAX];
    uint64_t state[FLOW_STATE_WORDS_MAX]; // of a key, for a while; so are the next
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
    uint64_t measured[SYSTEM_FLOW_CHECKS_MAX];
    struct key_entry *spent[ROUTER_SPENT_MAX]; // of one flow, in the COMMIT of the counters
    uint32_t spent_count, spent_flow;
    uint8_t parts[KEY_PARTS_BYTES];
    uint64_t fresh[COUNTERS_MAX];    // not yet with the store
    uint64_t flushing[COUNTERS_MAX]; // in the COMMIT under way
    // Working memory of one function each: automatic variables are cleared at each call.
    struct commit_counter counters[ROUTER_COUNTERS_PER_EVENT];
    struct sending sending;
    _Alignas(8) uint8_t scratch[COMMIT_BYTES_MAX];
};

struct packet { // what a peer said, as long as it may be (the table in engine.c)
    uint32_t index; // of the peer
    uint16_t kind;
    uint64_t handle;
    const uint8_t *bytes, *body; // body: behind the header
    size_t size, body_bytes;
};
typedef enum status engine_take(struct engine *engine, const struct packet *packet);

// ---- engine.c ----
void tell(struct engine *engine, enum engine_peer peer, uint32_t index, uint16_t kind, uint64_t handle,
          const void *bytes, size_t size);

// ---- message.c ----
void count(struct engine *engine, uint32_t index, uint64_t value); // page, and the store within a second
// More or less of it wait; bytes: what they take in the store.
void flow_change(struct engine *engine, uint16_t flow, int64_t messages, int64_t bytes);
struct message *message_new(struct engine *engine, const struct sending *sending); // check(): slots suffice
struct message *message_copy(struct engine *engine, struct message *parent, uint64_t connection);
struct message *message_find(struct engine *engine, uint64_t handle);
struct message *message_with(struct engine *engine, uint32_t receiver, uint64_t handle); // its event is there
void message_enqueue(struct engine *engine, struct message *message); // a new one
void message_requeue(struct engine *engine, struct message *message); // back to its place
void message_dequeue(struct engine *engine, struct message *message);
void queue_end(struct engine *engine, const struct connection *connection); // ends what waits for it
void queues_expire(struct engine *engine); // ends what waits and is too late
enum reason late_reason(const struct engine *engine, const struct message *message);
void message_finish(struct engine *engine, struct message *message); // over and counted, with message->reason

// ---- schedule.c ----
// Fills it up to now: are so many there?
int bucket_has(const struct engine *engine, struct bucket *bucket, uint32_t per_second, uint32_t burst, uint32_t wanted);
// Of messages and of bytes, for so many on that flow.
int tokens_left(struct engine *engine, uint16_t flow, const struct connection *connection, uint32_t messages,
                uint32_t bytes);
void tokens_take(struct engine *engine, uint16_t flow, const struct connection *connection, uint32_t messages,
                 uint32_t bytes);
// May the event send so many to its own unikernel on that flow?
int has_room_of_own(const struct engine *engine, uint16_t flow, const struct message *message, uint32_t sends);
void event_leave(struct engine *engine, struct message *message); // gives back all that its event held
// Who sent the event's input: of a broadcast's copy not who stands behind its effects (event->principal).
uint32_t event_sender(const struct message *message);
void fault_note(struct engine *engine, const struct message *message); // its event crashed, or took too long

// ---- judge.c ----
// Verdict on all records: REASON_DONE, or the reason with event->text filled. Changes nothing else
// but the event's counts.
enum reason judge(struct engine *engine, struct message *message);
// line: of the source, or 0.
enum reason refuse(struct message *message, enum reason reason, const char *what, const char *detail, uint32_t line);
// Of what: the store makes words of it.
void refuse_value(struct event *event, uint16_t flow, uint16_t schema, const uint8_t *bytes, uint32_t size);
// The system's index of what a guest names, or SYSTEM_NONE.
uint16_t namespace_of(const struct engine *engine, const struct message *message, uint16_t index);

// ---- effects.c ----
// The next record of that kind among judged effects; 0: no more.
int effect_next(const struct event *event, uint16_t kind, size_t *at, struct guest_record *record);
void sending_make(struct engine *engine, const struct message *message, const struct guest_record *record,
                  uint32_t turn, struct sending *sending);
// The flow of receipts on which the end of the message makes one, or SYSTEM_NONE; and that one: returns its bytes.
uint16_t receipt_flow(const struct engine *engine, const struct message *message);
struct builtin_receipt;
uint64_t receipt_make(const struct engine *engine, const struct message *message, struct sending *sending,
                      struct builtin_receipt *receipt);
void effects_release(struct engine *engine, struct message *message); // of volatile flows, and log lines

_Static_assert(LINK_BRINGS_MAX <= UINT8_MAX, "receiver.busy counts what is brought");

// ---- commit.c ----
#define HANDLE_FLUSH 0u // no message has it
int is_durable(const struct engine *engine, const struct message *message); // does its end need a COMMIT?
// STATUS_TOO_LARGE: the effects do not fit one COMMIT. STATUS_FULL: the store has no room now.
enum status commit_send(struct engine *engine, struct message *message) MUST_USE;
// What became of the COMMIT of its event.
void commit_settled(struct engine *engine, const struct message *message, int is_done);
// What the end of a message counts, at most ROUTER_COUNTERS_PER_EVENT.
size_t counters_of(const struct engine *engine, const struct message *message, struct commit_counter *counters);
void counters_flush(struct engine *engine);
void counters_flushed(struct engine *engine, uint32_t result);
void counters_reconcile(struct engine *engine); // once, when the store is READY

// ---- outcome.c ----
engine_take effects_receive;
void event_judge(struct engine *engine, struct message *message); // its effects are here, and its turn has come
void message_proceed(struct engine *engine, struct message *message);
// What was judged since the last time, in that order: meanwhile the processor fetched the state of its keys.
void judged_proceed(struct engine *engine);
void message_end(struct engine *engine, struct message *message, enum reason reason); // one without an event
void message_lost(struct engine *engine, struct message *message);
void message_committed(struct engine *engine, struct message *message, uint32_t result);
void messages_retry(struct engine *engine);

// ---- courier.c ----
engine_take bring_receive;
void courier_attach(struct engine *engine, uint32_t place), courier_close(struct engine *engine, uint32_t place);
int brought_is_next(struct engine *engine, const struct message *message); // may it begin beside what has begun?
int brought_is_orphan(const struct engine *engine, const struct message *message); // will what it names as `previous` not come?
void brought_start(struct engine *engine, struct message *message);
void brought_finish(struct engine *engine, const struct message *message);

// ---- read.c ----
engine_take reads_receive, answer_receive;

// ---- connection.c ----
engine_take open_receive, input_receive, drained_receive, gone_receive;
struct connection *connection_find(struct engine *engine, uint64_t id);
struct bucket *connection_buckets(const struct engine *engine, const struct connection *connection);
uint64_t connection_id(const struct engine *engine, const struct connection *connection);
void connection_end(struct engine *engine, struct connection *connection, int tell_gateway);
void connection_start(struct connection *connection, struct message *message); // an event
void connection_leave(struct connection *connection, struct message *message); // it is in flight no more
void connection_release(struct engine *engine, struct connection *connection, const struct message *message);
void connection_output(struct engine *engine, uint16_t flow, struct connection *connection,
                       const uint8_t *payload);
void connections_check(struct engine *engine); // slow ones
void connections_close(struct engine *engine, enum engine_peer peer, uint32_t index); // its link ended

// ---- journal.c ----
void journal(struct engine *engine, uint32_t receiver, uint32_t level, const char *refusal, const void *text,
             size_t size);
void journal_tick(struct engine *engine);

// Nobody outside can choose keys that collide: the seed is the process's own.
static inline uint32_t key_hash(const struct engine *engine, const uint8_t *key, size_t key_bytes)
{
    uint64_t hash = engine->io.seed[0] ^ key_bytes, word;
    for (size_t i = 0; i < key_bytes; i += 8) {
        word = 0;
        for (size_t j = i; j < key_bytes && j < i + 8; j++) // most are short
            word |= (uint64_t)key[j] << 8 * (j - i);
        unsigned __int128 product = (unsigned __int128)(hash ^ word) * (engine->io.seed[1] | 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

// Events that a receiver with so many instances may have at once.
static inline uint32_t router_capacity(uint32_t instances, uint32_t batch)
{
    return instances * batch < ROUTER_CAPACITY_MAX ? instances * batch : ROUTER_CAPACITY_MAX;
}

static inline struct message *message_at(struct engine *engine, uint32_t index)
{
    return (struct message *)(void *)engine->messages.bytes + index;
}

static inline struct receiver *receiver_of(const struct engine *engine, const struct message *message)
{
    return &engine->receivers[message->send.receiver];
}

static inline int is_courier(const struct engine *engine, uint32_t place)
{
    return place >= system_places(engine->system) - engine->system->courier_count &&
           place < system_places(engine->system);
}

// The flow of a judged SEND.
static inline uint16_t effect_flow(const struct engine *engine, const struct message *message,
                                   const struct guest_record *send)
{
    return receiver_of(engine, message)->is->outputs[send->send.flow];
}

// May an event that principal (0: nobody) stands behind send on that flow?
static inline int is_principal_allowed(const struct system_flow *flow, uint32_t principal)
{
    return flow->is_open || (principal >= 1 && principal <= SYSTEM_PRINCIPALS_MAX &&
                             (flow->principals >> (principal - 1) & 1) != 0);
}

// Not yet copied; what is brought becomes one with its commit.
static inline int is_broadcast(const struct engine *engine, const struct message *message)
{
    return engine->system->flows[message->send.flow].is_broadcast && message->parent == NULL && !message->is_brought;
}

// engine_tick shall be called again at that moment, or before.
static inline void wake(struct engine *engine, int64_t at_ms)
{
    if (at_ms < engine->wake_ms)
        engine->wake_ms = at_ms;
}

static inline void page_set(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void page_add(uint64_t *word, uint64_t value) { page_set(word, *word + value); }

#endif
