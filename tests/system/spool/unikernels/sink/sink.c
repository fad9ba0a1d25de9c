// SPDX-License-Identifier: ISC
// One tally for each topic: how many, their sum, and whether each number is above the one before.
#include "sink.h"

static int is_payload(const struct publish *message, const char *text)
{
    return message->payload_length == strlen(text) && memcmp(message->payload, text, strlen(text)) == 0;
}

static void take(const struct publish *message)
{
    struct tally tally = {.topic_length = message->topic_length};
    volatile uintptr_t nowhere = 8;
    int64_t number;
    if (message->topic_length > sizeof tally.topic)
        event_refuse(REFUSE_POISON);
    memcpy(tally.topic, message->topic, message->topic_length);
    if (is_payload(message, "refuse"))
        event_refuse(REFUSE_POISON);
    if (is_payload(message, "crash"))
        *(volatile int *)nowhere = 1;
    for (volatile int is_on = is_payload(message, "loop"); is_on;)
        ;
    if (is_payload(message, "large")) // over the schema's maximum: the router refuses it
        tally.count = 100000001;
    else if (!integer_parse((const char *)message->payload, message->payload_length, &number))
        event_refuse(REFUSE_POISON);
    else if (!tallies_get(message->topic, message->topic_length, &tally))
        tally = (struct tally){.count = 1, .sum = (uint64_t)number, .last = (uint32_t)number,
                               .topic_length = message->topic_length};
    else {
        tally.count++;
        tally.sum += (uint64_t)number;
        tally.disorder += (uint32_t)number <= tally.last;
        tally.last = (uint32_t)number;
    }
    memcpy(tally.topic, message->topic, message->topic_length);
    tallies_put(&tally);
}

void on_oldest(const struct event *event, const struct publish *message)
{
    (void)event;
    take(message);
}

void on_newest(const struct event *event, const struct publish *message)
{
    (void)event;
    take(message);
}

void on_fresh(const struct event *event, const struct publish *message)
{
    (void)event;
    take(message);
}

void on_question(const struct event *event, const struct publish *message)
{
    (void)event;
    if (!is_payload(message, "silence"))
        reply_answer(message);
}
