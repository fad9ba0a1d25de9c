// SPDX-License-Identifier: ISC
// Dates as devices write them.
#ifndef INSTANT_H
#define INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// "2013-12-02T21:15:00", with or without a final Z: milliseconds since 1970-01-01 UTC. A device without a
// zone is taken to speak UTC. False, and *time_ms unchanged, for anything else, dates that no calendar
// has included.
bool instant_parse(const uint8_t *text, size_t length, int64_t *time_ms);

#endif
