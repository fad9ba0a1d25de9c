// SPDX-License-Identifier: ISC
// Does the act that the message names; answers if it lives on.
#include "acts.h"

void on_ask(const struct event *event, const struct word *message)
{
    struct word answer = {.key = message->key, .number = message->number};
    (void)event;
    switch (message->number) {
    case WHERE: case READ: case WRITE: case EXECUTE: case WALK_UP: case WALK_DOWN: case FAR:
        act_on_memory(message->number, message->key);
        break;
    case SMASH: case BIG_FRAME: case RECURSE: case ARENA_OVER: case INDEX: case COPY: case FORMAT: case STALE:
        act_on_objects(message->number, message->key);
        break;
    default:
        act_on_processor(message->number, message->key);
        break;
    }
    send_answer(&answer);
}
