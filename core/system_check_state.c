// SPDX-License-Identifier: ISC
// The checks of flow state and the machines of a compiled system agree with flows and schemas.
//
// - The checks of a flow stand behind those of the flow before it, in the order of their kinds; what a kind has no
//   use for is zero or SYSTEM_NONE. No two have the same id.
// - Fields that are measured are integers; a machine's are integers, booleans or enumerations of the flow's schema.
// - keys_max is set exactly for flows with a check that needs a state; 1 without a key field. All states together
//   take at most SYSTEM_STATE_BYTES_MAX.
// - Only flows from unikernels have checks. What observes leads to no actuator, and is none itself; an actuator
//   with a machine is durable.
// - A machine's states have different names; its transitions lead between them, its conditions are ranges of
//   fields that the schema has. A name may stand twice with different schemas, not with the same.
#include "core/flow_check.h"
#include "core/system_check.h"
#include "core/zero.h"

#include <string.h>

static int is_number(const struct schema *schema, uint16_t field)
{
    return field < schema->header->field_count && schema->fields[field].type <= SCHEMA_I64 &&
           schema_has_value(schema, field);
}

static int are_ticks_good(const struct system_check *check)
{
    if (check->kind == SYSTEM_CHECK_FRESH)
        return check->ticks >= 1 && check->ticks <= 1000000000;
    return check->kind == SYSTEM_CHECK_SLOPE ? check->ticks >= 1
                                             : check->ticks == 0 || check->kind == SYSTEM_CHECK_STEP;
}

static int is_check_good(const struct system_view *system, const struct system_flow *flow,
                         const struct system_check *check)
{
    const struct schema *schema = &system->schemas[flow->schema];
    unsigned kind = check->kind;
    int is_rate = kind == SYSTEM_CHECK_RATE || kind == SYSTEM_CHECK_BYTES;
    int has_field = !is_rate && kind != SYSTEM_CHECK_MACHINE;
    if (kind == 0 || kind >= SYSTEM_CHECK_KINDS || check->zero != 0 || !are_ticks_good(check))
        return 0;
    if (has_field ? !is_number(schema, check->field) : check->field != SYSTEM_NONE)
        return 0;
    if (check->time_field != SYSTEM_NONE &&
        (kind != SYSTEM_CHECK_SLOPE || !is_number(schema, check->time_field)))
        return 0;
    if (kind == SYSTEM_CHECK_MACHINE ? check->machine >= system->machine_count ||
                                           system->machines[check->machine].schema != flow->schema
                                     : check->machine != SYSTEM_NONE)
        return 0;
    if (check->window != 0 &&
        (kind != SYSTEM_CHECK_ORDER || (check->window != 64 && check->window != SYSTEM_WINDOW_MAX)))
        return 0;
    if (check->line == 0 && check->most != UINT64_MAX)
        return 0; // nobody asked for it
    return is_rate == (check->per_second != 0);
}

const char *system_check_flow_state(const struct system_view *system, size_t index)
{
    static const char why[] = "a flow's checks are malformed";
    const struct system_flow *flow = &system->flows[index];
    const struct system_flow *before = index != 0 ? flow - 1 : NULL;
    size_t first = before != NULL ? (size_t)before->check_first + before->check_count : 0;
    const struct system_check *checks = system->checks + flow->check_first;
    if (flow->check_first != first || flow->check_count > SYSTEM_FLOW_CHECKS_MAX ||
        first + flow->check_count > system->check_count)
        return why;
    if (flow->check_count != 0 && flow->sender_kind != SYSTEM_UNIKERNEL && flow->sender_kind != SYSTEM_COURIER &&
        !(flow->sender_kind == SYSTEM_SERVICE && system_is_turning(system, flow->sender)))
        return why;
    for (size_t i = 0; i < flow->check_count; i++) {
        if (!is_check_good(system, flow, &checks[i]) || (i != 0 && checks[i].kind < checks[i - 1].kind))
            return why;
        for (size_t j = 0; j < i; j++)
            if (checks[i].id == checks[j].id)
                return why;
    }
    uint32_t words = flow_state_words(system, flow);
    if (words > FLOW_STATE_WORDS_MAX || (words != 0) != (flow->keys_max != 0) ||
        flow->keys_max > SYSTEM_KEYS_MAX || (words != 0 && flow->key_field == SYSTEM_NONE && flow->keys_max != 1))
        return "a flow's number of keys is malformed";
    return NULL;
}

// ---- Actuators ----

static int leads_to_actuator(const struct system_view *system, const struct system_flow *flow)
{
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *next = &system->flows[i];
        for (unsigned j = 0; next->is_actuator && j < flow->receiver_count; j++)
            if (flow->receivers[j].kind == SYSTEM_UNIKERNEL && next->sender_kind == SYSTEM_UNIKERNEL &&
                flow->receivers[j].index == next->sender)
                return 1;
    }
    return flow->is_actuator;
}

static int is_actuator_good(const struct system_view *system, const struct system_flow *flow)
{
    int has_machine = 0;
    for (size_t i = 0; i < flow->check_count; i++)
        has_machine |= system->checks[flow->check_first + i].kind == SYSTEM_CHECK_MACHINE;
    return (!flow->is_actuator || !has_machine || flow->is_durable) &&
           (!flow->is_observed || !leads_to_actuator(system, flow));
}

// ---- Machines ----

static int is_state(const struct system_machine *machine, uint32_t state)
{
    return flow_state_name(machine, state) != NULL;
}

static int is_condition_good(const struct schema *schema, const struct system_condition *condition)
{
    if (condition->field >= schema->header->field_count || schema->fields[condition->field].type > SCHEMA_ENUM ||
        !schema_has_value(schema, condition->field))
        return 0;
    const struct schema_field *field = &schema->fields[condition->field];
    return flow_ordered(field, condition->low) <= flow_ordered(field, condition->high) &&
           is_zero((const void *)condition->zero, 0, sizeof condition->zero);
}

static int is_transition_good(const struct system_machine *machine, const struct schema *schema,
                              const struct system_transition *transition)
{
    if (transition->condition_count > SYSTEM_CONDITIONS_MAX || transition->zero != 0 ||
        !is_state(machine, transition->from) || !is_state(machine, transition->to))
        return 0;
    for (size_t i = 0; i < transition->condition_count; i++)
        if (!is_condition_good(schema, &transition->conditions[i]))
            return 0;
    return is_zero((const void *)transition->conditions,
                   transition->condition_count * sizeof transition->conditions[0], sizeof transition->conditions);
}

static int is_machine_good(const struct system_view *system, size_t index)
{
    const struct system_machine *machine = &system->machines[index];
    if (!system_is_name(machine->name) || machine->schema >= system->schema_count || machine->state_count == 0 ||
        machine->state_count > SYSTEM_STATES_MAX || machine->transition_count > SYSTEM_TRANSITIONS_MAX ||
        machine->start >= machine->state_count)
        return 0;
    for (size_t i = 0; i < index; i++)
        if (strcmp(system->machines[i].name, machine->name) == 0 && system->machines[i].schema == machine->schema)
            return 0;
    for (size_t i = 0; i < machine->state_count; i++) {
        if (!system_is_name(machine->states[i]))
            return 0;
        for (size_t j = 0; j < i; j++)
            if (flow_name_hash(FLOW_NAME_HASH, machine->states[i]) ==
                flow_name_hash(FLOW_NAME_HASH, machine->states[j]))
                return 0;
    }
    for (size_t i = 0; i < machine->transition_count; i++)
        if (!is_transition_good(machine, &system->schemas[machine->schema], &machine->transitions[i]))
            return 0;
    return is_zero((const void *)machine->states, machine->state_count * sizeof machine->states[0],
                   sizeof machine->states) &&
           is_zero((const void *)machine->transitions, machine->transition_count * sizeof machine->transitions[0],
                   sizeof machine->transitions);
}

const char *system_check_state(const struct system_view *system)
{
    uint64_t bytes = 0;
    size_t checks = 0;
    for (size_t i = 0; i < system->machine_count; i++)
        if (!is_machine_good(system, i))
            return "a machine is malformed";
    for (size_t i = 0; i < system->flow_count; i++) {
        if (!is_actuator_good(system, &system->flows[i]))
            return "a flow that leads to an actuator is not checked as it must be";
        bytes += flow_state_bytes(system, &system->flows[i]);
        checks += system->flows[i].check_count;
    }
    if (checks != system->check_count)
        return "a check belongs to no flow";
    return bytes <= SYSTEM_STATE_BYTES_MAX ? NULL : "the states of keys take too much memory";
}
