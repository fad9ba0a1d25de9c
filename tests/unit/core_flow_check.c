// SPDX-License-Identifier: ISC
// Checks of flow state: their edges, and each against a model that is written another way, over random messages.
//
// The models keep every message that was accepted and look at all of them again for each new one.
#include "core/flow_check.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

struct message {
    uint32_t key;
    int32_t value;
    uint64_t number;
    int64_t time_ms;
    int64_t signed_number;
    uint8_t op; // of three
    uint8_t zero[7];
};

enum { KEY, VALUE, NUMBER, TIME, SIGNED, OP };
static struct schema_header header = {.name = "m/1", .field_count = 6, .struct_bytes = sizeof(struct message)};
static struct schema_field fields[6] = {
    [KEY] = {.name = "key", .type = SCHEMA_U32, .minimum = 1, .maximum = 100},
    [VALUE] = {.name = "value", .type = SCHEMA_I32, .offset = 4, .decimals = 3, .minimum = -5000, .maximum = 5000},
    [NUMBER] = {.name = "number", .type = SCHEMA_U64, .offset = 8, .minimum = 0, .maximum = -1},
    [TIME] = {.name = "time_ms", .type = SCHEMA_I64, .offset = 16, .minimum = INT64_MIN, .maximum = INT64_MAX},
    [SIGNED] = {.name = "signed", .type = SCHEMA_I64, .offset = 24, .minimum = INT64_MIN, .maximum = INT64_MAX},
    [OP] = {.name = "op", .type = SCHEMA_ENUM, .offset = 32, .label_count = 3}};
static struct system_view system_of;
static struct system_flow flow;
static struct system_check checks[4];
static struct system_machine machines[1];
static uint64_t state[FLOW_STATE_WORDS_MAX];
static struct flow_clock clock_of = {1000, 5000, 5000};
static struct message message;

static struct system_check *begin(unsigned kind, uint16_t field)
{
    memset(&flow, 0, sizeof flow);
    memset(state, 0, sizeof state);
    flow.key_field = KEY;
    flow.keys_max = 100;
    flow.check_count = 1;
    system_of.flows = &flow;
    system_of.checks = checks;
    system_of.machines = machines;
    system_of.schemas[0] = (struct schema){.header = &header, .fields = fields};
    checks[0] = (struct system_check){.kind = (uint8_t)kind, .field = field, .time_field = SYSTEM_NONE,
                                      .machine = SYSTEM_NONE, .line = 1};
    message = (struct message){.key = 1};
    return &checks[0];
}

// Judges the message; one that is accepted changes the state.
static int accept(void)
{
    static uint64_t next[FLOW_STATE_WORDS_MAX];
    size_t bytes = 8 * (size_t)flow_state_words(&system_of, &flow);
    memcpy(next, state, bytes);
    uint16_t refused = flow_check(&system_of, &flow, (const uint8_t *)&message, sizeof message, &clock_of,
                                  bytes != 0 ? next : NULL, NULL);
    if (refused == SYSTEM_NONE)
        memcpy(state, next, bytes);
    return refused == SYSTEM_NONE;
}

static int number_is_taken(uint64_t number)
{
    message.number = number;
    return accept();
}

TEST(strict_order)
{
    begin(SYSTEM_CHECK_ORDER, NUMBER);
    expect(number_is_taken(0) && !number_is_taken(0) && number_is_taken(1) && number_is_taken(7) && !number_is_taken(7));
    expect(!number_is_taken(3) && number_is_taken(UINT64_MAX));
    expect(!number_is_taken(0) && !number_is_taken(UINT64_MAX)); // it does not start anew
    begin(SYSTEM_CHECK_ORDER, SIGNED);
    const int64_t order[] = {INT64_MIN, -7, -1, 0, 3, INT64_MAX};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        message.signed_number = order[i];
        expect(accept() && !accept());
    }
}

TEST(window)
{
    for (uint32_t size = 64; size <= 1024; size *= 16) {
        struct system_check *check = begin(SYSTEM_CHECK_ORDER, NUMBER);
        check->window = size;
        check->most = size - 1;
        expect(number_is_taken(size) && number_is_taken(1) && !number_is_taken(1)); // size - 1 behind
        expect(!number_is_taken(0));                                              // one more
        expect(number_is_taken(size + 1) && !number_is_taken(1) && number_is_taken(2) && !number_is_taken(2));
        expect(number_is_taken(10 * size) && number_is_taken(9 * size + 1) && !number_is_taken(9 * size));
        expect(number_is_taken(UINT64_MAX) && number_is_taken(UINT64_MAX - size + 1) && !number_is_taken(UINT64_MAX - size));
        expect(!number_is_taken(3) && !number_is_taken(UINT64_MAX));
        // The very first numbers have nothing before them.
        begin(SYSTEM_CHECK_ORDER, NUMBER)->window = size;
        checks[0].most = size - 1;
        expect(number_is_taken(0) && !number_is_taken(0) && number_is_taken(2) && number_is_taken(1) && !number_is_taken(1));
    }
}

TEST(fresh)
{
    struct system_check *check = begin(SYSTEM_CHECK_FRESH, TIME);
    check->ticks = 1000;
    check->most = 100;
    clock_of.sent_ms = 1000000;
    clock_of.wall_ms = 9000000; // how long it waited does not count
    const int64_t times[] = {1000000, 1000100, 999900, 1000101, 999899, INT64_MIN, INT64_MAX, 0};
    for (int i = 0; i < 8; i++) {
        message.time_ms = times[i];
        expect(accept() == (i < 3));
    }
    check->ticks = 1000000000; // nanoseconds, in an unsigned field
    check->field = NUMBER;
    check->most = 5;
    message.number = UINT64_C(1000) * 1000000000 + 5;
    expect(accept());
    message.number++;
    expect(!accept());
}

static int value_at(int32_t value, int64_t wall_ms)
{
    message.value = value;
    clock_of.wall_ms = wall_ms;
    return accept();
}

TEST(step)
{
    begin(SYSTEM_CHECK_STEP, VALUE)->most = 2000;
    expect(value_at(-5000, 0) && value_at(-3000, 0) && !value_at(-999, 0) && value_at(-1000, 0) && !value_at(-3001, 0));
    expect(value_at(-3000, 0));
    checks[0].ticks = 1000; // and then it begins anew
    expect(value_at(-3000, 5000) && !value_at(0, 6000) && value_at(0, 6001) && !value_at(2001, 7001) && !value_at(2001, 100));
}

TEST(slope)
{
    struct system_check *check = begin(SYSTEM_CHECK_SLOPE, VALUE);
    check->most = 500;
    check->ticks = 1000; // 500 in a second
    expect(value_at(0, 10000) && !value_at(501, 11000) && value_at(500, 11000));
    expect(!value_at(502, 11003) && value_at(501, 11003));
    // Of one moment: however many come, they are measured from the last moment before it.
    expect(value_at(1000, 12003) && value_at(1001, 12003) && !value_at(1002, 12003) && value_at(1, 12003) && !value_at(0, 12003));
    expect(!value_at(2, 12004) && value_at(1, 12004) && value_at(2, 12006));
    // The host's clock was set back: it begins anew, and is measured from there.
    expect(value_at(3000, 5000) && !value_at(3501, 6000) && value_at(3500, 6000));
    // The first moment of a key.
    begin(SYSTEM_CHECK_SLOPE, VALUE)->most = 500;
    checks[0].ticks = 1000;
    expect(value_at(0, 100) && !value_at(1, 100) && value_at(0, 100) && value_at(1, 102));
    // By a field, which must not go back.
    check = begin(SYSTEM_CHECK_SLOPE, VALUE);
    check->most = 500;
    check->ticks = 1000;
    check->time_field = TIME;
    message.time_ms = -100;
    expect(value_at(0, 1));
    message.time_ms = 900;
    expect(value_at(500, 1) && !value_at(501, 1));
    message.time_ms = 899;
    expect(!value_at(500, 100000));
    // No product overflows.
    check = begin(SYSTEM_CHECK_SLOPE, NUMBER);
    check->time_field = TIME;
    check->ticks = UINT64_MAX;
    message.time_ms = 901;
    expect(number_is_taken(0));
    message.time_ms = 902;
    expect(!number_is_taken(UINT64_MAX) && number_is_taken(0));
}

TEST(rate)
{
    struct system_check *check = begin(SYSTEM_CHECK_RATE, SYSTEM_NONE);
    check->per_second = 10;
    check->most = 3;
    clock_of.now_ms = 77;
    expect(accept() && accept() && accept() && !accept()); // burst + 1 in one moment
    clock_of.now_ms += 99;
    expect(!accept());
    clock_of.now_ms++;
    expect(accept() && !accept());
    clock_of.now_ms -= 90; // the machine was started anew: nobody waits until its clock is where it was
    expect(accept() && accept() && accept() && !accept());
    clock_of.now_ms += 1000 * 3600 * 1000L;
    expect(accept() && accept() && accept() && !accept());
    check->kind = SYSTEM_CHECK_BYTES;
    check->per_second = sizeof message;
    check->most = 2 * sizeof message;
    memset(state, 0, sizeof state);
    expect(accept() && accept() && !accept());
    clock_of.now_ms += 1000;
    expect(accept() && !accept());
}

static void make_valve(void)
{
    machines[0] = (struct system_machine){.name = "valve", .state_count = 2, .states = {"closed", "open"},
                                          .transition_count = 2};
    uint32_t closed = flow_name_hash(FLOW_NAME_HASH, "closed"), open = flow_name_hash(FLOW_NAME_HASH, "open");
    machines[0].transitions[0] =
        (struct system_transition){closed, open, 2, 0, {{OP, {0}, 0, 0}, {VALUE, {0}, -10, 10}}};
    machines[0].transitions[1] = (struct system_transition){open, closed, 1, 0, {{OP, {0}, 1, 1}}};
}

static int op_is_taken(uint8_t op, int32_t value)
{
    message.op = op;
    message.value = value;
    return accept();
}

TEST(machine)
{
    make_valve();
    begin(SYSTEM_CHECK_MACHINE, SYSTEM_NONE)->machine = 0;
    expect(!op_is_taken(1, 0) && !op_is_taken(2, 0) && !op_is_taken(0, 11) && !op_is_taken(0, -11));
    expect(op_is_taken(0, -10) && !op_is_taken(0, 0) && op_is_taken(1, 3000) && op_is_taken(0, 10));
    expect(strcmp(flow_state_name(&machines[0], state[1]), "open") == 0 && flow_state_name(&machines[0], 5) == NULL);
}

// One refusal leaves no trace in any check, and the first of them is named.
TEST(checks_together)
{
    make_valve();
    begin(SYSTEM_CHECK_ORDER, NUMBER);
    flow.check_count = 4;
    checks[1] = (struct system_check){.kind = SYSTEM_CHECK_STEP, .field = VALUE, .most = 10};
    checks[2] = (struct system_check){.kind = SYSTEM_CHECK_MACHINE, .field = SYSTEM_NONE};
    checks[3] = (struct system_check){.kind = SYSTEM_CHECK_RATE, .field = SYSTEM_NONE, .per_second = 1, .most = 2};
    expect(flow_state_words(&system_of, &flow) == 7);
    static uint64_t before[8], after[8], measured[4];
    message = (struct message){.key = 1, .value = 5, .number = 5, .op = 0};
    expect(accept() && state[0] == 15);
    memcpy(before, state, sizeof before);
    const struct {
        uint64_t number;
        int32_t value;
        uint8_t op;
        uint16_t refused;
    } tries[] = {{5, 50, 0, 0}, {6, 50, 0, 1}, {6, 6, 0, 2}, {6, 6, 1, SYSTEM_NONE}};
    for (int i = 0; i < 4; i++) {
        message.number = tries[i].number;
        message.value = tries[i].value;
        message.op = tries[i].op;
        memcpy(after, before, sizeof after);
        expect(flow_check(&system_of, &flow, (const uint8_t *)&message, sizeof message, &clock_of, after, NULL) == tries[i].refused);
        memcpy(after, before, sizeof after);
        expect(flow_check(&system_of, &flow, (const uint8_t *)&message, sizeof message, &clock_of, after, measured) == tries[i].refused);
        expect(measured[1] == (tries[i].value == 50 ? 45 : 1) && measured[3] == 2); // all of them measured
    }
    expect(accept() && !accept());
}

static int is_spent(void) { return flow_state_is_spent(&system_of, &flow, state, &clock_of); }

TEST(what_may_be_forgotten)
{
    begin(SYSTEM_CHECK_ORDER, NUMBER);
    clock_of = (struct flow_clock){1000, 5000000, 5000000};
    expect(!is_spent() && number_is_taken(7) && !is_spent()); // nothing is there; a number is for ever
    flow.check_count = 3;
    checks[1] = (struct system_check){.kind = SYSTEM_CHECK_RATE, .field = SYSTEM_NONE, .per_second = 10, .most = 30};
    checks[2] = (struct system_check){.kind = SYSTEM_CHECK_FRESH, .field = TIME, .ticks = 1000, .most = 5000};
    memset(state, 0, sizeof state);
    message.time_ms = 5000000;
    expect(number_is_taken(7) && !is_spent());
    clock_of.now_ms += 3600000 + 10000; // an hour, and as long as a message could be fresh
    expect(!is_spent());
    clock_of.now_ms++;
    expect(is_spent());
    flow.is_observed = 1;
    expect(!is_spent());
    flow.is_observed = 0;
    clock_of.now_ms = 5; // the host was started anew
    expect(!is_spent());
    begin(SYSTEM_CHECK_STEP, VALUE)->most = 10;
    expect(value_at(0, 1000) && (clock_of.wall_ms = 900000000, !is_spent()));
    checks[0].ticks = 1000;
    clock_of.wall_ms = 2000;
    expect(!is_spent() && (clock_of.wall_ms = 2001, is_spent()) && (clock_of.wall_ms = 900, !is_spent()));
    begin(SYSTEM_CHECK_SLOPE, VALUE)->most = 100;
    checks[0].ticks = 1000; // by 100 a second, of 10000 that there are
    expect(value_at(0, 1000) && (clock_of.wall_ms = 100999, !is_spent()) && (clock_of.wall_ms = 101000, is_spent()));
    checks[0].time_field = TIME;
    expect(!is_spent());
    make_valve();
    begin(SYSTEM_CHECK_MACHINE, SYSTEM_NONE)->machine = 0;
    expect(op_is_taken(0, 0) && !is_spent() && op_is_taken(1, 0) && is_spent());
}

static uint64_t random_state = 88172645463325252u;

static uint64_t below(uint64_t most)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % most;
}

// Whoever forgets what may be forgotten says the same as who does not.
TEST(nobody_notices_what_is_forgotten)
{
    uint64_t kept[FLOW_STATE_WORDS_MAX] = {0};
    int forgotten = 0, taken = 0;
    make_valve();
    begin(SYSTEM_CHECK_STEP, VALUE);
    checks[0].most = 2000;
    checks[0].ticks = 3000;
    flow.check_count = 3;
    checks[1] = (struct system_check){.kind = SYSTEM_CHECK_MACHINE, .field = SYSTEM_NONE};
    checks[2] = (struct system_check){.kind = SYSTEM_CHECK_RATE, .field = SYSTEM_NONE, .per_second = 1, .most = 12};
    size_t bytes = 8 * (size_t)flow_state_words(&system_of, &flow);
    clock_of = (struct flow_clock){1000, 5000000, 5000000};
    for (int i = 0; i < 200000; i++) {
        int64_t passed_ms = (int64_t)(below(8) == 0 ? below(9000) : below(500));
        clock_of.now_ms += passed_ms;
        clock_of.wall_ms += passed_ms;
        if (is_spent()) {
            memset(state, 0, bytes);
            forgotten++;
        }
        message.value = below(3) == 0 ? (int32_t)below(10000) - 5000 : (int32_t)below(20) - 10;
        message.op = (uint8_t)below(2);
        uint64_t next[FLOW_STATE_WORDS_MAX];
        int is_taken = accept();
        memcpy(next, kept, bytes);
        int is_kept_taken = flow_check(&system_of, &flow, (const uint8_t *)&message, sizeof message, &clock_of, next, NULL) == SYSTEM_NONE;
        if (is_kept_taken)
            memcpy(kept, next, bytes);
        expect(is_taken == is_kept_taken);
        taken += is_taken;
    }
    expect(forgotten > 1000 && taken > 10000);
}

TEST(sizes)
{
    uint64_t first;
    begin(SYSTEM_CHECK_ORDER, NUMBER)->window = 1024;
    expect(flow_state_words(&system_of, &flow) == 18 && flow_key_bytes(&system_of, &flow) == 4);
    expect(flow_keys_are_direct(&system_of, &flow, &first) && first == 1);
    expect(flow_state_bytes(&system_of, &flow) == 100 * (18 + 1) * 8);
    flow.keys_max = 99;
    expect(!flow_keys_are_direct(&system_of, &flow, &first));
    flow.key_field = VALUE;
    flow.keys_max = 10001;
    expect(flow_keys_are_direct(&system_of, &flow, &first) && first == (UINT64_C(1) << 63) - 5000);
    flow.key_field = TIME;
    flow.keys_max = SYSTEM_KEYS_MAX;
    expect(!flow_keys_are_direct(&system_of, &flow, &first));
    flow.key_field = OP;
    flow.keys_max = 3;
    expect(flow_keys_are_direct(&system_of, &flow, &first));
    flow.key_field = SYSTEM_NONE;
    flow.keys_max = 1;
    expect(flow_keys_are_direct(&system_of, &flow, &first) && flow_key_bytes(&system_of, &flow) == 0);
    checks[0] = (struct system_check){.kind = SYSTEM_CHECK_FRESH, .field = TIME};
    expect(flow_state_words(&system_of, &flow) == 0 && flow_state_bytes(&system_of, &flow) == 0);
}

// ---- Models ----

#define KEPT 4096
static struct {
    struct message message;
    int64_t ms;
} kept[KEPT];
static int kept_count;
static int model_order(uint64_t window)
{
    uint64_t highest = 0;
    int was_there = 0;
    for (int i = 0; i < kept_count; i++) {
        highest = kept[i].message.number > highest ? kept[i].message.number : highest;
        was_there |= kept[i].message.number == message.number;
    }
    if (kept_count == 0 || message.number > highest)
        return 1;
    return window != 0 && !was_there && message.number + window > highest;
}

static int model_slope(int64_t ms)
{
    int from = -1; // the last of an earlier moment, else the first of this one
    for (int i = 0; i < kept_count; i++)
        if (kept[i].ms < ms)
            from = i;
    if (from < 0 && kept_count != 0)
        from = 0;
    if (from < 0)
        return 1;
    long double passed = ms > kept[from].ms ? (long double)(ms - kept[from].ms) : 1;
    long double moved = (long double)abs(message.value - kept[from].message.value);
    return moved * (long double)checks[0].ticks <= (long double)checks[0].most * passed;
}

// Never more than a burst and what came back since, from any message on.
static int model_rate(int64_t ms)
{
    for (int i = 0; i <= kept_count; i++) {
        int64_t since = i < kept_count ? ms - kept[i].ms : 0, count = kept_count - i + 1;
        if ((count - (int64_t)checks[0].most) * 1000 > since * checks[0].per_second)
            return 0;
    }
    return 1;
}

static int model_machine(void)
{
    const char *at = "closed";
    for (int i = 0; i <= kept_count; i++) {
        const struct message *one = i < kept_count ? &kept[i].message : &message;
        if (strcmp(at, "closed") == 0 && one->op == 0 && one->value >= -10 && one->value <= 10)
            at = "open";
        else if (strcmp(at, "open") == 0 && one->op == 1)
            at = "closed";
        else
            return 0;
    }
    return 1;
}

static int model(int64_t ms)
{
    switch (checks[0].kind) {
    case SYSTEM_CHECK_ORDER:
        return model_order(checks[0].window);
    case SYSTEM_CHECK_STEP:
        return kept_count == 0 || (uint64_t)abs(message.value - kept[kept_count - 1].message.value) <= checks[0].most;
    case SYSTEM_CHECK_SLOPE:
        return model_slope(ms);
    case SYSTEM_CHECK_RATE:
        return model_rate(ms);
    default:
        return model_machine();
    }
}

// A round is some hundreds of messages of one key; numbers and values wander, jump and come back.
static int agrees(void)
{
    int accepted = 0, refused = 0;
    for (int round = 0; round < 60; round++) {
        int64_t ms = 1 + (int64_t)below(100);
        uint64_t number = below(3) == 0 ? 0 : below(5000);
        memset(state, 0, sizeof state);
        kept_count = 0;
        message = (struct message){.key = 1};
        for (int i = 0; i < 600 && kept_count < KEPT; i++) {
            ms += below(3) == 0 ? (int64_t)below(200) : (int64_t)below(2);
            number += below(4) == 0 ? below(1500) : 1;
            message.number = below(3) == 0 && number > 1100 ? number - below(1100) : number;
            message.value += (int32_t)below(61) - 30;
            if (below(20) == 0)
                message.value = (int32_t)below(200) - 100;
            message.op = (uint8_t)below(3);
            clock_of.now_ms = clock_of.wall_ms = ms;
            int is_wanted = model(ms);
            if (accept() != is_wanted)
                return 0;
            accepted += is_wanted;
            refused += !is_wanted;
            if (is_wanted) {
                kept[kept_count].message = message;
                kept[kept_count++].ms = ms;
            }
        }
    }
    return accepted > 500 && refused > 500;
}

TEST(models_agree)
{
    make_valve();
    begin(SYSTEM_CHECK_ORDER, NUMBER);
    expect(agrees());
    for (uint32_t size = 64; size <= 1024; size *= 16) {
        begin(SYSTEM_CHECK_ORDER, NUMBER)->window = size;
        checks[0].most = size - 1;
        expect(agrees());
    }
    begin(SYSTEM_CHECK_STEP, VALUE)->most = 20;
    expect(agrees());
    begin(SYSTEM_CHECK_SLOPE, VALUE)->most = 77;
    checks[0].ticks = 100;
    expect(agrees());
    begin(SYSTEM_CHECK_RATE, SYSTEM_NONE)->most = 7;
    checks[0].per_second = 13;
    expect(agrees());
    begin(SYSTEM_CHECK_MACHINE, SYSTEM_NONE)->machine = 0;
    expect(agrees());
}

int main(void)
{
    RUN(strict_order);
    RUN(window);
    RUN(fresh);
    RUN(step);
    RUN(slope);
    RUN(rate);
    RUN(machine);
    RUN(checks_together);
    RUN(what_may_be_forgotten);
    RUN(nobody_notices_what_is_forgotten);
    RUN(sizes);
    RUN(models_agree);
    TEST_END();
}
