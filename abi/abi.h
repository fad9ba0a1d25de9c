// SPDX-License-Identifier: ISC
// The contract between a guest and its host: one hypercall, plain records, fixed sizes.
//
// One hypercall, wait(): "my records up to here are published; give me the next input record".
//
//   The guest writes records into its output region, one after the other, sets
//   abi_output.published_bytes, and calls the gate. The gate returns when the host has placed the
//   next record into the input region, which the guest cannot write.
//
//   Guest records: READ, SEND, WRITE, LOG, END.   Host records: EVENT, ANSWER, STOP.
//
// Order. The first wait() publishes nothing; the host answers EVENT (or STOP). While it handles
// the event the guest appends records. Publishing one or more READ records without an END asks for
// the store: the host answers with one ANSWER that holds one item per READ, in order. END is the
// last record of an event: all SEND, WRITE and LOG records since EVENT are then taken as one unit,
// or dropped as one unit. After END the host answers with the next EVENT (output starts again at
// offset 0, published_bytes is set to 0 by the guest), or the instance is destroyed.
//
// Batch. An instance that keeps its memory between events (lifetimes resident and connection) and reads no
// namespace may be shown several EVENT records, one behind the other, zeros behind the last; where the last begins the
// longest would fit. It handles them in order; the records of an event end with its END, and those of the next follow.
// It need not handle all before it waits: the host takes the events whose END is published, output starts again at
// offset 0, and the input stays as it is until the last one has ended. So the records of an event that is not over may
// wait for that, too: the guest moves them to offset 0. An END with verdict REFUSED is the last record of a wait; the
// rest of the batch is shown again.
//
// The host copies published bytes into private memory before it looks at them. Anything that breaks
// the rules below is the guest's doing: the event is refused, the instance destroyed.
//
// All integers are little-endian. Every record starts with struct abi_record, its size includes
// that header and is a multiple of 8; padding and reserved bytes are zero. A record's variable parts
// follow its struct in the order in which their sizes are named, each padded to 8 bytes.
//
// The same layout holds on x86-64 and aarch64 (both LP64, little-endian). What differs:
//                 x86-64                                aarch64
//   entry         rdi = struct abi_boot *               x0 = struct abi_boot *
//   gate          call of boot->gate, no arguments      blr to boot->gate, no arguments
//   preserved     rbx rbp rsp r12-r15 (SysV)            x19-x29 sp (AAPCS64)
//   cleared       all other registers are constants when the gate returns
//   canary        __stack_chk_guard in the guest's data, written from boot->canary at entry
#ifndef CRENEL_ABI_H
#define CRENEL_ABI_H

#include <stdint.h>

#define ABI_VERSION 2u
#define ABI_BOOT_MAGIC 0x746f6f624c4e5243u // "CRNLboot", little-endian

// Limits, in bytes unless named otherwise.
#define ABI_INPUT_BYTES 16384u  // the input region: one EVENT, ANSWER or STOP
#define ABI_OUTPUT_BYTES 32768u // the output region: struct abi_output and the records of one event
#define ABI_BOOT_BYTES 16384u   // the boot block and the configuration behind it
#define ABI_CONFIGURATION_BYTES_MAX 8192u
#define ABI_PAYLOAD_BYTES_MAX 4096u // one message
#define ABI_CONTEXT_BYTES_MAX 256u  // comes back with the reply to a request
#define ABI_KEY_BYTES_MAX 64u       // key of a store record
#define ABI_LOG_BYTES_MAX 240u      // text of one LOG record
#define ABI_BATCH_MAX 64u           // events that are shown at once
#define ABI_READS_PER_WAIT_MAX 16u
#define ABI_WAITS_PER_EVENT_MAX 16u // READ rounds in one event
#define ABI_RANGE_ITEMS_MAX 64u     // items of one RANGE answer; the answer also ends at ABI_INPUT_BYTES

enum abi_kind {
    // host to guest
    ABI_EVENT = 1,
    ABI_ANSWER = 2,
    ABI_STOP = 3,
    // guest to host
    ABI_READ = 16,
    ABI_SEND = 17,
    ABI_WRITE = 18,
    ABI_LOG = 19,
    ABI_END = 20,
};

struct abi_record {
    uint32_t size; // of the whole record, a multiple of 8
    uint16_t kind; // enum abi_kind
    uint16_t zero;
};

// At the start of the boot region, read-only for the guest.
struct abi_boot {
    uint64_t magic; // ABI_BOOT_MAGIC
    uint32_t version;
    uint32_t size; // sizeof(struct abi_boot)
    uint64_t gate; // address of wait()
    uint64_t input;
    uint64_t output;
    uint64_t arena; // memory that the library OS hands out during one event
    uint64_t arena_bytes;
    uint64_t canary; // fresh for each instance; low byte zero
    uint64_t configuration;
    uint64_t configuration_bytes;
    uint64_t resume; // the gate's: stack pointer at which a pristine instance goes on, or 0
};

// At the start of the output region. Records begin right behind it.
struct abi_output {
    uint32_t published_bytes; // of records, not counting this struct
    uint32_t zero;
};

// One event. Followed by context (context_bytes) and payload (payload_bytes).
struct abi_event {
    struct abi_record record;
    uint64_t number;    // of the message on its flow; rises, with gaps
    int64_t time_ms;    // since 1970-01-01 UTC, host's clock when the message was accepted
    uint16_t flow;      // index into the manifest's inputs
    uint16_t attempt;   // 1, then 2.. when the host had to deliver again
    uint32_t principal; // who sent it from outside, index into the system's principals + 1; 0: nobody
    uint32_t context_bytes;
    uint32_t payload_bytes;
    uint8_t seed[32]; // zero unless the manifest says random
};

enum abi_read_op { ABI_READ_GET = 1, ABI_READ_RANGE = 2, ABI_READ_INDEX = 3 };

// GET: the record of that key. RANGE: keys from (inclusive) to end (exclusive, empty: no end), in
// order. INDEX: the same over the namespace's secondary index. Followed by from, end.
struct abi_read {
    struct abi_record record;
    uint16_t namespace_index; // into the manifest's namespaces
    uint16_t op;              // enum abi_read_op
    uint16_t limit;           // items, 1..ABI_RANGE_ITEMS_MAX; GET: 1
    uint16_t from_bytes;
    uint16_t end_bytes;
    uint16_t zero[3];
};

enum abi_item_status { ABI_ITEM_END = 0, ABI_ITEM_FOUND = 1, ABI_ITEM_ABSENT = 2 };

// ANSWER: for each READ in order its items. GET gives one item (FOUND or ABSENT). RANGE and INDEX
// give zero or more FOUND items, then one END item. Items start at 8-byte boundaries.
struct abi_answer {
    struct abi_record record;
    uint32_t item_count;
    uint32_t zero;
};

// Followed by key (key_bytes) and value (value_bytes), each padded to 8.
struct abi_item {
    uint16_t status; // enum abi_item_status
    uint16_t key_bytes;
    uint32_t value_bytes;
    uint64_t version; // of the record; validated when the event commits
};

enum abi_send_flag {
    ABI_SEND_REPLY = 1, // answers the request that this event is; goes to its sender
    ABI_SEND_RECEIPT = 2, // a receipt shall come, with this context, when the message has ended; durable flows only
};

// Followed by context, payload. delay_ms > 0 only on a flow from a unikernel to itself (a timer).
struct abi_send {
    struct abi_record record;
    uint16_t flow;  // index into the manifest's outputs
    uint16_t flags; // enum abi_send_flag
    uint32_t delay_ms;
    uint32_t context_bytes;
    uint32_t payload_bytes;
};

enum abi_write_op { ABI_WRITE_PUT = 1, ABI_WRITE_DELETE = 2 };

// Followed by key, value (none for DELETE). A value is a message of the namespace's schema.
struct abi_write {
    struct abi_record record;
    uint16_t namespace_index;
    uint16_t op;
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t zero;
};

enum abi_level { ABI_LOG_DEBUG = 0, ABI_LOG_INFO = 1, ABI_LOG_WARNING = 2, ABI_LOG_ERROR = 3,
                 ABI_LOG_REFUSAL = 4 }; // counts one refusal under the manifest's reason `code`

// Followed by text (text_bytes).
struct abi_log {
    struct abi_record record;
    uint16_t level; // enum abi_level
    uint16_t code;  // REFUSAL: index into the manifest's refusals; else 0
    uint32_t text_bytes;
};

enum abi_verdict {
    ABI_END_DONE = 0,
    ABI_END_REFUSED = 1, // this unikernel refuses its input: effects dropped, input dead-lettered
};

struct abi_end {
    struct abi_record record;
    uint16_t verdict; // enum abi_verdict
    uint16_t code;    // REFUSED: index into the manifest's refusals
    uint32_t zero;
};

#define ABI_ALIGN8(n) (((n) + 7u) / 8u * 8u)

_Static_assert(sizeof(struct abi_record) == 8, "abi_record");
_Static_assert(sizeof(struct abi_boot) == 88, "abi_boot");
_Static_assert(sizeof(struct abi_output) == 8, "abi_output");
_Static_assert(sizeof(struct abi_event) == 72, "abi_event");
_Static_assert(sizeof(struct abi_read) == 24, "abi_read");
_Static_assert(sizeof(struct abi_answer) == 16, "abi_answer");
_Static_assert(sizeof(struct abi_item) == 16, "abi_item");
_Static_assert(sizeof(struct abi_send) == 24, "abi_send");
_Static_assert(sizeof(struct abi_write) == 24, "abi_write");
_Static_assert(sizeof(struct abi_log) == 16, "abi_log");
_Static_assert(sizeof(struct abi_end) == 16, "abi_end");

#endif
