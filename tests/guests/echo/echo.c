// SPDX-License-Identifier: ISC
// Gives back what it gets, its number one higher.
#include "echo.h"

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    struct word answer = *message;
    answer.number++;
    send_answer(&answer);
    log_info("echoed %u", message->number);
}
