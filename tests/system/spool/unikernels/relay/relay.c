// SPDX-License-Identifier: ISC
// Sends on by topic, with the number of the message as context; writes down what became of it.
#include "relay.h"

static int is_for(const struct publish *message, const char *way)
{
    size_t length = strlen(way);
    return message->topic_length > 6 + length && memcmp(message->topic + 6, way, length) == 0; // spool/WAY/..
}

void on_in(const struct event *event, const struct publish *message)
{
    if (is_for(message, "newest/"))
        send_newest_receipt(message, &event->number, sizeof event->number);
    else if (is_for(message, "fresh/"))
        send_fresh_receipt(message, &event->number, sizeof event->number);
    else if (is_for(message, "question/"))
        send_question_with(message, &event->number, sizeof event->number);
    else
        send_oldest_receipt(message, &event->number, sizeof event->number);
}

static void note(const struct event *event, uint16_t reason, bool is_taken)
{
    struct end end = {.reason = reason, .is_taken = is_taken};
    if (event->context_bytes != sizeof end.sequence)
        fail("a context of %zu bytes", event->context_bytes);
    memcpy(&end.sequence, event->context, sizeof end.sequence);
    ends_put(&end);
}

void on_told(const struct event *event, const struct receipt *message)
{
    note(event, message->reason, message->is_taken);
}

void on_answer(const struct event *event, const struct publish *message)
{
    (void)message;
    note(event, 0, true); // 0: answered
}
