// SPDX-License-Identifier: ISC
// A hand-written reader of deterministic CBOR (RFC 8949, 4.2.1): an array of eleven, in one pass.
#include "tests/bench/checker/checker.h"

#include <string.h>

struct reader {
    const uint8_t *at, *end;
    int is_bad;
};

void peer_start(const char *argument) { (void)argument; }

static uint8_t *head_put(uint8_t *to, unsigned major, uint64_t value)
{
    unsigned size = value < 24 ? 0 : value < 256 ? 1 : value < 65536 ? 2 : value < (UINT64_C(1) << 32) ? 4 : 8;
    static const uint8_t infos[9] = {[1] = 24, [2] = 25, [4] = 26, [8] = 27};
    *to++ = (uint8_t)(major << 5 | (size == 0 ? value : infos[size]));
    for (unsigned i = size; i > 0; i--)
        *to++ = (uint8_t)(value >> (8 * (i - 1)));
    return to;
}

static uint8_t *integer_put(uint8_t *to, int64_t value)
{
    return value < 0 ? head_put(to, 1, (uint64_t)(-1 - value)) : head_put(to, 0, (uint64_t)value);
}

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    uint8_t *to = head_put(bytes, 4, 11);
    size_t length = strlen(reading->site);
    (void)capacity;
    to = head_put(to, 0, reading->time);
    to = head_put(to, 0, reading->sequence);
    to = head_put(to, 0, reading->sensor);
    to = integer_put(to, reading->value);
    to = integer_put(to, reading->low);
    to = integer_put(to, reading->high);
    to = head_put(to, 0, reading->channel);
    to = head_put(to, 0, reading->battery);
    to = head_put(to, 0, reading->state);
    *to++ = (uint8_t)(0xf4 + reading->is_test);
    to = head_put(to, 3, length);
    memcpy(to, reading->site, length);
    return (size_t)(to + length - bytes);
}

// The argument of a head in its shortest form.
static uint64_t head(struct reader *reader, unsigned *major)
{
    if (reader->at == reader->end) {
        reader->is_bad = 1;
        return 0;
    }
    unsigned first = *reader->at++, info = first & 31;
    *major = first >> 5;
    if (info < 24)
        return info;
    size_t size = (size_t)1 << (info - 24);
    if (info > 27 || (size_t)(reader->end - reader->at) < size) {
        reader->is_bad = 1;
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | *reader->at++;
    reader->is_bad |= size == 1 ? value < 24 : value >> (4 * size) == 0;
    return value;
}

static uint64_t number(struct reader *reader)
{
    unsigned major = 0;
    uint64_t value = head(reader, &major);
    reader->is_bad |= major != 0;
    return value;
}

static int32_t integer(struct reader *reader)
{
    unsigned major = 0;
    uint64_t value = head(reader, &major);
    reader->is_bad |= major > 1 || value > INT32_MAX;
    return major == 1 ? (int32_t)(-1 - (int64_t)value) : (int32_t)value;
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    struct reader reader = {bytes, bytes + size, 0};
    unsigned major = 0;
    if (head(&reader, &major) != 11 || major != 4)
        return 0;
    uint64_t time = number(&reader), sequence = number(&reader), sensor = number(&reader);
    int32_t value = integer(&reader), low = integer(&reader), high = integer(&reader);
    uint64_t channel = number(&reader), battery = number(&reader), state = number(&reader);
    if (reader.is_bad || reader.at == reader.end || (*reader.at & 0xfe) != 0xf4)
        return 0;
    unsigned is_test = *reader.at++ & 1;
    uint64_t length = head(&reader, &major);
    if (reader.is_bad || major != 3 || length != (size_t)(reader.end - reader.at) || sequence > UINT32_MAX ||
        sensor > UINT32_MAX || channel > UINT16_MAX || battery > UINT8_MAX || state > UINT8_MAX)
        return 0;
    return reading_is_good(time, (uint32_t)sensor, value, low, high, (uint32_t)channel, (uint32_t)battery, (uint32_t)state,
                           is_test, reader.at, length);
}
