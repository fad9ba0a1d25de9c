// SPDX-License-Identifier: ISC
// What each packet means, and in what order packets are taken from the buffer.
#include "dialogue.h"

#include "session.h"

void dialogue_connack(struct engine *engine, enum packet_connack code)
{
    engine->output_bytes += packet_connack_write(engine->output + engine->output_bytes, code);
}

static void write_id(struct engine *engine, enum packet_type type, uint16_t id)
{
    engine->output_bytes += packet_id_write(engine->output + engine->output_bytes, type, id);
}

void dialogue_end(struct engine *engine)
{
    if (engine->state == ENGINE_CONNECTED && engine->will.is_set) {
        const struct engine_will *will = &engine->will;
        session_publish(engine, will->qos, false,
                        (struct bytes){will->topic, will->topic_bytes},
                        (struct bytes){will->payload, will->payload_bytes});
    }
    engine->state = ENGINE_CLOSED;
}

static void end_for(struct engine *engine, enum engine_refusal refusal)
{
    outside_refuse(refusal);
    dialogue_end(engine);
}

void dialogue_refuse_rest(struct engine *engine)
{
    struct bytes rest = {engine->input, engine->input_bytes};
    struct packet_frame frame;
    while (packet_frame_read(&frame, rest) == PACKET_GOOD &&
           frame.body_bytes <= rest.size - frame.header_bytes) {
        if (frame.type == PACKET_PUBLISH)
            outside_refuse(REFUSAL_UNFINISHED);
        rest.at += frame.header_bytes + frame.body_bytes;
        rest.size -= frame.header_bytes + frame.body_bytes;
    }
    engine->input_bytes = 0;
}

static void refuse_entry(struct engine *engine, enum packet_connack code)
{
    dialogue_connack(engine, code);
    dialogue_end(engine);
}

static bool is_user_name(struct bytes user) // the class of password-request.user
{
    for (size_t i = 0; i < user.size; i++) {
        uint8_t c = user.at[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= ':') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return user.size >= 1 && user.size <= ENGINE_USER_BYTES_MAX;
}

static bool will_keep(struct engine_will *will, const struct packet_connect *connect)
{
    will->is_set = connect->has_will;
    if (!connect->has_will)
        return true;
    if (connect->will_qos > 1 || connect->will_topic.size > sizeof will->topic ||
        connect->will_payload.size > sizeof will->payload)
        return false;
    will->qos = connect->will_qos;
    will->topic_bytes = (uint8_t)connect->will_topic.size;
    will->payload_bytes = (uint16_t)connect->will_payload.size;
    __builtin_memcpy(will->topic, connect->will_topic.at, will->topic_bytes);
    if (will->payload_bytes != 0)
        __builtin_memcpy(will->payload, connect->will_payload.at, will->payload_bytes);
    return true;
}

static bool on_connect(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    struct packet_connect connect;
    if (engine->state != ENGINE_NEW || !packet_connect_read(&connect, body))
        return false;
    if (!connect.is_version_known)
        refuse_entry(engine, CONNACK_VERSION);
    else if (engine->rules == NULL)
        refuse_entry(engine, CONNACK_UNAVAILABLE);
    else if (connect.client.size == 0 && !connect.is_clean)
        refuse_entry(engine, CONNACK_IDENTIFIER);
    else if (!connect.is_user_given || !will_keep(&engine->will, &connect))
        refuse_entry(engine, CONNACK_NOT_AUTHORIZED);
    else if (!connect.is_password_given || !is_user_name(connect.user) ||
             connect.password.size > ENGINE_PASSWORD_BYTES_MAX)
        refuse_entry(engine, CONNACK_CREDENTIALS);
    else {
        engine->limit_ms = connect.keep_alive_s * 1500u;
        engine->state = ENGINE_LOGIN;
        outside_login(connect.user, connect.password);
    }
    return true;
}

static bool on_publish(struct engine *engine, uint8_t flags, struct bytes body)
{
    struct packet_publish publish;
    if (!packet_publish_read(&publish, flags, body))
        return false;
    if (publish.qos == 2) {
        end_for(engine, REFUSAL_UNSUPPORTED);
        return true;
    }
    if (engine->publications < ENGINE_PUBLICATIONS_MAX)
        session_publish(engine, publish.qos, publish.is_duplicate, publish.topic, publish.payload);
    else // the buffer has to shrink, and this event has sent its share
        outside_refuse(REFUSAL_OVERRUN);
    if (publish.qos == 1) // it leaves with the event's effects, that is when they are committed
        write_id(engine, PACKET_PUBACK, publish.id);
    return true;
}

static bool on_puback(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    uint16_t id;
    if (!packet_id_read(&id, body))
        return false;
    session_acknowledge(engine, id);
    return true;
}

static bool on_subscribe(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    struct packet_filters filters, checked;
    struct bytes filter;
    uint8_t qos;
    if (!packet_filters_read(&filters, body))
        return false;
    unsigned count = 0;
    int more;
    for (checked = filters; (more = packet_filter_next(&checked, true, &filter, &qos)) > 0;)
        count++;
    if (more < 0)
        return false;
    uint8_t *out = engine->output + engine->output_bytes;
    size_t at = packet_header_write(out, PACKET_SUBACK, 0, count + 2);
    out[at++] = (uint8_t)(filters.id >> 8);
    out[at++] = (uint8_t)filters.id;
    while (packet_filter_next(&filters, true, &filter, &qos) > 0)
        out[at++] = session_subscribe(engine, filter, qos);
    engine->output_bytes += at;
    return true;
}

static bool on_unsubscribe(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    struct packet_filters filters, checked;
    struct bytes filter;
    uint8_t qos;
    if (!packet_filters_read(&filters, body))
        return false;
    int more;
    for (checked = filters; (more = packet_filter_next(&checked, false, &filter, &qos)) > 0;)
        continue;
    if (more < 0)
        return false;
    while (packet_filter_next(&filters, false, &filter, &qos) > 0)
        session_unsubscribe(engine, filter);
    write_id(engine, PACKET_UNSUBACK, filters.id);
    return true;
}

static bool on_pingreq(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    engine->output_bytes +=
        packet_header_write(engine->output + engine->output_bytes, PACKET_PINGRESP, 0, 0);
    return body.size == 0;
}

static bool on_disconnect(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)flags;
    if (body.size != 0)
        return false;
    engine->will.is_set = false;
    dialogue_end(engine);
    return true;
}

static bool on_other(struct engine *engine, uint8_t flags, struct bytes body)
{
    (void)engine, (void)flags, (void)body;
    return false;
}

// false: malformed, or not allowed now.
typedef bool on_packet(struct engine *engine, uint8_t flags, struct bytes body);
static on_packet *handler_of(uint8_t type)
{
    switch (type) {
    case PACKET_PUBLISH: return on_publish;
    case PACKET_PUBACK: return on_puback;
    case PACKET_SUBSCRIBE: return on_subscribe;
    case PACKET_UNSUBSCRIBE: return on_unsubscribe;
    case PACKET_PINGREQ: return on_pingreq;
    case PACKET_DISCONNECT: return on_disconnect;
    case PACKET_CONNECT: return on_connect;
    default: return on_other; // what only a server sends, and the packets of QoS 2
    }
}

// An oversize publication costs only itself: it is counted once, passes by, and is acknowledged.
static size_t skip_begin(struct engine *engine, const struct packet_frame *frame, struct bytes rest)
{
    if (rest.size < frame->header_bytes + 2u)
        return 0;
    struct engine_skip *skip = &engine->skip;
    const uint8_t *body = rest.at + frame->header_bytes;
    uint8_t qos = frame->flags >> 1 & 3;
    *skip = (struct engine_skip){.is_on = true,
                                 .qos = qos,
                                 .topic_bytes = (uint32_t)(body[0] << 8 | body[1]),
                                 .body_bytes = frame->body_bytes - 2};
    if (qos == 2)
        end_for(engine, REFUSAL_UNSUPPORTED);
    else if (skip->topic_bytes + 2 > skip->body_bytes)
        end_for(engine, REFUSAL_MALFORMED_PACKET);
    else
        outside_refuse(REFUSAL_OVERSIZE);
    return frame->header_bytes + 2u;
}

static size_t skip_take(struct engine *engine, struct bytes rest)
{
    struct engine_skip *skip = &engine->skip;
    size_t used = 0;
    if (skip->topic_bytes > 0) {
        used = rest.size < skip->topic_bytes ? rest.size : skip->topic_bytes;
        skip->topic_bytes -= (uint32_t)used;
    } else if (skip->qos == 1 && skip->id == 0) {
        if (rest.size < 2)
            return 0;
        used = 2;
        skip->id = (uint16_t)(rest.at[0] << 8 | rest.at[1]);
        if (skip->id == 0)
            dialogue_end(engine); // counted already
    } else {
        used = rest.size < skip->body_bytes ? rest.size : skip->body_bytes;
    }
    skip->body_bytes -= (uint32_t)used;
    if (skip->body_bytes == 0) {
        skip->is_on = false;
        if (skip->qos == 1)
            write_id(engine, PACKET_PUBACK, skip->id);
    }
    return used;
}

// The longest answer to a packet. Never longer than the packet, so output keeps up with input.
static size_t answer_bytes(const struct packet_frame *frame)
{
    return frame->type == PACKET_SUBSCRIBE ? 5 + frame->body_bytes / 4 : 4;
}

// Handles what stands at the start of rest; returns the bytes used. 0: more bytes must come first, or
// (*is_left) this event has done its share. `must` says that the buffer has to shrink all the same.
static size_t take(struct engine *engine, struct bytes rest, bool must, bool *is_left)
{
    if (engine->output_bytes + 4 > ENGINE_OUTPUT_BYTES) {
        *is_left = true;
        return 0;
    }
    if (engine->skip.is_on)
        return skip_take(engine, rest);
    struct packet_frame frame;
    enum packet_verdict verdict = packet_frame_read(&frame, rest);
    if (verdict == PACKET_INCOMPLETE)
        return 0;
    bool is_expected = (engine->state == ENGINE_NEW) == (frame.type == PACKET_CONNECT);
    bool is_oversize =
        verdict == PACKET_GOOD && frame.header_bytes + frame.body_bytes > ENGINE_PACKET_BYTES_MAX;
    if (verdict == PACKET_BAD || !is_expected || (is_oversize && frame.type != PACKET_PUBLISH)) {
        end_for(engine, REFUSAL_MALFORMED_PACKET);
        return rest.size;
    }
    if (is_oversize)
        return skip_begin(engine, &frame, rest);
    size_t size = frame.header_bytes + frame.body_bytes;
    if (size > rest.size)
        return 0;
    bool is_spent = frame.type == PACKET_PUBLISH &&
                    engine->publications >= ENGINE_PUBLICATIONS_MAX && !must;
    if (is_spent || engine->output_bytes + answer_bytes(&frame) > ENGINE_OUTPUT_BYTES) {
        *is_left = true;
        return 0;
    }
    struct bytes body = {rest.at + frame.header_bytes, frame.body_bytes};
    if (!handler_of(frame.type)(engine, frame.flags, body))
        end_for(engine, REFUSAL_MALFORMED_PACKET);
    return size;
}

bool dialogue_continue(struct engine *engine, int64_t now_ms)
{
    size_t at = 0;
    bool is_left = false;
    while (engine->state == ENGINE_NEW || engine->state == ENGINE_CONNECTED) {
        struct bytes rest = {engine->input + at, engine->input_bytes - at};
        bool must = rest.size > ENGINE_INPUT_BYTES - ENGINE_HELD_BYTES - ENGINE_WIRE_BYTES_MAX;
        size_t used = take(engine, rest, must, &is_left);
        if (used == 0)
            break;
        at += used;
        engine->heard_ms = now_ms;
    }
    engine->input_bytes -= at;
    if (at != 0 && engine->input_bytes != 0)
        __builtin_memmove(engine->input, engine->input + at, engine->input_bytes);
    return is_left;
}
