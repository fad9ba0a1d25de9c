// SPDX-License-Identifier: ISC
// Sends every publication on, under its topic with "/out" behind it. As little work as a unikernel can do.
#include "relay.h"

static void to_out(const struct publish *from, struct publish *to)
{
    static const char suffix[] = "/out";
    *to = *from;
    if (to->topic_length + sizeof suffix - 1 > sizeof to->topic)
        fail("no room behind a topic of %u bytes", (unsigned)to->topic_length);
    memcpy(to->topic + to->topic_length, suffix, sizeof suffix - 1);
    to->topic_length = (uint16_t)(to->topic_length + sizeof suffix - 1);
}

void on_volatile_in(const struct event *event, const struct publish *message)
{
    struct publish out;
    (void)event;
    to_out(message, &out);
    send_volatile_out(&out);
}

void on_durable_in(const struct event *event, const struct publish *message)
{
    struct publish out;
    (void)event;
    to_out(message, &out);
    send_durable_out(&out);
}
