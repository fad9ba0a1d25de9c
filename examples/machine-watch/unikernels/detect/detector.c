// SPDX-License-Identifier: ISC
// The detector: see detector.h for what it does, examples/machine-watch/README.md for how well.
#include "detector.h"

#define LEVEL_READINGS 64
#define USUAL_READINGS 4096
#define DAY_READINGS 288
#define BEGIN_DEVIATIONS 3
#define CALM_DEVIATIONS 1
#define CLIP_DEVIATIONS 4
#define SCALE ((int64_t)1 << DETECTOR_FRACTION_BITS)
#define FIRST_DEVIATION (5000 * SCALE)  // 5 degrees, before anything is known
#define LEAST_DEVIATION (500 * SCALE)   // half a degree: no sensor is that quiet

static int64_t bounded(int64_t value, int64_t limit)
{
    return value > limit ? limit : value < -limit ? -limit : value;
}

bool detector_take(struct model *model, int32_t value)
{
    int64_t scaled = value * SCALE;
    if (model->count == 0) {
        model->level = model->usual = scaled;
        model->deviation = FIRST_DEVIATION;
        model->calm = DAY_READINGS;
    }
    if (model->count < USUAL_READINGS)
        model->count++;
    int64_t count = model->count;
    bool is_known = count > DAY_READINGS;
    int64_t away = scaled - model->usual;
    if (is_known)
        away = bounded(away, CLIP_DEVIATIONS * model->deviation);

    model->level += (scaled - model->level) / (count < LEVEL_READINGS ? count : LEVEL_READINGS);
    model->usual += away / count;
    model->deviation += ((away < 0 ? -away : away) - model->deviation) / count;
    if (model->deviation < LEAST_DEVIATION)
        model->deviation = LEAST_DEVIATION;

    int64_t below = model->usual - model->level;
    if (!is_known)
        return false;
    if (!model->is_alarmed) {
        model->is_alarmed = below > BEGIN_DEVIATIONS * model->deviation;
        if (model->is_alarmed)
            model->calm = 0;
        return model->is_alarmed;
    }
    model->calm = below < CALM_DEVIATIONS * model->deviation ? model->calm + 1 : 0;
    if (model->calm == DAY_READINGS)
        model->is_alarmed = false;
    return false;
}

uint32_t detector_distance(const struct model *model)
{
    int64_t below = model->usual - model->level;
    return below <= 0 ? 0 : (uint32_t)(below * 1000 / model->deviation);
}
