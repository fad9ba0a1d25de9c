// SPDX-License-Identifier: ISC
// A level as a line on water/shown/tank-1.
#include "display.h"

void on_level(const struct event *event, const struct level *level)
{
    (void)event;
    struct publish publish = {.qos = 0};
    unsigned millimetres = (unsigned)level->level; // never below 0, says the schema
    publish.topic_length = (uint16_t)text_format(publish.topic, sizeof publish.topic, "water/shown/tank-%u",
                                                 (unsigned)level->tank);
    publish.payload_length = (uint16_t)text_format((char *)publish.payload, sizeof publish.payload, "%u.%03u m",
                                                   millimetres / 1000, millimetres % 1000);
    send_shown(&publish);
}
