// SPDX-License-Identifier: ISC
// A refused message is judged again, so that nothing is read of one that is not what it is said to be.
#include "store/refusal.h"

#include "core/field_words.h"
#include "core/flow_check.h"
#include "core/schema_text.h"
#include "core/words.h"

#include <inttypes.h>
#include <string.h>

#define TOLD_MAX 4u // transitions of a state that are named

struct telling {
    const struct system_view *system;
    const struct schema *schema;
    const struct system_flow *flow;   // or NULL
    const struct system_check *check; // or NULL
    const struct refusal *refusal;
    int has_values;
    struct words words;
};

int refusal_is_valid(const struct system_view *system, const struct refusal *refusal)
{
    const struct commit_refusal *is = &refusal->is;
    if (is->schema >= system->schema_count || (is->flow != SYSTEM_NONE && is->flow >= system->flow_count) ||
        is->message_bytes > ABI_PAYLOAD_BYTES_MAX)
        return 0;
    const struct system_flow *flow = is->flow != SYSTEM_NONE ? &system->flows[is->flow] : NULL;
    if (flow != NULL && flow->schema != is->schema)
        return 0;
    if (is->check == SYSTEM_NONE)
        return is->state_bytes == 0;
    return flow != NULL && is->check >= flow->check_first && is->check < flow->check_first + flow->check_count &&
           (is->state_bytes == 0 || is->state_bytes == 8 * flow_state_words(system, flow));
}

// ---- Values ----

static int64_t value_of(const struct telling *telling, uint16_t field)
{
    return schema_value(telling->schema, field, telling->refusal->message, telling->refusal->is.message_bytes);
}

// A number of a field: as it is written in system.yaml.
static void say_value(struct telling *telling, uint16_t index, int64_t value)
{
    char text[40];
    field_value_text(telling->schema, &telling->schema->fields[index], value, text, sizeof text);
    words_add(&telling->words, "%s", text);
}

static void say_unit(struct telling *telling, uint16_t field)
{
    const char *unit = telling->schema->fields[field].unit;
    words_add(&telling->words, "%s%s", unit[0] != 0 ? " " : "", unit);
}

// What a state keeps of a field (flow_ordered), as its value again.
static void say_ordered(struct telling *telling, uint16_t field, uint64_t ordered)
{
    say_value(telling, field, (int64_t)flow_ordered(&telling->schema->fields[field], (int64_t)ordered));
}

static void say_distance(struct telling *telling, uint16_t field, uint64_t distance)
{
    char number[32];
    field_number_text(SCHEMA_U64, telling->schema->fields[field].decimals, (int64_t)distance, number, sizeof number);
    words_add(&telling->words, "%s", number);
}

static void say_span(struct telling *telling, uint64_t ms)
{
    if (ms % 1000 == 0)
        words_add(&telling->words, "%" PRIu64 " s", ms / 1000);
    else
        words_add(&telling->words, "%" PRIu64 " ms", ms);
}

// "sensor 3": whose state it is. Nothing that is not printable.
static void say_key(struct telling *telling)
{
    uint16_t field = telling->flow->key_field;
    if (field == SYSTEM_NONE || !telling->has_values) {
        words_add(&telling->words, "%s", field == SYSTEM_NONE ? "the flow" : "its key");
        return;
    }
    const struct schema_field *of = &telling->schema->fields[field];
    words_add(&telling->words, "%s ", of->name);
    if (of->type < SCHEMA_STRING) {
        say_value(telling, field, value_of(telling, field));
        return;
    }
    const uint8_t *bytes;
    size_t length = schema_bytes(telling->schema, field, telling->refusal->message, telling->refusal->is.message_bytes, &bytes);
    words_add(&telling->words, "\"");
    for (size_t i = 0; i < length && i < 64; i++) {
        int is_plain = of->type == SCHEMA_STRING && bytes[i] >= 0x20 && bytes[i] <= 0x7e;
        words_add(&telling->words, is_plain ? "%c" : "\\x%02x", bytes[i]);
    }
    words_add(&telling->words, length > 64 ? "..\"" : "\"");
}

// ---- Checks of flow state ----

// The check's part of the key's state before the message; NULL: the key is new to it.
static const uint64_t *part_of(const struct telling *telling, uint64_t words[FLOW_STATE_WORDS_MAX])
{
    size_t at = 1, index = (size_t)(telling->check - &telling->system->checks[telling->flow->check_first]);
    if (telling->refusal->is.state_bytes == 0)
        return NULL;
    memcpy(words, telling->refusal->state, telling->refusal->is.state_bytes);
    for (size_t i = 0; i < index; i++)
        at += flow_check_words(&telling->system->checks[telling->flow->check_first + i]);
    return (words[0] >> index & 1) != 0 ? &words[at] : NULL;
}

static void say_conditions(struct telling *telling, const struct system_transition *transition)
{
    for (uint32_t i = 0; i < transition->condition_count; i++) {
        const struct system_condition *condition = &transition->conditions[i];
        words_add(&telling->words, "%s%s ", i == 0 ? "" : " with ", telling->schema->fields[condition->field].name);
        say_value(telling, condition->field, condition->low);
        if (condition->low != condition->high) {
            words_add(&telling->words, " to ");
            say_value(telling, condition->field, condition->high);
        }
    }
    if (transition->condition_count == 0)
        words_add(&telling->words, "every message");
}

static int fits(const struct telling *telling, const struct system_transition *transition)
{
    int is_fit = 1;
    for (uint32_t i = 0; i < transition->condition_count; i++) {
        const struct system_condition *condition = &transition->conditions[i];
        const struct schema_field *field = &telling->schema->fields[condition->field];
        uint64_t value = flow_ordered(field, value_of(telling, condition->field));
        is_fit &= value >= flow_ordered(field, condition->low) && value <= flow_ordered(field, condition->high);
    }
    return is_fit;
}

// "op start": what of the message the machine looks at.
static void say_asked(struct telling *telling, const struct system_machine *machine)
{
    uint64_t named = 0;
    for (uint32_t i = 0; i < machine->transition_count; i++)
        for (uint32_t j = 0; j < machine->transitions[i].condition_count; j++) {
            uint16_t field = machine->transitions[i].conditions[j].field;
            if ((named >> field & 1) == 0) {
                words_add(&telling->words, "%s%s ", named == 0 ? "" : ", ", telling->schema->fields[field].name);
                say_value(telling, field, value_of(telling, field));
            }
            named |= UINT64_C(1) << field;
        }
    words_add(&telling->words, named == 0 ? "such a message" : "");
}

static void say_machine(struct telling *telling, const uint64_t *part)
{
    const struct system_machine *machine = &telling->system->machines[telling->check->machine];
    uint32_t start = flow_name_hash(FLOW_NAME_HASH, machine->states[machine->start]), told = 0;
    uint64_t state = part != NULL ? part[0] : start;
    const char *name = flow_state_name(machine, state);
    say_key(telling);
    words_add(&telling->words, " is in state \"%s\"", name != NULL ? name : "that the machine has no more");
    for (uint32_t i = 0; i < machine->transition_count; i++)
        if (machine->transitions[i].from == state && told++ < TOLD_MAX) {
            words_add(&telling->words, told == 1 ? ", which takes " : ", ");
            say_conditions(telling, &machine->transitions[i]);
        }
    words_add(&telling->words, told == 0 ? ", which takes nothing" : told > TOLD_MAX ? ", .." : "");
    if (!telling->has_values)
        return;
    words_add(&telling->words, "; ");
    say_asked(telling, machine);
    told = 0;
    for (uint32_t i = 0; i < machine->transition_count; i++)
        if (fits(telling, &machine->transitions[i]))
            words_add(&telling->words, "%s\"%s\"", told++ == 0 ? " goes from " : ", ",
                flow_state_name(machine, machine->transitions[i].from));
    words_add(&telling->words, told == 0 ? " goes from no state" : " only");
}

static void say_moved(struct telling *telling, uint64_t before)
{
    uint16_t field = telling->check->field;
    words_add(&telling->words, ": %s went from ", telling->schema->fields[field].name);
    say_ordered(telling, field, before);
    words_add(&telling->words, " to ");
    say_value(telling, field, value_of(telling, field));
    say_unit(telling, field);
}

static void say_step(struct telling *telling, const uint64_t *part)
{
    const struct system_check *check = telling->check;
    say_key(telling);
    if (telling->has_values && part != NULL)
        say_moved(telling, part[0]);
    words_add(&telling->words, "; a step is at most ");
    say_distance(telling, check->field, check->most);
    if (check->ticks == 0)
        return;
    words_add(&telling->words, " within ");
    say_span(telling, check->ticks);
}

static void say_slope(struct telling *telling, const uint64_t *part)
{
    const struct system_check *check = telling->check;
    const char *unit = check->time_field != SYSTEM_NONE ? telling->schema->fields[check->time_field].unit : "ms";
    say_key(telling);
    if (telling->has_values && part != NULL) {
        uint64_t time = (uint64_t)telling->refusal->is.wall_ms;
        if (check->time_field != SYSTEM_NONE)
            time = flow_ordered(&telling->schema->fields[check->time_field], value_of(telling, check->time_field));
        if (time < part[1]) {
            words_add(&telling->words, ": %s went back", telling->schema->fields[check->time_field].name);
        } else {
            const uint64_t *from = time > part[1] ? part : part + 2;
            say_moved(telling, from[0]);
            words_add(&telling->words, " in %" PRIu64 " %s", time - from[1], unit);
        }
    }
    words_add(&telling->words, "; at most ");
    say_distance(telling, check->field, check->most);
    words_add(&telling->words, " in %" PRIu64 " %s", check->ticks, unit);
}

static void say_order(struct telling *telling, const uint64_t *part)
{
    const struct system_check *check = telling->check;
    const char *name = telling->schema->fields[check->field].name;
    say_key(telling);
    if (telling->has_values && part != NULL) {
        words_add(&telling->words, ": %s ", name);
        say_value(telling, check->field, value_of(telling, check->field));
        words_add(&telling->words, " came, the highest was ");
        say_ordered(telling, check->field, part[0]);
    }
    if (check->window == 0)
        words_add(&telling->words, "; %s must rise", name);
    else
        words_add(&telling->words, "; each number is taken once, at most %u behind the highest", check->window - 1);
}

static void say_fresh(struct telling *telling)
{
    const struct system_check *check = telling->check;
    const struct schema_field *field = &telling->schema->fields[check->field];
    words_add(&telling->words, "%s", field->name);
    if (telling->has_values) {
        __int128 said = value_of(telling, check->field);
        if (field->type == SCHEMA_U64)
            said = (uint64_t)said;
        said = said * 1000 / (__int128)check->ticks - telling->refusal->is.sent_ms;
        uint64_t away = (uint64_t)(said < 0 ? -said : said);
        words_add(&telling->words, " is ");
        say_span(telling, away >= 10000 ? away / 1000 * 1000 : away);
        words_add(&telling->words, " %s the host's clock", said < 0 ? "behind" : "ahead of");
    }
    words_add(&telling->words, "; it must be within ");
    say_span(telling, (uint64_t)((unsigned __int128)check->most * 1000 / check->ticks));
    words_add(&telling->words, telling->has_values ? "" : " of the host's clock");
}

static void say_check(struct telling *telling)
{
    uint64_t words[FLOW_STATE_WORDS_MAX];
    const uint64_t *part = part_of(telling, words);
    const char *what = telling->check->kind == SYSTEM_CHECK_RATE ? "messages" : "bytes";
    switch ((enum system_check_kind)telling->check->kind) {
    case SYSTEM_CHECK_FRESH:
        say_fresh(telling);
        return;
    case SYSTEM_CHECK_ORDER:
        say_order(telling, part);
        return;
    case SYSTEM_CHECK_STEP:
        say_step(telling, part);
        return;
    case SYSTEM_CHECK_SLOPE:
        say_slope(telling, part);
        return;
    case SYSTEM_CHECK_MACHINE:
        say_machine(telling, part);
        return;
    case SYSTEM_CHECK_RATE:
    case SYSTEM_CHECK_BYTES:
        say_key(telling);
        words_add(&telling->words, " has used up its burst of %" PRIu64 " %s; %u a second come back", telling->check->most, what,
            telling->check->per_second);
        return;
    case SYSTEM_CHECK_LOW:
    case SYSTEM_CHECK_HIGH:
    case SYSTEM_CHECK_KINDS:
    default:
        return;
    }
}

// ---- Schemas ----

// Of a string whose length was good: the sinks that it would mean something to, or that its class has not all of it.
static void say_sinks(struct telling *telling, const struct schema_field *field, uint16_t index)
{
    const uint8_t *bytes;
    int told = 0;
    if (!telling->has_values || !schema_has_value(telling->schema, index))
        return;
    size_t length = schema_bytes(telling->schema, index, telling->refusal->message, telling->refusal->is.message_bytes, &bytes);
    if (!text_is_good(field->class, 0, bytes, length)) {
        words_add(&telling->words, "has what is not of class %s; ", field_class_name(field->class));
        return;
    }
    for (unsigned bit = 0; field_sink_name(bit) != NULL; bit++)
        if ((field->deny >> bit & 1) != 0 && !text_is_good(field->class, 1u << bit, bytes, length))
            words_add(&telling->words, "%s%s", told++ == 0 ? "means something to " : ", ", field_sink_name(bit));
    words_add(&telling->words, told != 0 ? "; " : "");
}

static void say_relations(struct telling *telling, uint16_t field)
{
    static const char *const operators[] = {"?", "<", "<=", "=", "!="};
    const struct schema *schema = telling->schema;
    for (unsigned i = 0, told = 0; i < schema->header->relation_count; i++) {
        const struct schema_relation *relation = &schema->relations[i];
        if (relation->left != field)
            continue;
        words_add(&telling->words, "%s%s %s %s", told++ == 0 ? "" : ", ", schema->fields[relation->left].name,
            operators[relation->operator], schema->fields[relation->right].name);
    }
    words_add(&telling->words, " must hold");
}

// The message is judged once more: what refused it is what the words are of.
static void say_schema(struct telling *telling, uint32_t reason)
{
    const struct commit_refusal *is = &telling->refusal->is;
    uint16_t index = UINT16_MAX;
    char may_be[160];
    if (schema_check(telling->schema, telling->refusal->message, is->message_bytes, &index) != reason)
        return;
    if (index == UINT16_MAX) {
        if (reason == REASON_LENGTH)
            words_add(&telling->words, "%u bytes came, %s has %s%u", is->message_bytes, telling->schema->header->name,
                telling->schema->header->is_cut ? "at most " : "", telling->schema->header->struct_bytes);
        return;
    }
    const struct schema_field *field = &telling->schema->fields[index];
    if (reason == REASON_RELATION) {
        say_relations(telling, index);
        return;
    }
    if (reason == REASON_PADDING)
        return;
    words_add(&telling->words, "%s ", field->name);
    if (reason == REASON_CLASS && field->type == SCHEMA_STRING)
        say_sinks(telling, field, index);
    else if (telling->has_values && field->type <= SCHEMA_ENUM && schema_has_value(telling->schema, index)) {
        words_add(&telling->words, "is ");
        say_value(telling, index, value_of(telling, index));
        words_add(&telling->words, "; ");
    }
    field_may_be(telling->schema, field, may_be, sizeof may_be);
    words_add(&telling->words, "must be %s", may_be);
}

void refusal_text(const struct system_view *system, const struct refusal *refusal, uint32_t reason, int has_values,
                  char text[REFUSAL_TEXT_BYTES])
{
    const struct commit_refusal *is = &refusal->is;
    struct telling telling = {.system = system, .schema = &system->schemas[is->schema], .refusal = refusal,
                              .words = {text, REFUSAL_TEXT_BYTES, 0}, .has_values = has_values && is->message_bytes != 0};
    uint16_t field;
    text[0] = 0;
    if (is->flow != SYSTEM_NONE) {
        telling.flow = &system->flows[is->flow];
        telling.has_values &= telling.flow->is_payload_kept;
    }
    if (reason == REASON_KEY_TABLE && telling.flow != NULL) {
        words_add(&telling.words, "all %u states of `keys` are taken: a new key has none", telling.flow->keys_max);
        return;
    }
    if (is->check == SYSTEM_NONE) {
        if (is->message_bytes != 0)
            say_schema(&telling, reason);
        return;
    }
    // Checks of flow state are of messages that their schema takes.
    if (telling.has_values && schema_check(telling.schema, refusal->message, is->message_bytes, &field) != REASON_DONE)
        return;
    telling.check = &system->checks[is->check];
    say_check(&telling);
}
