// SPDX-License-Identifier: ISC
// What the inspector refused, in words: what came, what was there before it, what would have been taken.
#include "store/refusal.h"

#include "core/flow_check.h"
#include "tests/unit/test.h"

#include <string.h>

enum { SITE, VALUE, SEQUENCE, TIME, OP, NOTE, FIELDS };

struct command {
    uint32_t site;
    int32_t value; // 3 decimals
    uint64_t sequence, time_ms;
    uint8_t op;
    uint8_t zero;
    uint16_t note_length;
    char note[20];
};

static const struct schema_header header = {.name = "command/1", .field_count = FIELDS, .label_count = 2,
                                            .relation_count = 1, .struct_bytes = sizeof(struct command)};
static const struct schema_field fields[FIELDS] = {
    {.name = "site", .type = SCHEMA_U32, .maximum = UINT32_MAX},
    {.name = "value", .type = SCHEMA_I32, .offset = 4, .decimals = 3, .minimum = -40000, .maximum = 150000, .unit = "Cel"},
    {.name = "sequence", .type = SCHEMA_U64, .offset = 8, .maximum = -1},
    {.name = "time_ms", .type = SCHEMA_U64, .offset = 16, .maximum = -1, .unit = "ms"},
    {.name = "op", .type = SCHEMA_ENUM, .offset = 24, .maximum = 1, .label_count = 2},
    {.name = "note", .type = SCHEMA_STRING, .offset = 26, .capacity = 20, .class = SCHEMA_CLASS_PRINTABLE,
     .deny = SCHEMA_DENY_SQL | SCHEMA_DENY_HTML}};
static const struct schema_label labels[2] = {{"start"}, {"stop"}};
static const struct schema_relation relation = {SEQUENCE, TIME, SCHEMA_LESS, 0};
static struct system_machine machine = {.name = "pump", .state_count = 2, .transition_count = 2,
                                        .states = {"ready", "closed"}, .start = 0};
static struct system_check check;
static struct system_flow flow = {.name = "command", .is_payload_kept = 1, .check_count = 1, .key_field = SITE, .keys_max = 9};
static struct system_view view;
static struct command command;
static uint64_t state[FLOW_STATE_WORDS_MAX];
static struct refusal refusal;
static char text[REFUSAL_TEXT_BYTES];

static void begin(enum system_check_kind kind, uint16_t field)
{
    view = (struct system_view){.flows = &flow, .flow_count = 1, .checks = &check, .check_count = 1,
                                .machines = &machine, .machine_count = 1, .schema_count = 1};
    view.schemas[0] = (struct schema){&header, fields, &relation, labels};
    check = (struct system_check){.kind = (uint8_t)kind, .field = field, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE};
    command = (struct command){.site = 3, .value = 93500, .sequence = 5, .time_ms = 9000};
    memset(state, 0, sizeof state);
    state[0] = 1;
    refusal = (struct refusal){{.check = kind == 0 ? SYSTEM_NONE : 0, .message_bytes = sizeof command},
                               (const uint8_t *)state, (const uint8_t *)&command};
    flow.is_payload_kept = 1;
}

static int says(uint32_t reason, const char *wanted)
{
    refusal.is.state_bytes = refusal.is.check == SYSTEM_NONE || state[0] == 0 ? 0 : 8 * flow_state_words(&view, &flow);
    expect(refusal_is_valid(&view, &refusal));
    refusal_text(&view, &refusal, reason, 1, text);
    int is_good = strcmp(text, wanted) == 0;
    if (!is_good)
        printf("# %s\n", text);
    return is_good;
}

static int says_without_values(uint32_t reason, const char *wanted)
{
    refusal_text(&view, &refusal, reason, 0, text);
    return strcmp(text, wanted) == 0;
}

TEST(machine)
{
    begin(SYSTEM_CHECK_MACHINE, SYSTEM_NONE);
    uint32_t ready = flow_name_hash(FLOW_NAME_HASH, "ready"), closed = flow_name_hash(FLOW_NAME_HASH, "closed");
    machine.transitions[0] = (struct system_transition){
        .from = ready, .to = closed, .condition_count = 1, .conditions = {{.field = OP, .low = 0, .high = 0}}};
    machine.transitions[1] = (struct system_transition){
        .from = closed, .to = ready, .condition_count = 2,
        .conditions = {{.field = OP, .low = 1, .high = 1}, {.field = VALUE, .low = 0, .high = 9500}}};
    check.machine = 0;
    state[1] = closed;
    expect(says(REASON_STATE, "site 3 is in state \"closed\", which takes op stop with value 0.000 to 9.500; "
                              "op start, value 93.500 goes from \"ready\" only"));
    expect(says_without_values(REASON_STATE, "its key is in state \"closed\", which takes op stop with value 0.000 to 9.500"));
    command.op = 1;
    state[0] = 0; // a new key
    expect(says(REASON_STATE, "site 3 is in state \"ready\", which takes op start; op stop, value 93.500 goes from no state"));
    flow.is_payload_kept = 0;
    expect(says(REASON_STATE, "its key is in state \"ready\", which takes op start"));
}

TEST(numbers)
{
    begin(SYSTEM_CHECK_STEP, VALUE);
    check.most = 2000;
    check.ticks = 600000;
    state[1] = flow_ordered(&fields[VALUE], -19500);
    expect(says(REASON_STEP, "site 3: value went from -19.500 to 93.500 Cel; a step is at most 2.000 within 600 s"));
    expect(says_without_values(REASON_STEP, "its key; a step is at most 2.000 within 600 s"));
    begin(SYSTEM_CHECK_SLOPE, VALUE);
    check.most = 500;
    check.ticks = 1000;
    check.time_field = TIME;
    state[1] = flow_ordered(&fields[VALUE], 90000);
    state[2] = 8750;
    expect(says(REASON_SLOPE, "site 3: value went from 90.000 to 93.500 Cel in 250 ms; at most 0.500 in 1000 ms"));
    command.time_ms = 8000;
    expect(says(REASON_SLOPE, "site 3: time_ms went back; at most 0.500 in 1000 ms"));
    begin(SYSTEM_CHECK_ORDER, SEQUENCE);
    state[1] = 7;
    expect(says(REASON_REPLAY, "site 3: sequence 5 came, the highest was 7; sequence must rise"));
    check.window = 64;
    expect(says(REASON_REPLAY, "site 3: sequence 5 came, the highest was 7; each number is taken once, at most 63 behind the highest"));
    begin(SYSTEM_CHECK_FRESH, TIME);
    check.ticks = 1000;
    check.most = 5000;
    refusal.is.sent_ms = 16200;
    expect(says(REASON_STALE, "time_ms is 7200 ms behind the host's clock; it must be within 5 s"));
    begin(SYSTEM_CHECK_RATE, SYSTEM_NONE);
    check.most = 200;
    check.per_second = 100;
    expect(says(REASON_RATE, "site 3 has used up its burst of 200 messages; 100 a second come back"));
    refusal.is.check = SYSTEM_NONE;
    expect(says(REASON_KEY_TABLE, "all 9 states of `keys` are taken: a new key has none"));
}

TEST(schemas)
{
    begin(0, SYSTEM_NONE);
    command.value = 900000;
    expect(says(REASON_RANGE, "value is 900.000; must be -40.000 to 150.000 Cel"));
    expect(says_without_values(REASON_RANGE, "value must be -40.000 to 150.000 Cel"));
    begin(0, SYSTEM_NONE);
    command.note_length = 4;
    memcpy(command.note, "a;--", 4);
    expect(says(REASON_CLASS, "note means something to sql; must be at most 20 bytes of class printable, "
                              "nothing that means something to sql html"));
    memcpy(command.note, "\n\"<b", 4);
    expect(says(REASON_CLASS, "note has what is not of class printable; must be at most 20 bytes of class printable, "
                              "nothing that means something to sql html"));
    begin(0, SYSTEM_NONE);
    command.sequence = 10000;
    expect(says(REASON_RELATION, "sequence < time_ms must hold"));
    refusal.is.message_bytes = 8;
    expect(says(REASON_LENGTH, "8 bytes came, command/1 has 48"));
}

// A router that was taken over says what it likes.
TEST(lies)
{
    begin(SYSTEM_CHECK_STEP, VALUE);
    command.value = 900000; // its schema would not have taken it: nothing is read of it
    expect(says(REASON_STEP, ""));
    refusal.is.message_bytes = 0;
    expect(says(REASON_STEP, "its key; a step is at most 0.000"));
    expect(says(REASON_RANGE, "its key; a step is at most 0.000"));
    refusal.is.state_bytes = 8;
    expect(!refusal_is_valid(&view, &refusal));
    refusal.is.state_bytes = 0;
    refusal.is.check = 1;
    expect(!refusal_is_valid(&view, &refusal));
    refusal.is.check = SYSTEM_NONE;
    refusal.is.schema = 1;
    expect(!refusal_is_valid(&view, &refusal));
    refusal.is.schema = 0;
    refusal.is.flow = 1;
    expect(!refusal_is_valid(&view, &refusal));
    refusal.is.flow = SYSTEM_NONE;
    expect(refusal_is_valid(&view, &refusal));
    expect(says(REASON_KEY_TABLE, ""));
}

int main(void)
{
    RUN(machine);
    RUN(numbers);
    RUN(schemas);
    RUN(lies);
    TEST_END();
}
