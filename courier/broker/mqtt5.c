// SPDX-License-Identifier: ISC
// The engine of a client of an MQTT 5 broker. The broker is not trusted: every length and property is checked before it is used.
#include "courier/broker/mqtt5.h"

#include "core/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RESERVE_BYTES 256u // of the output, kept for PUBACKs and pings

enum packet { CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBSCRIBE = 8, SUBACK = 9, PINGREQ = 12, PINGRESP = 13, DISCONNECT = 14 };

__attribute__((format(printf, 2, 3))) static enum status end(struct mqtt5 *mqtt, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(mqtt->why, sizeof mqtt->why, format, list);
    va_end(list);
    mqtt->state = MQTT5_ENDED;
    return STATUS_MALFORMED;
}

static enum status malformed(struct mqtt5 *mqtt, const char *packet) { return end(mqtt, "the broker sends a malformed %s", packet); }

// ---- What goes out ----

static size_t output_room(const struct mqtt5 *mqtt) { return sizeof mqtt->output - (mqtt->output_end - mqtt->output_begin); }

static void put(struct mqtt5 *mqtt, const void *bytes, size_t size)
{
    check(size <= output_room(mqtt));
    if (size > sizeof mqtt->output - mqtt->output_end) {
        mqtt->output_end -= mqtt->output_begin;
        memmove(mqtt->output, mqtt->output + mqtt->output_begin, mqtt->output_end);
        mqtt->output_begin = 0;
    }
    if (size != 0)
        memcpy(mqtt->output + mqtt->output_end, bytes, size);
    mqtt->output_end += size;
}

static void put_u8(struct mqtt5 *mqtt, unsigned value) { put(mqtt, &(uint8_t){(uint8_t)value}, 1); }
static void put_u16(struct mqtt5 *mqtt, unsigned value) { put(mqtt, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2); }

static void put_field(struct mqtt5 *mqtt, const void *bytes, size_t size)
{
    put_u16(mqtt, (unsigned)size);
    put(mqtt, bytes, size);
}

static void put_head(struct mqtt5 *mqtt, enum packet kind, unsigned flags, size_t length)
{
    put_u8(mqtt, (unsigned)kind << 4 | flags);
    do {
        put_u8(mqtt, (unsigned)(length % 128) | (length > 127 ? 128u : 0u));
        length /= 128;
    } while (length != 0);
}

void mqtt5_begin(struct mqtt5 *mqtt, const struct mqtt5_terms *terms, const struct mqtt5_owner *owner)
{
    static const uint8_t properties[] = {8, 0x21, 0, MQTT5_WINDOW, 0x27, 0, MQTT5_PACKET_MAX >> 16, MQTT5_PACKET_MAX >> 8 & 255, MQTT5_PACKET_MAX & 255};
    size_t client = strlen(terms->publish), user = strlen(terms->user);
    memset(mqtt, 0, offsetof(struct mqtt5, input));
    mqtt->terms = terms;
    mqtt->owner = *owner;
    mqtt->window = MQTT5_WINDOW;
    mqtt->keep_alive_s = MQTT5_KEEP_ALIVE_S;
    size_t secrets = user != 0 ? 2 + user + 2 + terms->password_bytes : 0;
    put_head(mqtt, CONNECT, 0, 6 + 1 + 1 + 2 + sizeof properties + 2 + client + secrets);
    put_field(mqtt, "MQTT", 4);
    put_u8(mqtt, 5);
    put_u8(mqtt, 0x02u | (user != 0 ? 0xc0u : 0u)); // clean start; user and password
    put_u16(mqtt, MQTT5_KEEP_ALIVE_S);
    put(mqtt, properties, sizeof properties);
    put_field(mqtt, terms->publish, client);
    if (user != 0) {
        put_field(mqtt, terms->user, user);
        put_field(mqtt, terms->password, terms->password_bytes);
    }
}

static void subscribe(struct mqtt5 *mqtt)
{
    size_t topic = strlen(mqtt->terms->subscribe);
    put_head(mqtt, SUBSCRIBE, 2, 2 + 1 + 2 + topic + 1);
    put_u16(mqtt, 1);
    put_u8(mqtt, 0);
    put_field(mqtt, mqtt->terms->subscribe, topic);
    put_u8(mqtt, 0x21); // QoS 1, and nothing that was retained
}

int mqtt5_may_publish(const struct mqtt5 *mqtt)
{
    return mqtt->state == MQTT5_READY && mqtt->open_count < mqtt->window && output_room(mqtt) >= MQTT5_PACKET_MAX + RESERVE_BYTES;
}

void mqtt5_publish(struct mqtt5 *mqtt, const void *head, size_t head_bytes, const void *body, size_t body_bytes)
{
    size_t topic = strlen(mqtt->terms->publish), i = 0;
    check(mqtt5_may_publish(mqtt) && head_bytes + body_bytes <= MQTT5_PAYLOAD_MAX);
    while (mqtt->is_open[i])
        i++;
    check(i < MQTT5_WINDOW);
    mqtt->is_open[i] = 1;
    mqtt->open_count++;
    put_head(mqtt, PUBLISH, 2, 2 + topic + 2 + 1 + head_bytes + body_bytes);
    put_field(mqtt, mqtt->terms->publish, topic);
    put_u16(mqtt, (unsigned)i + 1);
    put_u8(mqtt, 0);
    put(mqtt, head, head_bytes);
    put(mqtt, body, body_bytes);
}

void mqtt5_ping(struct mqtt5 *mqtt)
{
    if (mqtt->state == MQTT5_READY && output_room(mqtt) >= RESERVE_BYTES)
        put_head(mqtt, PINGREQ, 0, 0);
}

size_t mqtt5_output(const struct mqtt5 *mqtt, const uint8_t **bytes)
{
    *bytes = mqtt->output + mqtt->output_begin;
    return mqtt->output_end - mqtt->output_begin;
}

void mqtt5_sent(struct mqtt5 *mqtt, size_t size)
{
    check(size <= mqtt->output_end - mqtt->output_begin);
    mqtt->output_begin += size;
    if (mqtt->output_begin == mqtt->output_end)
        mqtt->output_begin = mqtt->output_end = 0;
}

// ---- What comes in ----

// Every getter leaves is_bad behind, and gives nothing, when the packet ends too early.
struct cursor {
    const uint8_t *at, *end;
    int is_bad;
};

static const uint8_t *get(struct cursor *cursor, size_t size)
{
    const uint8_t *at = cursor->at;
    if (cursor->is_bad || size > (size_t)(cursor->end - at)) {
        cursor->is_bad = 1;
        return NULL;
    }
    cursor->at += size;
    return at;
}

static uint32_t get_number(struct cursor *cursor, size_t size)
{
    const uint8_t *bytes = get(cursor, size);
    uint32_t value = 0;
    for (size_t i = 0; bytes != NULL && i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

// A variable byte integer in its shortest form.
static uint32_t get_length(struct cursor *cursor)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t byte = get_number(cursor, 1);
        value |= (byte & 127) << 7 * i;
        if ((byte & 128) == 0) {
            cursor->is_bad |= byte == 0 && i != 0;
            return value;
        }
    }
    cursor->is_bad = 1;
    return 0;
}

static const uint8_t *get_field(struct cursor *cursor, size_t *size)
{
    *size = get_number(cursor, 2);
    return get(cursor, *size);
}

// The properties that a broker may send to a client that asked for nothing special: which size (0: a string or bytes,
// PAIR: two strings), and in which packets. No topic alias, subscription identifier, authentication or response information.
#define IN(packet) (1u << (packet))
#define PAIR 255u
#define ANY 0xffffffffu
static const struct property {
    uint8_t id, size;
    uint16_t packets;
    uint32_t most;
} properties[] = {
    {0x01, 1, IN(PUBLISH), 1},        // payload format indicator
    {0x02, 4, IN(PUBLISH), ANY},      // message expiry
    {0x03, 0, IN(PUBLISH), 0},        // content type
    {0x08, 0, IN(PUBLISH), 0},        // response topic
    {0x09, 0, IN(PUBLISH), 0},        // correlation data
    {0x11, 4, IN(CONNACK), ANY},      // session expiry
    {0x12, 0, IN(CONNACK), 0},        // assigned client identifier
    {0x13, 2, IN(CONNACK), ANY},      // server keep alive
    {0x1c, 0, IN(CONNACK) | IN(DISCONNECT), 0}, // server reference
    {0x1f, 0, IN(CONNACK) | IN(PUBACK) | IN(SUBACK) | IN(DISCONNECT), 0}, // reason string
    {0x21, 2, IN(CONNACK), ANY},      // receive maximum
    {0x22, 2, IN(CONNACK), ANY},      // topic alias maximum
    {0x24, 1, IN(CONNACK), 1},        // maximum QoS
    {0x25, 1, IN(CONNACK), 1},        // retain available
    {0x26, PAIR, IN(CONNACK) | IN(PUBLISH) | IN(PUBACK) | IN(SUBACK) | IN(DISCONNECT), 0}, // user property
    {0x27, 4, IN(CONNACK), ANY},      // maximum packet size
    {0x28, 1, IN(CONNACK), 1}, {0x29, 1, IN(CONNACK), 1}, {0x2a, 1, IN(CONNACK), 1}, // wildcards, identifiers, shared ones
};

struct values {
    uint64_t seen; // bit: identifier
    uint32_t number[0x2b];
    char reason[100]; // its reason string, printable
};

static void take_reason(struct values *values, const uint8_t *text, size_t size)
{
    size = size < sizeof values->reason - 1 ? size : sizeof values->reason - 1;
    for (size_t i = 0; i < size; i++)
        values->reason[i] = text[i] >= 0x20 && text[i] <= 0x7e ? (char)text[i] : '?';
    values->reason[size] = 0;
}

static void get_property(struct cursor *cursor, enum packet packet, struct values *values)
{
    uint32_t id = get_number(cursor, 1);
    const struct property *property = properties, *last = properties + sizeof properties / sizeof properties[0];
    while (property < last && property->id != id)
        property++;
    if (property == last || (property->packets & IN(packet)) == 0 || (id != 0x26 && (values->seen >> id & 1) != 0)) {
        cursor->is_bad = 1;
        return;
    }
    values->seen |= UINT64_C(1) << id;
    size_t size;
    if (property->size != 0 && property->size != PAIR) {
        uint32_t value = values->number[id] = get_number(cursor, property->size);
        cursor->is_bad |= value > property->most || (value == 0 && (id == 0x21 || id == 0x27));
        return;
    }
    const uint8_t *text = get_field(cursor, &size);
    if (property->size == PAIR)
        (void)get_field(cursor, &size);
    else if (id == 0x1f && text != NULL)
        take_reason(values, text, size);
}

static void get_properties(struct cursor *cursor, enum packet packet, struct values *values)
{
    memset(values, 0, sizeof *values);
    uint32_t size = get_length(cursor);
    const uint8_t *begin = get(cursor, size);
    if (begin == NULL)
        return;
    struct cursor inner = {begin, begin + size, 0};
    while (!inner.is_bad && inner.at < inner.end)
        get_property(&inner, packet, values);
    cursor->is_bad |= inner.is_bad;
}

static int is_whole(const struct cursor *cursor) { return !cursor->is_bad && cursor->at == cursor->end; }

static const char *code_text(uint32_t code)
{
    static const struct {
        uint8_t code;
        const char *text;
    } codes[] = {
        {0x80, "an error that it does not name"}, {0x81, "malformed packet"}, {0x82, "protocol error"}, {0x84, "it does not speak MQTT 5"},
        {0x85, "client identifier not valid"}, {0x86, "bad user name or password"}, {0x87, "not authorized"}, {0x88, "server unavailable"},
        {0x89, "server busy"}, {0x8a, "banned"}, {0x8b, "server shutting down"}, {0x8d, "keep alive timeout"},
        {0x8e, "another client has come with the same identifier: each topic has one courier on each side"}, {0x8f, "topic filter invalid"},
        {0x90, "topic name invalid"}, {0x95, "packet too large"}, {0x97, "quota exceeded"}, {0x9f, "connection rate exceeded"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].code == code)
            return codes[i].text;
    return "a reason code of its own";
}

static enum status refused(struct mqtt5 *mqtt, const char *what, uint32_t code, const struct values *values)
{
    return end(mqtt, "the broker %s: %s (0x%02x)%s%.60s", what, code_text(code), code, values->reason[0] != 0 ? ": " : "", values->reason);
}

static enum status take_connack(struct mqtt5 *mqtt, struct cursor *cursor)
{
    struct values values;
    uint32_t is_present = get_number(cursor, 1), code = get_number(cursor, 1);
    get_properties(cursor, CONNACK, &values);
    if (!is_whole(cursor) || mqtt->state != MQTT5_CONNECTING || is_present != 0 || (code != 0 && code < 0x80))
        return malformed(mqtt, "CONNACK");
    if (code != 0)
        return refused(mqtt, "refuses the connection", code, &values);
    if ((values.seen >> 0x24 & 1) != 0 && values.number[0x24] == 0)
        return end(mqtt, "the broker does not serve QoS 1");
    if ((values.seen >> 0x27 & 1) != 0 && values.number[0x27] < MQTT5_PACKET_MAX)
        return end(mqtt, "the broker takes packets of at most %u bytes; %u are needed", values.number[0x27], MQTT5_PACKET_MAX);
    if ((values.seen >> 0x21 & 1) != 0 && values.number[0x21] < MQTT5_WINDOW)
        mqtt->window = values.number[0x21];
    if ((values.seen >> 0x13 & 1) != 0)
        mqtt->keep_alive_s = (uint16_t)values.number[0x13];
    mqtt->state = MQTT5_SUBSCRIBING;
    subscribe(mqtt);
    return STATUS_OK;
}

static enum status take_suback(struct mqtt5 *mqtt, struct cursor *cursor)
{
    struct values values;
    uint32_t id = get_number(cursor, 2);
    get_properties(cursor, SUBACK, &values);
    uint32_t code = get_number(cursor, 1);
    if (!is_whole(cursor) || mqtt->state != MQTT5_SUBSCRIBING || id != 1 || (code > 1 && code < 0x80))
        return malformed(mqtt, "SUBACK");
    if (code >= 0x80)
        return refused(mqtt, "refuses the subscription", code, &values);
    if (code == 0)
        return end(mqtt, "the broker grants QoS 0 only");
    mqtt->state = MQTT5_READY;
    mqtt->owner.ready(mqtt->owner.context);
    return STATUS_OK;
}

// STATUS_AGAIN: the owner does not take it now.
static enum status take_publish(struct mqtt5 *mqtt, unsigned flags, struct cursor *cursor)
{
    struct values values;
    size_t topic_bytes, wanted = strlen(mqtt->terms->subscribe);
    unsigned qos = flags >> 1 & 3;
    const uint8_t *topic = get_field(cursor, &topic_bytes);
    uint32_t id = qos != 0 ? get_number(cursor, 2) : 0;
    get_properties(cursor, PUBLISH, &values);
    if (cursor->is_bad || mqtt->state < MQTT5_SUBSCRIBING || qos > 1 || (qos == 0 && (flags & 8) != 0) || (qos == 1) != (id != 0) ||
        topic_bytes != wanted || memcmp(topic, mqtt->terms->subscribe, wanted) != 0)
        return malformed(mqtt, "PUBLISH");
    if (qos == 1 && output_room(mqtt) < 4)
        return STATUS_AGAIN;
    if (!mqtt->owner.take(mqtt->owner.context, cursor->at, (size_t)(cursor->end - cursor->at)))
        return STATUS_AGAIN;
    if (qos == 1) {
        put_head(mqtt, PUBACK, 0, 2);
        put_u16(mqtt, id);
    }
    return STATUS_OK;
}

static enum status take_puback(struct mqtt5 *mqtt, struct cursor *cursor)
{
    struct values values = {0};
    uint32_t id = get_number(cursor, 2), code = cursor->at < cursor->end ? get_number(cursor, 1) : 0;
    if (cursor->at < cursor->end)
        get_properties(cursor, PUBACK, &values);
    if (!is_whole(cursor) || id == 0 || id > MQTT5_WINDOW || !mqtt->is_open[id - 1] || (code != 0 && code != 0x10 && code < 0x80))
        return malformed(mqtt, "PUBACK");
    mqtt->is_open[id - 1] = 0;
    mqtt->open_count--;
    return code < 0x80 ? STATUS_OK : refused(mqtt, "does not take what is published", code, &values);
}

static enum status take_disconnect(struct mqtt5 *mqtt, struct cursor *cursor)
{
    struct values values = {0};
    uint32_t code = cursor->at < cursor->end ? get_number(cursor, 1) : 0;
    if (cursor->at < cursor->end)
        get_properties(cursor, DISCONNECT, &values);
    if (!is_whole(cursor))
        return malformed(mqtt, "DISCONNECT");
    return refused(mqtt, "ends the connection", code, &values);
}

static enum status take_packet(struct mqtt5 *mqtt, unsigned first, struct cursor *cursor)
{
    unsigned kind = first >> 4, flags = first & 15;
    if (kind == PUBLISH)
        return take_publish(mqtt, flags, cursor);
    if (flags != 0)
        return end(mqtt, "the broker sends a packet of flags that do not exist");
    switch (kind) {
    case CONNACK:
        return take_connack(mqtt, cursor);
    case SUBACK:
        return take_suback(mqtt, cursor);
    case PUBACK:
        return take_puback(mqtt, cursor);
    case DISCONNECT:
        return take_disconnect(mqtt, cursor);
    case PINGRESP:
        return mqtt->state == MQTT5_READY && is_whole(cursor) ? STATUS_OK : malformed(mqtt, "PINGRESP");
    default:
        return end(mqtt, "the broker sends a packet of kind %u", kind);
    }
}

// Is the packet's length there as a whole?
static int has_length(const struct cursor *cursor)
{
    size_t behind = (size_t)(cursor->end - cursor->at), i = 0;
    while (i < behind && i < 4 && (cursor->at[i] & 128) != 0)
        i++;
    return i < behind || i == 4; // more than four are none
}

size_t mqtt5_room(struct mqtt5 *mqtt, uint8_t **at)
{
    *at = mqtt->input + mqtt->input_used;
    return mqtt->state == MQTT5_ENDED ? 0 : sizeof mqtt->input - mqtt->input_used;
}

enum status mqtt5_received(struct mqtt5 *mqtt, size_t size)
{
    enum status status = STATUS_OK;
    size_t at = 0;
    check(size <= sizeof mqtt->input - mqtt->input_used);
    mqtt->input_used += size;
    while (status == STATUS_OK && mqtt->state != MQTT5_ENDED && mqtt->input_used - at >= 2) {
        struct cursor cursor = {mqtt->input + at + 1, mqtt->input + mqtt->input_used, 0};
        if (!has_length(&cursor))
            break;
        uint32_t length = get_length(&cursor);
        if (cursor.is_bad || length > MQTT5_PACKET_MAX - 5)
            return end(mqtt, "the broker sends a packet larger than was offered");
        if (length > (size_t)(cursor.end - cursor.at))
            break;
        cursor.end = cursor.at + length;
        size_t whole = (size_t)(cursor.end - (mqtt->input + at));
        status = take_packet(mqtt, mqtt->input[at], &cursor);
        if (status == STATUS_OK)
            at += whole;
    }
    mqtt->input_used -= at;
    memmove(mqtt->input, mqtt->input + at, mqtt->input_used);
    return mqtt->state != MQTT5_ENDED ? STATUS_OK : STATUS_MALFORMED;
}
