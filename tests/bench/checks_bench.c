// SPDX-License-Identifier: ISC
// What judging one message costs the router alone: schema, then all checks of flow state, with a million keys.
//
// One effect of an event, 64 bytes in 11 fields, is judged, its key held and settled, as for a volatile event.
// The rows differ in what is checked and in how the keys come; each number is the median of rounds that
// took turns. Keys that come at random meet memory that no cache holds.
#include "core/flow_check.h"
#include "router/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MESSAGES 512000u
#define BATCH 64u
#define ROUNDS 9

struct reading {
    uint32_t sensor;
    int32_t value;
    uint64_t sequence;
    int64_t time_ms;
    uint16_t a, b, c, d;
    uint8_t op, e;
    uint16_t f;
    uint32_t zero;
    uint64_t rest[3];
};
_Static_assert(sizeof(struct reading) == 64, "the payload of the bar");

enum { SENSOR, VALUE, SEQUENCE, TIME, A, B, C, D, OP, E, REST, FIELDS };
static struct schema_header header = {.name = "reading/1", .field_count = FIELDS, .struct_bytes = 64};
static struct schema_field fields[FIELDS];
static struct system_view of;
static struct system_header system_header;
static struct system_unikernel unikernels[2];
static struct system_flow flows[1];
static struct system_check checks[10]; // all seven, then those of the bar
static struct system_machine machines[1];
static _Alignas(8) uint8_t records[sizeof(struct abi_send) + sizeof(struct reading) + sizeof(struct abi_end)];

static void field(unsigned index, const char *name, unsigned type, size_t offset, int64_t minimum, int64_t maximum)
{
    snprintf(fields[index].name, sizeof fields[index].name, "%s", name);
    fields[index].type = (uint8_t)type;
    fields[index].offset = (uint16_t)offset;
    fields[index].minimum = minimum;
    fields[index].maximum = maximum;
}

static void make_schema(void)
{
    field(SENSOR, "sensor", SCHEMA_U32, offsetof(struct reading, sensor), 0, SYSTEM_KEYS_MAX - 1);
    field(VALUE, "value", SCHEMA_I32, offsetof(struct reading, value), -40000, 150000);
    field(SEQUENCE, "sequence", SCHEMA_U64, offsetof(struct reading, sequence), 0, INT64_MAX);
    field(TIME, "time_ms", SCHEMA_I64, offsetof(struct reading, time_ms), 0, INT64_MAX);
    field(A, "a", SCHEMA_U16, offsetof(struct reading, a), 0, 1000);
    field(B, "b", SCHEMA_U16, offsetof(struct reading, b), 0, 1000);
    field(C, "c", SCHEMA_U16, offsetof(struct reading, c), 0, 1000);
    field(D, "d", SCHEMA_U16, offsetof(struct reading, d), 0, 1000);
    field(OP, "op", SCHEMA_ENUM, offsetof(struct reading, op), 0, 3);
    fields[OP].label_count = 4;
    field(E, "e", SCHEMA_U8, offsetof(struct reading, e), 0, 100);
    field(REST, "rest", SCHEMA_BYTES, offsetof(struct reading, f), 0, 0);
    fields[REST].capacity = 64 - offsetof(struct reading, f) - 2;
    of.schemas[0] = (struct schema){.header = &header, .fields = fields};
}

static void check(unsigned kind, uint16_t field_index, uint64_t most)
{
    static unsigned count;
    struct system_check *one = &checks[count++];
    *one = (struct system_check){.kind = (uint8_t)kind, .field = field_index, .time_field = SYSTEM_NONE,
                                 .machine = SYSTEM_NONE, .id = count, .most = most};
    one->ticks = kind == SYSTEM_CHECK_FRESH || kind == SYSTEM_CHECK_SLOPE ? 1000 : 0;
    one->per_second = kind == SYSTEM_CHECK_RATE ? 10000000 : kind == SYSTEM_CHECK_BYTES ? 1000000000 : 0;
}

static void make_checks(void)
{
    check(SYSTEM_CHECK_FRESH, TIME, 5000);
    check(SYSTEM_CHECK_ORDER, SEQUENCE, 63);
    checks[1].window = 64;
    check(SYSTEM_CHECK_STEP, VALUE, 2000);
    check(SYSTEM_CHECK_SLOPE, VALUE, 2000000000);
    check(SYSTEM_CHECK_MACHINE, SYSTEM_NONE, 0);
    checks[4].machine = 0;
    check(SYSTEM_CHECK_RATE, SYSTEM_NONE, 1000000);
    check(SYSTEM_CHECK_BYTES, SYSTEM_NONE, 100000000);
    check(SYSTEM_CHECK_ORDER, SEQUENCE, 0);
    check(SYSTEM_CHECK_STEP, VALUE, 2000);
    check(SYSTEM_CHECK_RATE, SYSTEM_NONE, 1000000);
    machines[0] = (struct system_machine){.name = "valve", .state_count = 2, .states = {"closed", "open"},
                                          .transition_count = 2};
    uint32_t closed = flow_name_hash(FLOW_NAME_HASH, "closed"), open = flow_name_hash(FLOW_NAME_HASH, "open");
    machines[0].transitions[0] = (struct system_transition){closed, open, 1, 0, {{OP, {0}, 0, 3}}};
    machines[0].transitions[1] = (struct system_transition){open, closed, 1, 0, {{OP, {0}, 0, 3}}};
}

static void make_system(void)
{
    make_schema();
    make_checks();
    of.header = &system_header;
    of.unikernels = unikernels;
    of.flows = flows;
    of.checks = checks;
    of.machines = machines;
    of.unikernel_count = 2;
    of.flow_count = of.schema_count = of.machine_count = 1;
    snprintf(unikernels[0].name, SYSTEM_NAME_BYTES, "source");
    snprintf(unikernels[1].name, SYSTEM_NAME_BYTES, "sink");
    unikernels[0].output_count = unikernels[1].input_count = 1;
    unikernels[0].instances_max = unikernels[1].instances_max = 1;
    flows[0].receiver_count = 1;
    flows[0].receivers[0].index = 1;
    flows[0].count_max = 1;
    flows[0].key_field = SENSOR;
    flows[0].is_open = 1;
    flows[0].rate_per_second = flows[0].rate_burst = 10000000;
}

static enum status send_nothing(void *context, enum engine_peer peer, uint32_t index, const struct channel_part *parts,
                                size_t count)
{
    (void)context, (void)peer, (void)index, (void)parts, (void)count;
    return STATUS_OK;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); // others run, too
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct row {
    const char *name;
    uint16_t check_first, check_count;
    uint32_t keys;  // that come
    int is_random;
    int is_hashed;
    struct engine *engine;
    struct router_page *page;
    uint64_t sequence;
    double ns[ROUNDS];
};

static void row_open(struct row *row)
{
    struct engine_io io = {.seed = {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u}, .send = send_nothing};
    flows[0].check_first = row->check_first;
    flows[0].check_count = row->check_count;
    fields[SENSOR].maximum = row->is_hashed ? UINT32_MAX : SYSTEM_KEYS_MAX - 1;
    flows[0].keys_max = row->check_count != 0 ? SYSTEM_KEYS_MAX : 0;
    row->page = calloc(1, STATUS_PAGE_BYTES);
    row->engine = engine_create(&of, row->page, &io, 1);
    if (row->engine == NULL)
        abort();
}

// As many messages as one turn of the router takes from its links: all are judged, then each takes its key.
static double row_run(struct row *row, uint32_t messages, int is_idle)
{
    static struct event events[BATCH];
    static struct message batch[BATCH];
    struct engine *engine = row->engine;
    struct reading reading = {.value = 20000, .op = 1};
    int64_t wall_ms = 1700000000000;
    int is_good = 1;
    flows[0].check_first = row->check_first;
    flows[0].check_count = row->check_count;
    fields[SENSOR].maximum = row->is_hashed ? UINT32_MAX : SYSTEM_KEYS_MAX - 1;
    double began = seconds();
    for (uint32_t i = 0; i < messages; i += BATCH) {
        engine_clock(engine, (int64_t)(1000 + row->sequence / 1000), (int64_t)(1000 + row->sequence / 1000),
                     wall_ms + (int64_t)(row->sequence / 1000));
        for (uint32_t j = 0; j < BATCH; j++) {
            uint64_t at = row->sequence++;
            reading.sensor = (uint32_t)((row->is_random ? at * 386117 : at) % row->keys); // each as often as all
            reading.sequence = at / row->keys + 1;
            reading.time_ms = engine->wall_ms;
            batch[j].event = &events[j];
            memcpy(events[j].records, records, sizeof records);
            memcpy(events[j].records + sizeof(struct abi_send), &reading, sizeof reading);
            events[j].record_bytes = sizeof records;
            is_good &= is_idle || judge(engine, &batch[j]) == REASON_DONE;
        }
        for (uint32_t j = 0; j < BATCH && !is_idle; j++) {
            is_good &= keys_hold(engine, &batch[j]) == REASON_DONE;
            keys_settle(engine, &events[j], 1);
        }
    }
    if (!is_good) {
        fprintf(stderr, "checks_bench: a message was refused: %s\n", events[0].text);
        exit(1);
    }
    return (seconds() - began) * 1e9 / messages;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(void)
{
    static struct row rows[] = {
        {.name = "the bench alone: a message is made", .keys = 1},
        {.name = "schema, rights, budget", .keys = 1},
        {.name = "and order, step, rate, 1,000,000 keys at random", .check_first = 7, .check_count = 3, .keys = SYSTEM_KEYS_MAX,
         .is_random = 1},
        {.name = "the same, hashed", .check_first = 7, .check_count = 3, .keys = SYSTEM_KEYS_MAX, .is_random = 1, .is_hashed = 1},
        {.name = "and all 7 checks, 1 key", .check_count = 7, .keys = 1},
        {.name = "and all 7 checks, 1,000,000 keys in turn", .check_count = 7, .keys = SYSTEM_KEYS_MAX},
        {.name = "and all 7 checks, 1,000,000 keys at random", .check_count = 7, .keys = SYSTEM_KEYS_MAX, .is_random = 1},
        {.name = "the same, hashed", .check_count = 7, .keys = SYSTEM_KEYS_MAX, .is_random = 1, .is_hashed = 1},
    };
    make_system();
    struct abi_send send = {.record = {.size = sizeof(struct abi_send) + sizeof(struct reading), .kind = ABI_SEND},
                            .payload_bytes = sizeof(struct reading)};
    struct abi_end end = {.record = {.size = sizeof end, .kind = ABI_END}};
    memcpy(records, &send, sizeof send);
    memcpy(records + sizeof send + sizeof(struct reading), &end, sizeof end);
    size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        row_open(&rows[i]);
        row_run(&rows[i], 2 * rows[i].keys + 1000, 0); // every page was touched
    }
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++)
            rows[i].ns[round] = row_run(&rows[i], MESSAGES, i == 0);
    printf("%-50s %12s %12s\n", "the router judges one message", "ns, median", "M/s");
    for (size_t i = 0; i < count; i++) {
        qsort(rows[i].ns, ROUNDS, sizeof(double), by_size);
        printf("%-50s %12.0f %12.1f\n", rows[i].name, rows[i].ns[ROUNDS / 2], 1000 / rows[i].ns[ROUNDS / 2]);
    }
    printf("a key's state takes %u bytes with all 7 checks\n", 8 + 8 * flow_state_words(&of, &flows[0]));
    return 0;
}
