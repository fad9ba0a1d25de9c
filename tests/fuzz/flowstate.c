// SPDX-License-Identifier: ISC
// Fuzz target: checks of flow state over a run of messages. The input chooses the checks, their bounds and the messages.
//
// What must hold: judging changes nothing but the state, and the same twice gives the same; with `measured` the
// verdict is the same, and says which bound was exceeded; a check that is alone refuses exactly what it measures
// above its bound; a number that was taken is never taken again; a step that was taken was within its bound; a
// burst and what came back since is never exceeded.
#include "core/flow_check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

struct message {
    uint64_t number;
    int32_t value;
    uint32_t time;
};

enum { NUMBER, VALUE, TIME };
static struct schema_header header = {.name = "m/1", .field_count = 3, .struct_bytes = sizeof(struct message)};
static struct schema_field fields[3] = {
    {.name = "number", .type = SCHEMA_U64, .minimum = 0, .maximum = -1},
    {.name = "value", .type = SCHEMA_I32, .offset = 8, .minimum = INT32_MIN, .maximum = INT32_MAX},
    {.name = "time", .type = SCHEMA_U32, .offset = 12, .minimum = 0, .maximum = UINT32_MAX}};
static struct system_flow flow;
static struct system_check checks[4];
static struct system_machine machine;
static struct system_view of;

static struct system_check *check_of(unsigned kind)
{
    for (uint16_t i = 0; i < flow.check_count; i++)
        if (checks[i].kind == kind)
            return &checks[i];
    return NULL;
}

static void make(struct take *take)
{
    flow = (struct system_flow){.key_field = SYSTEM_NONE, .keys_max = 1};
    of = (struct system_view){.flows = &flow, .checks = checks, .machines = &machine};
    of.schemas[0] = (struct schema){.header = &header, .fields = fields};
    machine = (struct system_machine){.name = "m", .state_count = 2, .states = {"a", "b"}, .transition_count = 2};
    uint32_t a = flow_name_hash(FLOW_NAME_HASH, "a"), b = flow_name_hash(FLOW_NAME_HASH, "b");
    machine.transitions[0] = (struct system_transition){a, b, 1, 0, {{VALUE, {0}, -(int64_t)take_byte(take), take_byte(take)}}};
    machine.transitions[1] = (struct system_transition){b, a, take_byte(take) % 2, 0, {{NUMBER, {0}, 0, 1 << 20}}};
    unsigned kinds = take_byte(take);
    for (unsigned kind = SYSTEM_CHECK_FRESH; kind < SYSTEM_CHECK_KINDS && flow.check_count < 4; kind++) {
        if ((kinds >> (kind - SYSTEM_CHECK_FRESH) & 1) == 0)
            continue;
        struct system_check *check = &checks[flow.check_count++];
        *check = (struct system_check){.kind = (uint8_t)kind, .field = VALUE, .time_field = SYSTEM_NONE, .id = kind};
        check->field = kind == SYSTEM_CHECK_ORDER ? NUMBER : kind == SYSTEM_CHECK_FRESH ? TIME : VALUE;
        check->window = kind == SYSTEM_CHECK_ORDER ? (take_byte(take) % 3) << 9 & 1024 : 0;
        check->ticks = kind == SYSTEM_CHECK_STEP ? 0 : 1 + take_number(take, 2);
        check->per_second = 1 + take_byte(take);
        check->most = kind == SYSTEM_CHECK_MACHINE ? 0 : take_number(take, 1 + take_byte(take) % 4);
        if (kind == SYSTEM_CHECK_ORDER)
            check->most = check->window != 0 ? check->window - 1 : 0;
        if (kind == SYSTEM_CHECK_SLOPE && take_byte(take) % 2 != 0)
            check->time_field = TIME;
    }
}

#define TAKEN_MAX 256
#define GUARD 0x5ca1ab1e5ca1ab1eu
static struct {
    struct message message;
    int64_t now_ms;
} taken[TAKEN_MAX];
static unsigned taken_count;

// By simple means, of a message that passed all.
static void look(const struct message *message, int64_t now_ms)
{
    const struct system_check *step = check_of(SYSTEM_CHECK_STEP), *rate = check_of(SYSTEM_CHECK_RATE);
    for (unsigned i = 0; i < taken_count; i++) {
        must(check_of(SYSTEM_CHECK_ORDER) == NULL || taken[i].message.number != message->number);
        must(rate == NULL || (int64_t)(taken_count - i + 1 - rate->most) * 1000 <=
                                 (now_ms - taken[i].now_ms) * (int64_t)rate->per_second ||
             taken_count - i + 1 <= rate->most);
    }
    if (step != NULL && taken_count != 0) {
        int64_t moved = (int64_t)message->value - taken[taken_count - 1].message.value;
        must((uint64_t)(moved < 0 ? -moved : moved) <= step->most);
    }
    taken[taken_count].message = *message;
    taken[taken_count++].now_ms = now_ms;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t state[FLOW_STATE_WORDS_MAX], one[FLOW_STATE_WORDS_MAX + 2], two[FLOW_STATE_WORDS_MAX + 2], measured[64];
    struct take take = {data, size};
    struct flow_clock clock = {1, 1, 1};
    struct message message = {0};
    make(&take);
    // What a key's state takes, and a word behind it that is left alone.
    const size_t words = flow_state_words(&of, &flow), bytes = (words == 0 ? 1 : words) * sizeof state[0];
    memset(state, 0, bytes);
    taken_count = 0;
    while (take.left != 0 && taken_count < TAKEN_MAX) {
        uint8_t what = take_byte(&take);
        message.number += (what & 3) == 3 ? take_number(&take, 8) : (what & 3) - (uint64_t)1;
        message.value = (int32_t)((uint32_t)message.value + ((what & 4) != 0 ? (uint32_t)take_number(&take, 4) : (uint32_t)(what >> 4)));
        message.time += (what & 8) != 0 ? take_byte(&take) : 0;
        clock.now_ms += what >> 5;
        clock.wall_ms += (what & 16) != 0 ? (int64_t)take_byte(&take) - 64 : 1;
        clock.wall_ms = clock.wall_ms < 1 ? 1 : clock.wall_ms;
        clock.sent_ms = clock.wall_ms;
        memcpy(one, state, bytes);
        memcpy(two, state, bytes);
        one[bytes / sizeof one[0]] = two[bytes / sizeof two[0]] = GUARD;
        uint16_t verdict = flow_check(&of, &flow, (const uint8_t *)&message, sizeof message, &clock, one, NULL);
        must(flow_check(&of, &flow, (const uint8_t *)&message, sizeof message, &clock, two, measured) == verdict);
        must(verdict == SYSTEM_NONE || (verdict < flow.check_count && measured[verdict] > checks[verdict].most));
        for (uint16_t i = 0; i < flow.check_count && i < verdict; i++)
            must(measured[i] <= checks[i].most);
        must(one[bytes / sizeof one[0]] == GUARD && two[bytes / sizeof two[0]] == GUARD);
        if (verdict != SYSTEM_NONE)
            continue;
        must(memcmp(one, two, bytes) == 0 && one[0] >> flow.check_count == 0);
        memcpy(state, one, bytes);
        look(&message, clock.now_ms);
    }
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    uint32_t state = index + 7;
    if (index >= 96)
        return 0;
    for (size_t i = 0; i < 400; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
        if (i > 30 && index % 2 == 0)
            bytes[i] &= 0xe2; // numbers that rise by one, small steps
    }
    return 400;
}
