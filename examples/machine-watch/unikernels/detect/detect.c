// SPDX-License-Identifier: ISC
// Watches each sensor for itself. The model of a sensor is a record in the store: it is read, moved by one
// reading and written back with the alarm, if one begins, in one transaction.
#include "detector.h"

void on_reading(const struct event *event, const struct reading *reading)
{
    (void)event;
    struct model model = {0};
    models_get(reading->sensor, &model); // absent: a sensor never seen starts from zero
    model.sensor = reading->sensor;
    if (detector_take(&model, reading->value)) {
        struct alarm alarm = {
            .sensor = reading->sensor,
            .value = reading->value,
            .level = (int32_t)(model.level >> DETECTOR_FRACTION_BITS),
            .usual = (int32_t)(model.usual >> DETECTOR_FRACTION_BITS),
            .sequence = reading->sequence,
            .time_ms = reading->time_ms,
            .deviations = detector_distance(&model),
        };
        log_warning("sensor %u: %d thousandths of a degree, usual are %d", (unsigned)alarm.sensor,
                    (int)alarm.level, (int)alarm.usual);
        send_alarm(&alarm);
    }
    models_put(&model);
}
