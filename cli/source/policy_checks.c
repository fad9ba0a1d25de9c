// SPDX-License-Identifier: ISC
// Words for the checks of flow state.
#include "cli/source/policy_checks.h"

#include "core/field_words.h"
#include "core/flow_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void span_text(uint64_t ticks, char text[32])
{
    if (ticks % 1000 == 0)
        snprintf(text, 32, "%" PRIu64 "s", ticks / 1000);
    else
        snprintf(text, 32, "%" PRIu64 "ms", ticks);
}

// What slopes and freshness count in, as a text of `per` and `within`.
static void time_text(const struct schema *schema, const struct system_check *check, char text[32])
{
    if (check->kind == SYSTEM_CHECK_FRESH)
        span_text((uint64_t)((unsigned __int128)check->most * 1000 / check->ticks), text);
    else if (check->time_field == SYSTEM_NONE)
        span_text(check->ticks, text);
    else
        snprintf(text, 32, "%" PRIu64 " %s", check->ticks, schema->fields[check->time_field].unit);
}

void policy_check_text(const struct system_view *system, const struct system_flow *flow,
                       const struct system_check *check, char name[64], char *text, size_t capacity)
{
    static const char *const names[SYSTEM_CHECK_KINDS] = {
        "", "low", "high", "fresh", "replay", "step", "slope", "machine", "rate", "bytes"};
    const struct schema *schema = &system->schemas[flow->schema];
    const struct schema_field *field = check->field != SYSTEM_NONE ? &schema->fields[check->field] : NULL;
    const char *key = flow->key_field != SYSTEM_NONE ? schema->fields[flow->key_field].name : "flow";
    const char *clock = check->time_field != SYSTEM_NONE ? schema->fields[check->time_field].name : "the host's clock";
    char most[32], time[32];
    field_number_text(SCHEMA_U64, field != NULL ? field->decimals : 0, (int64_t)check->most, most, sizeof most);
    snprintf(name, 64, "%s %s", names[check->kind],
             field != NULL ? field->name : check->machine != SYSTEM_NONE ? system->machines[check->machine].name : key);
    if (check->most == UINT64_MAX) { // only where nothing is refused: to learn a bound
        snprintf(text, capacity, "has no bound yet for each %s, it is measured", key);
        return;
    }
    switch ((enum system_check_kind)check->kind) {
    case SYSTEM_CHECK_FRESH:
        time_text(schema, check, time);
        snprintf(text, capacity, "within %s of the host's clock", time);
        return;
    case SYSTEM_CHECK_ORDER:
        if (check->window == 0)
            snprintf(text, capacity, "must rise for each %s", key);
        else
            snprintf(text, capacity, "each number once for each %s, at most %u behind the highest", key, check->window - 1);
        return;
    case SYSTEM_CHECK_STEP:
        span_text(check->ticks, time);
        snprintf(text, capacity, "moves by at most %s from one message of a %s to the next%s%s", most, key,
                 check->ticks != 0 ? " within " : "", check->ticks != 0 ? time : "");
        return;
    case SYSTEM_CHECK_SLOPE:
        time_text(schema, check, time);
        snprintf(text, capacity, "moves by at most %s in %s for each %s, by %s", most, time, key, clock);
        return;
    case SYSTEM_CHECK_MACHINE:
        snprintf(text, capacity, "a transition from the state of the %s must fit", key);
        return;
    case SYSTEM_CHECK_RATE:
    case SYSTEM_CHECK_BYTES:
        snprintf(text, capacity, "%u a second, burst %s, for each %s; more is refused", check->per_second, most, key);
        return;
    case SYSTEM_CHECK_LOW:
    case SYSTEM_CHECK_HIGH:
    case SYSTEM_CHECK_KINDS:
    default:
        snprintf(text, capacity, "to learn");
    }
}

// A line for each transition: "closed (start): op open with pressure 0.000 to 9.500 -> open".
static void transitions_add(const struct system_view *system, const struct system_flow *flow,
                            const struct system_machine *machine, cJSON *checks)
{
    const struct schema *schema = &system->schemas[flow->schema];
    for (uint16_t i = 0; i < machine->transition_count; i++) {
        const struct system_transition *transition = &machine->transitions[i];
        char name[64], text[256], low[40], high[40];
        int is_start = flow_name_hash(FLOW_NAME_HASH, machine->states[machine->start]) == transition->from;
        size_t used = (size_t)snprintf(text, sizeof text, "%s%s: %s", flow_state_name(machine, transition->from),
                                       is_start ? " (start)" : "", transition->condition_count == 0 ? "every message" : "");
        for (uint32_t j = 0; j < transition->condition_count && used < sizeof text; j++) {
            const struct system_condition *condition = &transition->conditions[j];
            const struct schema_field *field = &schema->fields[condition->field];
            field_value_text(schema, field, condition->low, low, sizeof low);
            field_value_text(schema, field, condition->high, high, sizeof high);
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %s%s%s", j == 0 ? "" : " with ", field->name, low,
                                     condition->low != condition->high ? " to " : "", condition->low != condition->high ? high : "");
        }
        if (used < sizeof text)
            snprintf(text + used, sizeof text - used, " -> %s", flow_state_name(machine, transition->to));
        snprintf(name, sizeof name, "  way %u", i + 1u);
        cJSON_AddStringToObject(checks, name, text);
    }
}

void policy_checks_add(const struct system_view *system, const struct system_flow *flow, cJSON *checks)
{
    char name[64], text[256];
    for (size_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        if (check->line == 0)
            continue;
        policy_check_text(system, flow, check, name, text, sizeof text);
        snprintf(text + strlen(text), sizeof text - strlen(text), " (line %u)", check->line);
        cJSON_AddStringToObject(checks, name, text);
        if (check->machine != SYSTEM_NONE)
            transitions_add(system, flow, &system->machines[check->machine], checks);
    }
    if (flow->keys_max != 0) {
        uint64_t first, bytes = flow_state_bytes(system, flow);
        snprintf(text, sizeof text, "%u%s, %" PRIu64 " KiB of state", flow->keys_max,
                 flow_keys_are_direct(system, flow, &first) ? "" : " at most, a new one beyond them is refused",
                 (bytes + 1023) / 1024);
        cJSON_AddStringToObject(checks, "keys", text);
    }
    if (flow->is_observed)
        cJSON_AddStringToObject(checks, "OBSERVED", "these checks of order and rate by key REFUSE NOTHING, they only count");
    for (size_t i = 0; i < flow->receiver_count; i++) {
        const struct system_receiver *to = &flow->receivers[i];
        if (to->older_schema == 0)
            continue;
        snprintf(text, sizeof text, "cut to %s", system->schemas[to->older_schema - 1].header->name);
        snprintf(name, sizeof name, "for %s", system->unikernels[to->index].name);
        cJSON_AddStringToObject(checks, name, text);
    }
    if (flow->is_sealed)
        cJSON_AddStringToObject(checks, "SEALED", "part of it CANNOT BE INSPECTED but for its length");
    if (flow->is_actuator)
        cJSON_AddStringToObject(checks, "actuator", "what it leads to acts on the world");
}

uint64_t policy_checks_bytes(const struct system_view *system)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < system->flow_count; i++)
        bytes += flow_state_bytes(system, &system->flows[i]);
    return bytes;
}

void policy_checks_warn(const struct system_view *system)
{
    uint64_t bytes = policy_checks_bytes(system);
    if (bytes != 0)
        printf("\nstates of keys: %" PRIu64 " KiB of memory in the router\n", (bytes + 1023) / 1024);
    for (size_t i = 0; i < system->flow_count; i++)
        if (system->flows[i].is_observed)
            printf("\nOBSERVED: flow '%s' (line %u) REFUSES NOTHING for order, freshness, step, slope, state or rate of a key\n",
                   system->flows[i].name, system->flows[i].line);
}
