// SPDX-License-Identifier: ISC
// State machines of a system, and what concerns the checks of all its flows: actuators, memory.
//
// A machine is written once and compiled for each schema whose messages it judges. No message may fit two
// transitions that lead to different states, and every state can be reached.
#include "cli/source/compile_state.h"

#include "cli/source/schema_source.h"
#include "core/flow_check.h"

#include <stdio.h>
#include <string.h>

#define STATE_BYTES 268435456 // of all keys, unless the system says otherwise

void compile_machine_names(struct compile *compile)
{
    struct yaml_node *mapping;
    compile->machine_node_count = compile_entries(compile, "machines", SYSTEM_MACHINES_MAX, &mapping);
    for (size_t i = 0; i < compile->machine_node_count; i++)
        compile->machine_nodes[i] = mapping->children[i];
}

// ---- Conditions ----

struct drawing { // one machine for one schema
    struct compile *compile;
    const struct schema *schema;
    struct system_machine *machine;
};

static int value_read(const struct schema *schema, const struct schema_field *field, const char *text, int64_t *value)
{
    if (field->type == SCHEMA_BOOL) {
        *value = strcmp(text, "true") == 0;
        return *value || strcmp(text, "false") == 0;
    }
    for (*value = 0; field->type == SCHEMA_ENUM && *value < field->label_count; ++*value)
        if (strcmp(schema->labels[field->label_first + *value].text, text) == 0)
            return 1;
    return field->type <= SCHEMA_I64 && schema_number_read(text, field->type, field->decimals, value) &&
           flow_ordered(field, *value) >= flow_ordered(field, field->minimum) &&
           flow_ordered(field, *value) <= flow_ordered(field, field->maximum);
}

// FIELD: VALUE, or FIELD: [LOW, HIGH].
static void read_condition(struct drawing *of, struct yaml_node *node, struct system_condition *condition)
{
    struct yaml_file *file = &of->compile->file;
    const struct schema *schema = of->schema;
    node->is_used = 1;
    int index = compile_refer(of->compile, node, "field", schema->fields, sizeof schema->fields[0],
                              schema->header->field_count, node->key);
    if (index < 0)
        return;
    const struct schema_field *field = &schema->fields[index];
    condition->field = (uint16_t)index;
    if (!schema_has_value(schema, condition->field)) {
        yaml_error(file, node, "name a field that is in no array and not sealed", "'%s' is no condition", field->name);
        return;
    }
    int is_range = node->kind == YAML_SEQUENCE && node->count == 2;
    for (int i = 0; i < 2; i++) {
        const struct yaml_node *bound = is_range ? node->children[i] : node;
        if (bound->kind == YAML_SCALAR &&
            value_read(schema, field, bound->text, i == 0 ? &condition->low : &condition->high))
            continue;
        yaml_error(file, node, "write a value that its schema allows, or [LOWEST, HIGHEST]",
                   bound->kind == YAML_SCALAR ? "'%s' can never be '%s'" : "'%s' has the wrong form", field->name,
                   bound->kind == YAML_SCALAR ? bound->text : "");
        return;
    }
    if (flow_ordered(field, condition->low) > flow_ordered(field, condition->high))
        yaml_error(file, node, "exchange them", "the lowest is above the highest");
}

static int state_find(struct drawing *of, const struct yaml_node *node)
{
    const char *text = node->kind == YAML_SCALAR ? node->text : "";
    return compile_refer(of->compile, node, "state", of->machine->states, sizeof of->machine->states[0],
                         of->machine->state_count, text);
}

static uint32_t state_id(const struct system_machine *machine, int index)
{
    return flow_name_hash(FLOW_NAME_HASH, machine->states[index]);
}

// Is there a message that fits both?
static int do_overlap(const struct schema *schema, const struct system_transition *a, const struct system_transition *b)
{
    for (uint32_t i = 0; i < a->condition_count; i++)
        for (uint32_t j = 0; j < b->condition_count; j++) {
            const struct system_condition *one = &a->conditions[i], *other = &b->conditions[j];
            const struct schema_field *field = &schema->fields[one->field];
            if (one->field == other->field && (flow_ordered(field, one->high) < flow_ordered(field, other->low) ||
                                               flow_ordered(field, other->high) < flow_ordered(field, one->low)))
                return 0;
        }
    return 1;
}

static void transition_add(struct drawing *of, const struct yaml_node *node, const struct yaml_node *from,
                           struct system_transition transition)
{
    struct yaml_file *file = &of->compile->file;
    struct system_machine *machine = of->machine;
    int index = state_find(of, from);
    if (index < 0)
        return;
    transition.from = state_id(machine, index);
    if (machine->transition_count == SYSTEM_TRANSITIONS_MAX) {
        yaml_error(file, node, "make ranges of values, or two machines", "more than %u transitions", SYSTEM_TRANSITIONS_MAX);
        return;
    }
    for (size_t i = 0; i < machine->transition_count; i++) {
        const struct system_transition *other = &machine->transitions[i];
        if (other->from == transition.from && other->to != transition.to && do_overlap(of->schema, other, &transition))
            yaml_error(file, node, "let their conditions exclude each other",
                       "a message may fit two transitions from '%s', to '%s' and to '%s'", machine->states[index],
                       flow_state_name(machine, other->to), flow_state_name(machine, transition.to));
    }
    machine->transitions[machine->transition_count++] = transition;
}

static void read_transition(struct drawing *of, struct yaml_node *node)
{
    struct yaml_file *file = &of->compile->file;
    struct system_transition transition = {0};
    const struct yaml_node *from = yaml_any(node, "from"), *to = yaml_child(file, node, "to", YAML_SCALAR, 1);
    struct yaml_node *when = yaml_child(file, node, "when", YAML_MAPPING, 0);
    if (from == NULL)
        (void)yaml_child(file, node, "from", YAML_SCALAR, 1); // says so
    if (when != NULL && when->count > SYSTEM_CONDITIONS_MAX)
        yaml_error(file, when, "name fewer fields", "more than %u conditions", SYSTEM_CONDITIONS_MAX);
    for (size_t i = 0; when != NULL && i < when->count; i++)
        if (transition.condition_count < SYSTEM_CONDITIONS_MAX)
            read_condition(of, when->children[i], &transition.conditions[transition.condition_count++]);
        else
            when->children[i]->is_used = 1;
    int target = to != NULL ? state_find(of, to) : -1;
    if (from == NULL || target < 0)
        return;
    transition.to = state_id(of->machine, target);
    if (from->kind == YAML_SCALAR)
        transition_add(of, node, from, transition);
    for (size_t i = 0; from->kind == YAML_SEQUENCE && i < from->count; i++)
        transition_add(of, node, from->children[i], transition);
}

// ---- Machines ----

static void read_states(struct drawing *of, struct yaml_node *node)
{
    struct yaml_file *file = &of->compile->file;
    struct system_machine *machine = of->machine;
    const struct yaml_node *states = yaml_child(file, node, "states", YAML_SEQUENCE, 1);
    const struct yaml_node *start = yaml_child(file, node, "start", YAML_SCALAR, 1);
    if (states != NULL && (states->count == 0 || states->count > SYSTEM_STATES_MAX))
        yaml_error(file, states, "between 1 and 16", "%zu states", states->count);
    for (size_t i = 0; states != NULL && i < states->count && i < SYSTEM_STATES_MAX; i++) {
        const struct yaml_node *state = states->children[i];
        char name[SYSTEM_NAME_BYTES] = "";
        if (state->kind == YAML_SCALAR)
            compile_name(name, state->text);
        if (name[0] == 0)
            yaml_error(file, state, "use a-z 0-9 _ -, a letter first, at most 31 characters", "bad name of a state");
        else if (flow_state_name(machine, flow_name_hash(FLOW_NAME_HASH, name)) != NULL)
            yaml_error(file, state, "give each state a name of its own", "state '%s' is here twice", name);
        else
            memcpy(machine->states[machine->state_count++], name, sizeof name);
    }
    int index = start != NULL ? state_find(of, start) : -1;
    machine->start = (uint16_t)(index < 0 ? 0 : index);
}

static void check_reach(struct drawing *of, const struct yaml_node *node)
{
    struct system_machine *machine = of->machine;
    int is_reached[SYSTEM_STATES_MAX] = {0};
    is_reached[machine->start] = 1;
    for (size_t turn = 0; turn < machine->state_count; turn++)
        for (size_t i = 0; i < machine->transition_count; i++)
            for (size_t from = 0; from < machine->state_count; from++)
                for (size_t to = 0; to < machine->state_count; to++)
                    is_reached[to] |= is_reached[from] &&
                                      machine->transitions[i].from == state_id(machine, (int)from) &&
                                      machine->transitions[i].to == state_id(machine, (int)to);
    for (size_t i = 0; i < machine->state_count; i++)
        if (!is_reached[i])
            yaml_error(&of->compile->file, node, "add a transition to it, or remove it",
                       "no transition leads to state '%s' of machine '%s'", machine->states[i], machine->name);
}

int compile_machine(struct compile *compile, const struct yaml_node *node, const char *name,
                    const struct system_flow *flow, const struct schema *schema)
{
    struct yaml_file *file = &compile->file;
    struct yaml_node *from = NULL;
    for (size_t i = 0; i < compile->machine_node_count; i++)
        if (strcmp(compile->machine_nodes[i]->key, name) == 0) {
            from = compile->machine_nodes[i];
            compile->are_machines_used[i] = 1;
        }
    if (from == NULL || from->kind != YAML_MAPPING) {
        if (from == NULL)
            yaml_error(file, node, "write it under 'machines:'", "there is no machine '%s'", name);
        return -1;
    }
    for (size_t i = 0; i < compile->machine_count; i++)
        if (strcmp(compile->machines[i].name, name) == 0 && compile->machines[i].schema == flow->schema)
            return (int)i;
    if (compile->machine_count == SYSTEM_MACHINES_MAX) {
        yaml_error(file, node, "split the system", "more than %u machines, counted for each schema", SYSTEM_MACHINES_MAX);
        return -1;
    }
    struct drawing of = {compile, schema, &compile->machines[compile->machine_count++]};
    int errors = file->error_count;
    memcpy(of.machine->name, name, strlen(name));
    of.machine->schema = flow->schema;
    read_states(&of, from);
    struct yaml_node *transitions = yaml_child(file, from, "transitions", YAML_SEQUENCE, 1);
    for (size_t i = 0; transitions != NULL && i < transitions->count && of.machine->state_count != 0; i++)
        read_transition(&of, transitions->children[i]);
    if (file->error_count == errors)
        check_reach(&of, from);
    return (int)(of.machine - compile->machines);
}

// ---- All flows ----

static void check_actuator(struct compile *compile, size_t index)
{
    const struct system_flow *flow = &compile->flows[index];
    const struct yaml_node *node = compile->flow_nodes[index];
    for (size_t i = 0; flow->is_actuator && i < flow->check_count; i++)
        if (compile->checks[flow->check_first + i].kind == SYSTEM_CHECK_MACHINE && !flow->is_durable)
            yaml_error(&compile->file, node, "add 'durable: {cap: N}': a restart must not forget the state",
                       "flow '%s' leads to an actuator by a machine, but its state would not be kept", flow->name);
    if (flow->is_actuator && flow->is_observed)
        yaml_error(&compile->file, node, "remove 'observe: true'",
                   "flow '%s' leads to an actuator and must refuse what it does not allow", flow->name);
    for (size_t i = 0; flow->is_observed && i < compile->flow_count; i++)
        for (size_t j = 0; j < flow->receiver_count; j++) {
            const struct system_flow *next = &compile->flows[i];
            if (next->is_actuator && next->sender_kind == SYSTEM_UNIKERNEL &&
                flow->receivers[j].kind == SYSTEM_UNIKERNEL && next->sender == flow->receivers[j].index)
                yaml_error(&compile->file, node, "remove 'observe: true'",
                           "flow '%s' only observes, but '%s' acts on it by the actuator flow '%s'", flow->name,
                           compile->unikernels[next->sender].name, next->name);
        }
}

void compile_state(struct compile *compile)
{
    struct yaml_file *file = &compile->file;
    uint64_t most = (uint64_t)yaml_bytes(file, file->root, "state_memory", 1, SYSTEM_STATE_BYTES_MAX, 1, STATE_BYTES);
    uint64_t all = 0, largest = 0;
    size_t which = 0;
    for (size_t i = 0; i < compile->machine_node_count; i++)
        if (!compile->are_machines_used[i])
            yaml_error(file, compile->machine_nodes[i], "remove it, or write 'machine: NAME' at a flow",
                       "no flow uses machine '%s'", compile->machine_nodes[i]->key);
    for (size_t i = 0; i < compile->flow_count; i++)
        check_actuator(compile, i);
    if (file->error_count != 0)
        return;
    struct system_view *view = &compile->view; // as far as states need it
    view->flows = compile->flows;
    view->checks = compile->checks;
    memcpy(view->schemas, compile->schemas, sizeof view->schemas);
    for (size_t i = 0; i < compile->flow_count; i++) {
        uint64_t bytes = flow_state_bytes(view, &compile->flows[i]);
        all += bytes;
        if (bytes > largest)
            largest = bytes, which = i;
    }
    if (all > most)
        yaml_error(file, compile->flow_nodes[which], "lower its 'keys', or raise 'state_memory' of the system (at most 1GiB)",
                   "the states of keys take %llu KiB of at most %llu KiB, most of them of flow '%s'",
                   (unsigned long long)(all + 1023) / 1024, (unsigned long long)most / 1024,
                   compile->flows[which].name);
}
