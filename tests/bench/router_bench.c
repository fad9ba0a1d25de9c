// SPDX-License-Identifier: ISC
// The router alone: its engine in this process, between two resident unikernels that are not there.
//
//   router_bench MESSAGES KEYS
//
// Messages of 64 bytes and eleven fields go round between two unikernels. For each, the engine takes the EFFECTS of the
// event that sent it, judges them (flow, count, principal, schema, relation), takes tokens, judges and raises the state
// of its key (order, step, rate), counts, queues, reserves, and gives out the DELIVER of the event that it becomes. Records come
// in batches of 64, as a link brings them. The keys are drawn from so many, in an order that no cache likes. Printed:
// messages/s and ns per message of the engine with what stands in for its peers, and ns of that alone: the peers, and the
// copy of each DELIVER that a link makes.
#include "core/manifest.h"
#include "proto/commit.h"
#include "router/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 64u
#define POPULATION 256u // messages that go round

struct reading { // bench.reading/1
    uint64_t time_ms, sequence;
    uint32_t sensor;
    int32_t value, low, high;
    uint16_t battery, signal;
    uint8_t state, is_calibrated;
    uint16_t site_length;
    char site[24];
};
_Static_assert(sizeof(struct reading) == 64, "a message of 64 bytes");

struct effects { // one event's: a SEND and the END
    struct link_effects head;
    struct abi_send send;
    struct reading reading;
    struct abi_end end;
};

static struct schema_field fields[11];
static struct schema_relation relation = {.left = 4, .right = 5, .operator = SCHEMA_LESS_EQUAL};
static struct schema_label labels[3] = {{"good"}, {"bad"}, {"stale"}};
static struct schema_header header = {.name = "bench.reading/1", .field_count = 11, .relation_count = 1,
                                      .label_count = 3, .struct_bytes = sizeof(struct reading), .is_cut = 1};
// Of each key: its sequence rises, its value moves no further than this, and its rate.
#define CHECKS 3u
static const struct system_check per_key[CHECKS] = {
    {.kind = SYSTEM_CHECK_ORDER, .field = 1, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE},
    {.kind = SYSTEM_CHECK_STEP, .field = 3, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE, .most = 2000},
    {.kind = SYSTEM_CHECK_RATE, .field = SYSTEM_NONE, .time_field = SYSTEM_NONE, .machine = SYSTEM_NONE,
     .most = 1000000000, .per_second = 1000000000},
};
static struct system_check checks[2 * CHECKS];
static struct system_unikernel unikernels[2];
static struct system_flow flows[3];
static struct system_header system_head = {.name = "bench"};
static struct system_view view;
static struct effects queue[2][POPULATION];
static uint32_t first[2], queued[2]; // a ring each: who came first answers first, or his key would be held for ever
static uint32_t keys, key;
static uint64_t sequence;
static int is_idle; // only what stands in for the peers

static void field(unsigned index, const char *name, enum schema_type type, size_t offset, int64_t minimum, int64_t maximum)
{
    struct schema_field *to = &fields[index];
    *to = (struct schema_field){.type = (uint8_t)type, .offset = (uint16_t)offset, .minimum = minimum, .maximum = maximum};
    snprintf(to->name, sizeof to->name, "%s", name);
}

static void system_make(void)
{
    field(0, "time_ms", SCHEMA_U64, offsetof(struct reading, time_ms), 1, INT64_MAX);
    field(1, "sequence", SCHEMA_U64, offsetof(struct reading, sequence), 0, -1);
    field(2, "sensor", SCHEMA_U32, offsetof(struct reading, sensor), 0, 999999);
    field(3, "value", SCHEMA_I32, offsetof(struct reading, value), -40000, 125000);
    field(4, "low", SCHEMA_I32, offsetof(struct reading, low), -40000, 125000);
    field(5, "high", SCHEMA_I32, offsetof(struct reading, high), -40000, 125000);
    field(6, "battery", SCHEMA_U16, offsetof(struct reading, battery), 0, 5000);
    field(7, "signal", SCHEMA_U16, offsetof(struct reading, signal), 0, 100);
    field(8, "state", SCHEMA_ENUM, offsetof(struct reading, state), 0, 2);
    field(9, "is_calibrated", SCHEMA_BOOL, offsetof(struct reading, is_calibrated), 0, 1);
    field(10, "site", SCHEMA_STRING, offsetof(struct reading, site_length), 0, 0);
    fields[8].label_count = 3;
    fields[10].capacity = sizeof((struct reading *)0)->site;
    fields[10].class = SCHEMA_CLASS_TOKEN;
    for (uint16_t i = 0; i < 2; i++) {
        struct system_flow *flow = &flows[i]; // from i to the other
        snprintf(flow->name, sizeof flow->name, "%s", i == 0 ? "there" : "back");
        flow->sender = i;
        flow->receiver_count = 1;
        flow->receivers[0] = (struct system_receiver){.kind = SYSTEM_UNIKERNEL, .index = (uint16_t)(1 - i)};
        flow->count_max = 1;
        flow->key_field = 2;
        flow->check_first = (uint16_t)(i * CHECKS);
        flow->check_count = CHECKS;
        for (unsigned j = 0; j < CHECKS; j++)
            checks[i * CHECKS + j] = per_key[j];
        flow->keys_max = keys;
        flow->rate_per_second = flow->rate_burst = 1000000000;
        flow->is_open = 1;
        snprintf(unikernels[i].name, sizeof unikernels[i].name, "%s", i == 0 ? "here" : "yonder");
        unikernels[i].lifetime = LIFETIME_RESIDENT;
        unikernels[i].instances_max = 8;
        unikernels[i].input_count = 2;
        unikernels[i].output_count = 1;
        unikernels[i].outputs[0] = i;
        unikernels[i].inputs[0] = (uint16_t)(1 - i);
        unikernels[i].inputs[1] = SYSTEM_NONE;
    }
    flows[2] = flows[1]; // what it begins with comes out of the store
    flows[2].sender_kind = SYSTEM_SERVICE;
    flows[2].key_field = SYSTEM_NONE;
    flows[2].keys_max = flows[2].check_count = 0;
    flows[2].is_durable = 1;
    flows[2].cap = POPULATION;
    unikernels[0].inputs[1] = 2;
    view = (struct system_view){.header = &system_head, .checks = checks, .check_count = 2 * CHECKS, .unikernels = unikernels, .flows = flows, .unikernel_count = 2,
                                .flow_count = 3, .schema_count = 1};
    view.schemas[0] = (struct schema){&header, fields, &relation, labels};
}

// A unikernel that sends on at once what it got.
static void respond(uint32_t index, const struct link_deliver *deliver)
{
    queue[index][(first[index] + queued[index]++) % POPULATION].head.header.handle = deliver->header.handle;
}

static struct engine *engine;
static struct commit_done done[BATCH]; // of messages that came out of the store
static uint32_t done_count;

static enum status take(void *context, enum engine_peer peer, uint32_t index, const struct channel_part *parts,
                        size_t count)
{
    static uint8_t packet[LINK_BYTES_MAX]; // copied, as a link would
    struct link_deliver deliver;
    size_t size = 0;
    (void)context;
    for (size_t i = 0; i < count; i++)
        if (parts[i].size != 0) {
            memcpy(packet + size, parts[i].bytes, parts[i].size);
            size += parts[i].size;
        }
    memcpy(&deliver, packet, sizeof deliver);
    if (peer == ENGINE_RECEIVER && deliver.header.kind == LINK_DELIVER)
        respond(index, &deliver);
    else if (peer == ENGINE_STORE && deliver.header.kind == COMMIT_COMMIT)
        done[done_count++] = (struct commit_done){{sizeof done[0], COMMIT_DONE, 0, deliver.header.handle}, COMMIT_OK, 0, 0};
    return STATUS_OK;
}

static void log_line(void *context, const char *line, size_t size)
{
    (void)context;
    fprintf(stderr, "router_bench: %.*s", (int)size, line); // a refusal
    exit(1);
}

static void give(enum engine_peer peer, uint32_t index, const void *packet, size_t size)
{
    if (engine_receive(engine, peer, index, packet, size) != STATUS_OK) {
        fprintf(stderr, "router_bench: the engine refuses a packet\n");
        exit(1);
    }
}

static void begin(struct router_page *page)
{
    const struct engine_io io = {.send = take, .log = log_line, .seed = {0x9e3779b97f4a7c15, 0xd1b54a32d192ed03}};
    struct commit_packet ready = {.size = sizeof ready, .kind = COMMIT_READY};
    struct commit_spool spool = {.packet = {sizeof spool, COMMIT_SPOOL, 0, 2}, .waiting = POPULATION, .bytes = POPULATION * 4096};
    engine = engine_create(&view, page, &io, 1);
    if (engine == NULL) {
        fprintf(stderr, "router_bench: no memory\n");
        exit(1);
    }
    engine_clock(engine, 1000, 1000, 1700000000000);
    give(ENGINE_STORE, 0, &spool, sizeof spool);
    give(ENGINE_STORE, 0, &ready, sizeof ready);
    for (uint32_t i = 0; i < 2; i++) {
        struct link_hello hello = {.header = {sizeof hello, LINK_HELLO, 0, 0}, .version = LINK_VERSION, .instances = 8,
                                   .batch = LINK_BATCH_MAX};
        give(ENGINE_RECEIVER, i, &hello, sizeof hello);
    }
    for (uint32_t i = 0; i < POPULATION; i++) {
        struct {
            struct commit_outbox outbox;
            struct reading reading;
        } row = {.outbox = {.packet = {sizeof row, COMMIT_OUTBOX, 0, i + 1},
                            .send = {.flow = 2, .receiver = 0, .payload_bytes = sizeof row.reading}}};
        give(ENGINE_STORE, 0, &row, sizeof row);
    }
    engine_schedule(engine);
}

// One turn: up to a batch of what lies in the queue of one unikernel.
static uint32_t turn(uint32_t index)
{
    static struct effects taken[BATCH];
    uint32_t count = queued[index] < BATCH ? queued[index] : BATCH;
    for (uint32_t i = 0; i < count; i++)
        taken[i] = queue[index][(first[index] + i) % POPULATION];
    first[index] = (first[index] + count) % POPULATION;
    queued[index] -= count;
    for (uint32_t i = 0; i < count; i++) {
        struct link_deliver deliver = {.header = {.kind = LINK_DELIVER, .handle = taken[i].head.header.handle}};
        key = (key + 611953u) % keys; // a prime: each key once, then all again
        taken[i].reading.sensor = key;
        taken[i].reading.sequence = ++sequence;
        if (is_idle) {
            const struct channel_part parts[2] = {{&deliver, sizeof deliver}, {&taken[i].reading, sizeof taken[i].reading}};
            (void)take(NULL, ENGINE_RECEIVER, 1 - index, parts, 2);
        } else {
            give(ENGINE_RECEIVER, index, &taken[i], sizeof taken[i]);
        }
    }
    if (is_idle)
        return count;
    engine_schedule(engine);
    while (done_count > 0)
        give(ENGINE_STORE, 0, &done[--done_count], sizeof done[0]);
    return count;
}

static double ns_per_message(uint64_t messages)
{
    struct timespec from, to;
    uint64_t moved = 0;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (uint32_t index = 0; moved < messages; index = 1 - index) {
        uint32_t count = turn(index);
        if (count == 0 && queued[1 - index] == 0) {
            fprintf(stderr, "router_bench: nothing moves\n");
            exit(1);
        }
        moved += count;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)moved;
}

int main(int argc, char **argv)
{
    uint64_t messages = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    keys = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (messages == 0 || keys == 0 || keys > SYSTEM_KEYS_MAX) {
        fprintf(stderr, "usage: router_bench MESSAGES KEYS (at most %u)\n", SYSTEM_KEYS_MAX);
        return 2;
    }
    for (unsigned i = 0; i < 2 * POPULATION; i++)
        queue[i / POPULATION][i % POPULATION] = (struct effects){
            .head = {.header = {sizeof(struct effects), LINK_EFFECTS, 0, 0},
                     .record_bytes = sizeof(struct effects) - sizeof(struct link_effects)},
            .send = {.record = {sizeof(struct abi_send) + sizeof(struct reading), ABI_SEND, 0},
                     .payload_bytes = sizeof(struct reading)},
            .reading = {.time_ms = 1700000000000, .value = 21500, .low = 21000, .high = 22000, .battery = 3300,
                        .signal = 70, .state = 1, .is_calibrated = 1, .site_length = 20, .site = "hall-3.line-7.oven-1"},
            .end = {.record = {sizeof(struct abi_end), ABI_END, 0}}};
    system_make();
    struct router_page *page = calloc(1, STATUS_PAGE_BYTES);
    if (page == NULL)
        return 1;
    begin(page);
    (void)ns_per_message(2 * (uint64_t)keys + messages / 10); // each key is known
    double busy = ns_per_message(messages);
    is_idle = 1;
    double idle = ns_per_message(messages);
    uint64_t routed = page->counters[COUNTER_FLOW(0, REASON_DONE)] + page->counters[COUNTER_FLOW(1, REASON_DONE)];
    if (routed < messages)
        return 1;
    printf("%.0f %.1f %.1f\n", 1e9 / busy, busy, idle);
    return 0;
}
