// SPDX-License-Identifier: ISC
// Turns what a device publishes, JSON text that may be anything, into a reading.
//
//   {"sensor":7,"sequence":123,"time":"2013-12-02T21:15:00","celsius":73.96732207,"unit":"C"}
//
// A device speaks for one sensor: the number at the end of the topic's second level. Whether the value,
// the time and the sensor are possible is not asked here: the schema of the flow `reading` says it, and
// the router refuses what it does not allow.
#include "decode.h"

#include "instant.h"
#include "json.h"

enum member { SENSOR, SEQUENCE, TIME, CELSIUS, UNIT, MEMBER_COUNT };

static const char *const names[MEMBER_COUNT] = {"sensor", "sequence", "time", "celsius", "unit"};

#define UNIT_BYTES 16u

// This is the place of the deliberate bug: decode-buggy is built with DECODE_WITHOUT_UNIT_CHECK, and then a
// long unit does not fit `text`; a copy that the library could not check would meet the canary behind it.
__attribute__((noinline)) static bool is_celsius(const struct json_value *unit)
{
    char text[UNIT_BYTES];
#ifndef DECODE_WITHOUT_UNIT_CHECK
    if (unit->size >= sizeof text)
        return false;
#endif
    memcpy(text, unit->bytes, unit->size);
    text[unit->size] = 0;
    return strcmp(text, "C") == 0 || strcmp(text, "Cel") == 0;
}

static int64_t integer(const struct json_value *value)
{
    int64_t number;
    if (value->type != JSON_NUMBER)
        event_refuse(REFUSE_WRONG_TYPE);
    if (!integer_parse((const char *)value->bytes, value->size, &number))
        event_refuse(REFUSE_BAD_NUMBER);
    return number;
}

// plant/press-7/temperature: 7. 0, which is no sensor, when the topic says nothing.
static int64_t sensor_of_topic(const uint8_t *topic, size_t length)
{
    const uint8_t *level = memchr(topic, '/', length);
    if (level == NULL)
        return 0;
    level++;
    size_t left = length - (size_t)(level - topic);
    const uint8_t *end = memchr(level, '/', left);
    const uint8_t *digits = end == NULL ? level + left : end;
    end = digits;
    while (digits > level && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    int64_t sensor = 0;
    return integer_parse((const char *)digits, (size_t)(end - digits), &sensor) ? sensor : 0;
}

static void decode(const struct publish *message)
{
    struct json_value values[MEMBER_COUNT];
    switch (json_object(message->payload, message->payload_length, names, values, MEMBER_COUNT)) {
    case JSON_OK:
        break;
    case JSON_DUPLICATE:
        event_refuse(REFUSE_DUPLICATE_MEMBER);
    case JSON_MALFORMED:
    default:
        event_refuse(REFUSE_MALFORMED_JSON);
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++)
        if (values[i].type == JSON_NONE)
            event_refuse(REFUSE_MISSING_MEMBER);

    struct reading reading = {0};
    int64_t sensor = integer(&values[SENSOR]), sequence = integer(&values[SEQUENCE]), celsius;
    if (sensor < 1 || sensor > UINT32_MAX || sequence < 1)
        event_refuse(REFUSE_BAD_NUMBER);
    if (sensor != sensor_of_topic((const uint8_t *)message->topic, message->topic_length))
        event_refuse(REFUSE_WRONG_SENSOR);
    if (values[TIME].type != JSON_STRING || values[UNIT].type != JSON_STRING ||
        values[CELSIUS].type != JSON_NUMBER)
        event_refuse(REFUSE_WRONG_TYPE);
    if (!is_celsius(&values[UNIT]))
        event_refuse(REFUSE_UNKNOWN_UNIT);
    if (!instant_parse(values[TIME].bytes, values[TIME].size, &reading.time_ms))
        event_refuse(REFUSE_BAD_TIME);
    if (!decimal_parse((const char *)values[CELSIUS].bytes, values[CELSIUS].size, 3, &celsius) ||
        celsius < INT32_MIN || celsius > INT32_MAX)
        event_refuse(REFUSE_BAD_NUMBER);
    reading.sensor = (uint32_t)sensor;
    reading.sequence = (uint64_t)sequence;
    reading.value = (int32_t)celsius;
    send_reading(&reading);
}

void on_raw(const struct event *event, const struct publish *message)
{
    (void)event;
    decode(message);
}

void on_raw_rig(const struct event *event, const struct publish *message)
{
    (void)event;
    decode(message);
}
