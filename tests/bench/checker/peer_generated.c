// SPDX-License-Identifier: ISC
// C as a generator would write it for this one schema: the same bytes as Crenel's, the same checks, reserved bytes included.
#include "tests/bench/checker/checker.h"

#include <string.h>

struct message {
    uint64_t time;
    uint32_t sequence, sensor;
    int32_t value, low, high;
    uint16_t channel;
    uint8_t battery, state, is_test, zero;
    uint16_t site_length;
    char site[SITE_MOST];
};
#define HEAD_BYTES offsetof(struct message, site)

void peer_start(const char *argument) { (void)argument; }

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    size_t length = strlen(reading->site);
    struct message message = {reading->time, reading->sequence, reading->sensor, reading->value, reading->low, reading->high,
                              (uint16_t)reading->channel, (uint8_t)reading->battery, (uint8_t)reading->state,
                              (uint8_t)reading->is_test, 0, (uint16_t)length, {0}};
    memset(bytes, 0, capacity);
    memcpy(bytes, &message, HEAD_BYTES);
    memcpy(bytes + HEAD_BYTES, reading->site, length);
    return (HEAD_BYTES + length + 7) / 8 * 8;
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    struct message head;
    if (size < HEAD_BYTES || size > (HEAD_BYTES + SITE_MOST + 7) / 8 * 8)
        return 0;
    memcpy(&head, bytes, HEAD_BYTES);
    size_t end = HEAD_BYTES + head.site_length;
    if (size != (end + 7) / 8 * 8 || head.zero != 0)
        return 0;
    for (size_t i = end; i < size; i++)
        if (bytes[i] != 0)
            return 0;
    return reading_is_good(head.time, head.sensor, head.value, head.low, head.high, head.channel, head.battery,
                           head.state, head.is_test, bytes + HEAD_BYTES, head.site_length);
}
