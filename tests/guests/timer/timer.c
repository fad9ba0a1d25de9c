// SPDX-License-Identifier: ISC
// Sends itself two timers, the later one first; a timer answers with its number.
#include "timer.h"

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    struct word late = {.number = message->number + 2};
    struct word soon = {.number = message->number + 1};
    send_tick_after(&late, 2000);
    send_tick_after(&soon, 1000);
}

void on_tick(const struct event *event, const struct word *message)
{
    (void)event;
    send_answer(message);
}
