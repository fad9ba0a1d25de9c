// SPDX-License-Identifier: ISC
// What a command is in the actuator's language: JSON on water/valve-1/order.
#include "valve.h"

void on_command(const struct event *event, const struct command *command)
{
    static const char ops[][8] = {[COMMAND_OP_OPEN] = "open", [COMMAND_OP_SET] = "set", [COMMAND_OP_CLOSE] = "close",
                                  [COMMAND_OP_LOCK] = "lock", [COMMAND_OP_UNLOCK] = "unlock"};
    struct publish publish = {.qos = 1};
    publish.topic_length = (uint16_t)text_format(publish.topic, sizeof publish.topic, "water/valve-%u/order",
                                                 (unsigned)command->tank);
    publish.payload_length = (uint16_t)text_format((char *)publish.payload, sizeof publish.payload,
                                                   "{\"order\":\"%s\",\"percent\":%u,\"by\":\"%s\",\"time_ms\":%lld}",
                                                   ops[command->op], (unsigned)command->percent,
                                                   command->by == COMMAND_BY_OPERATOR ? "operator" : "controller",
                                                   (long long)event->time_ms);
    send_order(&publish);
}
