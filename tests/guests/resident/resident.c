// SPDX-License-Identifier: ISC
// Counts in a global; a resident instance keeps it.
#include "resident.h"

static unsigned count;

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    if (message->number == 0)
        event_refuse(REFUSE_ZERO);
    struct word answer = {.number = ++count};
    send_answer(&answer);
}
