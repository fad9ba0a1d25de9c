// SPDX-License-Identifier: ISC
// Opens a tank's valve when the water stands low, closes it when it stands high or the pipe knocks, and does what an
// operator wishes. What it believes of each valve lies in the store, and is written in one transaction with the command.
//
// That a command fits the valve's state is not asked of this code: the state machine of the flow `command` says it. If
// control were taken over, it could do with a valve what the machine allows, and nothing else.
//
// Each command has a receipt. One that the valve's unikernel did not take in time (it was stopped, say) is followed by
// `close`: a valve of which nobody knows is a closed one.
#include "control.h"

static struct tank tank_read(uint16_t number)
{
    struct tank tank = {0};
    tanks_get(number, &tank); // absent: a tank never seen starts from zero, its valve closed
    tank.tank = number;
    return tank;
}

static void order(struct tank *tank, enum command_op op, uint8_t percent, enum command_by by)
{
    static const enum tank_valve after[] = {[COMMAND_OP_OPEN] = TANK_VALVE_OPEN, [COMMAND_OP_SET] = TANK_VALVE_OPEN,
                                            [COMMAND_OP_CLOSE] = TANK_VALVE_CLOSED,
                                            [COMMAND_OP_LOCK] = TANK_VALVE_LOCKED,
                                            [COMMAND_OP_UNLOCK] = TANK_VALVE_CLOSED};
    struct command command = {.tank = tank->tank, .op = (uint8_t)op, .percent = percent, .by = (uint8_t)by};
    tank->valve = (uint8_t)after[op];
    send_command_receipt(&command, &command, sizeof command);
}

void on_level(const struct event *event, const struct level *message)
{
    (void)event;
    struct tank tank = tank_read(message->tank);
    tank.level = message->level;
    tank.level_ms = message->time_ms;
    if (tank.valve == TANK_VALVE_CLOSED && tank.level < configuration_integer("low_mm", 2000))
        order(&tank, COMMAND_OP_OPEN, 60, COMMAND_BY_CONTROLLER);
    else if (tank.valve == TANK_VALVE_OPEN && tank.level > configuration_integer("high_mm", 8000))
        order(&tank, COMMAND_OP_CLOSE, 0, COMMAND_BY_CONTROLLER);
    tanks_put(&tank);
}

void on_pressure(const struct event *event, const struct pressure *message)
{
    (void)event;
    struct tank tank = tank_read(message->tank);
    tank.highest_bar = message->highest;
    if (tank.valve == TANK_VALVE_OPEN && tank.highest_bar > configuration_integer("knock_mbar", 16000)) {
        log_warning("tank %u: the pipe knocks, %d mbar", (unsigned)tank.tank, (int)tank.highest_bar);
        order(&tank, COMMAND_OP_CLOSE, 0, COMMAND_BY_CONTROLLER);
    }
    tanks_put(&tank);
}

void on_wish(const struct event *event, const struct command *message)
{
    (void)event;
    struct tank tank = tank_read(message->tank);
    order(&tank, (enum command_op)message->op, message->percent, COMMAND_BY_OPERATOR);
    tanks_put(&tank);
}

void on_told(const struct event *event, const struct receipt *message)
{
    struct command command;
    if (message->is_taken)
        return;
    if (event->context_bytes != sizeof command)
        fail("a context of %zu bytes", event->context_bytes);
    memcpy(&command, event->context, sizeof command);
    log_error("tank %u: the valve took no command (%u), and is told to close", (unsigned)command.tank,
              (unsigned)message->reason);
    struct tank tank = tank_read(command.tank);
    if (tank.valve == TANK_VALVE_LOCKED) // locked meanwhile: so it was closed
        return;
    order(&tank, COMMAND_OP_CLOSE, 0, COMMAND_BY_CONTROLLER);
    tanks_put(&tank);
}
