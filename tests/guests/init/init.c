// SPDX-License-Identifier: ISC
// Faults before its first event.
#include "init.h"

void init(void)
{
    *(volatile int *)(uintptr_t)init = 1;
}

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    (void)message;
}
