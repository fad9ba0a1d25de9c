// SPDX-License-Identifier: ISC
// Control packets. All reading goes through one cursor that cannot run past its end: after the first
// read that does not fit it stays bad and gives zeros, so a decoder reads like the standard's tables.
#include "packet.h"

#include "topic.h"

struct cursor {
    struct bytes left;
    bool is_bad;
};

static struct bytes take(struct cursor *cursor, size_t size)
{
    struct bytes taken = {cursor->left.at, size};
    if (size > cursor->left.size)
        cursor->is_bad = true;
    if (cursor->is_bad)
        return (struct bytes){0};
    cursor->left.at += size;
    cursor->left.size -= size;
    return taken;
}

static uint8_t take_u8(struct cursor *cursor)
{
    struct bytes one = take(cursor, 1);
    return one.size == 1 ? one.at[0] : 0;
}

static uint16_t take_u16(struct cursor *cursor)
{
    struct bytes two = take(cursor, 2);
    return two.size == 2 ? (uint16_t)(two.at[0] << 8 | two.at[1]) : 0;
}

static struct bytes take_counted(struct cursor *cursor) { return take(cursor, take_u16(cursor)); }

// A string that is not well-formed UTF-8, or holds U+0000, makes the packet malformed (1.5.3).
static struct bytes take_string(struct cursor *cursor)
{
    struct bytes string = take_counted(cursor);
    if (!topic_is_utf8(string))
        cursor->is_bad = true;
    return string;
}

// Which flags the fixed header must carry; PUBLISH has its own (2.2.2).
static bool are_flags_right(uint8_t type, uint8_t flags)
{
    if (type == PACKET_PUBLISH)
        return (flags >> 1 & 3) != 3 && ((flags >> 1 & 3) != 0 || (flags & 8) == 0);
    bool is_two = type == PACKET_SUBSCRIBE || type == PACKET_UNSUBSCRIBE || type == PACKET_PUBREL;
    return flags == (is_two ? 2 : 0);
}

enum packet_verdict packet_frame_read(struct packet_frame *frame, struct bytes bytes)
{
    if (bytes.size == 0)
        return PACKET_INCOMPLETE;
    frame->type = bytes.at[0] >> 4;
    frame->flags = bytes.at[0] & 15;
    if (frame->type < PACKET_CONNECT || frame->type > PACKET_DISCONNECT ||
        !are_flags_right(frame->type, frame->flags))
        return PACKET_BAD;
    frame->body_bytes = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (i + 1 >= bytes.size)
            return PACKET_INCOMPLETE;
        uint8_t digit = bytes.at[i + 1];
        frame->body_bytes |= (uint32_t)(digit & 127) << (7 * i);
        if ((digit & 128) == 0) {
            frame->header_bytes = i + 2;
            return PACKET_GOOD;
        }
    }
    return PACKET_BAD;
}

bool packet_connect_read(struct packet_connect *connect, struct bytes body)
{
    *connect = (struct packet_connect){0};
    struct cursor cursor = {body, false};
    struct bytes name = take_counted(&cursor);
    uint8_t level = take_u8(&cursor);
    bool is_mqtt = bytes_equal(name, (struct bytes){(const uint8_t *)"MQTT", 4});
    bool is_older = bytes_equal(name, (struct bytes){(const uint8_t *)"MQIsdp", 6}); // MQTT 3.1
    if (cursor.is_bad || (!is_mqtt && !is_older))
        return false;
    connect->is_version_known = is_mqtt && level == 4;
    if (!connect->is_version_known)
        return true;
    uint8_t flags = take_u8(&cursor);
    connect->keep_alive_s = take_u16(&cursor);
    connect->is_clean = (flags & 2) != 0;
    connect->has_will = (flags & 4) != 0;
    connect->will_qos = flags >> 3 & 3;
    connect->is_password_given = (flags & 64) != 0;
    connect->is_user_given = (flags & 128) != 0;
    if ((flags & 1) != 0 || connect->will_qos == 3 || (!connect->has_will && (flags & 0x38) != 0) ||
        (connect->is_password_given && !connect->is_user_given))
        return false;
    connect->client = take_string(&cursor);
    if (connect->has_will) {
        connect->will_topic = take_string(&cursor);
        connect->will_payload = take_counted(&cursor);
        if (!topic_is_name(connect->will_topic))
            return false;
    }
    if (connect->is_user_given)
        connect->user = take_string(&cursor);
    if (connect->is_password_given)
        connect->password = take_counted(&cursor);
    return !cursor.is_bad && cursor.left.size == 0;
}

bool packet_publish_read(struct packet_publish *publish, uint8_t flags, struct bytes body)
{
    struct cursor cursor = {body, false};
    publish->qos = flags >> 1 & 3;
    publish->is_duplicate = (flags & 8) != 0;
    publish->topic = take_string(&cursor);
    publish->id = publish->qos > 0 ? take_u16(&cursor) : 0;
    publish->payload = cursor.left;
    return !cursor.is_bad && topic_is_name(publish->topic) &&
           (publish->qos == 0 || publish->id != 0);
}

bool packet_filters_read(struct packet_filters *filters, struct bytes body)
{
    struct cursor cursor = {body, false};
    filters->id = take_u16(&cursor);
    filters->rest = cursor.left;
    return !cursor.is_bad && filters->id != 0 && filters->rest.size != 0;
}

int packet_filter_next(struct packet_filters *filters, bool has_qos, struct bytes *filter,
                       uint8_t *qos)
{
    if (filters->rest.size == 0)
        return 0;
    struct cursor cursor = {filters->rest, false};
    *filter = take_string(&cursor);
    *qos = has_qos ? take_u8(&cursor) : 0;
    filters->rest = cursor.left;
    return !cursor.is_bad && *qos <= 2 && topic_is_filter(*filter) ? 1 : -1;
}

bool packet_id_read(uint16_t *id, struct bytes body)
{
    struct cursor cursor = {body, false};
    *id = take_u16(&cursor);
    return !cursor.is_bad && cursor.left.size == 0 && *id != 0;
}

size_t packet_header_write(uint8_t *out, enum packet_type type, uint8_t flags, uint32_t body_bytes)
{
    size_t at = 0;
    out[at++] = (uint8_t)((unsigned)type << 4 | flags);
    do {
        uint8_t digit = body_bytes & 127;
        body_bytes >>= 7;
        out[at++] = (uint8_t)(digit | (body_bytes != 0 ? 128 : 0));
    } while (body_bytes != 0);
    return at;
}

static size_t write_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return 2;
}

static size_t write_bytes(uint8_t *out, struct bytes bytes)
{
    if (bytes.size != 0)
        __builtin_memcpy(out, bytes.at, bytes.size);
    return bytes.size;
}

size_t packet_connack_write(uint8_t *out, enum packet_connack code)
{
    size_t at = packet_header_write(out, PACKET_CONNACK, 0, 2);
    out[at++] = 0; // session present: never, sessions end with their connection
    out[at++] = (uint8_t)code;
    return at;
}

size_t packet_id_write(uint8_t *out, enum packet_type type, uint16_t id)
{
    size_t at = packet_header_write(out, type, 0, 2);
    return at + write_u16(out + at, id);
}

static uint32_t publish_body_bytes(const struct packet_publish *publish)
{
    return (uint32_t)(2 + publish->topic.size + (publish->qos > 0 ? 2 : 0) + publish->payload.size);
}

size_t packet_publish_bytes(const struct packet_publish *publish)
{
    uint32_t body = publish_body_bytes(publish);
    return body + (body < 128 ? 2 : 3); // bodies here are far below the 16384 that need a third digit
}

size_t packet_publish_write(uint8_t *out, const struct packet_publish *publish)
{
    size_t at = packet_header_write(out, PACKET_PUBLISH, (uint8_t)(publish->qos << 1),
                                    publish_body_bytes(publish));
    at += write_u16(out + at, (uint16_t)publish->topic.size);
    at += write_bytes(out + at, publish->topic);
    if (publish->qos > 0)
        at += write_u16(out + at, publish->id);
    return at + write_bytes(out + at, publish->payload);
}
