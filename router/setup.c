// SPDX-License-Identifier: ISC
// The engine's memory: all of it follows from the compiled system and is taken here. Tables are sized
// for the worst case; pages are touched when they are first used, lowest slots first.
#include "router/state.h"

#include <stdlib.h>
#include <string.h>

#define ROUTER_EVENTS_MAX 512u
#define ROUTER_CONNECTIONS_MAX 8192u // of one gateway
#define ROUTER_SERVICE_CAPACITY 64u

static int has_wire_fields(const struct engine *engine, uint16_t flow)
{
    if (flow >= engine->system->flow_count)
        return 0;
    const struct schema *schema = &engine->system->schemas[engine->system->flows[flow].schema];
    int bytes = schema_field_index(schema, "bytes");
    return bytes >= 0 && schema_field_index(schema, "is_closed") >= 0 && schema->header->is_cut &&
           bytes == schema->header->field_count - 1 &&
           schema->fields[bytes].capacity >= LINK_INPUT_BYTES_MAX;
}

static uint64_t flows_init(struct engine *engine)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < engine->system->flow_count; i++) {
        const struct system_flow *flow = &engine->system->flows[i];
        struct flow_state *state = &engine->flows[i];
        enum system_endpoint to = flow->receiver_count != 0 ? (enum system_endpoint)flow->receivers[0].kind
                                                            : SYSTEM_SUBSCRIPTION;
        int is_local = (to == SYSTEM_UNIKERNEL || to == SYSTEM_SERVICE) && flow->sender_kind != SYSTEM_GATEWAY;
        state->is_durable = is_local && flow->is_durable && to == SYSTEM_UNIKERNEL;
        state->is_queued = is_local && !state->is_durable;
        state->is_own = state->is_queued && flow->kind == SYSTEM_PLAIN && flow->sender_kind == SYSTEM_UNIKERNEL &&
                        flow->receiver_count == 1 && to == SYSTEM_UNIKERNEL &&
                        flow->receivers[0].index == flow->sender &&
                        engine->system->unikernels[flow->sender].lifetime == LIFETIME_CONNECTION;
        if (state->is_own)
            engine->receivers[flow->sender].own_need += flow->count_max;
        state->fan_out = flow->kind == SYSTEM_REPLY ? 1 : flow->receiver_count;
        state->connection_bucket = flow->is_rate_per_connection ? (int32_t)engine->bucket_columns++ : -1;
        uint64_t quota = 8u * (uint64_t)flow->count_max * state->fan_out;
        state->limit = state->is_durable ? flow->cap : quota > ROUTER_QUOTA ? quota : ROUTER_QUOTA;
        if (state->is_queued && !state->is_own) // and what events in flight hold of the same flow
            slots += state->limit + ROUTER_CAPACITY_MAX + ROUTER_PIPELINE;
    }
    return slots;
}

static uint64_t receivers_init(struct engine *engine)
{
    const struct system_view *system = engine->system;
    uint64_t slots = 0;
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct receiver *receiver = &engine->receivers[i];
        receiver->queue = (struct list){ROUTER_NONE, ROUTER_NONE, 0};
        receiver->log_bucket.tokens = 0;
        if (i < system->unikernel_count) {
            const struct system_unikernel *unikernel = &system->unikernels[i];
            receiver->name = unikernel->name;
            receiver->inputs = unikernel->inputs;
            receiver->outputs = unikernel->outputs;
            receiver->input_count = unikernel->input_count;
            receiver->output_count = unikernel->output_count;
            receiver->is_connection = unikernel->lifetime == LIFETIME_CONNECTION;
            receiver->capacity_max = unikernel->instances_max;
            for (uint32_t flow = 0; flow < system->flow_count; flow++)
                slots += is_spooled_for(system, flow, i) ? ROUTER_WINDOW : 0;
        } else {
            const struct system_service *service = &system->services[i - system->unikernel_count];
            receiver->name = service->name;
            receiver->inputs = &service->request_flow;
            receiver->outputs = &service->reply_flow;
            receiver->input_count = receiver->output_count = 1;
            receiver->capacity_max = ROUTER_SERVICE_CAPACITY;
        }
        if (receiver->capacity_max > ROUTER_CAPACITY_MAX)
            receiver->capacity_max = ROUTER_CAPACITY_MAX;
        engine->event_count += receiver->capacity_max + ROUTER_PIPELINE;
    }
    for (uint32_t i = 0; i < system->gateway_count; i++) {
        uint32_t most = system->gateways[i].connections_max;
        most = 2 * (most < ROUTER_CONNECTIONS_MAX ? most : ROUTER_CONNECTIONS_MAX); // some are closing
        engine->gateway_first[i + 1] = engine->gateway_first[i] + most;
        struct receiver *receiver = &engine->receivers[system->gateways[i].unikernel];
        receiver->copies_max += ROUTER_COPIES * most;
        receiver->own_max = receiver->own_need != 0 ? 2 * receiver->own_need + ROUTER_OWN : 0;
        // An event's own input may come on top.
        slots += (2 + ROUTER_COPIES + receiver->own_max + 1) * (uint64_t)most;
    }
    engine->connection_count = engine->gateway_first[system->gateway_count];
    return slots;
}

struct engine *engine_create(const struct system_view *system, struct router_page *page,
                             const struct engine_io *io, uint64_t epoch)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return NULL;
    engine->system = system;
    engine->page = page;
    engine->io = *io;
    engine->epoch = epoch;
    engine->message_free = engine->event_free = ROUTER_NONE;
    engine->waiting_head = engine->waiting_tail = ROUTER_NONE;
    engine->delayed = engine->ending = (struct list){ROUTER_NONE, ROUTER_NONE, 0};
    engine->receiver_count = (uint32_t)(system->unikernel_count + system->service_count);
    engine->receivers = calloc(engine->receiver_count + 1u, sizeof *engine->receivers);
    int is_good = engine->receivers != NULL;
    for (uint32_t i = 0; i < system->gateway_count; i++)
        is_good = is_good && has_wire_fields(engine, system->gateways[i].input_flow) &&
                  has_wire_fields(engine, system->gateways[i].output_flow);
    if (is_good) {
        uint64_t slots = flows_init(engine) + receivers_init(engine);
        uint64_t keys = 0;
        for (uint32_t i = 0; i < system->flow_count; i++)
            if (system->flows[i].sequence_field != SYSTEM_NONE)
                keys += system->flows[i].keys_max + 1u;
        if (engine->event_count > ROUTER_EVENTS_MAX)
            engine->event_count = ROUTER_EVENTS_MAX;
        is_good = slots < 1u << 20 && keys < 1u << 22;
        engine->message_count = (uint32_t)slots;
        engine->messages = is_good ? calloc(slots + 1, sizeof *engine->messages) : NULL;
        engine->bodies = is_good ? calloc(slots + 1, ROUTER_BODY_BYTES) : NULL;
        engine->events = calloc(engine->event_count + 1u, sizeof *engine->events);
        engine->connections = calloc(engine->connection_count + 1u, sizeof *engine->connections);
        engine->connection_buckets = calloc((size_t)engine->connection_count * engine->bucket_columns + 1u,
                                            sizeof *engine->connection_buckets);
        is_good = is_good && key_table_create(&engine->keys, (uint32_t)keys) == STATUS_OK &&
                  engine->messages != NULL && engine->bodies != NULL && engine->events != NULL &&
                  engine->connections != NULL && engine->connection_buckets != NULL;
    }
    if (!is_good) {
        engine_destroy(engine);
        return NULL;
    }
    page_set(&page->epoch, epoch);
    return engine;
}

void engine_destroy(struct engine *engine)
{
    key_table_destroy(&engine->keys);
    free(engine->connection_buckets);
    free(engine->connections);
    free(engine->events);
    free(engine->bodies);
    free(engine->messages);
    free(engine->receivers);
    free(engine);
}
