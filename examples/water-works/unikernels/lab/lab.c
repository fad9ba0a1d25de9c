// SPDX-License-Identifier: ISC
// The last value of each tank.
#include "lab.h"

void on_turbidity(const struct event *event, const struct turbidity *message)
{
    (void)event;
    trials_put(message);
}
