// SPDX-License-Identifier: ISC
// Fuzz target: the stream between two couriers, as one of them reads it.
//
// Input: a byte that says in what pieces (and whether messages are acknowledged at once), then the stream's bytes.
// What must hold: nothing is told before both agreed, nothing of a flow that is not this side's to take, no more messages
// without an ACK than the window; an ACK only of what was sent; what goes out is whole frames, HELLO first; once a session is ending
// it stays so, says why in printable words, and nothing more is told.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "courier/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READING, ORDERS, FLOWS }; // taken; sent

static struct session session;
static struct session_terms terms;
static struct {
    int is_agreed;
    unsigned sent, open, acknowledged;
    uint64_t to_acknowledge[8];
} world;

static void on_agreed(void *context)
{
    (void)context;
    must(!world.is_agreed && session.state == SESSION_AGREED);
    world.is_agreed = 1;
}

static void on_take(void *context, uint16_t flow, const struct session_message *message, const uint8_t *payload)
{
    (void)context;
    must(world.is_agreed && flow == READING && message->sequence != 0 && message->payload_bytes <= ABI_PAYLOAD_BYTES_MAX);
    must(world.open < terms.flows[READING].window);
    world.to_acknowledge[world.open++] = message->sequence;
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < message->payload_bytes; i++) // all of it can be read
        sum = (uint8_t)(sum + payload[i]);
}

static void on_acknowledged(void *context, uint16_t flow, const struct session_ack *ack)
{
    (void)context;
    must(world.is_agreed && flow == ORDERS && world.acknowledged++ < world.sent && reason_is_end(ack->reason));
}

static void name(char *to, const char *text) { memcpy(to, text, strlen(text)); }

static void make(struct session_terms *to, const char *system, uint16_t reading, uint16_t orders)
{
    memset(to, 0, sizeof *to);
    to->hello = (struct session_hello){.magic = SESSION_MAGIC, .version = SESSION_VERSION, .flow_count = FLOWS};
    name(to->hello.system, system);
    name(to->hello.tenant, "plant");
    name(to->flows[READING].name, "reading");
    name(to->flows[ORDERS].name, "orders");
    for (int i = 0; i < FLOWS; i++)
        name(to->flows[i].schema, "reading/1");
    to->flows[READING].window = reading;
    to->flows[ORDERS].window = orders;
}

// Whole frames only, of the kinds that this side may say.
static void judge_output(int *is_first)
{
    const uint8_t *bytes;
    size_t size = session_output(&session, &bytes), at = 0;
    while (at < size) {
        struct session_frame frame;
        must(size - at >= sizeof frame);
        memcpy(&frame, bytes + at, sizeof frame);
        must(frame.size >= sizeof frame && frame.size <= size - at && frame.kind >= SESSION_HELLO && frame.kind <= SESSION_ACK);
        must((frame.kind == SESSION_HELLO) == *is_first);
        *is_first = 0;
        at += frame.size;
    }
    session_sent(&session, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct session_owner owner = {NULL, on_agreed, on_take, on_acknowledged};
    int is_first = 1;
    memset(&world, 0, sizeof world);
    make(&terms, "cloud", 4, 0);
    session_begin(&session, &terms, &owner);
    if (size == 0)
        return 0;
    size_t piece = (bytes[0] & 0x7f) + 1u, at = 1;
    int is_prompt = bytes[0] >> 7;
    enum status status = STATUS_OK;
    while (at < size && status == STATUS_OK) {
        size_t part = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(part); // of its own, so that what is read behind it is seen
        memcpy(copy, bytes + at, part);
        status = session_receive(&session, copy, part);
        free(copy);
        at += part;
        for (; is_prompt && world.open != 0; world.open--) {
            struct session_ack ack = {.sequence = world.to_acknowledge[world.open - 1], .reason = REASON_DONE};
            must(session_acknowledge(&session, READING, &ack) == STATUS_OK);
        }
        if (session_may_send(&session, ORDERS)) {
            struct session_message message = {.stream = 1, .sequence = ++world.sent, .payload_bytes = 3};
            session_send(&session, ORDERS, &message, (const uint8_t *)"abc");
        }
        judge_output(&is_first);
    }
    must((status == STATUS_OK) == (session.state != SESSION_ENDING));
    if (status == STATUS_OK)
        return 0;
    must(session.why[0] != 0 && !session_may_send(&session, ORDERS));
    for (const char *c = session.why; *c != 0; c++)
        must(*c >= 0x20 && *c < 0x7f);
    struct session_message message = {.sequence = 1};
    must(session_receive(&session, (const uint8_t *)&message, sizeof message) != STATUS_OK);
    return 0;
}

static size_t put_frame(uint8_t *to, uint16_t kind, uint16_t flow, const void *body, size_t size)
{
    struct session_frame frame = {(uint32_t)(sizeof frame + size), kind, flow};
    memcpy(to, &frame, sizeof frame);
    memcpy(to + sizeof frame, body, size);
    return sizeof frame + size;
}

// A peer that does as it should, with one thing more each time.
size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    struct session_terms theirs;
    struct {
        struct session_message head;
        uint8_t payload[8];
    } message = {{.stream = 7, .sequence = 1, .payload_bytes = 5}, "hello"};
    struct session_ack ack = {.sequence = 1, .reason = index == 3 ? REASON_RANGE : REASON_DONE};
    size_t size = 0;
    if (index > 4)
        return 0;
    make(&theirs, "hub", 0, 2);
    if (index == 4)
        theirs.flows[READING].digest[3] = 9;
    bytes[size++] = (uint8_t)(index % 2 != 0 ? 0xff : 0x10);
    size += put_frame(bytes + size, SESSION_HELLO, 0, &theirs, sizeof theirs.hello + FLOWS * sizeof theirs.flows[0]);
    for (unsigned i = 0; i < index && i < 3; i++) {
        message.head.sequence = i + 1;
        size += put_frame(bytes + size, SESSION_MESSAGE, READING, &message, sizeof message);
    }
    if (index > 1)
        size += put_frame(bytes + size, SESSION_ACK, ORDERS, &ack, sizeof ack);
    if (index == 3)
        size += put_frame(bytes + size, SESSION_REFUSE, 0, "because", 7);
    return size;
}
