// SPDX-License-Identifier: ISC
// Sends on what it gets.
#include "relay.h"

void on_kept(const struct event *event, const struct publish *message)
{
    (void)event;
    send_kept(message);
}

void on_quick(const struct event *event, const struct publish *message)
{
    (void)event;
    send_quick(message);
}
