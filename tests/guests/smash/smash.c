// SPDX-License-Identifier: ISC
// Writes past a local array; the stack canary must stop it before it returns.
#include "smash.h"

static __attribute__((noinline)) void fill(volatile char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = 'A';
}

static __attribute__((noinline)) void overflow(size_t size)
{
    char bytes[16];
    fill(bytes, size);
}

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    overflow(message->number);
    struct word answer = {.number = message->number};
    send_answer(&answer);
}
