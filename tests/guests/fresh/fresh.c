// SPDX-License-Identifier: ISC
// Plants a word wherever it can write, and counts how often it finds it there.
#include "fresh.h"

#define SECRET 0x5ec7e75ec7e75ec7u

static uint64_t planted[512];
static uint64_t initialised[4] = {1, 2, 3, 4};

static unsigned find(volatile uint64_t *words, size_t count)
{
    unsigned found = 0;
    for (size_t i = 0; i < count; i++) {
        found += words[i] == SECRET;
        words[i] = SECRET;
    }
    return found;
}

static __attribute__((noinline)) unsigned find_in_stack(void)
{
    volatile uint64_t words[1024];
    return find(words, 1024);
}

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    (void)message;
    struct word answer = {.number = find(planted, 512) + find(initialised, 4) + find_in_stack() +
                                    find(arena_allocate(4096), 512)};
    send_answer(&answer);
}
