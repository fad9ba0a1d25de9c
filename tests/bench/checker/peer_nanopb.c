// SPDX-License-Identifier: ISC
// Protocol Buffers by nanopb, without allocation.
#include "tests/bench/checker/checker.h"

#include "reading.pb.h"

#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

void peer_start(const char *argument) { (void)argument; }

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    Reading message = {.time = reading->time, .sequence = reading->sequence, .sensor = reading->sensor,
                       .value = reading->value, .low = reading->low, .high = reading->high, .channel = reading->channel,
                       .battery = reading->battery, .state = reading->state, .is_test = reading->is_test != 0};
    size_t length = strlen(reading->site);
    if (length >= sizeof message.site)
        return 0; // it cannot hold a longer one: no message
    memcpy(message.site, reading->site, length);
    pb_ostream_t stream = pb_ostream_from_buffer(bytes, capacity);
    return pb_encode(&stream, Reading_fields, &message) ? stream.bytes_written : 0;
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    Reading message = Reading_init_zero;
    pb_istream_t stream = pb_istream_from_buffer(bytes, size);
    if (!pb_decode(&stream, Reading_fields, &message))
        return 0;
    return reading_is_good(message.time, message.sensor, message.value, message.low, message.high, message.channel,
                           message.battery, message.state, message.is_test, (const uint8_t *)message.site,
                           strlen(message.site));
}
