// SPDX-License-Identifier: ISC
// The engine's memory: all of it follows from the compiled system and is taken here. Tables are sized
// for the worst case; pages are touched when they are first used, lowest slots first.
#include "router/state.h"

#include <stdlib.h>
#include <string.h>

#define ROUTER_EVENTS_MAX 2048u
#define ROUTER_CONNECTIONS_MAX 8192u // of one gateway
#define ROUTER_HOST_CAPACITY 64u

static uint32_t at_most(uint32_t value, uint32_t most) { return value < most ? value : most; }

// Returns the slots that its messages need.
static uint64_t flow_init(struct engine *engine, const struct system_flow *flow, struct flow_state *state)
{
    enum system_endpoint to = (enum system_endpoint)flow->receivers[0].kind;
    int is_local = flow->sender_kind != SYSTEM_GATEWAY && to != SYSTEM_GATEWAY && to != SYSTEM_SUBSCRIPTION;
    state->is_durable = flow->is_durable;
    state->is_queued = is_local && !flow->is_durable;
    state->is_self = flow->sender_kind == SYSTEM_UNIKERNEL && flow->receiver_count == 1 &&
                     to == SYSTEM_UNIKERNEL && flow->receivers[0].index == flow->sender;
    state->is_own = state->is_self && state->is_queued && flow->kind == SYSTEM_PLAIN &&
                    engine->receivers[flow->sender].is->lifetime == LIFETIME_CONNECTION;
    if (flow->is_rate_per_connection)
        state->bucket_columns[0] = engine->bucket_columns++;
    if (flow->is_bytes_per_connection)
        state->bucket_columns[1] = engine->bucket_columns++;
    uint64_t most = system_flow_need(flow);
    if (state->is_own)
        engine->receivers[flow->sender].own_need += flow->count_max;
    else if (is_local && flow->kind != SYSTEM_REPLY)
        state->need = most;
    state->limit = flow->is_durable ? flow->cap : 8 * most > ROUTER_QUOTA ? 8 * most : ROUTER_QUOTA;
    state->bytes_limit = flow->bytes_max;
    state->bytes_need = flow->is_durable ? most * system_row_bytes(&engine->system->schemas[flow->schema]) : 0;
    if (flow->is_newest_kept)
        state->need = 0; // the store makes room
    if (flow->sender_kind == SYSTEM_RECEIPTS) { // receipts_init()
        state->is_self = 1;
        state->need = state->bytes_need = 0;
    }
    state->is_keepable = system_flow_is_keepable(flow) != 0;
    if (flow->is_durable)
        return (uint64_t)ROUTER_WINDOW * flow->receiver_count + (state->is_keepable ? ROUTER_KEPT : 0) +
               (flow->sender_kind == SYSTEM_COURIER ? LINK_BRINGS_MAX : 0);
    // What events in flight hold of the same flow comes on top.
    return state->is_queued && !state->is_own ? state->limit + ROUTER_CAPACITY_MAX + ROUTER_PIPELINE : 0;
}

// Room for receipts is needed when messages that promise one are sent, by whom they come to: of one event at most.
static void receipts_init(struct engine *engine)
{
    const struct system_view *system = engine->system;
    for (uint16_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        if (!system_has_receipts(flow) || engine->receivers[flow->sender].receipts == SYSTEM_NONE)
            continue;
        struct flow_state *state = &engine->flows[engine->receivers[flow->sender].receipts];
        state->need += system_flow_need(flow);
    }
}

// What a service or courier would be as a unikernel: its name, and the flows that it sends.
static void host_init(const struct system_view *system, uint32_t place, struct system_unikernel *host)
{
    uint32_t places = (uint32_t)system_places(system), first = places - (uint32_t)system->courier_count;
    uint32_t is_arrivals = place >= places;
    const char *name = system_place_name(system, is_arrivals ? place - system->courier_count : place);
    memcpy(host->name, name, sizeof host->name);
    uint32_t taken = 0; // flows
    for (uint16_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        taken += system_port(system, flow, (uint16_t)place) != SYSTEM_NONE;
        int is_own = is_arrivals ? flow->sender_kind == SYSTEM_COURIER && flow->sender == place - places
                                 : flow->sender_kind == SYSTEM_SERVICE && place < first &&
                                       flow->sender == place - system->unikernel_count;
        if (is_own && host->output_count < MANIFEST_FLOWS_MAX)
            host->outputs[host->output_count++] = i;
    }
    // One flow that is not taken, because a courier's peer is full, holds up no other.
    uint32_t most = ROUTER_HOST_CAPACITY * (place >= first && taken > 1 ? taken : 1);
    host->instances_max = (uint16_t)at_most(most, ROUTER_CAPACITY_MAX);
}

// Returns the events that they may have at once.
static uint32_t receivers_init(struct engine *engine)
{
    const struct system_view *system = engine->system;
    uint32_t events = 0, unikernels = (uint32_t)system->unikernel_count;
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        struct receiver *receiver = &engine->receivers[i];
        list_init(&receiver->queue);
        struct system_unikernel *host = &engine->hosts[i < unikernels ? 0 : i - unikernels];
        receiver->is = i < unikernels ? &system->unikernels[i] : host;
        if (i >= unikernels)
            host_init(system, i, host);
        receiver->receipts = i < unikernels ? system_receipts(system, (uint16_t)i) : SYSTEM_NONE;
        for (uint16_t j = 0; j <= receiver->is->output_count; j++) {
            uint16_t flow = j < receiver->is->output_count ? receiver->is->outputs[j] : receiver->receipts;
            if (flow != SYSTEM_NONE)
                receiver->fills[receiver->fills_count++] = flow;
        }
        events += router_capacity(receiver->is->instances_max, LINK_BATCH_MAX) + ROUTER_PIPELINE;
    }
    return events;
}

// Returns the slots that messages of connections need.
static uint64_t gateways_init(struct engine *engine)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < engine->system->gateway_count; i++) {
        const struct system_gateway *gateway = &engine->system->gateways[i];
        uint32_t most = 2 * at_most(gateway->connections_max, ROUTER_CONNECTIONS_MAX); // some are closing
        engine->gateway_first[i + 1] = engine->connection_count += most;
        struct receiver *receiver = &engine->receivers[gateway->unikernel];
        receiver->copies_max += ROUTER_COPIES * most;
        receiver->own_max = receiver->own_need != 0 ? 2 * receiver->own_need + ROUTER_OWN : 0;
        // An event's own input may come on top.
        slots += (2 + ROUTER_COPIES + receiver->own_max + 1) * (uint64_t)most;
    }
    return slots;
}

// The keys of all flows, and the states of them that events may hold.
static int keys_tables_create(struct engine *engine, uint32_t events)
{
    uint32_t words = 0, sends = 0;
    for (uint32_t i = 0; i < engine->system->flow_count; i++) {
        struct key_table *table = &engine->flows[i].keys;
        if (!keys_create(engine, &engine->system->flows[i], table))
            return 0;
        words = table->words > words ? table->words : words;
    }
    for (uint32_t i = 0; i < engine->receiver_count; i++) {
        uint32_t most = 0; // of one event
        const struct system_unikernel *is = engine->receivers[i].is;
        for (uint16_t j = 0; j < is->output_count; j++)
            if (is->outputs[j] != SYSTEM_NONE && engine->flows[is->outputs[j]].keys.words != 0)
                most += engine->system->flows[is->outputs[j]].count_max;
        sends = most > sends ? most : sends;
    }
    return slots_create(&engine->held, (uint64_t)events * at_most(sends, ROUTER_SENDS_MAX),
                        sizeof(struct held) + 8 * (size_t)words, 0);
}

static int plans_create(struct engine *engine)
{
    size_t count = engine->system->schema_count;
    engine->plans = calloc(count + 1, sizeof *engine->plans);
    for (size_t i = 0; i < count && engine->plans != NULL; i++)
        schema_prepare(&engine->plans[i], &engine->system->schemas[i]);
    return engine->plans != NULL;
}

static int tables_create(struct engine *engine, uint64_t slots, uint32_t events)
{
    engine->bodies = calloc(slots + 1, ROUTER_BODY_BYTES);
    engine->connections = calloc(engine->connection_count + 1u, sizeof *engine->connections);
    engine->connection_buckets = calloc((size_t)engine->connection_count * engine->bucket_columns + 1u,
                                        sizeof *engine->connection_buckets);
    return slots_create(&engine->messages, slots, sizeof(struct message), 0) &&
           slots_create(&engine->events, events, sizeof(struct event), 0) &&
           keys_tables_create(engine, events) && plans_create(engine) && engine->bodies != NULL && engine->connections != NULL &&
           engine->connection_buckets != NULL;
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
    engine->receiver_count = engine->idle = (uint32_t)(system_places(system) + system->courier_count);
    engine->receivers = calloc(engine->receiver_count + 1u, sizeof *engine->receivers);
    engine->end_ms = INT64_MAX;
    list_init(&engine->waiting);
    list_init(&engine->judged);
    uint64_t slots = 0;
    uint32_t events = 0;
    if (engine->receivers != NULL) {
        events = receivers_init(engine);
        for (uint32_t i = 0; i < system->flow_count; i++)
            slots += flow_init(engine, &system->flows[i], &engine->flows[i]);
        receipts_init(engine);
        slots += gateways_init(engine);
    }
    events = at_most(events, ROUTER_EVENTS_MAX);
    if (engine->receivers == NULL || slots >= 1u << 20 || !tables_create(engine, slots, events)) {
        engine_destroy(engine);
        return NULL;
    }
    page_set(&page->epoch, epoch);
    return engine;
}

void engine_destroy(struct engine *engine)
{
    for (uint32_t i = 0; i < SYSTEM_FLOWS_MAX; i++) {
        free(engine->flows[i].keys.heads);
        free(engine->flows[i].keys.entries.bytes);
    }
    free(engine->plans);
    free(engine->held.bytes);
    free(engine->connection_buckets);
    free(engine->connections);
    free(engine->events.bytes);
    free(engine->bodies);
    free(engine->messages.bytes);
    free(engine->receivers);
    free(engine);
}
