// SPDX-License-Identifier: ISC
// An operator's command is words: `open 1 40`, `set 1 25`, `close 1`, `lock 1`, `unlock 1`. It is approved when there is
// such a tank and its water does not stand too high for a valve to open.
#include "approve.h"

struct words {
    const char *at, *end;
};

static size_t take_word(struct words *words, const char **word)
{
    *word = words->at;
    while (words->at < words->end && *words->at != ' ')
        words->at++;
    size_t length = (size_t)(words->at - *word);
    if (words->at < words->end)
        words->at++; // one space
    return length;
}

static enum command_op take_op(struct words *words)
{
    static const char names[][8] = {[COMMAND_OP_OPEN] = "open", [COMMAND_OP_SET] = "set", [COMMAND_OP_CLOSE] = "close",
                                    [COMMAND_OP_LOCK] = "lock", [COMMAND_OP_UNLOCK] = "unlock"};
    const char *word;
    size_t length = take_word(words, &word);
    for (unsigned op = 0; op < sizeof names / sizeof names[0]; op++)
        if (length == strlen(names[op]) && memcmp(word, names[op], length) == 0)
            return (enum command_op)op;
    event_refuse(REFUSE_UNKNOWN_COMMAND);
}

static int64_t take_number(struct words *words, int64_t most)
{
    const char *word;
    size_t length = take_word(words, &word);
    int64_t number;
    if (!integer_parse(word, length, &number) || number < 0 || number > most)
        event_refuse(REFUSE_UNKNOWN_COMMAND);
    return number;
}

void on_typed(const struct event *event, const struct publish *message)
{
    (void)event;
    struct words words = {(const char *)message->payload, (const char *)message->payload + message->payload_length};
    struct command command = {.by = COMMAND_BY_OPERATOR};
    struct tank tank;
    command.op = (uint8_t)take_op(&words);
    command.tank = (uint16_t)take_number(&words, UINT16_MAX);
    if (command.op == COMMAND_OP_OPEN || command.op == COMMAND_OP_SET)
        command.percent = (uint8_t)take_number(&words, UINT8_MAX);
    if (words.at != words.end)
        event_refuse(REFUSE_UNKNOWN_COMMAND);
    if (!tanks_get(command.tank, &tank))
        event_refuse(REFUSE_UNKNOWN_TANK);
    if (command.percent > 0 && tank.level > configuration_integer("high_mm", 8000))
        event_refuse(REFUSE_TANK_IS_FULL);
    send_wish(&command);
}
