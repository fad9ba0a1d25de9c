// SPDX-License-Identifier: ISC
// When does a sensor stop behaving like itself? One reading at a time, integers only, a state of fixed size.
//
// Two moving averages: `level` over the last hours (weight 1/64, at 5 minutes 5 h 20 min) and `usual` over
// the last two weeks (1/4096), and `deviation`, the mean distance of readings from usual (1/4096). While
// fewer readings are known than a weight asks for, it is 1/count: a plain mean. A reading moves usual and
// deviation by no more than 4 deviations, so that a failure does not become the usual.
//
// An alarm begins when level lies more than 3 deviations below usual, after the first day. It is over after a day
// (288 readings) in a row within 1 deviation; until then there is no second alarm.
//
// Only "below": a machine that cools has stopped working. Numbers are readings, not hours: a device with
// a wrong clock cannot silence it.
#ifndef DETECTOR_H
#define DETECTOR_H

#include "detect.h"

#define DETECTOR_FRACTION_BITS 10 // averages are value * 1024

// Takes one value into the model (all zero but the sensor: a new one). True when an alarm begins with it.
bool detector_take(struct model *model, int32_t value);

// How far level lies below usual, in thousandths of a deviation; 0 when it does not.
uint32_t detector_distance(const struct model *model);

#endif
