// SPDX-License-Identifier: ISC
// Paths and cycles in a compiled system; breadth first, so what is shown is shortest.
#include "cli/source/policy_graph.h"

#include "core/check.h"
#include "core/manifest.h"

#include <stdio.h>
#include <string.h>

#define GATEWAYS_AT SYSTEM_UNIKERNELS_MAX
#define SERVICES_AT (GATEWAYS_AT + SYSTEM_GATEWAYS_MAX)
#define COURIERS_AT (SERVICES_AT + SYSTEM_SERVICES_MAX)
#define NAMESPACES_AT (COURIERS_AT + SYSTEM_COURIERS_MAX)
#define TOPICS_AT (NAMESPACES_AT + SYSTEM_NAMESPACES_MAX)
#define NO_NODE 0xffffu

void policy_graph_init(struct policy_graph *graph, const struct system_view *system)
{
    struct topic_walk walk = {0};
    struct system_topic topic;
    graph->system = system;
    graph->topic_count = 0;
    while (topic_next(system, &walk, &topic)) {
        check(graph->topic_count < POLICY_TOPICS_MAX);
        graph->topics[graph->topic_count++] = topic;
    }
}

enum policy_kind policy_node_kind(uint16_t node, size_t *index)
{
    static const uint16_t starts[] = {0, GATEWAYS_AT, SERVICES_AT, COURIERS_AT, NAMESPACES_AT, TOPICS_AT};
    int kind = POLICY_TOPIC;
    while (node < starts[kind])
        kind--;
    *index = (size_t)node - starts[kind];
    return (enum policy_kind)kind;
}

static uint16_t end_node(unsigned kind, unsigned index)
{
    if (kind == SYSTEM_UNIKERNEL)
        return (uint16_t)index;
    if (kind == SYSTEM_GATEWAY)
        return (uint16_t)(GATEWAYS_AT + index);
    if (kind == SYSTEM_COURIER)
        return (uint16_t)(COURIERS_AT + index);
    return kind == SYSTEM_SERVICE ? (uint16_t)(SERVICES_AT + index) : NO_NODE;
}

// The node of the first topic with this one's filter.
static uint16_t topic_node(const struct policy_graph *graph, const struct system_topic *topic)
{
    size_t first = 0;
    while (strcmp(graph->topics[first].filter, topic->filter) != 0)
        first++;
    return (uint16_t)(TOPICS_AT + first);
}

static const char *node_name(const struct policy_graph *graph, uint16_t node)
{
    const struct system_view *system = graph->system;
    size_t index;
    switch (policy_node_kind(node, &index)) {
    case POLICY_UNIKERNEL:
        return index < system->unikernel_count ? system->unikernels[index].name : NULL;
    case POLICY_GATEWAY:
        return index < system->gateway_count ? system->gateways[index].name : NULL;
    case POLICY_SERVICE:
        return index < system->service_count ? system->services[index].name : NULL;
    case POLICY_COURIER:
        return index < system->courier_count ? system->couriers[index].name : NULL;
    case POLICY_NAMESPACE:
        return index < system->namespace_count ? system->namespaces[index].name : NULL;
    case POLICY_TOPIC:
        break;
    }
    return index < graph->topic_count && topic_node(graph, &graph->topics[index]) == node
               ? graph->topics[index].filter
               : NULL;
}

void policy_node_text(const struct policy_graph *graph, uint16_t node, char *text, size_t capacity)
{
    static const char *const prefixes[] = {"", "gateway:", "service:", "courier:", "namespace:", "topic:"};
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    snprintf(text, capacity, "%s%s", prefixes[kind], node_name(graph, node));
}

static int is_named(const struct policy_graph *graph, uint16_t node, const char *name)
{
    char text[POLICY_NAME_BYTES];
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    if (kind == POLICY_TOPIC)
        return strncmp(name, "topic:", 6) == 0 && topic_filters_meet(name + 6, node_name(graph, node));
    policy_node_text(graph, node, text, sizeof text);
    return strcmp(text, name) == 0 || ((kind == POLICY_GATEWAY || kind == POLICY_COURIER) && strcmp(name, "outside") == 0);
}

int policy_set_add(const struct policy_graph *graph, struct policy_set *set, const char *name)
{
    int found = 0;
    for (uint16_t node = 0; node < POLICY_NODES_MAX; node++)
        if (node_name(graph, node) != NULL && is_named(graph, node, name)) {
            set->has[node] = 1;
            found = 1;
        }
    return found;
}

static const char *edge_text(const struct policy_graph *graph, uint16_t edge)
{
    if (edge == POLICY_EDGE_READ)
        return "is read by";
    return edge == POLICY_EDGE_WRITE ? "writes" : graph->system->flows[edge].name;
}

void policy_step_text(const struct policy_graph *graph, const struct policy_path *path, size_t step, char *text,
                      size_t capacity)
{
    char from[POLICY_NAME_BYTES], to[POLICY_NAME_BYTES];
    policy_node_text(graph, path->nodes[step], from, sizeof from);
    policy_node_text(graph, path->nodes[step + 1], to, sizeof to);
    snprintf(text, capacity, "%s -%s-> %s", from, edge_text(graph, path->edges[step]), to);
}

void policy_path_text(const struct policy_graph *graph, const struct policy_path *path, char *text,
                      size_t capacity)
{
    char name[POLICY_NAME_BYTES];
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < path->count && used < capacity; i++) {
        policy_node_text(graph, path->nodes[i], name, sizeof name);
        used += (size_t)snprintf(text + used, capacity - used, "%s", name);
        if (i + 1 < path->count && used < capacity)
            used += (size_t)snprintf(text + used, capacity - used, " -%s-> ", edge_text(graph, path->edges[i]));
    }
}

// ---- Search ----

struct search {
    const struct policy_graph *graph;
    int is_blocking; // only flows on which a sender could wait for ever
    uint16_t queue[POLICY_NODES_MAX];
    size_t head, tail;
    uint16_t parent[POLICY_NODES_MAX], edge[POLICY_NODES_MAX];
    uint8_t is_seen[POLICY_NODES_MAX];
    uint16_t found; // an edge into `to` was met: from this node, over
    uint16_t found_edge, found_node;
    const struct policy_set *to, *without;
    uint8_t *edges; // not NULL: every edge into `to` is marked here, and the search goes on
};

static void reach(struct search *search, uint16_t from, uint16_t node, uint16_t edge)
{
    if (node == NO_NODE || search->found != NO_NODE)
        return;
    if (search->to->has[node] && search->edges != NULL) {
        search->edges[edge] = 1;
        return;
    }
    if (search->to->has[node]) {
        search->found = from;
        search->found_edge = edge;
        search->found_node = node;
        return;
    }
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    if (search->is_seen[node] || search->without->has[node] || kind == POLICY_GATEWAY ||
        kind == POLICY_COURIER || kind == POLICY_TOPIC)
        return;
    search->is_seen[node] = 1;
    search->parent[node] = from;
    search->edge[node] = edge;
    search->queue[search->tail++] = node;
}

static int has_connections(const struct system_view *system, unsigned unikernel)
{
    return system->unikernels[unikernel].lifetime == LIFETIME_CONNECTION;
}

// May a sender wait for room there for ever? A durable flow ends that when its messages give way or have a time to live.
// At a unikernel of connections it is enough that it is durable: who fills a flow holds back his own connection, and the
// router ends a connection that holds up what others sent it.
static int can_block(const struct system_view *system, const struct system_flow *flow,
                     const struct system_receiver *receiver)
{
    if (flow->kind == SYSTEM_REPLY || receiver->kind != SYSTEM_UNIKERNEL || flow->sender_kind != SYSTEM_UNIKERNEL ||
        flow->sender == receiver->index)
        return 0;
    if (flow->is_newest_kept || flow->live_ms != 0)
        return 0;
    return !flow->is_durable ||
           (!has_connections(system, flow->sender) && !has_connections(system, receiver->index));
}

// Does that node end messages whose receipts the unikernel takes?
static int tells(const struct system_view *system, uint16_t node, uint16_t unikernel)
{
    for (size_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        for (size_t j = 0; j < flow->receiver_count; j++)
            if (system_has_receipts(flow) && flow->sender == unikernel &&
                end_node(flow->receivers[j].kind, flow->receivers[j].index) == node)
                return 1;
    }
    return 0;
}

// What whoever may publish on the topic can send: see the header.
static void expand_topic(struct search *search, uint16_t node, const struct system_topic *topic)
{
    const struct system_view *system = search->graph->system;
    for (uint16_t i = 0; i < system->flow_count && topic->kind != TOPIC_SUBSCRIBE; i++) {
        const struct system_flow *flow = &system->flows[i];
        int may_send = flow->is_open || (flow->principals & topic->principals) != 0;
        if (flow->sender_kind != SYSTEM_UNIKERNEL || flow->sender != topic->unikernel || !may_send)
            continue;
        for (size_t j = 0; j < flow->receiver_count; j++) {
            uint16_t to = end_node(flow->receivers[j].kind, flow->receivers[j].index);
            int is_own = flow->receivers[j].kind == SYSTEM_UNIKERNEL && to == topic->unikernel;
            int is_service = flow->receivers[j].kind == SYSTEM_SERVICE;
            if (flow->receivers[j].kind != SYSTEM_GATEWAY && !is_own && (!is_service || search->to->has[to]))
                reach(search, node, to, i);
        }
    }
}

// The subscribers of whatever the flow brings to the unikernels that serve connections.
static void reach_topics(struct search *search, uint16_t node, uint16_t flow)
{
    const struct policy_graph *graph = search->graph;
    for (size_t i = 0; i < graph->topic_count; i++)
        if (graph->topics[i].kind == TOPIC_SUBSCRIBE && graph->topics[i].flow == flow)
            reach(search, node, topic_node(graph, &graph->topics[i]), flow);
}

static void expand(struct search *search, uint16_t node)
{
    const struct policy_graph *graph = search->graph;
    const struct system_view *system = graph->system;
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    for (size_t i = 0; kind == POLICY_TOPIC && i < graph->topic_count; i++)
        if (topic_node(graph, &graph->topics[i]) == node)
            expand_topic(search, node, &graph->topics[i]);
    for (uint16_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        if (!search->is_blocking && flow->sender_kind == SYSTEM_RECEIPTS && tells(system, node, flow->receivers[0].index))
            reach(search, node, flow->receivers[0].index, i);
        if (end_node(flow->sender_kind, flow->sender) != node)
            continue;
        for (size_t j = 0; j < flow->receiver_count; j++)
            if (!search->is_blocking || can_block(system, flow, &flow->receivers[j]))
                reach(search, node, end_node(flow->receivers[j].kind, flow->receivers[j].index), i);
        if (!search->is_blocking)
            reach_topics(search, node, i);
    }
    if (search->is_blocking)
        return;
    for (uint16_t i = 0; kind == POLICY_UNIKERNEL && i < system->namespace_count; i++)
        if ((system->namespaces[i].writers >> index & 1) != 0)
            reach(search, node, (uint16_t)(NAMESPACES_AT + i), POLICY_EDGE_WRITE);
    for (uint16_t i = 0; kind == POLICY_NAMESPACE && i < system->unikernel_count; i++)
        if ((system->namespaces[index].readers >> i & 1) != 0)
            reach(search, node, i, POLICY_EDGE_READ);
}

// Walks back from where the search ended.
static void trace(const struct search *search, struct policy_path *path)
{
    uint16_t back[POLICY_NODES_MAX];
    size_t count = 0;
    path->count = 0;
    if (search->found == NO_NODE)
        return;
    for (uint16_t node = search->found; node != NO_NODE; node = search->parent[node])
        back[count++] = node;
    for (size_t i = 0; i < count; i++) {
        path->nodes[i] = back[count - 1 - i];
        path->edges[i] = i + 1 < count ? search->edge[back[count - 2 - i]] : search->found_edge;
    }
    path->nodes[count] = search->found_node;
    path->count = count + 1;
}

static void search_run(struct search *search, const struct policy_set *from, struct policy_path *path)
{
    search->found = NO_NODE;
    for (uint16_t node = 0; node < POLICY_NODES_MAX; node++)
        if (from->has[node] && !search->without->has[node]) {
            search->is_seen[node] = 1;
            search->parent[node] = NO_NODE;
            search->queue[search->tail++] = node;
        }
    while (search->head < search->tail && search->found == NO_NODE)
        expand(search, search->queue[search->head++]);
    trace(search, path);
}

void policy_path_find(const struct policy_graph *graph, const struct policy_set *from,
                      const struct policy_set *to, const struct policy_set *without,
                      struct policy_path *path)
{
    struct search search = {.graph = graph, .to = to, .without = without};
    search_run(&search, from, path);
}

void policy_edges_find(const struct policy_graph *graph, const struct policy_set *from, const struct policy_set *to,
                       uint8_t edges[POLICY_EDGES])
{
    struct policy_set without = {{0}};
    struct search search = {.graph = graph, .found = NO_NODE, .to = to, .without = &without, .edges = edges};
    memset(edges, 0, POLICY_EDGES);
    for (uint16_t node = 0; node < POLICY_NODES_MAX; node++)
        if (from->has[node])
            expand(&search, node);
}

void policy_cycle_find(const struct policy_graph *graph, const struct policy_set *skip,
                       struct policy_path *path)
{
    path->count = 0;
    for (uint16_t node = 0; node < graph->system->unikernel_count && path->count == 0; node++) {
        struct policy_set self = {{0}};
        struct search search = {.graph = graph, .is_blocking = 1, .to = &self, .without = skip};
        self.has[node] = 1;
        if (!skip->has[node])
            search_run(&search, &self, path);
    }
}
