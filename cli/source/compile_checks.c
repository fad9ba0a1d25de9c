// SPDX-License-Identifier: ISC
// What a flow says about its messages in time: key, rates, and the checks of flow state (proto/system.h).
//
// Checks are added in the order of their kinds. A flow that only observes gets more of them, which refuse nothing:
// they measure what `crenel policy learn` proposes bounds from.
#include "cli/source/compile_state.h"

#include "cli/source/schema_source.h"
#include "core/flow_check.h"

#include <stdio.h>
#include <string.h>

struct checking { // one flow's
    struct compile *compile;
    struct yaml_node *node;
    struct system_flow *flow;
    const struct schema *schema; // NULL: was refused, what names fields is not looked at
};

// ---- Fields ----

static uint16_t field_read(struct checking *of, struct yaml_node *node, const char *name, const char *what,
                           int is_number)
{
    const struct schema *schema = of->schema;
    if (schema == NULL || name == NULL || *name == 0)
        return SYSTEM_NONE;
    int index = compile_refer(of->compile, node, what, schema->fields, sizeof schema->fields[0],
                              schema->header->field_count, name);
    if (index < 0)
        return SYSTEM_NONE;
    unsigned type = schema->fields[index].type;
    if (schema_has_value(schema, (uint16_t)index) && (!is_number || type <= SCHEMA_I64))
        return (uint16_t)index;
    yaml_error(&of->compile->file, node,
               is_number ? "name an integer field that is in no array" : "name a field that is in no array and not sealed",
               "'%s' cannot be the %s of flow '%s'", name, what, of->flow->name);
    return SYSTEM_NONE;
}

// Ticks in a second of a field that tells a time by its unit; 0: it does not.
static uint64_t ticks_of(struct checking *of, const struct yaml_node *node, uint16_t field)
{
    static const struct {
        const char *unit;
        uint64_t ticks;
    } units[] = {{"s", 1}, {"ms", 1000}, {"us", 1000000}, {"ns", 1000000000}};
    if (field == SYSTEM_NONE)
        return 0;
    const struct schema_field *is = &of->schema->fields[field];
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t ticks = units[i].ticks;
        for (unsigned j = 0; j < is->decimals && ticks <= 1000000000; j++)
            ticks *= 10;
        if (strcmp(is->unit, units[i].unit) == 0 && ticks <= 1000000000)
            return ticks;
    }
    yaml_error(&of->compile->file, node, "give it 'unit: s', 'ms', 'us' or 'ns' in its schema, at most 9 decimals of a second",
               "the field '%s' of %s does not say in what it counts time", is->name, of->schema->header->name);
    return 0;
}

// A distance between two values of the field, in its decimals.
static uint64_t distance_read(struct checking *of, struct yaml_node *node, uint16_t field)
{
    struct yaml_file *file = &of->compile->file;
    const char *text = yaml_text(file, node, "most", of->flow->is_observed ? "" : NULL);
    int64_t value = -1;
    if (text == NULL || (*text == 0 && of->flow->is_observed))
        return UINT64_MAX; // to be learned
    unsigned decimals = field != SYSTEM_NONE ? of->schema->fields[field].decimals : 18;
    if (field != SYSTEM_NONE && !schema_number_read(text, SCHEMA_U64, decimals, &value))
        yaml_error(file, node, "write a number that is not negative, with no more decimals than the field has",
                   "'most: %s' is no distance of '%s'", text, of->schema->fields[field].name);
    return (uint64_t)value;
}

// ---- Checks ----

// Its id is what a state in the store goes by: of another key or field, of one with other decimals or a sign, it would mean
// something else.
static struct system_check *check_add(struct checking *of, const struct yaml_node *node, unsigned kind,
                                      const char *name)
{
    static struct system_check nowhere;
    struct compile *compile = of->compile;
    struct system_flow *flow = of->flow;
    char text[2 * SCHEMA_FIELD_NAME_BYTES + 32];
    int index = of->schema != NULL ? schema_field_index(of->schema, name) : -1;
    const struct schema_field *is = index < 0 ? NULL : &of->schema->fields[index];
    const char *sign = is != NULL && is->type >= SCHEMA_I8 && is->type <= SCHEMA_I64 ? "-" : "";
    snprintf(text, sizeof text, "%u:%.32s:%s%u:%.32s", kind, name, sign, is == NULL ? 0u : is->decimals,
             of->schema != NULL && flow->key_field != SYSTEM_NONE ? of->schema->fields[flow->key_field].name : "");
    struct system_check check = {.kind = (uint8_t)kind, .field = SYSTEM_NONE, .time_field = SYSTEM_NONE,
                                 .machine = SYSTEM_NONE, .line = node != NULL ? (uint32_t)node->line : 0,
                                 .id = flow_name_hash(FLOW_NAME_HASH, text), .most = UINT64_MAX};
    if (flow->check_count == SYSTEM_FLOW_CHECKS_MAX || compile->check_count == SYSTEM_CHECKS_MAX) {
        if (node != NULL)
            yaml_error(&compile->file, node, "check fewer fields", "more than %u checks of flow '%s', or %u of the system",
                       SYSTEM_FLOW_CHECKS_MAX, flow->name, SYSTEM_CHECKS_MAX);
        nowhere = check;
        return &nowhere;
    }
    for (size_t i = flow->check_first; i < compile->check_count; i++)
        if (compile->checks[i].id == check.id && node != NULL)
            yaml_error(&compile->file, node, "keep one", "flow '%s' checks '%s' twice", flow->name, name);
    flow->check_count++;
    struct system_check *added = &compile->checks[compile->check_count++];
    *added = check;
    return added;
}

// Is a check of that kind on that field there already?
static int has_check(const struct checking *of, unsigned kind, uint16_t field)
{
    for (size_t i = of->flow->check_first; i < of->compile->check_count; i++)
        if (of->compile->checks[i].kind == kind && of->compile->checks[i].field == field)
            return 1;
    return 0;
}

// Of a flow that only observes, for each number but its key: a check of that kind, to learn.
static void add_learning(struct checking *of, unsigned kind)
{
    for (uint16_t i = 0; of->flow->is_observed && of->schema != NULL && i < of->schema->header->field_count; i++) {
        if (of->schema->fields[i].type > SCHEMA_I64 || !schema_has_value(of->schema, i) || i == of->flow->key_field || has_check(of, kind, i) ||
            (kind >= SYSTEM_CHECK_STEP && has_check(of, SYSTEM_CHECK_ORDER, i)))
            continue;
        struct system_check *check = check_add(of, NULL, kind, of->schema->fields[i].name);
        check->field = i;
        check->ticks = kind == SYSTEM_CHECK_SLOPE ? 1000 : 0;
    }
}

static void read_fresh(struct checking *of)
{
    struct yaml_file *file = &of->compile->file;
    struct yaml_node *node = yaml_child(file, of->node, "fresh", YAML_MAPPING, 0);
    if (node == NULL)
        return;
    const char *name = yaml_text(file, node, "field", NULL);
    uint16_t field = field_read(of, node, name, "time field", 1);
    uint64_t ticks = ticks_of(of, node, field);
    uint64_t within_ms = (uint64_t)yaml_ms(file, node, "within", 1, 366 * INT64_C(86400000), 0, 0);
    struct system_check *check = check_add(of, node, SYSTEM_CHECK_FRESH, name != NULL ? name : "");
    check->field = field;
    check->ticks = ticks;
    check->most = within_ms * ticks / 1000;
}

// `sequence: FIELD`, or {field: FIELD, order: strict} or {field: FIELD, window: 64}.
static void read_sequence(struct checking *of)
{
    static const char *const orders[] = {"strict"};
    struct yaml_file *file = &of->compile->file;
    struct yaml_node *node = yaml_any(of->node, "sequence");
    const char *name = node != NULL && node->kind == YAML_SCALAR ? node->text : NULL;
    uint32_t window = 0;
    if (node == NULL)
        return;
    if (node->kind == YAML_SEQUENCE)
        yaml_error(file, node, "write sequence: FIELD, or {field: FIELD, window: 64}", "'sequence' has the wrong form");
    if (node->kind == YAML_MAPPING) {
        name = yaml_text(file, node, "field", NULL);
        (void)yaml_choice(file, node, "order", orders, 1, 0);
        window = (uint32_t)yaml_integer(file, node, "window", 1, SYSTEM_WINDOW_MAX, 1, 0);
        if (window != 0 && window != 64 && window != SYSTEM_WINDOW_MAX)
            yaml_error(file, node, "write window: 64 or window: 1024", "a window of %u numbers", window);
        if (window != 0 && yaml_any(node, "order") != NULL)
            yaml_error(file, node, "keep one: 'order: strict' lets nothing come late", "'order' and 'window'");
    }
    uint16_t field = field_read(of, node->kind == YAML_MAPPING ? node : of->node, name, "sequence field", 1);
    struct system_check *check = check_add(of, node, SYSTEM_CHECK_ORDER, name != NULL ? name : "");
    check->field = field;
    check->window = window;
    check->most = window != 0 ? window - 1 : 0;
    int is_channel = 0; // to a service that opens or verifies: it has one sender
    for (size_t i = 0; i < of->flow->receiver_count; i++)
        is_channel |= compile_is_turning(of->compile, of->flow->receivers[i].kind, of->flow->receivers[i].index);
    if (of->flow->key_field == SYSTEM_NONE && of->schema != NULL && !is_channel)
        yaml_error(file, node, "add 'key: FIELD': each key has its own sequence", "flow '%s' has a sequence but no key",
                   of->flow->name);
}

// The state of a slope goes by its time, too.
static void id_add_time(const struct checking *of, struct system_check *check)
{
    const struct schema_field *time = &of->schema->fields[check->time_field];
    check->id = flow_name_hash(flow_name_hash(check->id, time->name), time->unit);
    check->id = flow_name_hash(check->id, time->type >= SCHEMA_I8 ? "-" : "");
}

// `steps` and `slopes`: lists of fields.
static void read_moves(struct checking *of, const char *key, unsigned kind)
{
    struct yaml_file *file = &of->compile->file;
    struct yaml_node *list = yaml_child(file, of->node, key, YAML_SEQUENCE, 0);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        struct yaml_node *node = list->children[i];
        const char *name = yaml_text(file, node, "field", NULL);
        uint16_t field = field_read(of, node, name, kind == SYSTEM_CHECK_STEP ? "step field" : "slope field", 1);
        uint64_t most = distance_read(of, node, field);
        if (kind == SYSTEM_CHECK_SLOPE && field != SYSTEM_NONE && has_check(of, kind, field))
            yaml_error(file, node, "keep one", "flow '%s' checks '%s' twice", of->flow->name, name);
        struct system_check *check = check_add(of, node, kind, name != NULL ? name : "");
        check->field = field;
        check->most = most;
        if (kind == SYSTEM_CHECK_STEP) {
            check->ticks = (uint64_t)yaml_ms(file, node, "within", 1, 366 * INT64_C(86400000), 1, 0);
            continue;
        }
        check->ticks = (uint64_t)yaml_ms(file, node, "per", 1, 366 * INT64_C(86400000), 0, 0);
        check->time_field = field_read(of, node, yaml_text(file, node, "time", ""), "time field", 1);
        if (check->time_field != SYSTEM_NONE) {
            id_add_time(of, check);
            check->ticks = check->ticks * ticks_of(of, node, check->time_field) / 1000;
        }
        if (check->ticks == 0 && check->time_field != SYSTEM_NONE)
            yaml_error(file, node, "write a longer 'per'", "'per' is less than one step of '%s'",
                       of->schema->fields[check->time_field].name);
    }
}

static void read_machine(struct checking *of)
{
    const struct yaml_node *node = yaml_child(&of->compile->file, of->node, "machine", YAML_SCALAR, 0);
    if (node == NULL || of->schema == NULL)
        return;
    int index = compile_machine(of->compile, node, node->text, of->flow, of->schema);
    if (index < 0)
        return;
    struct system_check *check = check_add(of, node, SYSTEM_CHECK_MACHINE, node->text);
    check->machine = (uint16_t)index;
    check->most = 0;
}

// ---- Rates ----

struct rate {
    const struct yaml_node *node; // NULL: there is none
    uint32_t per_second, burst;
};

static int has_connections(const struct checking *of)
{
    const struct system_flow *flow = of->flow;
    return flow->sender_kind == SYSTEM_GATEWAY ||
           (flow->sender_kind == SYSTEM_UNIKERNEL &&
            of->compile->unikernels[flow->sender].lifetime == LIFETIME_CONNECTION);
}

// One {per_second, burst, per} into rates[flow, connection, key]. least: what one event may need.
static void read_rate(struct checking *of, struct yaml_node *node, int is_bytes, uint64_t least, struct rate rates[3])
{
    static const char *const per[] = {"flow", "connection", "key"};
    struct yaml_file *file = &of->compile->file;
    struct rate rate = {.node = node};
    if (is_bytes) {
        rate.per_second = (uint32_t)yaml_bytes(file, node, "per_second", 1, 1 << 30, 0, 0);
        rate.burst = (uint32_t)yaml_bytes(file, node, "burst", 1, 1 << 30, 0, 0);
    } else {
        rate.per_second = (uint32_t)yaml_integer(file, node, "per_second", 1, 10000000, 0, 0);
        rate.burst = (uint32_t)yaml_integer(file, node, "burst", 1, 10000000, 0, 0);
    }
    int which = yaml_choice(file, node, "per", per, 3, 0);
    if (which == 1 && !has_connections(of) && of->schema != NULL)
        yaml_error(file, node, "remove 'per: connection'", "the sender of flow '%s' has no connections", of->flow->name);
    if (which == 2 && of->flow->key_field == SYSTEM_NONE && of->schema != NULL)
        yaml_error(file, node, "add 'key: FIELD', or write 'per: flow'", "flow '%s' has no key", of->flow->name);
    if (rate.burst < least && of->schema != NULL)
        yaml_error(file, node, "raise the burst", "one event may send %llu %s on flow '%s', more than its burst",
                   (unsigned long long)least, is_bytes ? "bytes" : "messages", of->flow->name);
    if (rates[which].node != NULL)
        yaml_error(file, node, "keep one", "two rates per %s", per[which]);
    rates[which] = rate;
}

// A mapping, or a list of them.
static void read_rates(struct checking *of, const char *key, int is_bytes, struct rate rates[3])
{
    struct yaml_file *file = &of->compile->file;
    struct yaml_node *node = yaml_any(of->node, key);
    uint64_t size = is_bytes && of->schema != NULL ? of->schema->header->struct_bytes : 1;
    uint64_t least = of->flow->count_max * size;
    if (node == NULL || node->kind == YAML_SCALAR)
        (void)yaml_child(file, of->node, key, YAML_MAPPING, !is_bytes); // says what is wrong
    else if (node->kind == YAML_MAPPING)
        read_rate(of, node, is_bytes, least, rates);
    else
        for (size_t i = 0; i < node->count; i++)
            read_rate(of, node->children[i], is_bytes, least, rates);
    if (rates[0].node != NULL && rates[1].node != NULL)
        yaml_error(file, node, "keep one of them", "a rate per flow and one per connection");
}

static void add_rate(struct checking *of, unsigned kind, const struct rate *rate)
{
    if (rate->node == NULL)
        return;
    struct system_check *check = check_add(of, rate->node, kind, "key");
    check->per_second = rate->per_second;
    check->most = rate->burst;
}

static uint32_t times(uint32_t rate, uint32_t keys)
{
    uint64_t all = (uint64_t)rate * keys;
    return all < 10000000 ? (uint32_t)all : 10000000;
}

static void read_budgets(struct checking *of, struct rate messages[3], struct rate bytes[3])
{
    struct system_flow *flow = of->flow;
    const struct rate *rate = &messages[messages[1].node != NULL], *budget = &bytes[bytes[1].node != NULL];
    flow->is_rate_per_connection = messages[1].node != NULL;
    flow->is_bytes_per_connection = bytes[1].node != NULL;
    flow->rate_per_second = rate->per_second;
    flow->rate_burst = rate->burst;
    flow->bytes_per_second = budget->per_second;
    flow->bytes_burst = budget->burst;
    add_rate(of, SYSTEM_CHECK_RATE, &messages[2]);
    for (uint32_t per_second = 1; flow->is_observed && per_second <= 1000; per_second *= 10) {
        char name[16];
        snprintf(name, sizeof name, "%u", per_second);
        check_add(of, NULL, SYSTEM_CHECK_RATE, name)->per_second = per_second;
    }
    add_rate(of, SYSTEM_CHECK_BYTES, &bytes[2]);
    if (rate->node == NULL && messages[2].node != NULL) { // all keys together
        flow->rate_per_second = times(messages[2].per_second, flow->keys_max);
        flow->rate_burst = times(messages[2].burst, flow->keys_max);
    }
}

// ---- Keys ----

static void read_key(struct checking *of)
{
    struct yaml_file *file = &of->compile->file;
    struct system_flow *flow = of->flow;
    flow->key_field = field_read(of, of->node, yaml_text(file, of->node, "key", ""), "key field", 0);
    if (flow->key_field != SYSTEM_NONE && of->schema->fields[flow->key_field].capacity > SYSTEM_KEY_BYTES_MAX)
        yaml_error(file, of->node, "name a shorter field", "the key '%s' of flow '%s' may be over %u bytes",
                   of->schema->fields[flow->key_field].name, flow->name, SYSTEM_KEY_BYTES_MAX);
    flow->keys_max = (uint32_t)yaml_integer(file, of->node, "keys", 1, SYSTEM_KEYS_MAX, 1, 0);
}

// How many values an integer, boolean or enumeration can have; 0: too many, or it is none.
static uint32_t values_of(const struct schema_field *field)
{
    if (field->type == SCHEMA_ENUM)
        return field->label_count;
    uint64_t range = flow_ordered(field, field->maximum) - flow_ordered(field, field->minimum);
    return field->type <= SCHEMA_BOOL && range < SYSTEM_KEYS_MAX ? (uint32_t)range + 1 : 0;
}

static void finish_keys(struct checking *of)
{
    struct yaml_file *file = &of->compile->file;
    struct system_flow *flow = of->flow;
    uint32_t words = 0;
    if (of->schema == NULL)
        return;
    for (size_t i = flow->check_first; i < of->compile->check_count; i++)
        words += flow_check_words(&of->compile->checks[i]);
    if (words == 0 && flow->keys_max != 0)
        yaml_error(file, of->node, "remove it, or add a check for each key, like 'sequence: FIELD'",
                   "flow '%s' has a number of keys but no check that remembers something of each", flow->name);
    if (words == 0 || flow->keys_max != 0)
        return;
    flow->keys_max = flow->key_field == SYSTEM_NONE ? 1 : values_of(&of->schema->fields[flow->key_field]);
    if (flow->keys_max == 0)
        yaml_error(file, of->node, "add 'keys: N', the most keys that will ever be seen",
                   "flow '%s' remembers something of each key but has no number of keys", flow->name);
}

void compile_checks(struct compile *compile, struct yaml_node *node, struct system_flow *flow,
                    const struct schema *schema)
{
    static const char *const answers[] = {"false", "true"};
    struct checking of = {compile, node, flow, schema};
    struct rate messages[3] = {{NULL, 0, 0}}, bytes[3] = {{NULL, 0, 0}};
    flow->check_first = (uint16_t)compile->check_count;
    flow->is_observed = (uint8_t)yaml_choice(&compile->file, node, "observe", answers, 2, 0);
    flow->is_actuator = (uint8_t)yaml_choice(&compile->file, node, "actuator", answers, 2, 0);
    read_key(&of);
    add_learning(&of, SYSTEM_CHECK_LOW);
    add_learning(&of, SYSTEM_CHECK_HIGH);
    read_fresh(&of);
    read_sequence(&of);
    read_moves(&of, "steps", SYSTEM_CHECK_STEP);
    add_learning(&of, SYSTEM_CHECK_STEP);
    read_moves(&of, "slopes", SYSTEM_CHECK_SLOPE);
    add_learning(&of, SYSTEM_CHECK_SLOPE);
    read_machine(&of);
    read_rates(&of, "rate", 0, messages);
    read_rates(&of, "bytes", 1, bytes);
    if (messages[2].node != NULL || bytes[2].node != NULL) { // they need keys, and what all keys may needs their number
        uint32_t derived = flow->key_field != SYSTEM_NONE && schema != NULL ? values_of(&schema->fields[flow->key_field]) : 0;
        flow->keys_max = flow->keys_max != 0 ? flow->keys_max : derived;
    }
    read_budgets(&of, messages, bytes);
    finish_keys(&of);
    if (flow->check_count != 0 && flow->sender_kind != SYSTEM_UNIKERNEL &&
        flow->sender_kind != SYSTEM_COURIER && !compile_is_turning(compile, flow->sender_kind, flow->sender) && schema != NULL)
        yaml_error(&compile->file, node, "check it on the flow behind it, whose fields are known",
                   "flow '%s' comes from the host and cannot be checked by its fields", flow->name);
}
