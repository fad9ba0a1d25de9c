// SPDX-License-Identifier: ISC
// Rounds: a question, its answer, the next question. Bursts: 64 messages in each of its events, four of which are under way.
#include "here.h"

#define BURST 64u
#define SENSORS 4096u

static struct {
    uint64_t left, sequence;
} run;

static void fill(struct reading *reading)
{
    run.sequence++;
    *reading = (struct reading){.time_ms = 1,
                                .sequence = run.sequence,
                                .sensor = (uint32_t)(run.sequence % SENSORS),
                                .value = (int32_t)(run.sequence / SENSORS % 2),
                                .low = -40000,
                                .high = 125000,
                                .battery = 3000,
                                .signal = 50,
                                .site_length = 24,
                                .site = "north.east.tower.level.2"};
}

static void ask(void)
{
    struct reading reading;
    fill(&reading);
    send_ask(&reading);
}

static void more(void)
{
    send_more(&(struct tick){.kind = TICK_KIND_MORE});
}

void on_start(const struct event *event, const struct publish *message)
{
    (void)event;
    unsigned at = 7;
    run.left = 0;
    for (; at < message->payload_length && message->payload[at] >= '0' && message->payload[at] <= '9'; at++)
        run.left = run.left * 10 + (uint64_t)(message->payload[at] - '0');
    if (run.left == 0)
        fail("a start without a number");
    if (message->payload[0] == 'r')
        ask();
    else
        for (unsigned i = 0; i < 4; i++)
            more();
}

void on_answer(const struct event *event, const struct reading *message)
{
    (void)event, (void)message;
    static const char topic[] = "fabric/out";
    if (--run.left != 0) {
        ask();
        return;
    }
    struct publish end = {.topic_length = sizeof topic - 1, .payload_length = 3};
    memcpy(end.topic, topic, sizeof topic - 1);
    memcpy(end.payload, "end", 3);
    send_finished(&end);
}

void on_more(const struct event *event, const struct tick *message)
{
    (void)event, (void)message;
    struct reading reading;
    for (unsigned i = 0; i < BURST && run.left != 0; i++) {
        run.left--;
        fill(&reading);
        reading.is_calibrated = run.left == 0; // the last one
        send_burst(&reading);
    }
    if (run.left != 0)
        more();
}
