// SPDX-License-Identifier: ISC
// Publications, subscriptions, deliveries. A message that several subscriptions select goes out once, with the
// highest QoS that they grant (3.3.5 leaves the choice).
#include "session.h"

#include "topic.h"

void session_publish(struct engine *engine, uint8_t qos, bool is_duplicate, struct bytes topic,
                     struct bytes payload)
{
    if (payload.size > ENGINE_PAYLOAD_BYTES_MAX) {
        outside_refuse(REFUSAL_OVERSIZE);
        return;
    }
    const struct rule *rule = NULL;
    if (topic.size <= ENGINE_TOPIC_BYTES_MAX && !topic_has_controls(topic))
        rule = rules_publish(engine->rules, qos, engine->principal, topic);
    if (rule == NULL) {
        outside_refuse(REFUSAL_NOT_ALLOWED);
    } else if (payload.size > rule->payload_bytes_max) {
        outside_refuse(REFUSAL_OVERSIZE);
    } else {
        outside_publish(rule->port, qos, is_duplicate, topic, payload);
        engine->publications++;
    }
}

static struct bytes filter_of(const struct engine_subscription *subscription)
{
    return (struct bytes){subscription->filter, subscription->filter_bytes};
}

static struct engine_subscription *find(struct engine *engine, struct bytes filter)
{
    for (unsigned i = 0; i < ENGINE_SUBSCRIPTIONS_MAX; i++)
        if (bytes_equal(filter_of(&engine->subscriptions[i]), filter))
            return &engine->subscriptions[i];
    return NULL;
}

uint8_t session_subscribe(struct engine *engine, struct bytes filter, uint8_t qos)
{
    if (filter.size > ENGINE_TOPIC_BYTES_MAX)
        return SESSION_REFUSED;
    uint32_t ports = rules_subscribe(engine->rules, engine->principal, filter);
    if (ports == 0)
        return SESSION_REFUSED;
    struct engine_subscription *subscription = find(engine, filter);
    if (subscription == NULL)
        subscription = find(engine, (struct bytes){0});
    if (subscription == NULL)
        return SESSION_REFUSED;
    subscription->filter_bytes = (uint8_t)filter.size;
    subscription->qos = qos > 1 ? 1 : qos;
    subscription->ports = (uint8_t)ports;
    __builtin_memcpy(subscription->filter, filter.at, filter.size);
    return subscription->qos;
}

void session_unsubscribe(struct engine *engine, struct bytes filter)
{
    struct engine_subscription *subscription = find(engine, filter);
    if (subscription != NULL)
        subscription->filter_bytes = subscription->ports = 0;
}

uint8_t session_ports(const struct engine *engine)
{
    uint8_t ports = 0;
    for (unsigned i = 0; i < ENGINE_SUBSCRIPTIONS_MAX; i++)
        ports |= engine->subscriptions[i].ports;
    return ports;
}

// The next packet id that is not in flight, or 0.
static uint16_t id_take(struct engine *engine)
{
    uint16_t id = engine->last_id;
    for (unsigned i = 0; i < 65535; i++) {
        id = (uint16_t)(id == 65535 ? 1 : id + 1);
        uint8_t bit = (uint8_t)(1u << (id & 7));
        if ((engine->ids_in_flight[id >> 3] & bit) == 0) {
            engine->ids_in_flight[id >> 3] |= bit;
            engine->last_id = id;
            return id;
        }
    }
    return 0;
}

void session_acknowledge(struct engine *engine, uint16_t id)
{
    engine->ids_in_flight[id >> 3] &= (uint8_t)~(1u << (id & 7));
}

bool session_deliver(struct engine *engine, uint16_t input, uint8_t qos, struct bytes topic,
                     struct bytes payload)
{
    if (!rules_deliver(engine->rules, engine->principal, input, topic))
        return true;
    int granted = -1;
    for (unsigned i = 0; i < ENGINE_SUBSCRIPTIONS_MAX; i++) {
        const struct engine_subscription *subscription = &engine->subscriptions[i];
        if ((subscription->ports >> (input - RULES_INPUT_FIRST) & 1) != 0 &&
            subscription->qos > granted && topic_matches(filter_of(subscription), topic))
            granted = subscription->qos;
    }
    if (granted < 0)
        return true;
    struct packet_publish publish = {.topic = topic, .payload = payload};
    publish.qos = qos < granted ? qos : (uint8_t)granted;
    if (publish.qos > 0 && (publish.id = id_take(engine)) == 0)
        return false;
    if (packet_publish_bytes(&publish) > ENGINE_OUTPUT_BYTES - engine->output_bytes)
        return true; // cannot be: one message of publish/1 fits into an empty output
    engine->output_bytes += packet_publish_write(engine->output + engine->output_bytes, &publish);
    return true;
}
