// SPDX-License-Identifier: ISC
// Crenel: the table-driven checker of the router, with the schema file as argument.
#include "cli/source/schema_source.h"
#include "tests/bench/checker/checker.h"

#include <stdlib.h>
#include <string.h>

static struct schema schema;
static struct schema_plan plan;

void peer_start(const char *argument)
{
    uint8_t *block;
    size_t size;
    if (schema_source_read(argument, &block, &size) != STATUS_OK || schema_open(&schema, block, size) != STATUS_OK)
        exit(1);
    schema_prepare(&plan, &schema);
}

static void put(uint8_t *bytes, const char *name, uint64_t value, size_t width)
{
    memcpy(bytes + schema.fields[schema_field_index(&schema, name)].offset, &value, width);
}

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    size_t length = strlen(reading->site);
    memset(bytes, 0, capacity);
    put(bytes, "time", reading->time, 8);
    put(bytes, "sequence", reading->sequence, 4);
    put(bytes, "sensor", reading->sensor, 4);
    put(bytes, "value", (uint32_t)reading->value, 4);
    put(bytes, "low", (uint32_t)reading->low, 4);
    put(bytes, "high", (uint32_t)reading->high, 4);
    put(bytes, "channel", reading->channel, 2);
    put(bytes, "battery", reading->battery, 1);
    put(bytes, "state", reading->state, 1);
    put(bytes, "is_test", reading->is_test, 1);
    put(bytes, "site", length, 2);
    size_t at = schema.fields[schema_field_index(&schema, "site")].offset + 2u;
    memcpy(bytes + at, reading->site, length);
    return (at + length + 7) / 8 * 8;
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    uint16_t field;
    return schema_judge(&schema, &plan, bytes, size, &field) == REASON_DONE;
}
