// SPDX-License-Identifier: ISC
// Writes to page 0; must die of it and never answer.
#include "null.h"

static void write_to(volatile int *address)
{
    *address = 1;
}

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    log_info("about to write to page 0");
    write_to((volatile int *)(uintptr_t)(message->number & 0xff8));
    struct word answer = {0};
    send_answer(&answer);
}
