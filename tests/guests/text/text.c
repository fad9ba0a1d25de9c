// SPDX-License-Identifier: ISC
// Writes to its own code; must die of it.
#include "text.h"

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    (void)message;
    *(volatile uint8_t *)(uintptr_t)on_ask = 0x90;
    struct word answer = {0};
    send_answer(&answer);
}
