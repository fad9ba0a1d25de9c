// SPDX-License-Identifier: ISC
// Never ends its first attempt; answers a second one.
#include "loop.h"

void on_ask(const struct event *event, const struct word *message)
{
    while (event->attempt == 1)
        __asm__ volatile("pause");
    struct word answer = {.number = message->number + event->attempt};
    send_answer(&answer);
}
