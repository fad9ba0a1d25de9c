// SPDX-License-Identifier: ISC
// Measures: one function for each kind of check. They decide nothing but what came of earlier messages.
#include "core/flow_check.h"

#include "abi/abi.h"

#include <string.h>

#define REFUSED UINT64_MAX // above every `most` that refuses

struct measure { // of one check
    const struct system_view *system;
    const struct schema *schema;
    const struct system_check *check;
    const uint8_t *message;
    size_t size;
    const struct flow_clock *clock;
    int is_first; // of its key: the part holds nothing
    uint64_t *part;
};

uint64_t flow_ordered(const struct schema_field *field, int64_t value)
{
    int is_signed = field->type >= SCHEMA_I8 && field->type <= SCHEMA_I64;
    return (uint64_t)value ^ (uint64_t)is_signed << 63;
}

static uint64_t field_of(const struct measure *of, uint16_t field)
{
    return flow_ordered(&of->schema->fields[field], schema_value(of->schema, field, of->message, of->size));
}

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

// Of a clock that shows less than 9 * 10^9 seconds; per_second is at most 10^9.
static uint64_t in_ticks(int64_t clock_ms, uint64_t per_second)
{
    uint64_t ms = (uint64_t)clock_ms;
    return ms / 1000 * per_second + ms % 1000 * per_second / 1000;
}

static uint64_t fresh(const struct measure *of)
{
    const struct schema_field *field = &of->schema->fields[of->check->field];
    int64_t now = (int64_t)in_ticks(of->clock->sent_ms, of->check->ticks);
    return distance(field_of(of, of->check->field), flow_ordered(field, now));
}

// The numbers (highest, number] come into the window, unseen. Positions wrap: the window is a power of 2.
static void window_move(uint64_t *bits, uint64_t window, uint64_t highest, uint64_t number)
{
    uint64_t left = number - highest;
    if (left >= window)
        memset(bits, 0, window / 8);
    left = left < window ? left : 0;
    for (uint64_t at = number - left + 1; left > 0;) {
        uint64_t place = at & (window - 1), step = place % 64 == 0 && left >= 64 ? 64 : 1;
        bits[place / 64] &= step == 64 ? 0 : ~(UINT64_C(1) << place % 64);
        at += step;
        left -= step;
    }
}

static uint64_t order(const struct measure *of)
{
    uint64_t number = field_of(of, of->check->field), window = of->check->window, *highest = of->part;
    uint64_t place = window != 0 ? number & (window - 1) : 0, *bits = of->part + 1 + place / 64;
    uint64_t bit = window != 0 ? UINT64_C(1) << place % 64 : 0;
    uint64_t behind = 0;
    if (of->is_first || number > *highest) {
        if (window != 0)
            window_move(of->part + 1, window, of->is_first ? number - window : *highest, number);
        *highest = number;
    } else if (window == 0) {
        behind = distance(*highest, number);
        return behind == REFUSED ? REFUSED : behind + 1; // itself is behind, too
    } else if ((behind = *highest - number) >= window) {
        return behind;
    } else if ((*bits & bit) != 0) {
        return REFUSED;
    }
    if (window != 0)
        *bits |= bit;
    return behind;
}

static uint64_t step(const struct measure *of)
{
    uint64_t value = field_of(of, of->check->field), *last = of->part;
    int64_t passed_ms = of->clock->wall_ms - (int64_t)last[1];
    int is_old = of->check->ticks != 0 && passed_ms > 0 && (uint64_t)passed_ms > of->check->ticks;
    uint64_t moved = of->is_first || is_old ? 0 : distance(value, last[0]);
    last[0] = value;
    last[1] = (uint64_t)of->clock->wall_ms;
    return moved;
}

// Messages of one moment are all measured from the last one before it: however many come, they get no further.
static uint64_t slope(const struct measure *of)
{
    uint64_t value = field_of(of, of->check->field), *last = of->part, *from = of->part + 2;
    int has_field = of->check->time_field != SYSTEM_NONE;
    uint64_t time = has_field ? field_of(of, of->check->time_field) : (uint64_t)of->clock->wall_ms;
    int is_back = !of->is_first && time < last[1];
    if (is_back && has_field)
        return REFUSED;
    if (of->is_first || is_back) // the host's clock was set back: nobody knows how much time passed
        last[0] = from[0] = value, last[1] = from[1] = time;
    if (time > last[1])
        from[0] = last[0], from[1] = last[1];
    last[0] = value;
    last[1] = time;
    uint64_t passed = time > from[1] ? time - from[1] : 1;
    uint64_t moved;
    if (!__builtin_mul_overflow(distance(value, from[0]), of->check->ticks, &moved))
        return moved / passed + (moved % passed != 0);
    unsigned __int128 large = (unsigned __int128)distance(value, from[0]) * of->check->ticks;
    large = (large + passed - 1) / passed;
    return large > REFUSED ? REFUSED : (uint64_t)large;
}

static int fits(const struct measure *of, const struct system_transition *transition, uint64_t state)
{
    int is_fit = transition->from == state;
    for (uint32_t i = 0; i < transition->condition_count && is_fit; i++) {
        const struct system_condition *condition = &transition->conditions[i];
        const struct schema_field *field = &of->schema->fields[condition->field];
        uint64_t value = field_of(of, condition->field);
        is_fit = value >= flow_ordered(field, condition->low) && value <= flow_ordered(field, condition->high);
    }
    return is_fit;
}

static uint64_t machine(const struct measure *of)
{
    const struct system_machine *machine = &of->system->machines[of->check->machine];
    uint64_t *state = of->part;
    if (of->is_first)
        *state = flow_name_hash(FLOW_NAME_HASH, machine->states[machine->start]);
    for (uint32_t i = 0; i < machine->transition_count; i++)
        if (fits(of, &machine->transitions[i], *state)) {
            *state = machine->transitions[i].to;
            return 0;
        }
    return REFUSED;
}

// A bucket that fills with what is used and drains over time; its zero is empty.
static uint64_t rate(const struct measure *of)
{
    int64_t passed_ms = of->clock->now_ms - (int64_t)of->part[1];
    if (passed_ms < 0) { // the machine was started anew, and its clock with it
        of->part[0] = 0;
        passed_ms = 0;
    }
    if (passed_ms > 1000000000)
        passed_ms = 1000000000; // eleven days: keeps the product in range
    uint64_t drained = (uint64_t)passed_ms * of->check->per_second;
    uint64_t wanted = of->check->kind == SYSTEM_CHECK_RATE ? 1 : of->size;
    of->part[0] = (of->part[0] > drained ? of->part[0] - drained : 0) + wanted * 1000;
    of->part[1] = (uint64_t)of->clock->now_ms;
    return (of->part[0] + 999) / 1000;
}

// How far the field is above its minimum, or below its maximum.
static uint64_t margin(const struct measure *of, int is_high)
{
    const struct schema_field *field = &of->schema->fields[of->check->field];
    uint64_t bound = flow_ordered(field, is_high ? field->maximum : field->minimum);
    return distance(field_of(of, of->check->field), bound);
}

static uint64_t measure(const struct measure *of)
{
    switch ((enum system_check_kind)of->check->kind) {
    case SYSTEM_CHECK_LOW:
    case SYSTEM_CHECK_HIGH:
        return margin(of, of->check->kind == SYSTEM_CHECK_HIGH);
    case SYSTEM_CHECK_FRESH:
        return fresh(of);
    case SYSTEM_CHECK_ORDER:
        return order(of);
    case SYSTEM_CHECK_STEP:
        return step(of);
    case SYSTEM_CHECK_SLOPE:
        return slope(of);
    case SYSTEM_CHECK_MACHINE:
        return machine(of);
    case SYSTEM_CHECK_RATE:
    case SYSTEM_CHECK_BYTES:
        return rate(of);
    case SYSTEM_CHECK_KINDS:
    default:
        return REFUSED;
    }
}

uint16_t flow_check(const struct system_view *system, const struct system_flow *flow, const uint8_t *message,
                    size_t size, const struct flow_clock *clock, uint64_t *state, uint64_t *measured)
{
    struct measure of = {.system = system, .schema = &system->schemas[flow->schema], .message = message,
                         .size = size, .clock = clock, .part = state + (state != NULL)};
    uint16_t refused = SYSTEM_NONE;
    uint64_t seen = state != NULL ? state[0] : 0;
    of.check = &system->checks[flow->check_first];
    for (uint16_t i = 0; i < flow->check_count; i++, of.check++) {
        uint32_t words = flow_check_words(of.check);
        of.is_first = words != 0 && (seen >> i & 1) == 0;
        uint64_t amount = measure(&of);
        seen |= (uint64_t)(words != 0) << i;
        of.part += words;
        if (amount > of.check->most && refused == SYSTEM_NONE)
            refused = (uint16_t)(flow->check_first + i);
        if (measured != NULL)
            measured[i] = amount;
        else if (refused != SYSTEM_NONE)
            break;
    }
    if (state != NULL)
        state[0] = seen;
    return refused;
}

// ---- What may be forgotten ----

#define IDLE_MARGIN_MS 3600000u // a host's clock that is set back by less makes nothing fresh again that was forgotten

static int is_drained(const struct system_check *check, const uint64_t *part, const struct flow_clock *clock)
{
    int64_t passed_ms = clock->now_ms - (int64_t)part[1];
    return passed_ms < 0 || (unsigned __int128)(uint64_t)passed_ms * check->per_second >= part[0];
}

// Since its last message, as a bucket knows it; 0: at least.
static uint64_t idle_ms(const struct system_check *check, const uint64_t *part, const struct flow_clock *clock)
{
    int has_time = check->kind == SYSTEM_CHECK_RATE || check->kind == SYSTEM_CHECK_BYTES;
    return has_time && clock->now_ms > (int64_t)part[1] ? (uint64_t)(clock->now_ms - (int64_t)part[1]) : 0;
}

// So long a message may come again that was fresh once: from as early as `most` before its time to as late as `most` behind.
static uint64_t fresh_ms(const struct system_check *check)
{
    int is_known = check->kind == SYSTEM_CHECK_FRESH && check->most < UINT64_MAX / 2000 && check->ticks != 0;
    return is_known ? 2000 * check->most / check->ticks + IDLE_MARGIN_MS : UINT64_MAX;
}

static int is_part_spent(const struct system_view *system, const struct system_flow *flow, const struct system_check *check,
                         const uint64_t *part, const struct flow_clock *clock)
{
    if (check->kind == SYSTEM_CHECK_MACHINE) {
        const struct system_machine *machine = &system->machines[check->machine];
        return *part == flow_name_hash(FLOW_NAME_HASH, machine->states[machine->start]);
    }
    int64_t passed_ms = clock->wall_ms - (int64_t)part[1]; // all others have two words at least
    if (check->kind == SYSTEM_CHECK_RATE || check->kind == SYSTEM_CHECK_BYTES)
        return is_drained(check, part, clock);
    if (check->kind == SYSTEM_CHECK_STEP)
        return check->ticks != 0 && passed_ms > 0 && (uint64_t)passed_ms > check->ticks;
    if (check->kind != SYSTEM_CHECK_SLOPE || check->time_field != SYSTEM_NONE || passed_ms <= 0)
        return 0;
    const struct schema_field *field = &system->schemas[flow->schema].fields[check->field];
    uint64_t most = distance(flow_ordered(field, field->maximum), flow_ordered(field, field->minimum));
    return (unsigned __int128)most * check->ticks <= (unsigned __int128)check->most * (uint64_t)passed_ms;
}

int flow_state_is_spent(const struct system_view *system, const struct system_flow *flow, const uint64_t *state,
                        const struct flow_clock *clock)
{
    uint64_t idle = 0, fresh = UINT64_MAX;
    const uint64_t *part = state + 1;
    int is_spent = state[0] != 0 && !flow->is_observed, has_order = 0;
    for (uint16_t i = 0; i < flow->check_count && is_spent; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        uint32_t words = flow_check_words(check);
        uint64_t own_fresh = fresh_ms(check);
        fresh = own_fresh < fresh ? own_fresh : fresh;
        if (words != 0 && (state[0] >> i & 1) != 0) {
            uint64_t own_idle = idle_ms(check, part, clock);
            idle = own_idle > idle ? own_idle : idle;
            if (check->kind == SYSTEM_CHECK_ORDER)
                has_order = 1;
            else
                is_spent = is_part_spent(system, flow, check, part, clock);
        }
        part += words;
    }
    return is_spent && (!has_order || (fresh != UINT64_MAX && idle > fresh));
}

// ---- Sizes and names ----

uint32_t flow_check_words(const struct system_check *check)
{
    static const uint8_t words[SYSTEM_CHECK_KINDS] = {
        [SYSTEM_CHECK_ORDER] = 1, [SYSTEM_CHECK_STEP] = 2, [SYSTEM_CHECK_SLOPE] = 4,
        [SYSTEM_CHECK_MACHINE] = 1, [SYSTEM_CHECK_RATE] = 2, [SYSTEM_CHECK_BYTES] = 2};
    return words[check->kind] + check->window / 64;
}

uint32_t flow_state_words(const struct system_view *system, const struct system_flow *flow)
{
    uint32_t words = 0;
    for (uint16_t i = 0; i < flow->check_count; i++)
        words += flow_check_words(&system->checks[flow->check_first + i]);
    return words != 0 ? words + 1 : 0;
}

uint64_t flow_state_bytes(const struct system_view *system, const struct system_flow *flow)
{
    uint64_t first, words = flow_state_words(system, flow);
    uint64_t entry = sizeof(void *) + 8 * words;
    if (!flow_keys_are_direct(system, flow, &first)) // and its key, what leads to it, and to the next
        entry += ABI_ALIGN8(flow_key_bytes(system, flow)) + 5 * sizeof(void *);
    return words != 0 ? flow->keys_max * entry : 0;
}

uint32_t flow_key_bytes(const struct system_view *system, const struct system_flow *flow)
{
    static const uint8_t widths[] = {[SCHEMA_U8] = 1, [SCHEMA_U16] = 2, [SCHEMA_U32] = 4, [SCHEMA_U64] = 8,
                                     [SCHEMA_I8] = 1, [SCHEMA_I16] = 2, [SCHEMA_I32] = 4, [SCHEMA_I64] = 8,
                                     [SCHEMA_BOOL] = 1, [SCHEMA_ENUM] = 1};
    if (flow->key_field == SYSTEM_NONE)
        return 0;
    const struct schema_field *field = &system->schemas[flow->schema].fields[flow->key_field];
    return field->type <= SCHEMA_ENUM ? widths[field->type] : field->capacity;
}

int flow_keys_are_direct(const struct system_view *system, const struct system_flow *flow, uint64_t *first)
{
    *first = 0;
    if (flow->key_field == SYSTEM_NONE)
        return 1;
    const struct schema_field *field = &system->schemas[flow->schema].fields[flow->key_field];
    if (field->type > SCHEMA_ENUM)
        return 0;
    *first = flow_ordered(field, field->minimum);
    if (field->type == SCHEMA_ENUM)
        return field->label_count <= flow->keys_max;
    return flow_ordered(field, field->maximum) - *first < flow->keys_max;
}

uint32_t flow_name_hash(uint32_t hash, const char *name)
{
    for (; *name != 0; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

const char *flow_state_name(const struct system_machine *machine, uint64_t state)
{
    for (uint32_t i = 0; i < machine->state_count; i++)
        if (flow_name_hash(FLOW_NAME_HASH, machine->states[i]) == state)
            return machine->states[i];
    return NULL;
}
