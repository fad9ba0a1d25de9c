// SPDX-License-Identifier: ISC
// The engine of a stream between two couriers. The other side is hostile until and after it agreed: every index, size and
// count of a frame is checked before it is used.
#include "courier/session.h"

#include "core/check.h"
#include "core/zero.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static enum status end(struct session *session, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(session->why, sizeof session->why, format, list);
    va_end(list);
    session->state = SESSION_ENDING;
    return STATUS_MALFORMED;
}

static int has_room(const struct session *session, size_t size)
{
    return size <= sizeof session->output - (session->output_end - session->output_begin);
}

static void put(struct session *session, const void *bytes, size_t size)
{
    check(has_room(session, size));
    if (size > sizeof session->output - session->output_end) { // what is left moves to the front
        session->output_end -= session->output_begin;
        memmove(session->output, session->output + session->output_begin, session->output_end);
        session->output_begin = 0;
    }
    if (size != 0)
        memcpy(session->output + session->output_end, bytes, size);
    session->output_end += size;
}

static void put_frame(struct session *session, enum session_kind kind, uint16_t flow, const void *body, size_t size)
{
    struct session_frame frame = {(uint32_t)(sizeof frame + size), (uint16_t)kind, flow};
    put(session, &frame, sizeof frame);
    put(session, body, size);
}

// Ends, and tells the other side why.
__attribute__((format(printf, 2, 3))) static enum status refuse(struct session *session, const char *format, ...)
{
    char why[SESSION_WHY_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    if (has_room(session, sizeof(struct session_frame) + strlen(why)))
        put_frame(session, SESSION_REFUSE, 0, why, strlen(why));
    return end(session, "%s", why);
}

void session_begin(struct session *session, const struct session_terms *terms, const struct session_owner *owner)
{
    check(terms->hello.flow_count <= SYSTEM_FLOWS_MAX);
    memset(session, 0, offsetof(struct session, input));
    session->terms = terms;
    session->owner = *owner;
    struct session_frame frame = {.kind = SESSION_HELLO};
    size_t flows_bytes = terms->hello.flow_count * sizeof terms->flows[0];
    frame.size = (uint32_t)(sizeof frame + sizeof terms->hello + flows_bytes);
    put(session, &frame, sizeof frame);
    put(session, &terms->hello, sizeof terms->hello);
    put(session, terms->flows, flows_bytes);
}

// Printable, terminated, nothing behind it.
static int is_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return 0;
    return length != 0 && length < size && is_zero((const void *)text, length, size);
}

static uint16_t own_flow(const struct session *session, const char *name)
{
    for (uint16_t i = 0; i < session->terms->hello.flow_count; i++)
        if (strcmp(session->terms->flows[i].name, name) == 0)
            return i;
    return SYSTEM_NONE;
}

static enum status agree_flow(struct session *session, uint16_t at, const struct session_flow *flow)
{
    const char *us = session->terms->hello.system, *them = session->peer;
    if (!is_text(flow->name, sizeof flow->name) || !is_text(flow->schema, sizeof flow->schema) ||
        flow->window > 4096 || flow->zero[0] != 0 || flow->zero[1] != 0 || flow->zero[2] != 0)
        return end(session, "a malformed HELLO");
    uint16_t own = own_flow(session, flow->name);
    session->theirs[at] = own;
    if (own == SYSTEM_NONE && flow->window != 0)
        return STATUS_OK; // another peer of theirs may send it
    if (own == SYSTEM_NONE)
        return refuse(session, "%s sends flow '%s' here, which %s does not have at this courier", them, flow->name, us);
    const struct session_flow *ours = &session->terms->flows[own];
    for (uint16_t i = 0; i < at; i++)
        if (session->theirs[i] == own)
            return end(session, "a HELLO that names flow '%s' twice", flow->name);
    if ((flow->window == 0) == (ours->window == 0))
        return refuse(session, "%s and %s both %s flow '%s'", us, them, flow->window == 0 ? "send" : "take", flow->name);
    if (memcmp(flow->digest, ours->digest, sizeof ours->digest) != 0)
        return refuse(session, "flow '%s' carries %s (%02x%02x%02x%02x..) in %s, but %s (%02x%02x%02x%02x..) in %s: build both "
                      "with the same schema file", flow->name, ours->schema, ours->digest[0], ours->digest[1],
                      ours->digest[2], ours->digest[3], us, flow->schema, flow->digest[0], flow->digest[1],
                      flow->digest[2], flow->digest[3], them);
    session->window[own] = flow->window != 0 ? flow->window : ours->window;
    return STATUS_OK;
}

static enum status take_hello(struct session *session, const uint8_t *body, size_t size)
{
    struct session_hello hello;
    const struct session_hello *ours = &session->terms->hello;
    if (session->state != SESSION_GREETING || size < sizeof hello)
        return end(session, "a second or malformed HELLO");
    memcpy(&hello, body, sizeof hello);
    if (hello.magic != SESSION_MAGIC)
        return end(session, "the other side is no courier of Crenel");
    if (hello.version != SESSION_VERSION)
        return refuse(session, "version %u of the couriers' protocol here, %u there: update the older one", SESSION_VERSION,
                      hello.version);
    if (!is_text(hello.system, sizeof hello.system) || !is_text(hello.tenant, sizeof hello.tenant) ||
        hello.flow_count > SYSTEM_FLOWS_MAX || size != sizeof hello + hello.flow_count * sizeof(struct session_flow))
        return end(session, "a malformed HELLO");
    memcpy(session->peer, hello.system, sizeof session->peer);
    if (strcmp(hello.tenant, ours->tenant) != 0)
        return refuse(session, "%s belongs to tenant %s, but %s to tenant %s", ours->system, ours->tenant, hello.system,
                      hello.tenant);
    for (uint16_t i = 0; i < hello.flow_count; i++) {
        struct session_flow flow;
        memcpy(&flow, body + sizeof hello + i * sizeof flow, sizeof flow);
        enum status status = agree_flow(session, i, &flow);
        if (status != STATUS_OK)
            return status;
    }
    for (uint16_t i = 0; i < ours->flow_count; i++)
        if (session->window[i] == 0 && session->terms->flows[i].window == 0)
            return refuse(session, "%s sends flow '%s' here, which %s does not take at its courier", ours->system,
                          session->terms->flows[i].name, hello.system);
    session->their_count = (uint16_t)hello.flow_count;
    session->state = SESSION_AGREED;
    session->owner.agreed(session->owner.context);
    return STATUS_OK;
}

static enum status take_refusal(struct session *session, const uint8_t *body, size_t size)
{
    char text[SESSION_WHY_BYTES];
    size_t length = size < sizeof text ? size : sizeof text - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = body[i] >= 0x20 && body[i] <= 0x7e ? (char)body[i] : '?';
    text[length] = 0;
    return end(session, "the other side ends it: %.200s", text);
}

static enum status take_message(struct session *session, uint16_t own, const uint8_t *body, size_t size)
{
    struct session_message message;
    if (size < sizeof message)
        return end(session, "a malformed MESSAGE");
    memcpy(&message, body, sizeof message);
    if (session->terms->flows[own].window == 0 || message.zero != 0 || message.sequence == 0 ||
        message.payload_bytes > ABI_PAYLOAD_BYTES_MAX || size != sizeof message + ABI_ALIGN8(message.payload_bytes))
        return end(session, "a malformed MESSAGE");
    if (session->open[own] == session->window[own])
        return end(session, "more messages of flow '%s' than its window", session->terms->flows[own].name);
    session->open[own]++;
    session->owner.take(session->owner.context, own, &message, body + sizeof message);
    return STATUS_OK;
}

static enum status take_ack(struct session *session, uint16_t own, const uint8_t *body, size_t size)
{
    struct session_ack ack;
    if (size != sizeof ack)
        return end(session, "a malformed ACK");
    memcpy(&ack, body, sizeof ack);
    if (session->terms->flows[own].window != 0 || ack.zero != 0 || session->open[own] == 0 ||
        ack.reason >= REASON_COUNT || !reason_is_end(ack.reason))
        return end(session, "a malformed ACK");
    session->open[own]--;
    session->owner.acknowledged(session->owner.context, own, &ack);
    return STATUS_OK;
}

static enum status take_frame(struct session *session, const struct session_frame *frame, const uint8_t *body)
{
    size_t size = frame->size - sizeof *frame;
    if (frame->kind == SESSION_HELLO && frame->flow == 0)
        return take_hello(session, body, size);
    if (frame->kind == SESSION_REFUSE && frame->flow == 0)
        return take_refusal(session, body, size);
    if (session->state != SESSION_AGREED)
        return end(session, "the other side does not begin with HELLO");
    if (frame->kind == SESSION_MESSAGE && frame->flow < session->their_count &&
        session->theirs[frame->flow] != SYSTEM_NONE)
        return take_message(session, session->theirs[frame->flow], body, size);
    if (frame->kind == SESSION_ACK && frame->flow < session->terms->hello.flow_count)
        return take_ack(session, frame->flow, body, size);
    return end(session, "a frame of unknown kind or flow");
}

// Takes the frames that are whole.
static enum status take_input(struct session *session)
{
    enum status status = STATUS_OK;
    size_t at = 0;
    while (status == STATUS_OK && session->input_used - at >= sizeof(struct session_frame)) {
        struct session_frame frame;
        memcpy(&frame, session->input + at, sizeof frame);
        if (frame.size < sizeof frame || frame.size > SESSION_FRAME_MAX)
            return end(session, "a frame of %u bytes", frame.size);
        if (frame.size > session->input_used - at)
            break;
        status = take_frame(session, &frame, session->input + at + sizeof frame);
        at += frame.size;
    }
    memmove(session->input, session->input + at, session->input_used - at);
    session->input_used -= at;
    return status;
}

enum status session_receive(struct session *session, const uint8_t *bytes, size_t size)
{
    while (size != 0 && session->state != SESSION_ENDING) {
        size_t room = sizeof session->input - session->input_used, part = size < room ? size : room;
        check(part != 0); // a whole frame fits
        memcpy(session->input + session->input_used, bytes, part);
        session->input_used += part;
        bytes += part;
        size -= part;
        enum status status = take_input(session);
        if (status != STATUS_OK)
            return status;
    }
    return session->state != SESSION_ENDING ? STATUS_OK : STATUS_MALFORMED;
}

int session_may_send(const struct session *session, uint16_t flow)
{
    check(flow < session->terms->hello.flow_count && session->terms->flows[flow].window == 0);
    return session->state == SESSION_AGREED && session->open[flow] < session->window[flow] &&
           has_room(session, sizeof(struct session_frame) + sizeof(struct session_message) + ABI_PAYLOAD_BYTES_MAX);
}

void session_send(struct session *session, uint16_t flow, const struct session_message *message, const uint8_t *payload)
{
    static const uint8_t zero[8];
    size_t padded = ABI_ALIGN8(message->payload_bytes);
    struct session_frame frame = {(uint32_t)(sizeof frame + sizeof *message + padded), SESSION_MESSAGE, flow};
    check(session_may_send(session, flow) && message->payload_bytes <= ABI_PAYLOAD_BYTES_MAX);
    put(session, &frame, sizeof frame);
    put(session, message, sizeof *message);
    put(session, payload, message->payload_bytes);
    put(session, zero, padded - message->payload_bytes);
    session->open[flow]++;
}

enum status session_acknowledge(struct session *session, uint16_t flow, const struct session_ack *ack)
{
    if (session->state != SESSION_AGREED)
        return STATUS_OK; // nobody waits for it any more
    check(session->open[flow] != 0 && session->terms->flows[flow].window != 0);
    if (!has_room(session, sizeof(struct session_frame) + sizeof *ack)) {
        (void)end(session, "the other side does not read");
        return STATUS_FULL;
    }
    uint16_t theirs = 0;
    while (session->theirs[theirs] != flow)
        theirs++;
    check(theirs < session->their_count);
    session->open[flow]--;
    put_frame(session, SESSION_ACK, theirs, ack, sizeof *ack);
    return STATUS_OK;
}

size_t session_output(const struct session *session, const uint8_t **bytes)
{
    *bytes = session->output + session->output_begin;
    return session->output_end - session->output_begin;
}

void session_sent(struct session *session, size_t size)
{
    check(size <= session->output_end - session->output_begin);
    session->output_begin += size;
    if (session->output_begin == session->output_end)
        session->output_begin = session->output_end = 0;
}
