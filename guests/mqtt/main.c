// SPDX-License-Identifier: ISC
// The unikernel around the engine: events become calls, calls become effects.
#include "mqtt.h"

#include "engine.h"

static struct rules rules;
static struct engine engine;
static unsigned bad_line; // of the configuration; 0: it is good

_Static_assert(OUTPUT_PUBLISH_0 == RULES_OUTPUT_FIRST, "order of outputs");
_Static_assert(INPUT_DELIVER_0 == RULES_INPUT_FIRST, "order of inputs");
_Static_assert(INPUT_DELIVER_7 == RULES_INPUT_FIRST + RULES_PORTS - 1, "number of inputs");
_Static_assert(OUTPUT_PUBLISH_7 == RULES_OUTPUT_FIRST + RULES_PORTS - 1, "number of outputs");
_Static_assert((int)REFUSE_UNFINISHED == (int)REFUSAL_UNFINISHED, "order of refusals");
_Static_assert((int)TICK_KIND_MORE == (int)TICK_MORE, "order of ticks");
_Static_assert(sizeof((struct publish){0}.topic) == ENGINE_TOPIC_BYTES_MAX, "topic");
_Static_assert(sizeof((struct publish){0}.payload) == ENGINE_PAYLOAD_BYTES_MAX, "payload");
_Static_assert(sizeof((struct wire){0}.bytes) == ENGINE_OUTPUT_BYTES, "output");
_Static_assert(sizeof((struct wire){0}.bytes) == ENGINE_WIRE_BYTES_MAX, "input");
_Static_assert(sizeof((struct password_request){0}.user) == ENGINE_USER_BYTES_MAX, "user");
_Static_assert(sizeof((struct password_request){0}.password) == ENGINE_PASSWORD_BYTES_MAX, "password");

void init(void)
{
    struct bytes text;
    text.at = (const uint8_t *)configuration_text(&text.size);
    unsigned line;
    bool is_good = rules_read(&rules, text, &line);
    bad_line = is_good ? 0 : line;
    engine_init(&engine, is_good ? &rules : NULL);
}

void on_wire(const struct event *event, const struct wire *message)
{
    if (bad_line != 0)
        log_error("configuration line %u is not a rule: nobody may enter", bad_line);
    engine_wire(&engine, event->time_ms, (struct bytes){message->bytes, message->bytes_length},
                message->is_closed);
}

void on_login_reply(const struct event *event, const struct password_reply *message)
{
    engine_login(&engine, event->time_ms, message->is_accepted, message->principal);
}

void on_alive(const struct event *event, const struct tick *message)
{
    engine_tick(&engine, event->time_ms, (enum engine_tick_kind)message->kind, message->serial);
}

static void deliver(const struct event *event, const struct publish *message)
{
    engine_deliver(&engine, event->input, message->qos,
                   (struct bytes){(const uint8_t *)message->topic, message->topic_length},
                   (struct bytes){message->payload, message->payload_length});
}

void on_deliver_0(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_1(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_2(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_3(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_4(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_5(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_6(const struct event *event, const struct publish *m) { deliver(event, m); }
void on_deliver_7(const struct event *event, const struct publish *m) { deliver(event, m); }

void outside_wire(struct bytes bytes, bool is_closed)
{
    struct wire message = {.is_closed = is_closed, .bytes_length = (uint16_t)bytes.size};
    memcpy(message.bytes, bytes.at, bytes.size);
    send_wire(&message);
}

void outside_login(struct bytes user, struct bytes password)
{
    struct password_request message = {.user_length = (uint16_t)user.size,
                                       .password_length = (uint16_t)password.size};
    memcpy(message.user, user.at, user.size);
    memcpy(message.password, password.at, password.size);
    send_login(&message);
}

void outside_join(uint16_t input, bool is_joined)
{
    struct subscription message = {.port = input, .is_joined = is_joined};
    send_subscribe(&message);
}

void outside_tick(enum engine_tick_kind kind, uint32_t serial, uint32_t delay_ms)
{
    struct tick message = {.kind = (uint8_t)kind, .serial = serial};
    if (delay_ms == 0)
        send_alive(&message);
    else
        send_alive_after(&message, delay_ms);
}

void outside_publish(uint16_t output, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload)
{
    struct publish message = {.qos = qos,
                              .is_duplicate = is_duplicate,
                              .topic_length = (uint16_t)topic.size,
                              .payload_length = (uint16_t)payload.size};
    memcpy(message.topic, topic.at, topic.size);
    memcpy(message.payload, payload.at, payload.size);
    publish_send(output, &message);
}

void outside_refuse(enum engine_refusal refusal) { count_refusal(refusal, ""); }
