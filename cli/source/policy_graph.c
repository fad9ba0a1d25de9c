// SPDX-License-Identifier: ISC
// Paths and cycles in a compiled system; breadth first, so what is shown is shortest.
#include "cli/source/policy_graph.h"

#include "core/manifest.h"

#include <stdio.h>
#include <string.h>

#define GATEWAYS_AT SYSTEM_UNIKERNELS_MAX
#define SERVICES_AT (GATEWAYS_AT + SYSTEM_GATEWAYS_MAX)
#define NAMESPACES_AT (SERVICES_AT + SYSTEM_SERVICES_MAX)
#define NO_NODE 0xffffu

enum policy_kind policy_node_kind(uint16_t node, size_t *index)
{
    static const uint16_t starts[] = {0, GATEWAYS_AT, SERVICES_AT, NAMESPACES_AT};
    int kind = 3;
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
    return kind == SYSTEM_SERVICE ? (uint16_t)(SERVICES_AT + index) : NO_NODE;
}

static const char *node_name(const struct system_view *system, uint16_t node)
{
    size_t index;
    switch (policy_node_kind(node, &index)) {
    case POLICY_UNIKERNEL:
        return index < system->unikernel_count ? system->unikernels[index].name : NULL;
    case POLICY_GATEWAY:
        return index < system->gateway_count ? system->gateways[index].name : NULL;
    case POLICY_SERVICE:
        return index < system->service_count ? system->services[index].name : NULL;
    case POLICY_NAMESPACE:
        break;
    }
    return index < system->namespace_count ? system->namespaces[index].name : NULL;
}

void policy_node_text(const struct system_view *system, uint16_t node, char *text, size_t capacity)
{
    static const char *const prefixes[] = {"", "gateway:", "service:", "namespace:"};
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    snprintf(text, capacity, "%s%s", prefixes[kind], node_name(system, node));
}

int policy_set_add(const struct system_view *system, struct policy_set *set, const char *name)
{
    char text[64];
    int found = 0;
    for (uint16_t node = 0; node < POLICY_NODES_MAX; node++) {
        if (node_name(system, node) == NULL)
            continue;
        size_t index;
        int is_outside = policy_node_kind(node, &index) == POLICY_GATEWAY;
        policy_node_text(system, node, text, sizeof text);
        if (strcmp(text, name) == 0 || (is_outside && strcmp(name, "outside") == 0)) {
            set->has[node] = 1;
            found = 1;
        }
    }
    return found;
}

void policy_path_text(const struct system_view *system, const struct policy_path *path, char *text,
                      size_t capacity)
{
    char name[64];
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < path->count && used < capacity; i++) {
        policy_node_text(system, path->nodes[i], name, sizeof name);
        used += (size_t)snprintf(text + used, capacity - used, "%s", name);
        if (i + 1 == path->count || used >= capacity)
            break;
        const char *edge = path->edges[i] == POLICY_EDGE_READ    ? "is read by"
                           : path->edges[i] == POLICY_EDGE_WRITE ? "writes"
                                                                 : system->flows[path->edges[i]].name;
        used += (size_t)snprintf(text + used, capacity - used, " -%s-> ", edge);
    }
}

// ---- Search ----

struct search {
    const struct system_view *system;
    int is_blocking; // only flows on which a sender could wait for ever
    uint16_t queue[POLICY_NODES_MAX];
    size_t head, tail;
    uint16_t parent[POLICY_NODES_MAX], edge[POLICY_NODES_MAX];
    uint8_t is_seen[POLICY_NODES_MAX];
    uint16_t found; // an edge into `to` was met: from this node, over
    uint16_t found_edge, found_node;
    const struct policy_set *to, *without;
};

static void reach(struct search *search, uint16_t from, uint16_t node, uint16_t edge)
{
    if (node == NO_NODE || search->found != NO_NODE)
        return;
    if (search->to->has[node]) {
        search->found = from;
        search->found_edge = edge;
        search->found_node = node;
        return;
    }
    size_t index;
    if (search->is_seen[node] || search->without->has[node] ||
        policy_node_kind(node, &index) == POLICY_GATEWAY)
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
// At a unikernel of connections it is enough that it is durable: who fills a flow holds back his own connection.
static int can_block(const struct system_view *system, const struct system_flow *flow,
                     const struct system_receiver *receiver)
{
    if (flow->kind == SYSTEM_REPLY || receiver->kind != SYSTEM_UNIKERNEL || flow->sender_kind != SYSTEM_UNIKERNEL ||
        flow->sender == receiver->index)
        return 0;
    return !flow->is_durable || (!flow->is_newest_kept && flow->live_ms == 0 &&
                                 !has_connections(system, flow->sender) && !has_connections(system, receiver->index));
}

static void expand(struct search *search, uint16_t node)
{
    const struct system_view *system = search->system;
    size_t index;
    enum policy_kind kind = policy_node_kind(node, &index);
    for (uint16_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        if (end_node(flow->sender_kind, flow->sender) != node)
            continue;
        for (size_t j = 0; j < flow->receiver_count; j++)
            if (!search->is_blocking || can_block(system, flow, &flow->receivers[j]))
                reach(search, node, end_node(flow->receivers[j].kind, flow->receivers[j].index), i);
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

void policy_path_find(const struct system_view *system, const struct policy_set *from,
                      const struct policy_set *to, const struct policy_set *without,
                      struct policy_path *path)
{
    struct search search = {.system = system, .to = to, .without = without};
    search_run(&search, from, path);
}

void policy_cycle_find(const struct system_view *system, const struct policy_set *skip,
                       struct policy_path *path)
{
    path->count = 0;
    for (uint16_t node = 0; node < system->unikernel_count && path->count == 0; node++) {
        struct policy_set self = {{0}};
        struct search search = {.system = system, .is_blocking = 1, .to = &self, .without = skip};
        self.has[node] = 1;
        if (!skip->has[node])
            search_run(&search, &self, path);
    }
}
