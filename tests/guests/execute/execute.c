// SPDX-License-Identifier: ISC
// Writes an instruction into its arena and jumps there; must die of it.
#include "execute.h"

void on_ask(const struct event *event, const struct word *message)
{
    (void)event;
    (void)message;
    uint8_t *code = arena_allocate(16);
    code[0] = 0xc3; // ret
    ((void (*)(void))(uintptr_t)code)();
    struct word answer = {0};
    send_answer(&answer);
}
