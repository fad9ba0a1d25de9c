// SPDX-License-Identifier: ISC
// Ten thousand events in random order with random failures of everything around the router: at every
// step and at the end each flow's counts add up, in the page and in the store, and nothing is left.
#include "router/state.h"
#include "tests/unit/router_fake.h"

#include <time.h>

#define EVENTS 10000u
#define HANDLES 10u

static uint64_t state;
static struct fake_records records;
static int is_open[HANDLES], is_owed[HANDLES], is_shut[HANDLES];
static uint32_t ended_events;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % limit;
}

static void gateway_look(void)
{
    for (uint64_t handle = 1; handle < HANDLES; handle++) {
        if (fake.has_taken[handle])
            is_owed[handle] = 0;
        if (fake.has_ended[handle])
            is_open[handle] = is_owed[handle] = is_shut[handle] = 0;
        fake.has_ended[handle] = fake.has_taken[handle] = 0;
    }
}

static void add_raw(uint32_t value, uint32_t key)
{
    struct item item = {value, key, 0};
    struct abi_send send = {.record.kind = ABI_SEND, .flow = OUT_RAW, .payload_bytes = sizeof item};
    if (fake.system.flow_count > FLOWS && below(3) == 0) {
        send.flags = ABI_SEND_RECEIPT;
        send.context_bytes = below(9);
    }
    fake_record(&records, &send, sizeof send, "contextx", send.context_bytes, &item, sizeof item);
}

static void build_front(void)
{
    uint32_t what = below(10);
    if (what < 6)
        for (uint32_t i = below(5); i > 0; i--)
            add_raw(below(1002), below(6));
    if (what == 6)
        fake_join(&records, 2, below(4) != 0);
    if (what == 7)
        fake_item(&records, OUT_LOGIN, 1, 1, 0);
    if (what >= 8)
        fake_item(&records, OUT_NOTE, below(1001), 0, 0);
    struct item item = {1, 1, 0};
    if (below(8) == 0)
        fake_send_record(&records, OUT_TICK, 1 + below(300), "c", &item, sizeof item);
    if (below(2) == 0)
        fake_wire(&records, "some bytes", below(60) == 0);
}

static void build(uint32_t receiver)
{
    uint8_t reply[8] = {(uint8_t)below(2), 0, (uint8_t)below(4), 0};
    struct item item = {1, 1, 0};
    switch (receiver) {
    case FRONT:
        build_front();
        break;
    case DECODE:
        for (uint32_t i = below(3); i > 0; i--)
            fake_item(&records, OUT_READING, below(1001), below(80), ended_events + below(3));
        if (below(6) == 0)
            fake_item(&records, OUT_ALARM, 1, 1, 0);
        break;
    case SINK:
        if (below(3) == 0)
            fake_put(&records, below(1001), below(9), 5);
        if (below(10) == 0)
            fake_send_record(&records, 0, below(400), "", &item, sizeof item);
        break;
    default:
        fake_send_record(&records, 0, 0, "", reply, sizeof reply);
    }
}

static void answer(uint32_t receiver)
{
    if (fake.delivery_count[receiver] == 0)
        return;
    uint32_t place = below(fake.delivery_count[receiver]);
    uint32_t what = below(40);
    uint16_t outcome = what == 0 ? LINK_FAULT : what == 1 ? LINK_DEADLINE : what == 2 ? LINK_CONTRACT
                       : what == 3 ? LINK_LOST : what == 4 ? LINK_REFUSED : LINK_ENDED;
    records.size = 0;
    if (outcome == LINK_ENDED)
        build(receiver);
    expect(fake_end_at(receiver, place, outcome, 0, &records) == STATUS_OK);
    ended_events++;
}

static void gateway(void)
{
    uint64_t handle = 1 + below(HANDLES - 1);
    gateway_look();
    if (!is_open[handle]) {
        is_open[handle] = fake_gateway(LINK_OPEN, handle, "p") == STATUS_OK;
    } else if (below(50) == 0 && !is_shut[handle]) {
        is_shut[handle] = 1;
        expect(fake_gateway(LINK_SHUT, handle, "") == STATUS_OK);
    } else if (!is_owed[handle] && !is_shut[handle]) {
        is_owed[handle] = 1;
        expect(fake_gateway(LINK_INPUT, handle, "input") == STATUS_OK);
    }
}

// Instances of connections that were closed are gone.
static void gone(void)
{
    while (fake.close_count > 0) {
        struct link_header header = {sizeof header, LINK_GONE, 0, fake.closed[--fake.close_count % 64]};
        expect(fake_give(ENGINE_RECEIVER, FRONT, &header, sizeof header) == STATUS_OK);
    }
}

static void restart(uint32_t receiver)
{
    fake.delivery_count[receiver] = 0;
    if (receiver == FRONT)
        fake.close_count = 0;
    engine_closed(fake.engine, ENGINE_RECEIVER, receiver);
    expect(fake_hello(receiver, receiver == FRONT ? 8 : 3) == STATUS_OK);
}

static void gateway_restart(void)
{
    engine_closed(fake.engine, ENGINE_GATEWAY, 0);
    memset(is_open, 0, sizeof is_open);
    memset(is_owed, 0, sizeof is_owed);
    memset(is_shut, 0, sizeof is_shut);
    gateway_look();
}

static void step(void)
{
    uint32_t what = below(100);
    if (what < 35)
        gateway();
    else if (what < 80)
        answer(below(4));
    else if (what < 90)
        fake_store();
    else
        fake_tick(below(20) == 0 ? FAULT_FORGOTTEN_MS : below(40));
    if (below(40) == 0) {
        const uint32_t results[] = {COMMIT_CONFLICT, COMMIT_NOT_NOW, COMMIT_REFUSED};
        fake.next_result = results[below(3)];
        fake.result_count = 1 + below(3);
    }
    if (below(400) == 0)
        restart(below(4));
    if (below(200) == 0) { // the host's clock is set, and right again with the next tick
        engine_clock(fake.engine, fake.now_ms, fake.now_ms, 1700000000000 + fake.now_ms + below(7200000) - 3600000);
        (void)engine_tick(fake.engine);
    }
    gone();
    if (below(500) == 0)
        gateway_restart();
}

static void drain(void)
{
    fake.result_count = 0;
    gateway_restart();
    for (uint32_t round = 0; round < 200000 && test_why == NULL; round++) {
        for (uint32_t i = 0; i < 4; i++)
            if (fake.delivery_count[i] != 0) {
                records.size = 0;
                (void)fake_end_at(i, 0, LINK_ENDED, 0, &records);
            }
        fake_store();
        gone();
        if (round % 4 == 0)
            fake_tick(round == 400 ? 1ll << 33 : 100); // a mutated delay may be seven weeks
        uint64_t left = fake.page->in_flight;
        for (uint32_t flow = 0; flow < fake.system.flow_count; flow++)
            left += fake_count(flow, REASON_ENTERED) - fake_ended(fake.page->counters, flow);
        if (left == 0 && round > 100)
            return;
    }
    expect(0 && "nothing is left waiting");
}

TEST(random_counts)
{
    fake_clear();
    fake_batch = 4; // in any order, connections too
    fake_receipts(FRONT, 40);
    fake_flows[LOGIN_ASK].live_ms = 200;
    fake_flows[RAW].live_ms = 1000;
    fake_flows[READING].cap = 40;
    fake_flows[NOTE].rate_per_second = 200;
    fake_flows[NOTE].rate_burst = 5;
    fake_start();
    ended_events = 0;
    uint64_t steps = 0;
    for (; ended_events < EVENTS && steps < 100 * EVENTS && test_why == NULL; steps++) {
        step();
        if (steps % 64 == 0)
            expect(fake_is_exact());
    }
    expect(ended_events == EVENTS);
    drain();
    fake_tick(1500);
    fake_tick(1500);
    expect(fake_is_exact());
    expect(fake.row_count < FAKE_ROWS);
    expect(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
    for (uint32_t flow = 0; flow < fake.system.flow_count; flow++)
        expect(fake_count(flow, REASON_ENTERED) == fake_ended(fake.page->counters, flow));
    for (uint32_t flow = 0; flow < fake.system.flow_count; flow++) {
        printf("# %s:", fake_flows[flow].name);
        for (uint32_t reason = 0; reason < REASON_COUNT; reason++)
            if (fake_count(flow, reason) != 0)
                printf(" %s %llu", reason_text(reason), (unsigned long long)fake_count(flow, reason));
        printf("\n");
    }
    expect(fake_count(RAW, REASON_DONE) > 500 && fake_count(READING, REASON_DONE) > 100 &&
           fake_count(ALARM, REASON_ENTERED) > 10 && fake_count(RAW, REASON_RATIONED) > 10);
    expect(fake_count(RECEIPT, REASON_DONE) > 20 && fake_count(LOGIN_ASK, REASON_LATE) > 0 &&
           fake_count(RAW, REASON_EXPIRED) > 0);
    expect(fake.engine->flows[RECEIPT].promised == 0 && fake.engine->flows[RECEIPT].reserved == 0);
    for (uint32_t flow = 0; flow < fake.system.flow_count; flow++)
        expect(fake.engine->flows[flow].bytes == 0 && fake.engine->flows[flow].reserved == 0);
    fake_stop();
}

// Effects with flipped bytes: each is taken, refused, or costs the link; nothing is lost or counted twice.
static enum status mutated_effects(uint32_t receiver)
{
    static _Alignas(8) uint8_t bytes[ABI_OUTPUT_BYTES];
    struct abi_end end = {.record.kind = ABI_END};
    records.size = 0;
    build(receiver);
    fake_record(&records, &end, sizeof end, NULL, 0, NULL, 0);
    struct link_effects effects = {
        .header = {(uint32_t)sizeof effects + records.size, LINK_EFFECTS, 0,
                   fake.deliveries[receiver][0].deliver.header.handle},
        .record_bytes = records.size};
    memcpy(bytes, &effects, sizeof effects);
    memcpy(bytes + sizeof effects, records.bytes, records.size);
    for (uint32_t i = below(4); i > 0; i--) {
        uint32_t at = below(8) == 0 ? below(effects.header.size) : (uint32_t)sizeof effects + below(records.size);
        if (at >= offsetof(struct link_header, kind) && at < sizeof(struct link_header))
            continue; // a READ, or another event's handle: only hangs the tender's own event
        bytes[at] = (uint8_t)(below(2) == 0 ? below(256) : bytes[at] ^ 1u << below(8));
    }
    return fake_give(ENGINE_RECEIVER, receiver, bytes, effects.header.size);
}

TEST(hostile_effects)
{
    fake_clear();
    fake_batch = 1;
    fake_receipts(DECODE, 100);
    fake_start();
    uint32_t links_lost = 0;
    for (uint32_t i = 0; i < EVENTS && test_why == NULL; i++) {
        gateway();
        fake_store();
        uint32_t receiver = below(4);
        ended_events++; // sequences rise
        if (fake.delivery_count[receiver] == 0)
            continue;
        if (mutated_effects(receiver) != STATUS_OK) {
            links_lost++;
            restart(receiver);
        } else {
            fake.delivery_count[receiver]--;
            memmove(&fake.deliveries[receiver][0], &fake.deliveries[receiver][1],
                    fake.delivery_count[receiver] * sizeof fake.deliveries[receiver][0]);
        }
        gone();
        fake_tick(5);
        if (i % 64 == 0)
            expect(fake_is_exact());
    }
    drain();
    fake_tick(1500);
    fake_tick(1500);
    expect(links_lost > 10 && fake.dead_count > 50 && fake_count(READING, REASON_ENTERED) > 50);
    expect(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
    fake_stop();
}

int main(int argc, char **argv)
{
    state = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("# seed %llu\n", (unsigned long long)state);
    state = state * 2654435761u + 88172645463325252u;
    RUN(random_counts);
    RUN(hostile_effects);
    TEST_END();
}
