// SPDX-License-Identifier: ISC
// A small system and fake endpoints around the router's engine: nothing here is a process.
//
//   gateway tcp --wire_in--> front (connection) --raw (durable, key)--> decode --reading (durable, sequence)--> sink
//   front --login--> service, --login_reply--> front      front --note (volatile)--> sink
//   decode --alarm (durable, broadcast)--> front           front --subscribe--> router
//   front --tick--> front (timer)    sink --later (durable timer)--> sink    ask/answer: front <-> decode (durable)
//
// The fake store applies each COMMIT to rows and counters as proto/commit.h says.
#ifndef CRENEL_TESTS_ROUTER_FAKE_H
#define CRENEL_TESTS_ROUTER_FAKE_H

#include "abi/abi.h"
#include "core/flow_check.h"
#include "proto/commit.h"
#include "proto/link.h"
#include "router/engine.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

enum { FRONT, DECODE, SINK, LOGIN, COURIER, PLACES }; // a courier is there if the test says so
enum { WIRE_IN, WIRE_OUT, SUBSCRIBE, LOGIN_ASK, LOGIN_REPLY, RAW, READING, NOTE, ALARM, TICK, LATER, FLOWS,
       RECEIPT = FLOWS }; // RECEIPT: only with fake_receipts()
enum { SCHEMA_WIRE, SCHEMA_ITEM, SCHEMA_SUBSCRIPTION, SCHEMA_REPLY, SCHEMA_RECEIPT };
enum { OUT_WIRE, OUT_SUBSCRIBE, OUT_LOGIN, OUT_RAW, OUT_NOTE, OUT_TICK }; // of front
enum { OUT_READING, OUT_ALARM };                                         // of decode

struct item {
    uint32_t value, key; // value 0..1000
    uint64_t sequence;
};

#define FAKE_ROWS 65536u
#define FAKE_PENDING 512u

struct fake_row {
    struct commit_send send;
    uint8_t key[ABI_KEY_BYTES_MAX], context[ABI_CONTEXT_BYTES_MAX], payload[256];
    int is_alive, is_sent;
    uint64_t number; // that the router gave it; or 0
    int64_t time_ms;
};

struct fake_delivery {
    struct link_deliver deliver;
    uint8_t context[ABI_CONTEXT_BYTES_MAX], payload[ABI_PAYLOAD_BYTES_MAX];
};

struct fake_packet { // store -> router
    uint32_t size;
    uint8_t *bytes;
};

#define FAKE_SEED {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u}
#define FAKE_STATES 256u
struct fake_state {
    struct commit_state entry;
    uint8_t key[SYSTEM_KEY_BYTES_MAX], parts[COMMIT_PARTS_BYTES_MAX];
};

struct fake {
    struct engine *engine;
    struct router_page *page;
    struct system_view system;
    int64_t now_ms;
    struct fake_row *rows; // index + 1 = outbox id
    uint32_t row_count, kept_count;
    struct fake_state states[FAKE_STATES];
    uint32_t state_count;
    uint32_t credit[PLACES][SYSTEM_FLOWS_MAX];
    uint64_t counters[COUNTERS_MAX];
    struct fake_packet commits[FAKE_PENDING];
    uint32_t commit_count;
    uint32_t next_result;      // of the next COMMIT of an event; then OK again
    uint32_t result_count;     // so many times
    uint32_t dead_count, last_dead_reason;
    char last_dead_text[200];
    struct link_crash last_crash;
    struct commit_refusal last_refusal;
    uint64_t last_refusal_state[FLOW_STATE_WORDS_MAX];
    struct commit_header last_header;
    struct commit_read last_seen;
    uint64_t read_version; // that GETs answer
    struct fake_delivery deliveries[PLACES][FAKE_PENDING];
    uint32_t delivery_count[PLACES];
    struct link_brought brought[FAKE_PENDING]; // to the courier
    uint32_t brought_count;
    struct link_source last_source; // of a COMMIT; sequence 0: it had none
    uint32_t (*arrive)(const struct commit_header *header, const struct link_source *source); // what the store says to it; NULL: OK
    uint8_t last_context_padding[8]; // the last eight bytes of the last context, with what pads it
    uint32_t close_count;
    uint64_t closed[64];
    uint32_t answer_items; // of the last ANSWER to a receiver
    uint32_t taken, ended; // at the gateway
    uint64_t output_bytes;
    uint64_t last_ended;
    uint8_t has_ended[16], has_taken[16]; // by handle: since the test last looked
    uint32_t log_lines;
    char last_log[2048];
};

static struct fake fake;
static struct system_unikernel fake_unikernels[3];
static struct system_flow fake_flows[FLOWS + 1];
static struct system_gateway fake_gateways[1];
static struct system_service fake_services[1];
static struct system_principal fake_principals[2];
static struct system_namespace fake_namespaces[1];
static struct schema_header fake_headers[5];
static struct schema_field fake_fields[5][3];
static struct system_header fake_header;
static struct system_check fake_checks[SYSTEM_CHECKS_MAX];
static struct system_machine fake_machines[1];
_Alignas(8) static uint8_t fake_packet[COMMIT_BYTES_MAX];

static inline void fake_field(int schema, uint16_t index, const char *name, uint8_t type, uint16_t offset,
                              uint16_t capacity, int64_t maximum)
{
    struct schema_field *field = &fake_fields[schema][index];
    snprintf(field->name, sizeof field->name, "%s", name);
    field->type = type;
    field->offset = offset;
    field->capacity = capacity;
    field->maximum = maximum;
    fake_headers[schema].field_count = (uint16_t)(index + 1);
}

static inline void fake_flow(int index, const char *name, uint8_t sender_kind, uint16_t sender, int schema,
                             uint8_t to_kind, uint16_t to, uint16_t port, uint16_t count_max)
{
    struct system_flow *flow = &fake_flows[index];
    snprintf(flow->name, sizeof flow->name, "%s", name);
    flow->sender_kind = sender_kind;
    flow->sender = sender;
    flow->schema = (uint16_t)schema;
    flow->receiver_count = 1;
    flow->receivers[0] = (struct system_receiver){.kind = to_kind, .index = to, .port = port};
    flow->count_max = count_max;
    flow->key_field = SYSTEM_NONE;
    flow->is_open = flow->is_payload_kept = 1;
    flow->rate_per_second = flow->rate_burst = 1000000;
}

// Another check of that flow. Fields, bounds and keys_max are the test's to set.
static inline struct system_check *fake_check(int flow, unsigned kind)
{
    fake_flows[flow].check_first = (uint16_t)(flow * 64);
    struct system_check *check = &fake_checks[flow * 64 + fake_flows[flow].check_count++];
    *check = (struct system_check){.kind = (uint8_t)kind, .field = SYSTEM_NONE, .time_field = SYSTEM_NONE,
                                   .machine = SYSTEM_NONE, .id = 100u + (uint32_t)(check - fake_checks)};
    return check;
}

static inline void fake_schemas(void)
{
    fake_field(SCHEMA_WIRE, 0, "is_closed", SCHEMA_BOOL, 0, 0, 1);
    fake_field(SCHEMA_WIRE, 1, "bytes", SCHEMA_BYTES, 2, 2048, 0);
    fake_headers[SCHEMA_WIRE].struct_bytes = 2056;
    fake_headers[SCHEMA_WIRE].is_cut = 1;
    fake_field(SCHEMA_ITEM, 0, "value", SCHEMA_U32, 0, 0, 1000);
    fake_field(SCHEMA_ITEM, 1, "key", SCHEMA_U32, 4, 0, UINT32_MAX);
    fake_field(SCHEMA_ITEM, 2, "sequence", SCHEMA_U64, 8, 0, -1);
    fake_headers[SCHEMA_ITEM].struct_bytes = 16;
    fake_field(SCHEMA_SUBSCRIPTION, 0, "port", SCHEMA_U16, 0, 0, 31);
    fake_field(SCHEMA_SUBSCRIPTION, 1, "is_joined", SCHEMA_BOOL, 2, 0, 1);
    fake_headers[SCHEMA_SUBSCRIPTION].struct_bytes = 8;
    fake_field(SCHEMA_REPLY, 0, "is_accepted", SCHEMA_BOOL, 0, 0, 1);
    fake_field(SCHEMA_REPLY, 1, "principal", SCHEMA_U16, 2, 0, 64);
    fake_headers[SCHEMA_REPLY].struct_bytes = 8;
    fake_field(SCHEMA_RECEIPT, 0, "output", SCHEMA_U16, 0, 0, 31);
    fake_field(SCHEMA_RECEIPT, 1, "reason", SCHEMA_U16, 2, 0, 255);
    fake_field(SCHEMA_RECEIPT, 2, "is_taken", SCHEMA_BOOL, 4, 0, 1);
    fake_headers[SCHEMA_RECEIPT].struct_bytes = 8;
    for (int i = 0; i < 5; i++)
        fake.system.schemas[i] = (struct schema){.header = &fake_headers[i], .fields = fake_fields[i]};
}

static inline void fake_flows_init(void)
{
    fake_flow(WIRE_IN, "wire_in", SYSTEM_GATEWAY, 0, SCHEMA_WIRE, SYSTEM_UNIKERNEL, FRONT, 0, 0);
    fake_flow(WIRE_OUT, "wire_out", SYSTEM_UNIKERNEL, FRONT, SCHEMA_WIRE, SYSTEM_GATEWAY, 0, 0, 4);
    fake_flow(SUBSCRIBE, "subscribe", SYSTEM_UNIKERNEL, FRONT, SCHEMA_SUBSCRIPTION, SYSTEM_SUBSCRIPTION, 0, 0, 2);
    fake_flow(LOGIN_ASK, "login", SYSTEM_UNIKERNEL, FRONT, SCHEMA_ITEM, SYSTEM_SERVICE, 0, 0, 1);
    fake_flow(LOGIN_REPLY, "login_reply", SYSTEM_SERVICE, 0, SCHEMA_REPLY, SYSTEM_UNIKERNEL, FRONT, 1, 1);
    fake_flow(RAW, "raw", SYSTEM_UNIKERNEL, FRONT, SCHEMA_ITEM, SYSTEM_UNIKERNEL, DECODE, 0, 4);
    fake_flow(READING, "reading", SYSTEM_UNIKERNEL, DECODE, SCHEMA_ITEM, SYSTEM_UNIKERNEL, SINK, 0, 2);
    fake_flow(NOTE, "note", SYSTEM_UNIKERNEL, FRONT, SCHEMA_ITEM, SYSTEM_UNIKERNEL, SINK, 1, 2);
    fake_flow(ALARM, "alarm", SYSTEM_UNIKERNEL, DECODE, SCHEMA_ITEM, SYSTEM_UNIKERNEL, FRONT, 2, 1);
    fake_flow(TICK, "tick", SYSTEM_UNIKERNEL, FRONT, SCHEMA_ITEM, SYSTEM_UNIKERNEL, FRONT, 3, 1);
    fake_flow(LATER, "later", SYSTEM_UNIKERNEL, SINK, SCHEMA_ITEM, SYSTEM_UNIKERNEL, SINK, 2, 1);
    fake_flows[LOGIN_ASK].kind = SYSTEM_REQUEST;
    fake_flows[LOGIN_ASK].pair = LOGIN_REPLY;
    fake_flows[LOGIN_REPLY].kind = SYSTEM_REPLY;
    const int durable[] = {RAW, READING, ALARM, LATER};
    for (size_t i = 0; i < sizeof durable / sizeof durable[0]; i++) {
        fake_flows[durable[i]].is_durable = 1;
        fake_flows[durable[i]].cap = 1000;
        fake_flows[durable[i]].bytes_max = 1 << 30;
    }
    fake_flows[RAW].key_field = fake_flows[READING].key_field = 1;
    fake_check(READING, SYSTEM_CHECK_ORDER)->field = 2;
    fake_flows[READING].keys_max = 64;
    fake_flows[ALARM].is_broadcast = 1;
}

static inline void fake_unikernel(int index, const char *name, uint8_t lifetime, uint16_t instances)
{
    struct system_unikernel *unikernel = &fake_unikernels[index];
    snprintf(unikernel->name, sizeof unikernel->name, "%s", name);
    unikernel->lifetime = lifetime;
    unikernel->instances_max = instances;
    unikernel->image_digest[0] = (uint8_t)(index + 1);
}

// That unikernel takes receipts, at its next input.
static inline void fake_receipts(int unikernel, uint32_t cap)
{
    uint16_t port = fake_unikernels[unikernel].input_count++;
    fake_flow(RECEIPT, "receipt", SYSTEM_RECEIPTS, 0, SCHEMA_RECEIPT, SYSTEM_UNIKERNEL, (uint16_t)unikernel, port, 1);
    fake_flows[RECEIPT].is_durable = 1;
    fake_flows[RECEIPT].cap = cap;
    fake_flows[RECEIPT].bytes_max = 1 << 30;
    fake_unikernels[unikernel].inputs[port] = RECEIPT;
    fake.system.flow_count = FLOWS + 1;
}

static inline void fake_endpoints(void)
{
    fake_unikernel(FRONT, "front", 1, 8);
    fake_unikernel(DECODE, "decode", 0, 3);
    fake_unikernel(SINK, "sink", 0, 4);
    const uint16_t front_in[] = {WIRE_IN, LOGIN_REPLY, ALARM, TICK};
    const uint16_t front_out[] = {WIRE_OUT, SUBSCRIBE, LOGIN_ASK, RAW, NOTE, TICK};
    memcpy(fake_unikernels[FRONT].inputs, front_in, sizeof front_in);
    memcpy(fake_unikernels[FRONT].outputs, front_out, sizeof front_out);
    fake_unikernels[FRONT].input_count = 4;
    fake_unikernels[FRONT].output_count = 6;
    fake_unikernels[DECODE].inputs[0] = RAW;
    fake_unikernels[DECODE].outputs[0] = READING;
    fake_unikernels[DECODE].outputs[1] = ALARM;
    fake_unikernels[DECODE].input_count = 1;
    fake_unikernels[DECODE].output_count = 2;
    fake_unikernels[DECODE].refusal_count = 1;
    snprintf(fake_unikernels[DECODE].refusals[0], SYSTEM_NAME_BYTES, "malformed-json");
    fake_unikernels[SINK].inputs[0] = READING;
    fake_unikernels[SINK].inputs[1] = NOTE;
    fake_unikernels[SINK].inputs[2] = LATER;
    fake_unikernels[SINK].outputs[0] = LATER;
    fake_unikernels[SINK].input_count = 3;
    fake_unikernels[SINK].output_count = 1;
    for (int i = FRONT; i <= SINK; i++)
        for (uint16_t j = 0; j < fake_unikernels[i].output_count; j++)
            fake_flows[fake_unikernels[i].outputs[j]].sender_port = j;
    fake_unikernels[SINK].namespace_count = 1;
    fake_unikernels[SINK].writes_max = 1;
    fake_namespaces[0] = (struct system_namespace){
        .name = "models", .schema = SCHEMA_ITEM, .key_count = 1, .key_fields = {1}, .readers = 4, .writers = 4};
    fake_gateways[0] = (struct system_gateway){.name = "tcp", .unikernel = FRONT, .connections_max = 8,
                                               .input_flow = WIRE_IN, .output_flow = WIRE_OUT,
                                               .output_bytes_max = 16384, .slow_ms = 5000};
    fake_services[0] = (struct system_service){
        .name = "login", .kind = SYSTEM_SERVICE_PASSWORD, .request_flow = LOGIN_ASK, .reply_flow = LOGIN_REPLY};
}

static inline enum status fake_send(void *context, enum engine_peer peer, uint32_t index,
                                    const struct channel_part *parts, size_t count)
{
    (void)context;
    static _Alignas(8) uint8_t bytes[COMMIT_BYTES_MAX];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size != 0)
            memcpy(bytes + size, parts[i].bytes, parts[i].size);
        size += parts[i].size;
    }
    struct link_header header;
    memcpy(&header, bytes, sizeof header);
    if (header.size != size)
        abort();
    if (peer == ENGINE_STORE) {
        if (header.kind == COMMIT_COMMIT && fake.commit_count >= FAKE_PENDING - 8)
            return STATUS_FULL;
        uint8_t *copy = malloc(size);
        memcpy(copy, bytes, size);
        fake.commits[fake.commit_count++] = (struct fake_packet){(uint32_t)size, copy};
    } else if (peer == ENGINE_RECEIVER && header.kind == LINK_DELIVER) {
        struct fake_delivery *delivery = &fake.deliveries[index][fake.delivery_count[index]++];
        memcpy(&delivery->deliver, bytes, sizeof delivery->deliver);
        size_t at = sizeof delivery->deliver;
        memcpy(delivery->context, bytes + at, delivery->deliver.context_bytes);
        if (delivery->deliver.context_bytes != 0)
            memcpy(fake.last_context_padding, bytes + at + ABI_ALIGN8(delivery->deliver.context_bytes) - 8, 8);
        memcpy(delivery->payload, bytes + at + ABI_ALIGN8(delivery->deliver.context_bytes),
               delivery->deliver.payload_bytes);
    } else if (peer == ENGINE_RECEIVER && header.kind == LINK_BROUGHT) {
        memcpy(&fake.brought[fake.brought_count++ % FAKE_PENDING], bytes, sizeof fake.brought[0]);
    } else if (peer == ENGINE_RECEIVER && header.kind == LINK_CLOSE) {
        fake.closed[fake.close_count++ % 64] = header.handle;
    } else if (peer == ENGINE_RECEIVER && header.kind == LINK_ANSWER) {
        struct abi_answer answer;
        memcpy(&answer, bytes + sizeof header, sizeof answer);
        fake.answer_items = answer.item_count;
    } else if (peer == ENGINE_GATEWAY) {
        fake.taken += header.kind == LINK_TAKEN;
        fake.ended += header.kind == LINK_END;
        fake.last_ended = header.kind == LINK_END ? header.handle : fake.last_ended;
        fake.has_ended[header.handle % 16] |= header.kind == LINK_END;
        fake.has_taken[header.handle % 16] |= header.kind == LINK_TAKEN;
        fake.output_bytes += header.kind == LINK_OUTPUT ? size - sizeof header : 0;
    }
    return STATUS_OK;
}

static inline void fake_log(void *context, const char *line, size_t size)
{
    (void)context;
    fake.log_lines++;
    snprintf(fake.last_log, sizeof fake.last_log, "%.*s", (int)size, line);
}

static inline enum status fake_give(enum engine_peer peer, uint32_t index, const void *bytes, size_t size)
{
    static _Alignas(8) uint8_t aligned[COMMIT_BYTES_MAX];
    memcpy(aligned, bytes, size);
    enum status status = engine_receive(fake.engine, peer, index, aligned, size);
    engine_schedule(fake.engine);
    return status;
}

static inline void fake_clock(int64_t passed_ms)
{
    fake.now_ms += passed_ms;
    engine_clock(fake.engine, fake.now_ms, fake.now_ms, 1700000000000 + fake.now_ms);
}

// ---- the store ----
static inline const uint8_t *fake_walk(const uint8_t **at, void *entry, size_t size)
{
    memcpy(entry, *at, size);
    *at += size;
    return *at;
}

static inline const uint8_t *fake_bytes(const uint8_t **at, size_t size)
{
    const uint8_t *bytes = *at;
    *at += ABI_ALIGN8(size);
    return bytes;
}

// States of keys, as the store keeps them.
static inline void fake_state_put(const struct commit_state *entry, const uint8_t *key, const uint8_t *parts)
{
    uint32_t i = 0;
    while (i < fake.state_count && (fake.states[i].entry.flow != entry->flow ||
                                    fake.states[i].entry.key_bytes != entry->key_bytes ||
                                    memcmp(fake.states[i].key, key, entry->key_bytes) != 0))
        i++;
    if (i < fake.state_count && entry->part_bytes == 0)
        fake.states[i] = fake.states[--fake.state_count]; // forgotten
    if (i == FAKE_STATES || entry->part_bytes == 0)
        return;
    fake.state_count += i == fake.state_count;
    fake.states[i].entry = *entry;
    memcpy(fake.states[i].key, key, entry->key_bytes);
    memcpy(fake.states[i].parts, parts, entry->part_bytes);
}

static inline void fake_apply(const struct commit_header *header, const uint8_t *at)
{
    for (int i = 0; i < header->write_count; i++) {
        struct commit_write entry;
        fake_walk(&at, &entry, sizeof entry);
        (void)fake_bytes(&at, entry.key_bytes);
        (void)fake_bytes(&at, entry.index_bytes);
        (void)fake_bytes(&at, entry.value_bytes);
    }
    uint64_t number = header->first;
    for (int i = 0; i < header->send_count; i++) {
        struct fake_row *row = &fake.rows[fake.row_count++ % FAKE_ROWS];
        *row = (struct fake_row){.is_alive = 1, .time_ms = header->time_ms};
        fake_walk(&at, &row->send, sizeof row->send);
        memcpy(row->key, fake_bytes(&at, row->send.key_bytes), row->send.key_bytes);
        memcpy(row->context, fake_bytes(&at, row->send.context_bytes), row->send.context_bytes);
        memcpy(row->payload, fake_bytes(&at, row->send.payload_bytes), row->send.payload_bytes);
        if (system_flow_is_keepable(&fake_flows[row->send.flow])) {
            row->number = number;
            number += COMMIT_NUMBER_STEP;
        }
        row->is_sent = row->send.flags == COMMIT_KEPT;
        fake.kept_count += row->send.flags == COMMIT_KEPT;
    }
    for (int i = 0; i < header->state_count; i++) {
        struct commit_state entry;
        fake_walk(&at, &entry, sizeof entry);
        const uint8_t *key = fake_bytes(&at, entry.key_bytes);
        fake_state_put(&entry, key, fake_bytes(&at, entry.part_bytes));
    }
    for (int i = 0; i < header->counter_count; i++) {
        struct commit_counter entry;
        fake_walk(&at, &entry, sizeof entry);
        fake.counters[entry.index] += entry.value;
    }
    if (header->dead_count != 0) {
        struct commit_dead dead;
        fake_walk(&at, &dead, sizeof dead);
        snprintf(fake.last_dead_text, sizeof fake.last_dead_text, "%.*s", dead.text_bytes,
                 (const char *)fake_bytes(&at, dead.text_bytes));
        if (dead.crash_bytes != 0)
            memcpy(&fake.last_crash, fake_bytes(&at, dead.crash_bytes), sizeof fake.last_crash);
        memset(&fake.last_refusal, 0, sizeof fake.last_refusal);
        if (dead.refusal_bytes != 0) {
            fake_walk(&at, &fake.last_refusal, sizeof fake.last_refusal);
            memcpy(fake.last_refusal_state, fake_bytes(&at, fake.last_refusal.state_bytes), fake.last_refusal.state_bytes);
            (void)fake_bytes(&at, fake.last_refusal.message_bytes);
        }
        (void)fake_bytes(&at, dead.payload_bytes);
        fake.last_dead_reason = dead.reason;
        fake.dead_count++;
    }
}

// Does the first send that it has say so? Then they all do.
static inline int fake_keeps(const struct commit_header *header, const uint8_t *at)
{
    struct commit_send send = {0};
    if (header->send_count != 0 && header->write_count == 0 && header->read_count == 0)
        fake_walk(&at, &send, sizeof send);
    return send.flags == COMMIT_KEPT;
}

static inline uint32_t fake_commit(const uint8_t *bytes)
{
    struct commit_header header;
    memcpy(&header, bytes, sizeof header);
    if (header.flow != SYSTEM_NONE)
        fake.last_header = header;
    fake.last_source = (struct link_source){0};
    if (header.source_count != 0)
        memcpy(&fake.last_source, bytes + header.packet.size - sizeof fake.last_source, sizeof fake.last_source);
    int may_fail = fake.next_result == COMMIT_NOT_NOW || !fake_keeps(&header, bytes + sizeof header); // what sends kept messages is not stale or too much
    if (fake.result_count != 0 && header.flow != SYSTEM_NONE && may_fail) {
        fake.result_count--;
        return fake.next_result;
    }
    uint32_t result = header.source_count != 0 && fake.arrive != NULL ? fake.arrive(&header, &fake.last_source) : COMMIT_OK;
    if (result != COMMIT_OK)
        return result;
    if (header.is_kept) {
        struct fake_row *row = fake.rows;
        while (row < fake.rows + FAKE_ROWS && (!row->is_alive || row->number != header.consume))
            row++;
        if (row == fake.rows + FAKE_ROWS)
            return COMMIT_NOT_NOW;
        row->is_alive = 0;
    } else if (header.consume != 0) {
        struct fake_row *row = &fake.rows[(header.consume - 1) % FAKE_ROWS];
        if (!row->is_alive)
            return COMMIT_DUPLICATE;
        row->is_alive = 0;
        fake.credit[header.unikernel][header.flow]++;
    }
    const uint8_t *at = bytes + sizeof header;
    for (int i = 0; i < header.read_count; i++) {
        struct commit_read entry;
        fake_walk(&at, &entry, sizeof entry);
        (void)fake_bytes(&at, entry.from_bytes);
        fake.last_seen = entry;
    }
    fake_apply(&header, at);
    return COMMIT_OK;
}

static inline void fake_answer(uint64_t handle)
{
    struct {
        struct commit_answer head;
        struct abi_answer answer;
        struct abi_item item;
        struct commit_read seen;
        uint8_t key[8];
    } record = {{{sizeof record, COMMIT_ANSWER, 0, handle}, sizeof record.answer + sizeof record.item, 1},
                {{sizeof record.answer + sizeof record.item, ABI_ANSWER, 0}, 1, 0},
                {fake.read_version != 0 ? ABI_ITEM_FOUND : ABI_ITEM_ABSENT, 0, 0, fake.read_version},
                {0, ABI_READ_GET, 4, 0, fake.read_version}, {0}};
    if (fake_give(ENGINE_STORE, 0, &record, sizeof record) != STATUS_OK)
        abort();
}

static inline void fake_outbox(void)
{
    for (uint32_t i = 0; i < fake.row_count && i < FAKE_ROWS; i++) {
        struct fake_row *row = &fake.rows[i];
        if (!row->is_alive || row->is_sent || fake.credit[row->send.receiver][row->send.flow] == 0 ||
            row->send.due_ms > 1700000000000 + fake.now_ms)
            continue;
        struct commit_outbox outbox = {{0, COMMIT_OUTBOX, 0, i + 1}, row->number != 0 ? row->number : i + 1, row->time_ms, row->send};
        size_t size = sizeof outbox;
        memset(fake_packet, 0, 4096);
        memcpy(fake_packet + size, row->key, row->send.key_bytes);
        size += ABI_ALIGN8((size_t)row->send.key_bytes);
        memcpy(fake_packet + size, row->context, row->send.context_bytes);
        size += ABI_ALIGN8((size_t)row->send.context_bytes);
        memcpy(fake_packet + size, row->payload, row->send.payload_bytes);
        size += ABI_ALIGN8((size_t)row->send.payload_bytes);
        outbox.packet.size = (uint32_t)size;
        memcpy(fake_packet, &outbox, sizeof outbox);
        row->is_sent = 1;
        fake.credit[row->send.receiver][row->send.flow]--;
        if (fake_give(ENGINE_STORE, 0, fake_packet, size) != STATUS_OK)
            abort();
    }
}

// The store takes what has arrived and answers, until nothing moves.
static inline void fake_store(void)
{
    while (fake.commit_count != 0) {
        struct fake_packet packet = fake.commits[0];
        memmove(fake.commits, fake.commits + 1, --fake.commit_count * sizeof packet);
        struct commit_packet head;
        memcpy(&head, packet.bytes, sizeof head);
        if (head.kind == COMMIT_COMMIT) {
            struct commit_done done = {{sizeof done, COMMIT_DONE, 0, head.handle}, fake_commit(packet.bytes), 0, 0};
            if (fake_give(ENGINE_STORE, 0, &done, sizeof done) != STATUS_OK)
                abort();
        } else if (head.kind == COMMIT_READ) {
            fake_answer(head.handle);
        } else if (head.kind == COMMIT_CREDIT) {
            struct commit_credit credit;
            memcpy(&credit, packet.bytes, sizeof credit);
            fake.credit[credit.receiver][credit.flow] += credit.count;
        }
        free(packet.bytes);
        if (fake.commit_count == 0)
            fake_outbox();
    }
    fake_outbox();
    if (fake.commit_count != 0)
        fake_store();
}

static inline void fake_tick(int64_t passed_ms)
{
    fake_clock(passed_ms);
    (void)engine_tick(fake.engine);
    fake_store();
}

// ---- receivers ----
static uint16_t fake_batch = 1; // events for each instance, as HELLO says
static inline enum status fake_hello(uint32_t index, uint32_t capacity)
{
    struct link_hello hello = {{sizeof hello, LINK_HELLO, 0, 0}, LINK_VERSION, (uint16_t)capacity, fake_batch, {0}};
    if (index < 3)
        hello.image_digest[0] = (uint8_t)(index + 1);
    return fake_give(ENGINE_RECEIVER, index, &hello, sizeof hello);
}

// Records of one event, built one after the other.
struct fake_records {
    uint32_t size;
    _Alignas(8) uint8_t bytes[ABI_OUTPUT_BYTES];
};

static inline void fake_record(struct fake_records *records, const void *fixed, size_t fixed_bytes,
                               const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    size_t size = fixed_bytes + ABI_ALIGN8(a_bytes) + ABI_ALIGN8(b_bytes);
    uint8_t *at = records->bytes + records->size;
    memset(at, 0, size);
    memcpy(at, fixed, fixed_bytes);
    struct abi_record head;
    memcpy(&head, at, sizeof head);
    head.size = (uint32_t)size;
    memcpy(at, &head, sizeof head);
    if (a_bytes != 0)
        memcpy(at + fixed_bytes, a, a_bytes);
    if (b_bytes != 0)
        memcpy(at + fixed_bytes + ABI_ALIGN8(a_bytes), b, b_bytes);
    records->size += (uint32_t)size;
}

static inline void fake_send_record(struct fake_records *records, uint16_t flow, uint32_t delay_ms,
                                    const char *context, const void *payload, size_t size)
{
    struct abi_send send = {.record.kind = ABI_SEND, .flow = flow, .delay_ms = delay_ms,
                            .context_bytes = (uint32_t)strlen(context), .payload_bytes = (uint32_t)size};
    fake_record(records, &send, sizeof send, context, strlen(context), payload, size);
}

static inline void fake_item(struct fake_records *records, uint16_t flow, uint32_t value, uint32_t key,
                             uint64_t sequence)
{
    struct item item = {value, key, sequence};
    fake_send_record(records, flow, 0, "", &item, sizeof item);
}

static inline void fake_wire(struct fake_records *records, const char *text, int is_closed)
{
    uint8_t wire[128] = {(uint8_t)is_closed, 0, (uint8_t)strlen(text), 0};
    memcpy(wire + 4, text, strlen(text));
    fake_send_record(records, OUT_WIRE, 0, "", wire, ABI_ALIGN8(4 + strlen(text)));
}

static inline void fake_join(struct fake_records *records, uint16_t port, int is_joined)
{
    uint8_t payload[8] = {(uint8_t)port, 0, (uint8_t)is_joined};
    fake_send_record(records, OUT_SUBSCRIBE, 0, "", payload, sizeof payload);
}

static inline void fake_put(struct fake_records *records, uint32_t value, uint32_t key, uint32_t key_said)
{
    struct item item = {value, key, 0};
    uint8_t key_bytes[4] = {(uint8_t)(key_said >> 24), (uint8_t)(key_said >> 16), (uint8_t)(key_said >> 8),
                            (uint8_t)key_said};
    struct abi_write write = {.record.kind = ABI_WRITE, .op = ABI_WRITE_PUT, .key_bytes = 4,
                              .value_bytes = sizeof item};
    fake_record(records, &write, sizeof write, key_bytes, 4, &item, sizeof item);
}

// Takes the delivery at `place` away and answers it. With LINK_ENDED an END is appended.
static inline enum status fake_end_at(uint32_t receiver, uint32_t place, uint16_t outcome, uint16_t code,
                                      struct fake_records *records)
{
    static struct fake_records none;
    static uint8_t bytes[sizeof(struct link_effects) + sizeof(struct link_crash) + ABI_OUTPUT_BYTES];
    if (records == NULL) {
        none.size = 0;
        records = &none;
    }
    if (place >= fake.delivery_count[receiver])
        return STATUS_ABSENT;
    struct abi_end end = {.record.kind = ABI_END};
    if (outcome == LINK_ENDED)
        fake_record(records, &end, sizeof end, NULL, 0, NULL, 0);
    struct link_crash crash = {.signal = 11, .address = 0x10, .rip = 0x10001a3, .build_id = {1, 2}, .code = {0x88},
                               .layout = {.image = 0x1000000, .segments = {{0}, {0x1000000, 4096}}}};
    int is_crash = outcome == LINK_FAULT || outcome == LINK_DEADLINE;
    size_t size = sizeof(struct link_effects) + (is_crash ? sizeof crash : 0) + records->size;
    struct link_effects effects = {.header = {(uint32_t)size, LINK_EFFECTS, 0,
                                              fake.deliveries[receiver][place].deliver.header.handle},
                                   .outcome = outcome, .code = code, .record_bytes = records->size};
    memcpy(bytes, &effects, sizeof effects);
    if (is_crash)
        memcpy(bytes + sizeof effects, &crash, sizeof crash);
    memcpy(bytes + size - records->size, records->bytes, records->size);
    fake.delivery_count[receiver]--;
    memmove(&fake.deliveries[receiver][place], &fake.deliveries[receiver][place + 1],
            (fake.delivery_count[receiver] - place) * sizeof(struct fake_delivery));
    enum status status = fake_give(ENGINE_RECEIVER, receiver, bytes, size);
    records->size = 0;
    return status;
}

static inline enum status fake_end(uint32_t receiver, struct fake_records *records)
{
    return fake_end_at(receiver, 0, LINK_ENDED, 0, records);
}

static inline enum status fake_fail(uint32_t receiver, uint16_t outcome)
{
    return fake_end_at(receiver, 0, outcome, 0, NULL);
}

// ---- the gateway ----
static inline enum status fake_gateway(uint16_t kind, uint64_t handle, const char *text)
{
    struct {
        struct link_header header;
        char text[256];
    } record = {{(uint32_t)(sizeof record.header + strlen(text)), kind, 0, handle}, ""};
    memcpy(record.text, text, strlen(text));
    return fake_give(ENGINE_GATEWAY, 0, &record, record.header.size);
}

static inline enum status fake_drained(uint64_t handle, uint64_t bytes)
{
    struct link_drained drained = {{sizeof drained, LINK_DRAINED, 0, handle}, bytes};
    return fake_give(ENGINE_GATEWAY, 0, &drained, sizeof drained);
}

// ---- counts ----
static inline uint64_t fake_count(uint32_t flow, enum reason reason)
{
    return fake.page->counters[COUNTER_FLOW(flow, reason)];
}

static inline uint64_t fake_ended(const uint64_t *counters, uint32_t flow)
{
    uint64_t ended = 0;
    for (uint32_t reason = 0; reason < REASON_COUNT; reason++)
        ended += reason_is_end(reason) ? counters[COUNTER_FLOW(flow, reason)] : 0;
    return ended;
}

// entered = done + failures + waiting, in the page and in the store.
static inline int fake_is_exact(void)
{
    uint64_t rows[FLOWS + 1] = {0};
    for (uint32_t i = 0; i < fake.row_count && i < FAKE_ROWS; i++)
        rows[fake.rows[i].send.flow] += fake.rows[i].is_alive != 0;
    for (uint32_t flow = 0; flow < fake.system.flow_count; flow++) {
        if (!fake_flows[flow].is_durable)
            continue;
        if (fake_count(flow, REASON_ENTERED) != fake_ended(fake.page->counters, flow) + fake.page->spooled[flow] ||
            fake.counters[COUNTER_FLOW(flow, REASON_ENTERED)] != fake_ended(fake.counters, flow) + rows[flow])
            return 0;
    }
    return 1;
}

// ---- begin and end ----
static inline void fake_clear(void)
{
    memset(&fake, 0, sizeof fake);
    memset(fake_unikernels, 0, sizeof fake_unikernels);
    memset(fake_flows, 0, sizeof fake_flows);
    fake_schemas();
    fake_flows_init();
    fake_endpoints();
    fake.system.header = &fake_header;
    fake.system.unikernels = fake_unikernels;
    fake.system.flows = fake_flows;
    fake.system.namespaces = fake_namespaces;
    fake.system.principals = fake_principals;
    fake.system.gateways = fake_gateways;
    fake.system.services = fake_services;
    fake.system.checks = fake_checks;
    fake.system.machines = fake_machines;
    fake.system.machine_count = 1;
    fake.system.unikernel_count = 3;
    fake.system.flow_count = FLOWS;
    fake.system.namespace_count = fake.system.service_count = fake.system.gateway_count = 1;
    fake.system.principal_count = 2;
    fake.system.schema_count = 5;
    fake.rows = calloc(FAKE_ROWS, sizeof *fake.rows);
    fake.page = calloc(1, STATUS_PAGE_BYTES);
    fake.now_ms = 1000000;
}

// After fake_clear() and changes to the tables. Tenders and service are there unless capacity is 0.
static inline void fake_start(void)
{
    struct engine_io io = {NULL, FAKE_SEED, fake_send, fake_log};
    fake.engine = engine_create(&fake.system, fake.page, &io, 1);
    if (fake.engine == NULL)
        abort();
    fake_clock(1);
    engine_attached(fake.engine, ENGINE_STORE, 0);
    struct commit_packet ready = {sizeof ready, COMMIT_READY, 0, 0};
    if (fake_give(ENGINE_STORE, 0, &ready, sizeof ready) != STATUS_OK)
        abort();
    for (uint32_t i = 0; i < 4; i++)
        if (fake_hello(i, i == FRONT ? fake_unikernels[FRONT].instances_max : i == DECODE ? 3 : 4) != STATUS_OK)
            abort();
    fake_store();
}

static inline void fake_stop(void)
{
    engine_destroy(fake.engine);
    for (uint32_t i = 0; i < fake.commit_count; i++)
        free(fake.commits[i].bytes);
    free(fake.rows);
    free(fake.page);
}

#endif
