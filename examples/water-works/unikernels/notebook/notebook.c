// SPDX-License-Identifier: ISC
// `1 pump sounds odd` becomes a note about tank 1. What the text may hold, the schema says.
#include "notebook.h"

void on_note_text(const struct event *event, const struct publish *message)
{
    struct note note = {.number = event->number, .time_ms = event->time_ms};
    const char *begin = (const char *)message->payload, *end = begin + message->payload_length;
    const char *space = memchr(begin, ' ', message->payload_length);
    int64_t tank;
    if (space == NULL || !integer_parse(begin, (size_t)(space - begin), &tank) || tank < 0 || tank > UINT16_MAX)
        event_refuse(REFUSE_UNKNOWN_TANK);
    const char *text = space + 1;
    if ((size_t)(end - text) > NOTE_TEXT_MOST)
        event_refuse(REFUSE_TOO_LONG);
    note.tank = (uint16_t)tank;
    note.text_length = (uint16_t)(end - text);
    memcpy(note.text, text, note.text_length);
    notes_put(&note);
}
