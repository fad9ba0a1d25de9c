// SPDX-License-Identifier: ISC
// Keeps minimum, mean and maximum of each sensor and hour, one record an hour.
#include "rollup.h"

#define HOUR_MS 3600000

void on_reading(const struct event *event, const struct reading *reading)
{
    (void)event;
    struct hour hour = {0};
    int64_t hour_ms = reading->time_ms - reading->time_ms % HOUR_MS; // time_ms > 0, says the schema
    if (!hours_get(reading->sensor, hour_ms, &hour)) {
        hour.sensor = reading->sensor;
        hour.hour_ms = hour_ms;
        hour.minimum = hour.maximum = reading->value;
    }
    hour.count++;
    hour.sum += reading->value;
    hour.mean = (int32_t)(hour.sum / hour.count);
    if (reading->value < hour.minimum)
        hour.minimum = reading->value;
    if (reading->value > hour.maximum)
        hour.maximum = reading->value;
    hours_put(&hour);
}
