// SPDX-License-Identifier: ISC
// Turns what a sensor publishes, text that may be anything, into a message of a schema. A sensor writes one flat JSON
// object of numbers; which tank it speaks of, only its topic says: water/tank-1/level.
//
//   {"sequence":17,"time_ms":1700000000000,"level":3.250}
//
// Whether a number is possible is not asked here: the schema and the checks of the flow say it, and the router refuses
// what they do not allow.
#include "decode.h"

struct member {
    const char *name;
    unsigned decimals; // the number is kept as an integer with so many decimals
    int64_t lowest, highest; // what the field's type can hold
    int64_t *value;
    bool is_there;
};

struct cursor {
    const char *at, *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && is_space(*cursor->at))
        cursor->at++;
}

// The next byte, without the space around it, must be this one.
static bool take(struct cursor *cursor, char byte)
{
    skip_space(cursor);
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    skip_space(cursor);
    return true;
}

static void expect(struct cursor *cursor, char byte)
{
    if (!take(cursor, byte))
        event_refuse(REFUSE_MALFORMED_JSON);
}

static struct member *take_name(struct cursor *cursor, struct member *members, size_t count)
{
    expect(cursor, '"');
    const char *end = memchr(cursor->at, '"', (size_t)(cursor->end - cursor->at));
    if (end == NULL)
        event_refuse(REFUSE_MALFORMED_JSON);
    size_t length = (size_t)(end - cursor->at);
    for (size_t i = 0; i < count; i++) {
        if (length != strlen(members[i].name) || memcmp(cursor->at, members[i].name, length) != 0)
            continue;
        if (members[i].is_there)
            event_refuse(REFUSE_DUPLICATE_MEMBER);
        cursor->at = end + 1;
        return &members[i];
    }
    event_refuse(REFUSE_UNKNOWN_MEMBER);
}

static void take_number(struct cursor *cursor, struct member *member)
{
    const char *begin = cursor->at;
    while (cursor->at < cursor->end && !is_space(*cursor->at) && *cursor->at != ',' && *cursor->at != '}')
        cursor->at++;
    if (!decimal_parse(begin, (size_t)(cursor->at - begin), member->decimals, member->value) ||
        *member->value < member->lowest || *member->value > member->highest)
        event_refuse(REFUSE_BAD_NUMBER);
    member->is_there = true;
}

// All members, each once, and nothing else; or the event is refused.
static void parse(const struct publish *message, struct member *members, size_t count)
{
    struct cursor cursor = {(const char *)message->payload, (const char *)message->payload + message->payload_length};
    expect(&cursor, '{');
    do {
        struct member *member = take_name(&cursor, members, count);
        expect(&cursor, ':');
        take_number(&cursor, member);
    } while (take(&cursor, ','));
    expect(&cursor, '}');
    if (cursor.at != cursor.end)
        event_refuse(REFUSE_MALFORMED_JSON);
    for (size_t i = 0; i < count; i++)
        if (!members[i].is_there)
            event_refuse(REFUSE_MISSING_MEMBER);
}

// water/tank-12/level: 12.
static uint16_t tank_of(const struct publish *message)
{
    static const char before[] = "water/tank-";
    size_t length = sizeof before - 1;
    int64_t tank;
    if (message->topic_length <= length || memcmp(message->topic, before, length) != 0)
        event_refuse(REFUSE_BAD_TOPIC);
    const char *digits = message->topic + length;
    const char *end = memchr(digits, '/', message->topic_length - length);
    if (end == NULL || !integer_parse(digits, (size_t)(end - digits), &tank) || tank < 0 || tank > UINT16_MAX)
        event_refuse(REFUSE_BAD_TOPIC);
    return (uint16_t)tank;
}

#define COUNT(members) (sizeof(members) / sizeof(members)[0])

void on_level_text(const struct event *event, const struct publish *message)
{
    (void)event;
    int64_t level, sequence, time_ms;
    struct member members[] = {{"level", 3, INT32_MIN, INT32_MAX, &level, false},
                               {"sequence", 0, 0, UINT32_MAX, &sequence, false},
                               {"time_ms", 0, INT64_MIN, INT64_MAX, &time_ms, false}};
    parse(message, members, COUNT(members));
    struct level out = {.tank = tank_of(message), .level = (int32_t)level, .sequence = (uint32_t)sequence,
                        .time_ms = time_ms};
    send_level(&out);
}

void on_pressure_text(const struct event *event, const struct publish *message)
{
    (void)event;
    int64_t lowest, highest, sequence;
    struct member members[] = {{"lowest", 3, INT32_MIN, INT32_MAX, &lowest, false},
                               {"highest", 3, INT32_MIN, INT32_MAX, &highest, false},
                               {"sequence", 0, 0, UINT32_MAX, &sequence, false}};
    parse(message, members, COUNT(members));
    struct pressure out = {.tank = tank_of(message), .lowest = (int32_t)lowest, .highest = (int32_t)highest,
                           .sequence = (uint32_t)sequence};
    send_pressure(&out);
}

void on_turbidity_text(const struct event *event, const struct publish *message)
{
    (void)event;
    int64_t turbidity, sequence;
    struct member members[] = {{"turbidity", 3, INT32_MIN, INT32_MAX, &turbidity, false},
                               {"sequence", 0, 0, UINT32_MAX, &sequence, false}};
    parse(message, members, COUNT(members));
    struct turbidity out = {.tank = tank_of(message), .turbidity = (int32_t)turbidity, .sequence = (uint32_t)sequence};
    send_turbidity(&out);
}
