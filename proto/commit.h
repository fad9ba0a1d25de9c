// SPDX-License-Identifier: ISC
// Router <-> store: one SOCK_SEQPACKET socket, one record per packet.
//
// Start. The router says HELLO. The store answers with STATE records of all remembered states of keys, as many
// in each as fit, one COUNTER per counter, one SPOOL per durable flow (its waiting messages), then READY.
//
// Durable messages wait in the store's outbox, each for one receiver. The router gives CREDIT once per
// receiver and flow, so that no flow waits behind another's backlog (a full one, or one that a device floods); the
// store sends that many OUTBOX records of it at most, in order of id. A COMMIT that consumes one gives its credit back. Timers are outbox rows with due_ms; the store
// sends them when they are due.
//
// COMMIT is the whole record of one event (or of one input from outside): the store does all of it
// in one transaction or nothing. Group commit: the store takes every COMMIT that has arrived, up to
// a bound, into one SQLite transaction with one flush, then answers each. In order: validate the
// reads; delete the consumed outbox row (absent: CONFLICT is not the answer but DUPLICATE - it was
// consumed by an earlier commit, the router drops the event); apply writes; insert sends into the
// outbox; upsert states of keys, or without parts delete them; add counters; insert the dead letter if there is one; insert the audit row.
// A COMMIT of what a peer sent (proto/link.h, BRING) carries its source. The store remembers for each flow and peer the
// stream and the last sequence: not above it is DUPLICATE, and a message whose `previous` has not come is EARLY. So
// what a peer sends again is taken once, and in order, whatever was in flight when a link or a process ended.
// The identity of a store is a number that no other has: outbox ids are one stream of it.
// A PUT of a new record beyond records_max does nothing of all that and answers REFUSED: the router
// dead-letters the input (REASON_NAMESPACE) with a COMMIT without the effects.
//
// The store also writes the audit record of each COMMIT, from what the COMMIT says.
//
// ANSWER. FOUND items carry the record's version, ABSENT items 0. The END item of a RANGE or INDEX carries
// the namespace's version. Behind the ANSWER stands one struct commit_read for each READ that was answered: the router
// puts them into the COMMIT of the event as they are, and the store validates them there.
// An ANSWER is at most ABI_INPUT_BYTES. A RANGE or INDEX that does not fit ends early. A READ that no item
// fits for, and those behind it, get none (item_count says so): the guest asks for them again.
//
// After READY a COUNTER says how much to *add* and a SPOOL how many messages joined that flow: an
// operator resubmitted a dead letter; its OUTBOX records follow under credit like all others. A STATE without parts says
// that an operator forgot the key's state; an event that holds the key at that moment sets it again.
//
// What was sent as OUTBOX is the router's: it alone ends it, by a COMMIT. What was not yet sent the store ends
// itself when its time to live has passed, or when a newer message needs its room in a flow that keeps the newest;
// LEFT tells the router, behind the DONEs of the transaction in which that happened.
//
// Kept messages. What must wait for the disk is what leaves the system, not the next step inside. So the router may keep a
// plain message that an event sends (COMMIT_KEPT, system_flow_is_keepable()): it starts its event while the COMMIT that
// sends it is under way, and the store never sends it as OUTBOX. COMMITs are taken in their order, so one that consumes a
// kept message finds the one that sent it, or is NOT_NOW; nothing that its event made leaves before its own COMMIT is done.
// The router numbers what a COMMIT sends on such flows, kept or not, in order from `first` on by COMMIT_NUMBER_STEP; so numbers
// of a flow rise, and stay when a message comes as OUTBOX. What the store puts in there itself has a number in between. A COMMIT that sends some reads and writes no records and brings nothing, so it is OK or NOT_NOW.
//
// A receipt is a message of the flow of receipts of who sent the message that ended. Who ends a message with
// COMMIT_RECEIPT makes it in the same transaction: the router among the sends of its COMMIT, the store what it ends itself.
//
// A packet holds any number of records, each at 8 bytes (host/channel.h).
// Everything is little-endian; sections follow struct commit_header in the order of its counts; every
// section entry starts 8-byte aligned, its variable parts follow it, each padded to 8.
#ifndef CRENEL_PROTO_COMMIT_H
#define CRENEL_PROTO_COMMIT_H

#include "abi/abi.h"
#include "proto/link.h"

#define COMMIT_VERSION 4u
#define COMMIT_BYTES_MAX 131072u
#define COMMIT_TEXT_BYTES_MAX 240u // of a dead letter
#define COMMIT_NUMBER_STEP 2u
#define COMMIT_KEPT_MAX 256u       // messages of one flow that the router keeps at once
// What a row of the outbox takes besides key, context and payload, as a flow's bytes are counted: its columns, its
// place in the index, and room for SQLite's pages.
#define COMMIT_ROW_BYTES 128u
#define COMMIT_PARTS_BYTES_MAX 4096u // of the state of a key
#define COMMIT_PART_SEQUENCE 0u      // a highest sequence, as stores of format 2 kept it: of whatever order is checked

enum commit_kind {
    // router -> store
    COMMIT_HELLO = 1,  // struct commit_hello
    COMMIT_COMMIT = 2, // struct commit_header and sections
    COMMIT_READ = 3,   // struct commit_packet, then abi READ records; namespace_index = system's
    COMMIT_CREDIT = 4, // struct commit_credit
    // store -> router
    COMMIT_READY = 16,   // struct commit_packet, handle = the identity of the store
    COMMIT_DONE = 17,    // struct commit_done
    COMMIT_ANSWER = 18,  // struct commit_answer, one abi ANSWER record, struct commit_read with key
    COMMIT_OUTBOX = 19,  // struct commit_outbox, key, context, payload
    COMMIT_STATE = 20,   // any number of struct commit_state, key, parts
    COMMIT_COUNTER = 21, // struct commit_counter
    COMMIT_SPOOL = 22,   // struct commit_spool
    COMMIT_LEFT = 23,    // struct commit_left
};

struct commit_packet {
    uint32_t size;
    uint16_t kind;
    uint16_t zero;
    uint64_t handle; // the router's; comes back unchanged
};

struct commit_hello {
    struct commit_packet packet;
    uint32_t version;
    uint32_t zero;
    uint64_t epoch; // router start count, from the supervisor
};

struct commit_header {
    struct commit_packet packet;
    uint64_t consume;   // outbox id of the input, or its number if it is kept, or 0
    uint64_t number;    // of the input on its flow (audit)
    uint64_t first;     // number of the first send on a flow whose messages may be kept, or 0
    int64_t time_ms;    // host's clock when the effects were judged
    uint16_t unikernel; // whose event, a place (core/system.h); 0xffff: none
    uint16_t flow;      // of the input, system's index; 0xffff: no event, only counts of volatile ones
    uint16_t attempt;
    uint16_t read_count;   // struct commit_read, key (or from, end)
    uint16_t write_count;  // struct commit_write, key, index key, value
    uint16_t send_count;   // struct commit_send, key, context, payload
    uint16_t state_count;  // struct commit_state, key, parts
    uint16_t counter_count; // struct commit_counter
    uint16_t dead_count;   // 0 or 1: struct commit_dead, text, crash, refusal, payload
    uint16_t reason;       // enum reason: how the input ended
    uint16_t source_count; // 0 or 1: struct link_source, of the flow that the header names
    uint16_t is_kept; // 0 or 1: the input is
};

struct commit_answer {
    struct commit_packet packet;
    uint32_t answer_bytes; // of the ANSWER, a multiple of 8
    uint32_t read_count;   // entries behind it
};

struct commit_read { // validated: version still the same
    uint16_t namespace_index;
    uint16_t op; // enum abi_read_op; RANGE and INDEX validate the namespace's version
    uint16_t from_bytes; // of the key; RANGE and INDEX: 0
    uint16_t zero;
    uint64_t version; // of the record (0: absent); RANGE, INDEX: of the namespace
};

struct commit_write {
    uint16_t namespace_index;
    uint16_t op; // enum abi_write_op
    uint16_t key_bytes;
    uint16_t index_bytes; // key in the secondary index, 0: none
    uint32_t value_bytes;
    uint32_t zero;
};

enum commit_send_flag {
    COMMIT_RECEIPT = 1, // its end, whoever ends it, makes a receipt, which the context is for
    COMMIT_KEPT = 2,    // in a COMMIT only: the router keeps it
};

struct commit_send {
    uint16_t flow;       // system's index
    uint16_t receiver;   // place
    uint16_t key_bytes;  // of the flow's key field
    uint16_t context_bytes;
    uint32_t payload_bytes;
    uint16_t principal;
    uint16_t flags; // enum commit_send_flag
    int64_t due_ms; // 0: at once
    // The connection that this message is for, or of a request, or with a receipt, the one whose instance sent it; 0: none.
    uint64_t connection;
};

struct commit_state { // of one key of a flow: what its checks remember (core/flow_check.h); the store does not look inside
    uint16_t flow;
    uint16_t key_bytes;
    uint32_t part_bytes; // of struct commit_part, each with its words
};

struct commit_part {
    uint32_t id; // of the check (proto/system.h), or COMMIT_PART_SEQUENCE
    uint32_t bytes;
};

struct commit_counter {
    uint32_t index; // proto/status_page.h: index into router_page.counters
    uint32_t zero;
    uint64_t value; // COMMIT: to add; COUNTER at start: the total
};

struct commit_dead {
    uint16_t reason; // enum reason
    uint16_t unikernel; // place, 0xffff: none
    uint16_t flow;
    uint16_t text_bytes; // "range reading.value_mc", "fault SIGSEGV at decode+0x1a3", printable
    uint32_t payload_bytes; // 0 where the flow says that dead letters hold no payload
    uint32_t principal;
    uint32_t crash_bytes; // 0, or of struct link_crash
    uint32_t refusal_bytes; // 0, or of struct commit_refusal, whose state and message follow
};

// What the inspector refused, for the store to put into words (store/refusal.h).
struct commit_refusal {
    uint16_t schema; // that the message is of
    uint16_t flow;   // or SYSTEM_NONE: it was to be written
    uint16_t check;  // index (proto/system.h), or SYSTEM_NONE: no check of flow state refused it
    uint16_t zero;
    uint32_t state_bytes;   // of its key's state before it (core/flow_check.h); 0: it is the key's first
    uint32_t message_bytes; // 0 where dead letters hold no payload
    int64_t wall_ms, sent_ms; // struct flow_clock
};

enum commit_result {
    COMMIT_OK = 0,
    COMMIT_CONFLICT = 1,  // a read is stale: run the event again with fresh answers
    COMMIT_NOT_NOW = 2,   // disk full or store busy: keep the commit and send it again later
    COMMIT_DUPLICATE = 3, // the input was consumed before
    COMMIT_REFUSED = 4,   // a namespace holds records_max records: nothing was done
    COMMIT_EARLY = 5,     // what a peer sent before it has not come: nothing was done
};

struct commit_done {
    struct commit_packet packet;
    uint32_t result; // enum commit_result
    uint32_t zero;
    uint64_t first_id; // outbox id of the first send; the others follow by one
};

struct commit_outbox {
    struct commit_packet packet; // handle = outbox id
    uint64_t number;             // the message's: what the COMMIT that sent it said, or the same
    int64_t time_ms;
    struct commit_send send; // key, context, payload follow as there
};

struct commit_credit {
    struct commit_packet packet;
    uint16_t receiver; // place
    uint16_t flow;
    uint32_t count; // more messages of that flow that the router has room for, for that receiver
};

struct commit_spool {
    struct commit_packet packet; // handle = flow
    uint64_t waiting;            // outbox rows of that flow
    uint64_t bytes;              // that they take
    uint64_t promised;           // of a flow of receipts: that messages wait which make one
};

// Messages that the router never had and that ended in the store, in a transaction that also counted them.
struct commit_left {
    struct commit_packet packet; // handle = flow
    uint64_t count, bytes;
    uint64_t receipts, receipt_bytes; // that they made
    uint32_t reason; // enum reason
    uint32_t zero;
};

// What a message takes of its flow's bytes while it waits in the store.
static inline uint64_t commit_row_bytes(uint64_t key_bytes, uint64_t context_bytes, uint64_t payload_bytes)
{
    return COMMIT_ROW_BYTES + key_bytes + context_bytes + payload_bytes;
}

_Static_assert(sizeof(struct commit_packet) == 16, "commit_packet");
_Static_assert(sizeof(struct commit_header) == 72, "commit_header");
_Static_assert(sizeof(struct commit_send) == 32, "commit_send");
_Static_assert(sizeof(struct commit_refusal) == 32, "commit_refusal");

// ---- Store -> audit: one SOCK_SEQPACKET socket, any number of records per packet that way (host/channel.h) ----
// RECORD packets carry audit rows in order of their source sequence; ACK says up to which sequence
// they are durable under a signed checkpoint. After a restart of either the store begins again behind the
// highest ACK; the audit process drops sequences that it has. The supervisor speaks the same protocol
// on its own link with source 1. The audit process says ACK unasked when a link is attached (0: it has
// nothing of that source yet), so a source that keeps no rows continues behind it.
enum audit_kind { AUDIT_RECORD = 1, AUDIT_ACK = 2 };
enum audit_source { AUDIT_SOURCE_STORE = 0, AUDIT_SOURCE_SUPERVISOR = 1 };
#define AUDIT_RECORD_BYTES_MAX 1024u
#define AUDIT_PACKET_BYTES 32768u

struct audit_packet {
    uint32_t size;
    uint16_t kind;
    uint16_t source;
    uint64_t sequence; // RECORD: of this record, from 1; ACK: highest durable
    // RECORD: text, UTF-8 JSON object without newline, <= AUDIT_RECORD_BYTES_MAX
};

#endif
