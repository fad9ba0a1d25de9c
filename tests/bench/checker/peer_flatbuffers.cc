// SPDX-License-Identifier: ISC
// FlatBuffers: the verifier of the generated C++, then the checks in place.
#include "tests/bench/checker/checker.h"

#include "reading_generated.h"

#include <cstring>

void peer_start(const char *argument) { (void)argument; }

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(CreateReading(builder, reading->time, reading->sequence, reading->sensor, reading->value, reading->low,
                                 reading->high, static_cast<uint16_t>(reading->channel),
                                 static_cast<uint8_t>(reading->battery), static_cast<uint8_t>(reading->state),
                                 reading->is_test != 0, builder.CreateString(reading->site)));
    if (builder.GetSize() > capacity)
        return 0;
    memcpy(bytes, builder.GetBufferPointer(), builder.GetSize());
    return builder.GetSize();
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    flatbuffers::Verifier verifier(bytes, size);
    if (!VerifyReadingBuffer(verifier))
        return 0;
    const Reading *message = GetReading(bytes);
    return reading_is_good(message->time(), message->sensor(), message->value(), message->low(), message->high(),
                           message->channel(), message->battery(), message->state(), message->is_test(),
                           message->site()->Data(), message->site()->size());
}
