// SPDX-License-Identifier: ISC
// Adds up the numbers of its connection, and answers with the sum when a timer comes back.
#include "connection.h"

static uint32_t sum;

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    sum += message->number;
    send_tick_after(message, 1000);
}

void on_tick(const struct event *event, const struct word *message)
{
    (void)event;
    struct word answer = {.key = message->number, .number = sum};
    send_answer(&answer);
}
