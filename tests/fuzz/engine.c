// SPDX-License-Identifier: ISC
// Fuzz target: the router's engine between endpoints that say anything. The input is a script: honest steps bring
// the engine into all its states, raw ones are what a tender, service or gateway that was taken over may send.
// A link whose endpoint broke the protocol is closed, as the router's shell does, and begins anew.
//
// What must hold: the engine says nothing about a connection that is over and gives no receiver more than it holds; each message
// that a courier brought has one answer;
// every flow's counts are exact at the end; and when all have become honest again, nothing is left waiting.
// So one engine serves many inputs, each with connections and keys of its own: making one costs more than a script.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "tests/fuzz/engine_brings.h"
#include "tests/unit/router_fake.h"

#define HANDLES 8u
#define STEPS_MOST 64u
#define INPUTS_PER_ENGINE 512u

static struct fake_records records;
static int is_open[HANDLES]; // as the gateway sees it
static uint32_t first_key;
static const uint32_t capacities[PLACES] = {5, 3, 4, 8, 8};
static struct system_courier courier = {.name = "far", .peer_count = 2, .peers = {{.name = "a"}, {.name = "b", .principal = 2}}};
static uint64_t instances[5]; // connections that FRONT has an instance of

static void name_instance(uint64_t connection)
{
    unsigned place = 0, i = 0;
    for (; i < capacities[FRONT] && instances[i] != connection; i++)
        place = instances[i] == 0 ? i + 1 : place;
    must(i < capacities[FRONT] || place != 0); // it is known, or there is room for it
    if (i == capacities[FRONT])
        instances[place - 1] = connection;
}

static void forget_instance(uint64_t connection)
{
    for (unsigned i = 0; i < capacities[FRONT]; i++)
        if (instances[i] == connection)
            instances[i] = 0;
}

static enum status take_packet(void *context, enum engine_peer peer, uint32_t index,
                               const struct channel_part *parts, size_t count)
{
    struct link_header header;
    memcpy(&header, parts[0].bytes, sizeof header);
    if (peer == ENGINE_GATEWAY) {
        must(header.handle < HANDLES && is_open[header.handle]);
        must(header.kind == LINK_TAKEN || header.kind == LINK_OUTPUT || header.kind == LINK_END);
        if (header.kind == LINK_END)
            is_open[header.handle] = 0;
    } else if (peer == ENGINE_RECEIVER) {
        must(header.kind == LINK_DELIVER || header.kind == LINK_ANSWER || header.kind == LINK_CLOSE ||
             (header.kind == LINK_BROUGHT && index == COURIER));
        if (header.kind == LINK_BROUGHT) {
            uint32_t reason;
            must(count == 2);
            memcpy(&reason, parts[1].bytes, sizeof reason);
            take_brought(header.handle, reason);
        }
        must(header.kind != LINK_DELIVER || fake.delivery_count[index] < capacities[index] * fake_batch);
        if (header.kind == LINK_DELIVER && index == FRONT) {
            struct link_deliver deliver;
            memcpy(&deliver, parts[0].bytes, sizeof deliver);
            must(deliver.connection != 0);
            name_instance(deliver.connection);
        }
    }
    return fake_send(context, peer, index, parts, count);
}

static void hello(uint32_t receiver) { must(fake_hello(receiver, capacities[receiver]) == STATUS_OK); }

static void start(void)
{
    static const struct engine_io io = {NULL, FAKE_SEED, take_packet, fake_log};
    static const struct commit_packet ready = {sizeof ready, COMMIT_READY, 0, 0};
    fake_clear();
    memset(instances, 0, sizeof instances);
    fake_batch = 3;
    fake_flows[READING].cap = 6; // a cap, tokens and a right that are soon used up
    fake_flows[READING].keys_max = 4096;
    fake_checks[READING * 64].window = 64;
    fake_checks[READING * 64].most = 63;
    struct system_check *check = fake_check(READING, SYSTEM_CHECK_STEP);
    check->field = 0;
    check->most = 500;
    check = fake_check(READING, SYSTEM_CHECK_RATE);
    check->per_second = 1;
    check->most = 3;
    check = fake_check(NOTE, SYSTEM_CHECK_SLOPE); // without a key, and only observed
    check->field = 0;
    check->ticks = 1000;
    check->most = 100;
    fake_flows[NOTE].keys_max = fake_flows[NOTE].is_observed = 1;
    fake.system.couriers = &courier; // it sends note, and takes reading
    fake.system.courier_count = 1;
    fake_unikernels[FRONT].outputs[OUT_NOTE] = SYSTEM_NONE;
    fake_flows[NOTE].sender_kind = SYSTEM_COURIER;
    fake_flows[NOTE].sender = 0;
    fake_flows[NOTE].is_durable = 1;
    fake_flows[NOTE].cap = 20;
    fake_flows[NOTE].bytes_max = 1 << 20;
    fake_flows[READING].receiver_count = 2;
    fake_flows[READING].receivers[1] = (struct system_receiver){.kind = SYSTEM_COURIER};
    memset(brings, 0, sizeof brings);
    fake_flows[NOTE].rate_burst = fake_flows[NOTE].rate_per_second = 5;
    fake_flows[RAW].is_open = 0;
    fake_flows[RAW].principals = 2;
    fake.engine = engine_create(&fake.system, fake.page, &io, 1);
    must(fake.engine != NULL);
    fake_clock(1);
    engine_attached(fake.engine, ENGINE_STORE, 0);
    must(fake_give(ENGINE_STORE, 0, &ready, sizeof ready) == STATUS_OK);
    for (uint32_t i = 0; i < PLACES; i++)
        hello(i);
    fake_store();
}

static void begin(void)
{
    static unsigned inputs;
    if (inputs % INPUTS_PER_ENGINE == 0) {
        if (inputs != 0)
            fake_stop();
        start();
    }
    bring_first = bring_last;
    bring_raws = 0;
    bring_early = 0;
    first_key = inputs++ % INPUTS_PER_ENGINE * 8;
    fake.row_count = 0;
}

// What the shell does with a link that broke the protocol, or an endpoint that died.
static void restart(enum engine_peer peer, uint32_t index)
{
    if (peer == ENGINE_GATEWAY)
        memset(is_open, 0, sizeof is_open);
    else
        fake.delivery_count[index] = 0;
    if (peer == ENGINE_RECEIVER && index == FRONT) {
        fake.close_count = 0;
        memset(instances, 0, sizeof instances);
    }
    if (peer == ENGINE_RECEIVER && index == COURIER)
        memset(brings, 0, sizeof brings), bring_old = bring_last;
    engine_closed(fake.engine, peer, index);
    if (peer == ENGINE_RECEIVER)
        hello(index);
}

static void give(enum engine_peer peer, uint32_t index, const uint8_t *bytes, size_t size)
{
    struct link_header header;
    memcpy(&header, bytes, sizeof header);
    if (peer == ENGINE_RECEIVER && index == FRONT && header.kind == LINK_GONE)
        forget_instance(header.handle);
    uint32_t count = fake.delivery_count[index];
    for (uint32_t i = 0; peer == ENGINE_RECEIVER && header.kind == LINK_EFFECTS && i < count; i++)
        if (fake.deliveries[index][i].deliver.header.handle == header.handle) { // that event is over
            memmove(&fake.deliveries[index][i], &fake.deliveries[index][i + 1],
                    (--count - i) * sizeof fake.deliveries[index][0]);
            fake.delivery_count[index] = count;
        }
    if (fake_give(peer, index, bytes, size) != STATUS_OK)
        restart(peer, index);
}

// A packet of that kind and handle with whatever follows.
static void give_raw(struct take *take, enum engine_peer peer, uint32_t index, uint16_t kind, uint64_t handle)
{
    static _Alignas(8) uint8_t packet[512];
    size_t size = sizeof(struct link_header) + take_bytes(take, packet + sizeof(struct link_header), take_byte(take));
    struct link_header header = {(uint32_t)size, kind, 0, handle};
    memcpy(packet, &header, sizeof header);
    give(peer, index, packet, size);
}

static void build(struct take *take, uint32_t receiver)
{
    static const uint16_t outputs[4] = {6, 2, 1, 1};
    const struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_INFO, .text_bytes = 3};
    records.size = 0;
    for (unsigned left = take_byte(take) % 6; left > 0; left--) {
        uint8_t what = take_byte(take), value = take_byte(take), key = take_byte(take);
        uint16_t output = what % outputs[receiver];
        uint8_t small[8] = {value, 0, key, 0};
        struct item item = {value * 4u, first_key + key % 8u, take_byte(take)};
        if (receiver == FRONT && output == OUT_WIRE)
            fake_wire(&records, "some bytes", value % 8 == 0);
        else if (receiver == FRONT && output == OUT_NOTE) // is the courier's
            fake_send_record(&records, OUT_TICK, 0, "", &item, sizeof item);
        else if (receiver == LOGIN || (receiver == FRONT && output == OUT_SUBSCRIBE))
            fake_send_record(&records, output, 0, "", small, sizeof small);
        else if (receiver == SINK && what % 2 != 0)
            fake_put(&records, item.value, item.key, key % 16 == 0 ? 9 : item.key);
        else if (what % 16 == 15)
            fake_record(&records, &log, sizeof log, "log", 3, NULL, 0);
        else
            fake_send_record(&records, output, what > 200 ? value * 10u : 0, what > 240 ? "context" : "", &item,
                             sizeof item);
    }
    if (take_byte(take) % 16 == 15 && records.size != 0) // and something is wrong with it
        records.bytes[take_number(take, 2) % records.size] ^= take_byte(take);
}

static void receiver_step(struct take *take, uint8_t what)
{
    uint32_t receiver = what & 3u;
    uint32_t count = fake.delivery_count[receiver];
    uint32_t place = count == 0 ? 0 : take_byte(take) % count;
    uint64_t handle = count == 0 ? take_byte(take) : fake.deliveries[receiver][place].deliver.header.handle;
    switch (what >> 2 & 7) {
    case 0:
    case 1:
    case 2:
    case 3:
        build(take, receiver);
        if (fake_end_at(receiver, place, LINK_ENDED, 0, &records) == STATUS_MALFORMED)
            restart(ENGINE_RECEIVER, receiver);
        break;
    case 4:
        records.size = 0;
        if (fake_end_at(receiver, place, take_byte(take) % 6, take_byte(take) % 2, &records) == STATUS_MALFORMED)
            restart(ENGINE_RECEIVER, receiver);
        break;
    case 5: { // a READ of one record
        struct {
            struct link_header header;
            struct abi_read read;
            char key[8];
        } packet = {{sizeof packet, LINK_READ, 0, handle},
                    {.record = {sizeof packet.read + 8, ABI_READ, 0}, .limit = 1, .from_bytes = 4}, "key"};
        packet.read.op = 1 + take_byte(take) % 4;
        packet.read.namespace_index = take_byte(take) % 2;
        give(ENGINE_RECEIVER, receiver, (const uint8_t *)&packet, sizeof packet);
        break;
    }
    case 6:
        give_raw(take, ENGINE_RECEIVER, receiver, take_byte(take) % 9, handle);
        break;
    default:
        give_raw(take, ENGINE_RECEIVER, receiver, take_byte(take) % 9, take_number(take, 8));
    }
}

static void gateway_step(struct take *take, uint8_t what)
{
    uint64_t handle = 1 + (what & 7u) % (HANDLES - 1);
    const uint16_t kinds[] = {LINK_OPEN, LINK_INPUT, LINK_INPUT, LINK_INPUT, LINK_SHUT};
    if ((what >> 3 & 7) < 5) {
        uint16_t kind = kinds[what >> 3 & 7];
        is_open[handle] |= kind == LINK_OPEN;
        if (fake_gateway(kind, handle, kind == LINK_SHUT ? "" : "text") != STATUS_OK) {
            restart(ENGINE_GATEWAY, 0);
        }
    } else if ((what >> 3 & 7) == 5) {
        if (fake_drained(handle, take_byte(take)) != STATUS_OK)
            restart(ENGINE_GATEWAY, 0);
    } else {
        uint16_t kind = LINK_OPEN - 1 + take_byte(take) % 9;
        if (kind == LINK_OPEN)
            is_open[handle] = 1;
        give_raw(take, ENGINE_GATEWAY, 0, kind, handle);
    }
}

static void bring(struct take *take)
{
    unsigned place = 0;
    struct {
        struct link_bring bring;
        struct item item;
    } packet = {.bring = {.header = {sizeof packet, LINK_BRING, 0, ++bring_last}, .flow = NOTE, .payload_bytes = sizeof(struct item)},
                .item = {take_byte(take) * 5u, first_key, 1}}; // some are out of range
    packet.bring.source = (struct link_source){.stream = 77, .sequence = bring_last, .previous = bring_last - 1, .peer = take_byte(take) % 2};
    while (place <= LINK_BRINGS_MAX && brings[place] != 0)
        place++;
    if (place > LINK_BRINGS_MAX)
        return;
    brings[place] = bring_last;
    give(ENGINE_RECEIVER, COURIER, (const uint8_t *)&packet, sizeof packet);
}

// Something is wrong with it, but perhaps nothing that matters: its handle is awaited by nobody.
static void bring_raw(struct take *take)
{
    struct link_bring bring = {.header = {0, LINK_BRING, 0, UINT64_MAX}, .source = {.stream = 77, .sequence = 1}, .flow = take_byte(take) % 16};
    size_t size = sizeof bring + take_byte(take) % 64u;
    uint8_t *packet = calloc(1, size); // of its own: reads too far are seen
    must(packet != NULL);
    bring.source.peer = take_byte(take) % 4;
    bring.payload_bytes = (uint32_t)take_number(take, 2);
    bring.header.size = (uint32_t)size;
    memcpy(packet, &bring, sizeof bring);
    bring_raws++;
    give(ENGINE_RECEIVER, COURIER, packet, size);
    free(packet);
}

static void courier_step(struct take *take, uint8_t what)
{
    uint32_t count = fake.delivery_count[COURIER];
    if (what < 8) {
        for (unsigned i = what == 7 ? 16 : 1; i > 0; i--)
            bring(take);
    } else if (what < 13 && count != 0) {
        records.size = 0;
        if (fake_end_at(COURIER, take_byte(take) % count, what == 12 ? LINK_CONTRACT : LINK_ENDED, 0, &records) == STATUS_MALFORMED)
            restart(ENGINE_RECEIVER, COURIER);
    } else if (what == 13) {
        bring_raw(take);
    } else if (what == 14) {
        give_raw(take, ENGINE_RECEIVER, COURIER, LINK_EFFECTS, take_number(take, 2));
    } else if (what == 15) {
        restart(ENGINE_RECEIVER, COURIER);
    }
}

static void gone(void)
{
    while (fake.close_count > 0) {
        struct link_header header = {sizeof header, LINK_GONE, 0, fake.closed[--fake.close_count % 64]};
        forget_instance(header.handle);
        must(fake_give(ENGINE_RECEIVER, FRONT, &header, sizeof header) == STATUS_OK);
    }
}

// What a store that was damaged may say it has kept.
static void state_step(struct take *take)
{
    static _Alignas(8) uint8_t packet[512];
    struct commit_packet head = {0, COMMIT_STATE, 0, 0};
    struct commit_state state = {READING, 4, take_byte(take)};
    size_t size = sizeof head;
    memset(packet, 0, sizeof packet);
    memcpy(packet + size, &state, sizeof state);
    packet[size + sizeof state + 3] = take_byte(take); // of the key
    size += sizeof state + 8;
    memcpy(packet + size, &fake_checks[READING * 64 + take_byte(take) % 3].id, 4);
    packet[size + 4] = take_byte(take);
    take_bytes(take, packet + size + 8, 40);
    size += ABI_ALIGN8((size_t)state.part_bytes);
    if (take_byte(take) % 4 == 0)
        size += 8;
    head.size = (uint32_t)size;
    memcpy(packet, &head, sizeof head);
    enum status status = fake_give(ENGINE_STORE, 0, packet, size);
    must(status == STATUS_OK || status == STATUS_MALFORMED);
}

static void step(struct take *take)
{
    static const uint32_t results[] = {COMMIT_CONFLICT, COMMIT_NOT_NOW, COMMIT_REFUSED, COMMIT_EARLY, COMMIT_NOT_NOW, COMMIT_REFUSED};
    uint8_t what = take_byte(take);
    if (what < 0x60)
        receiver_step(take, what);
    else if (what < 0xa0)
        gateway_step(take, what);
    else if (what < 0xb0)
        courier_step(take, what & 15);
    else if (what < 0xd0)
        fake_store();
    else if (what < 0xe0)
        fake_tick(what & 15);
    else if (what < 0xe8)
        fake_tick(take_byte(take) * 50);
    else if (what < 0xf0)
        gone();
    else if (what < 0xf6)
        fake.next_result = results[what - 0xf0], fake.result_count = 1 + what % 2, bring_early |= what == 0xf3;
    else if (what < 0xfa)
        restart(ENGINE_RECEIVER, what & 3u);
    else if (what == 0xfa)
        restart(ENGINE_GATEWAY, 0);
    else
        state_step(take);
}

// All are honest and take what they are given, until nothing moves any more.
static void drain(void)
{
    uint64_t left = 1;
    fake.result_count = 0;
    restart(ENGINE_GATEWAY, 0);
    for (unsigned round = 0; left != 0; round++) {
        must(round < 400);
        for (uint32_t i = 0; i < PLACES; i++)
            while (fake.delivery_count[i] != 0) {
                records.size = 0;
                must(fake_end_at(i, 0, LINK_ENDED, 0, &records) == STATUS_OK);
            }
        fake_store();
        gone();
        fake_tick(round == 40 ? 1ll << 33 : 100); // a delay may be seven weeks
        left = fake.page->in_flight;
        for (uint32_t flow = 0; flow < FLOWS; flow++)
            left += fake_count(flow, REASON_ENTERED) - fake_ended(fake.page->counters, flow);
        left += brings_waiting(); // and each has its answer
    }
    must(fake_is_exact());
    fake_tick(1500);
    fake_tick(1500);
    must(memcmp(fake.counters, fake.page->counters, sizeof fake.counters) == 0);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    enum { OPEN = 0x80, INPUT = 0x88, END_OF = 0x00, COURIER_OF = 0xa0, STORE = 0xb0, SLOW = 0xe0, GONE = 0xe8 };
    // What decode and sink do with what front sends, and a READ.
    static const uint8_t script[] = {OPEN, INPUT, END_OF + FRONT, 0, 3, 3, 2, 1, 9, 2, 1, 1, 1, 3, 9, 9, 9, 0, STORE,
                                     END_OF + DECODE, 0, 2, 0, 1, 1, 1, 1, 2, 2, 2, 0, STORE, 0x16, 0, 0, 0, STORE,
                                     END_OF + SINK, 0, 1, 1, 1, 1, 1, 0, STORE, COURIER_OF, 7, 0, COURIER_OF + 8, 0, STORE, SLOW, 9, INPUT, GONE, 0x60};
    uint32_t state = index + 1;
    if (index == 0) {
        memcpy(bytes, script, sizeof script);
        return sizeof script;
    }
    size_t size = 0;
    if (index == 1) { // five that take nothing are ended; the sixth comes before their instances are gone
        for (uint8_t i = 0; i < 5; i++) {
            const uint8_t one[] = {OPEN + i, INPUT + i, END_OF + FRONT, 0, 1, 0, 1, 0, 0, 0};
            memcpy(bytes + size, one, sizeof one);
            size += sizeof one;
        }
        const uint8_t others[] = {SLOW, 120, OPEN + 5, INPUT + 5, GONE, STORE, END_OF + FRONT, 0, 0, 0};
        memcpy(bytes + size, others, sizeof others);
        return size + sizeof others;
    }
    if (index > 64)
        return 0;
    for (uint8_t i = 0; i < index % 7; i++)
        bytes[size++] = OPEN + i, bytes[size++] = INPUT + i;
    for (; size < 160; size++) {
        state = state * 1664525u + 1013904223u;
        bytes[size] = (uint8_t)(state >> 24);
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    begin();
    for (unsigned steps = 0; take.left != 0 && steps < STEPS_MOST; steps++)
        step(&take);
    drain();
    return 0;
}
