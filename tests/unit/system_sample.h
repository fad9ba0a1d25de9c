// SPDX-License-Identifier: ISC
// A compiled system made by hand, independent of the compiler of system files; and a reader of all of it.
#ifndef CRENEL_TESTS_SYSTEM_SAMPLE_H
#define CRENEL_TESTS_SYSTEM_SAMPLE_H

#include "abi/abi.h"
#include "core/flow_check.h"
#include "core/manifest.h"
#include "core/system.h"

#include <stdalign.h>
#include <string.h>

enum { MQTT, DECODE, DETECT, UNIKERNELS };
enum { WIRE_IN, WIRE_OUT, LOGIN, LOGIN_REPLY, SUBSCRIBE, RAW, READING, ALARMS, ALIVE, CARRIED, BROUGHT, FLOWS };
enum { WIRE, REQUEST, REPLY, SUBSCRIPTION, PUBLISH, SCHEMAS };

struct schema_block {
    struct schema_header header;
    struct schema_field fields[2];
};

// The file as a struct: the parts lie where core/system.c wants them.
struct file {
    struct system_signature signature;
    struct system_header header;
    struct system_unikernel unikernels[UNIKERNELS];
    struct system_flow flows[FLOWS];
    struct system_namespace namespaces[1];
    struct system_principal principals[2];
    struct system_gateway gateways[1];
    struct system_service services[1];
    struct system_check checks[2];
    struct system_machine machines[1];
    struct system_courier couriers[1];
    uint32_t schemas[SCHEMAS];
    uint32_t zero;
    struct schema_block blocks[SCHEMAS];
    char never[16];
    char configuration[12];
    char end[4];
};
_Static_assert(sizeof(struct file) % 8 == 0 && SCHEMAS % 2 == 1, "padding is named");

static alignas(8) struct file good, file;
static struct system_view view;

static inline void fill_schema(struct schema_block *block, const char *name)
{
    block->header = (struct schema_header){
        .block_bytes = sizeof *block, .field_count = 2, .struct_bytes = 16};
    memcpy(block->header.name, name, strlen(name));
    block->fields[0] = (struct schema_field){.name = "key", .type = SCHEMA_U32, .maximum = 9};
    block->fields[1] =
        (struct schema_field){.name = "number", .type = SCHEMA_U64, .offset = 8, .maximum = 9};
}

// A built-in schema: its two fields, one behind the other.
static inline void fill_builtin(struct schema_block *block, const char *name, struct schema_field first,
                                struct schema_field second, uint16_t struct_bytes)
{
    int is_cut = second.type == SCHEMA_BYTES;
    block->header = (struct schema_header){.block_bytes = sizeof *block, .field_count = 2,
                                           .struct_bytes = struct_bytes, .is_cut = (uint16_t)is_cut};
    memcpy(block->header.name, name, strlen(name));
    block->fields[0] = first;
    block->fields[1] = second;
}

static inline void fill_builtins(void)
{
    fill_builtin(&good.blocks[WIRE], "wire/1",
                 (struct schema_field){.name = "is_closed", .type = SCHEMA_BOOL, .maximum = 1},
                 (struct schema_field){.name = "bytes", .type = SCHEMA_BYTES, .offset = 2, .capacity = 2048}, 2056);
    fill_builtin(&good.blocks[REQUEST], "password-request/1",
                 (struct schema_field){.name = "user", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .capacity = 32},
                 (struct schema_field){.name = "password", .type = SCHEMA_BYTES, .offset = 34, .capacity = 128}, 168);
    fill_builtin(&good.blocks[REPLY], "password-reply/1",
                 (struct schema_field){.name = "is_accepted", .type = SCHEMA_BOOL, .maximum = 1},
                 (struct schema_field){.name = "principal", .type = SCHEMA_U16, .offset = 2, .maximum = 64}, 8);
    fill_builtin(&good.blocks[SUBSCRIPTION], "subscription/1",
                 (struct schema_field){.name = "port", .type = SCHEMA_U16, .maximum = 31},
                 (struct schema_field){.name = "is_joined", .type = SCHEMA_BOOL, .offset = 2, .maximum = 1}, 8);
}

static inline void fill_unikernel(struct system_unikernel *unikernel, const char *name, unsigned lifetime,
                           uint16_t inputs, uint16_t outputs)
{
    memset(unikernel, 0, sizeof *unikernel);
    memcpy(unikernel->name, name, strlen(name));
    memcpy(unikernel->image_path, "/i/x.img", 8);
    unikernel->configuration_offset = offsetof(struct file, configuration);
    unikernel->memory_kib = 1024;
    unikernel->cpu_percent = 50;
    unikernel->deadline_ms = 100;
    unikernel->instances_max = 4;
    unikernel->lifetime = (uint8_t)lifetime;
    unikernel->input_count = inputs;
    unikernel->output_count = outputs;
    memset(unikernel->inputs, 0xff, sizeof unikernel->inputs);
    memset(unikernel->outputs, 0xff, sizeof unikernel->outputs);
    memset(unikernel->namespaces, 0xff, sizeof unikernel->namespaces);
}

static inline struct system_flow *fill_flow(unsigned index, const char *name, unsigned schema,
                                     unsigned from_kind, unsigned from, unsigned from_port,
                                     unsigned to_kind, unsigned to, unsigned to_port)
{
    struct system_flow *flow = &good.flows[index];
    memset(flow, 0, sizeof *flow);
    memcpy(flow->name, name, strlen(name));
    flow->sender_kind = (uint8_t)from_kind;
    flow->sender = (uint16_t)from;
    flow->sender_port = (uint16_t)from_port;
    flow->pair = SYSTEM_NONE;
    flow->schema = (uint16_t)schema;
    flow->receiver_count = 1;
    flow->receivers[0] = (struct system_receiver){(uint8_t)to_kind, 0, (uint16_t)to,
                                                  (uint16_t)to_port, 0};
    flow->count_max = 1;
    flow->key_field = SYSTEM_NONE;
    flow->check_first = index > RAW ? 2 : 0; // raw has two
    flow->rate_per_second = flow->rate_burst = 10;
    flow->is_open = 1;
    if (from_kind == SYSTEM_UNIKERNEL)
        good.unikernels[from].outputs[from_port] = (uint16_t)index;
    if (to_kind == SYSTEM_UNIKERNEL)
        good.unikernels[to].inputs[to_port] = (uint16_t)index;
    return flow;
}

static inline void fill_flows(void)
{
    fill_flow(WIRE_IN, "wire_in", WIRE, SYSTEM_GATEWAY, 0, 0, SYSTEM_UNIKERNEL, MQTT, 0);
    fill_flow(WIRE_OUT, "wire_out", WIRE, SYSTEM_UNIKERNEL, MQTT, 0, SYSTEM_GATEWAY, 0, 0);
    struct system_flow *login = fill_flow(LOGIN, "login", REQUEST, SYSTEM_UNIKERNEL, MQTT, 1,
                                          SYSTEM_SERVICE, 0, 0);
    login->kind = SYSTEM_REQUEST;
    login->pair = LOGIN_REPLY;
    fill_flow(LOGIN_REPLY, "login_reply", REPLY, SYSTEM_SERVICE, 0, 0, SYSTEM_UNIKERNEL, MQTT, 1)
        ->kind = SYSTEM_REPLY;
    fill_flow(SUBSCRIBE, "subscribe", SUBSCRIPTION, SYSTEM_UNIKERNEL, MQTT, 2, SYSTEM_SUBSCRIPTION,
              0, 0);
    struct system_flow *raw =
        fill_flow(RAW, "raw", PUBLISH, SYSTEM_UNIKERNEL, MQTT, 3, SYSTEM_UNIKERNEL, DECODE, 0);
    raw->is_open = 0;
    raw->principals = 3;
    raw->is_durable = 1;
    raw->cap = 100;
    raw->bytes_max = 1 << 20;
    raw->key_field = 0;
    raw->check_count = 2;
    raw->keys_max = 16;
    good.checks[0] = (struct system_check){.kind = SYSTEM_CHECK_ORDER, .field = 1, .time_field = SYSTEM_NONE,
                                           .machine = SYSTEM_NONE, .line = 7, .id = 1};
    good.checks[1] = (struct system_check){.kind = SYSTEM_CHECK_MACHINE, .field = SYSTEM_NONE,
                                           .time_field = SYSTEM_NONE, .line = 8, .id = 2};
    struct system_machine *machine = &good.machines[0];
    memcpy(machine->name, "valve", 5);
    memcpy(machine->states[0], "closed", 6);
    memcpy(machine->states[1], "open", 4);
    machine->schema = PUBLISH;
    machine->state_count = machine->transition_count = 2;
    uint32_t closed = flow_name_hash(FLOW_NAME_HASH, "closed"), open = flow_name_hash(FLOW_NAME_HASH, "open");
    machine->transitions[0] = (struct system_transition){closed, open, 1, 0, {{.field = 0, .low = 1, .high = 3}}};
    machine->transitions[1] = (struct system_transition){open, closed, 0, 0, {{0}}};
    struct system_flow *reading = fill_flow(READING, "reading", PUBLISH, SYSTEM_UNIKERNEL, DECODE, 0,
                                            SYSTEM_UNIKERNEL, DETECT, 0);
    reading->receiver_count = 2;
    reading->receivers[1] = (struct system_receiver){SYSTEM_UNIKERNEL, 0, DETECT, 1, 0};
    good.unikernels[DETECT].inputs[1] = READING;
    fill_flow(ALARMS, "alarms", PUBLISH, SYSTEM_UNIKERNEL, DETECT, 0, SYSTEM_UNIKERNEL, MQTT, 2)
        ->is_broadcast = 1;
    fill_flow(CARRIED, "carried", PUBLISH, SYSTEM_UNIKERNEL, DETECT, 1, SYSTEM_COURIER, 0, 0);
    fill_flow(BROUGHT, "brought", PUBLISH, SYSTEM_COURIER, 0, 0, SYSTEM_UNIKERNEL, DETECT, 2);
    for (int i = CARRIED; i <= BROUGHT; i++) {
        good.flows[i].is_durable = 1;
        good.flows[i].cap = 100;
        good.flows[i].bytes_max = raw->bytes_max;
    }
    fill_flow(ALIVE, "alive", PUBLISH, SYSTEM_UNIKERNEL, MQTT, 4, SYSTEM_UNIKERNEL, MQTT, 3);
}

static inline void fill_tables(void)
{
    struct system_header *header = &good.header;
#define TABLE(name, number)                                                                        \
    header->name = (struct system_table){offsetof(struct file, name), number}
    TABLE(unikernels, UNIKERNELS), TABLE(flows, FLOWS), TABLE(namespaces, 1), TABLE(principals, 2);
    TABLE(gateways, 1), TABLE(services, 1), TABLE(checks, 2), TABLE(machines, 1), TABLE(couriers, 1), TABLE(schemas, SCHEMAS);
    TABLE(never, 12), TABLE(configuration, sizeof good.configuration);
    for (size_t i = 0; i < SCHEMAS; i++)
        good.schemas[i] = (uint32_t)(offsetof(struct file, blocks) + i * sizeof good.blocks[0]);
}

static inline void fill(void)
{
    memset(&good, 0, sizeof good);
    good.signature = (struct system_signature){
        SYSTEM_MAGIC, SYSTEM_VERSION, sizeof good - sizeof good.signature, {0}, {0}, {0}};
    memcpy(good.header.name, "plant", 5);
    memcpy(good.never, "mqtt\tdetect\n", 12);
    memcpy(good.header.tenant, "works-7", 7);
    good.header.security_version = 1;
    fill_tables();
    fill_builtins();
    fill_schema(&good.blocks[PUBLISH], "publish/1");
    fill_unikernel(&good.unikernels[MQTT], "mqtt", LIFETIME_CONNECTION, 4, 6);
    fill_unikernel(&good.unikernels[DECODE], "decode", LIFETIME_MESSAGE, 1, 1);
    fill_unikernel(&good.unikernels[DETECT], "detect", LIFETIME_RESIDENT, 3, 2);
    good.unikernels[MQTT].configuration_bytes = sizeof good.configuration;
    memcpy(good.configuration, "publish 4 0\n", 12);
    good.unikernels[DETECT].namespace_count = 1;
    good.unikernels[DETECT].namespaces[0] = 0;
    good.unikernels[DECODE].refusal_count = 1;
    memcpy(good.unikernels[DECODE].refusals[0], "malformed-json", 14);
    fill_flows();
    memcpy(good.namespaces[0].name, "models", 6);
    good.namespaces[0].schema = PUBLISH;
    good.namespaces[0].key_count = 1;
    good.namespaces[0].records_max = 10;
    good.namespaces[0].readers = 1u << DETECT;
    memcpy(good.principals[0].name, "press-7", 7);
    memcpy(good.principals[1].name, "operator", 8);
    good.gateways[0] = (struct system_gateway){.name = "mqtt", .listen = "127.0.0.1:1883",
                                               .unikernel = MQTT, .connections_max = 4,
                                               .input_flow = WIRE_IN, .output_flow = WIRE_OUT,
                                               .output_bytes_max = 4096, .slow_ms = 1000};
    good.services[0] = (struct system_service){.name = "login", .kind = SYSTEM_SERVICE_PASSWORD,
                                               .request_flow = LOGIN, .reply_flow = LOGIN_REPLY,
                                               .path = "/i/passwords"};
    good.couriers[0] = (struct system_courier){.name = "cloud", .address = "192.0.2.7:8883", .transport = SYSTEM_TLS,
                                               .peer_count = 1, .certificate = "/i/c", .key = "/i/k",
                                               .authority = "/i/a", .peers = {{.name = "operator", .principal = 2}}};
    file = good;
}

// The checks of a flow over two messages that are zero, if its schema allows that.
static inline uint64_t use_checks(const struct system_flow *flow)
{
    static const uint8_t message[4096];
    static uint64_t state[FLOW_STATE_WORDS_MAX], measured[SYSTEM_FLOW_CHECKS_MAX];
    const struct schema *schema = &view.schemas[flow->schema];
    const struct flow_clock clock = {1000, 1000, 1000};
    uint16_t field;
    uint64_t first, sum = flow_state_bytes(&view, flow) + (uint64_t)flow_keys_are_direct(&view, flow, &first);
    size_t size = schema->header->struct_bytes;
    if (schema_check(schema, message, size, &field) != REASON_DONE)
        return sum;
    memset(state, 0, sizeof state);
    sum += flow_check(&view, flow, message, size, &clock, state, NULL);
    return sum + flow_check(&view, flow, message, size, &clock, state, measured);
}

// Follows every index as the processes do; with a sanitizer a wrong one is caught.
static inline uint64_t use_all(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < view.flow_count; i++) {
        const struct system_flow *flow = &view.flows[i];
        sum += view.schemas[flow->schema].header->struct_bytes;
        if (flow->key_field != SYSTEM_NONE)
            sum += view.schemas[flow->schema].fields[flow->key_field].offset;
        if (flow->kind == SYSTEM_REQUEST)
            sum += view.flows[flow->pair].schema;
        sum += use_checks(flow);
        for (size_t j = 0; j < flow->receiver_count; j++)
            if (flow->receivers[j].kind == SYSTEM_UNIKERNEL)
                sum += view.unikernels[flow->receivers[j].index].inputs[flow->receivers[j].port];
    }
    for (size_t i = 0; i < view.unikernel_count; i++) {
        const struct system_unikernel *unikernel = &view.unikernels[i];
        for (size_t j = 0; j < unikernel->configuration_bytes; j++)
            sum += view.bytes[unikernel->configuration_offset + j];
        for (size_t j = 0; j < unikernel->namespace_count; j++)
            if (unikernel->namespaces[j] != SYSTEM_NONE)
                sum += view.namespaces[unikernel->namespaces[j]].schema;
    }
    for (size_t i = 0; i < view.gateway_count; i++)
        sum += view.unikernels[view.gateways[i].unikernel].lifetime +
               view.flows[view.gateways[i].input_flow].schema;
    for (size_t i = 0; i < view.courier_count; i++)
        for (size_t j = 0; j < view.couriers[i].peer_count; j++)
            if (view.couriers[i].peers[j].principal != 0)
                sum += (uint64_t)view.principals[view.couriers[i].peers[j].principal - 1].name[0];
    for (size_t i = 0; i < system_places(&view); i++)
        sum += (uint64_t)system_place_name(&view, i)[0];
    for (size_t i = 0; i < view.service_count; i++)
        sum += view.flows[view.services[i].request_flow].pair;
    return sum;
}

#endif
