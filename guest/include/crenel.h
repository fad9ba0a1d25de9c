// SPDX-License-Identifier: ISC
// The library OS, as an application sees it. With the header that `crenel build` generates
// (NAME.h, which includes this one) it is all that a unikernel includes.
//
// A unikernel is a function from events to effects. You write, in one or more C files:
//
//     void on_FLOW(const struct event *event, const struct SCHEMA *message);   // one per input
//     void init(void);                                                         // if you need it
//
// The generated header declares these and gives you, from unikernel.yaml and the schemas:
//
//     struct SCHEMA                          each schema as a C struct; start from `= {0}`
//     send_FLOW(&message)                    one per output
//     send_FLOW_with(&message, bytes, n)     ... with context (at most 256 bytes): it comes back in
//                                            event->context with the reply, or when the timer fires
//     send_FLOW_receipt(&message, bytes, n)  ... with context, and a receipt comes when the message has ended (if there is
//                                            an input of schema receipt/1; the flow must be durable)
//     send_FLOW_after(&message, ms)          ... later; only on a flow to oneself: a timer
//     reply_FLOW(&message)                   one per output that answers a request
//     SCHEMA_send(output, &message)          to any output of that schema, chosen at run time
//     NS_get(key..., &record)                one set per namespace that may be read:
//     NS_range(&from, &end, records, n)      records in key order
//     NS_index(&from, &end, records, n)      ... in the order of the index fields
//     NS_put(&record), NS_delete(key...)     ... and for each that may be written
//     enum input, enum output, enum refusal  INPUT_RAW, OUTPUT_READING, REFUSE_MALFORMED_JSON
//
// ('-' in a name becomes '_'.) Effects - messages, writes, log records - are taken all together when
// the handler returns, or none of them. There is no clock, no randomness and no other input: the same
// event gives the same effects. What breaks a limit that unikernel.yaml declares, or does not
// fit, ends the event as a fault, with a log record that says what and by how much.
//
// Memory: globals and the stack. With lifetime `message` every event meets them as init left them; with
// `connection` they last as long as the connection; with `resident` they are a cache that may be
// reset before any event. What must last goes into the store. arena_allocate() lasts one event.
#ifndef CRENEL_H
#define CRENEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// --- Events ---------------------------------------------------------------------------------

struct event {
    uint64_t number;      // of the message on its flow; rises, with gaps
    int64_t time_ms;      // since 1970-01-01 UTC: when the message was accepted
    uint16_t input;       // enum input
    uint16_t attempt;     // 1; 2 or 3 when the host had to deliver the message again
    uint32_t principal;   // who sent it from outside: index in the system's list + 1; 0: nobody
    const void *context;  // the bytes given to send_FLOW_with, when this is the reply or the timer
    size_t context_bytes; // 0..256
    const uint8_t *seed;  // 32 random bytes, the same ones at each attempt; NULL unless `random: true`
};

// What a receipt/1 message says in `reason`; event->context is what was sent with the message. is_taken: its receiver's event
// ended well and its effects are committed. Otherwise nothing of that event happened. A request on a flow with a
// deadline brings its reply or one of these, without being asked; DONE then means that it was taken and not answered.
enum receipt_reason {
    RECEIPT_DONE = 1,
    RECEIPT_REFUSED = 15,   // by the receiver; other numbers below 31: by the inspector (core/reason.h)
    RECEIPT_FAULT = 16,     // the receiver crashed
    RECEIPT_DEADLINE = 17,  // or took too long for one event
    RECEIPT_EXPIRED = 31,   // the time to live of the flow passed
    RECEIPT_DISPLACED = 32, // a newer message took its room
    RECEIPT_LATE = 33,      // the deadline of the request passed
};

// Refuses the input: drops all effects of this event, and the message becomes a dead letter under that
// reason. Does not return. `code` is an enum refusal.
__attribute__((noreturn)) void event_refuse(unsigned code);

// Counts one refusal under that reason and logs the text, but goes on. For a protocol that turns a peer down.
void count_refusal(unsigned code, const char *text);

// --- Memory ---------------------------------------------------------------------------------

// Zeroed memory, aligned to 16 bytes, that ends with the event. Never NULL: when the arena
// (unikernel.yaml: memory.arena) is full, the event ends as a fault. Not available in init. Each call
// costs 16 bytes besides, and 16 more stand behind the last: a write past the end is noticed when the event ends.
void *arena_allocate(size_t bytes) __attribute__((malloc, returns_nonnull, alloc_size(1), assume_aligned(16)));
size_t arena_free_bytes(void);

// --- Logging: one record of at most 240 bytes; longer text is cut and ends in "..." ------------
// Conversions: %d %i %u %x with l, ll, z or no length, %s %.*s %c %%, and widths like %5d or %02x.

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- Configuration: the text that the system file gives this unikernel --------------------------

// The whole text, not zero-terminated; the same as long as the instance lives. Also in init.
const char *configuration_text(size_t *length);
// The value on the first line "name value", or fallback if there is none. A value that is no
// integer ends the event as a fault.
int64_t configuration_integer(const char *name, int64_t fallback);

// --- Text and numbers -----------------------------------------------------------------------

// As snprintf with the conversions of the log: writes at most capacity bytes with the terminating zero,
// returns the length that the whole text has.
size_t text_format(char *text, size_t capacity, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t text_format_list(char *text, size_t capacity, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
// All of text[0..length) is a decimal integer with an optional '-' and fits: true, and *value. Else
// false, and *value unchanged.
bool integer_parse(const char *text, size_t length, int64_t *value);
// The same for a decimal number like "-12.5" or "1.25e-1" as fixed point: value = number *
// 10^decimals (0..18), rounded half away from zero.
bool decimal_parse(const char *text, size_t length, unsigned decimals, int64_t *value);

// memcpy, memmove and memset stand at the end of this file: where the compiler can tell how much room `to` has, too many
// bytes end the event as a fault.
int memcmp(const void *a, const void *b, size_t bytes);
void *memchr(const void *bytes, int byte, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);

// Ends the event as a fault with this text in the log. For what cannot happen.
__attribute__((noreturn)) void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// --- Below: what generated code uses. Applications have no need for it. ---------------------------

struct crenel_part { // one string, bytes or array of a message, or a gap
    uint16_t offset;        // of the length, or of the gap
    uint16_t data;          // offset of the first element; 0: a gap
    uint16_t element_bytes; // 1 in a gap
    uint16_t capacity;      // elements; of a gap: bytes
    uint16_t inner_count;   // of an array of records: so many parts behind this one are those of its first record
};

struct crenel_layout {
    uint16_t struct_bytes;
    uint16_t is_cut; // the last part is a string or bytes and its unused tail is not sent
    uint16_t part_count;
    uint16_t schema; // index in the manifest
    struct crenel_part parts[];
};

struct crenel_output {
    char name[32];
    uint16_t schema;
    uint16_t most; // messages per event
    uint16_t is_reply;
    uint16_t zero;
};

struct crenel_key {
    uint16_t size;
    uint8_t bytes[64];
};

struct crenel_limits {
    uint16_t output_count, namespace_count;
    uint16_t writes_most;
    uint8_t is_reading; // it has a namespace to read: an answer overwrites the input
    uint8_t is_random;
};

// Generated from unikernel.yaml.
const struct crenel_limits *crenel_limits(void);
const struct crenel_output *crenel_output(unsigned output);
const char *crenel_namespace_name(unsigned namespace_index);
void crenel_dispatch(const struct event *event, const void *message);
void init(void);

void crenel_send(unsigned output, const struct crenel_layout *layout, const void *message,
                 uint32_t delay_ms, const void *context, size_t context_bytes);
void crenel_send_receipt(unsigned output, const struct crenel_layout *layout, const void *message, const void *context,
                         size_t context_bytes);
void crenel_key_unsigned(struct crenel_key *key, uint64_t value, unsigned width);
void crenel_key_signed(struct crenel_key *key, int64_t value, unsigned width);
void crenel_key_bytes(struct crenel_key *key, const void *bytes, size_t size, bool is_last);
bool crenel_get(unsigned namespace_index, const struct crenel_key *key, void *record,
                size_t record_bytes);
size_t crenel_range(unsigned namespace_index, bool is_index, const struct crenel_key *from,
                    const struct crenel_key *end, void *records, size_t record_bytes,
                    size_t capacity);
void crenel_put(unsigned namespace_index, const struct crenel_key *key,
                const struct crenel_layout *layout, const void *record);
void crenel_delete(unsigned namespace_index, const struct crenel_key *key);

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room);
void *__memmove_chk(void *to, const void *from, size_t bytes, size_t room);
void *__memset_chk(void *to, int byte, size_t bytes, size_t room);

#define CRENEL_CHECKED extern inline __attribute__((gnu_inline, always_inline, artificial))

CRENEL_CHECKED void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    return __builtin___memcpy_chk(to, from, bytes, __builtin_dynamic_object_size(to, 0));
}

CRENEL_CHECKED void *memmove(void *to, const void *from, size_t bytes)
{
    return __builtin___memmove_chk(to, from, bytes, __builtin_dynamic_object_size(to, 0));
}

CRENEL_CHECKED void *memset(void *to, int byte, size_t bytes)
{
    return __builtin___memset_chk(to, byte, bytes, __builtin_dynamic_object_size(to, 0));
}

#endif
