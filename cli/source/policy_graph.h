// SPDX-License-Identifier: ISC
// Who can influence whom in a compiled system: unikernels, gateways and couriers (the outside), services,
// namespaces and topics are nodes; flows, reads and writes are edges.
//
// A path ends where it reaches the outside, a topic's subscribers among it: what comes back in is a new input, which
// the flow from that gateway governs. Within a unikernel everything that comes in can influence everything that goes out.
//
// A topic as the beginning of a path stands for those who may publish on it. They may have taken over the unikernel that
// speaks the protocol, as far as it is theirs: the instance of their own connection. So its edges are all flows from
// that unikernel which one of them may use, whatever the topic's own flow is; what such an instance says to the outside,
// or asks a service, stays on its connection. As the end of a path a topic stands for its subscribers: the edges into it
// are the flows that they get.
#ifndef CRENEL_CLI_POLICY_GRAPH_H
#define CRENEL_CLI_POLICY_GRAPH_H

#include "abi/abi.h"
#include "cli/source/topics.h"

enum policy_kind { POLICY_UNIKERNEL, POLICY_GATEWAY, POLICY_SERVICE, POLICY_COURIER, POLICY_NAMESPACE, POLICY_TOPIC };

// As many lines of 16 bytes as the configurations of all gateways' unikernels hold.
#define POLICY_TOPICS_MAX (SYSTEM_GATEWAYS_MAX * ABI_CONFIGURATION_BYTES_MAX / 16u)
#define POLICY_NODES_MAX                                                                           \
    (SYSTEM_UNIKERNELS_MAX + SYSTEM_GATEWAYS_MAX + SYSTEM_SERVICES_MAX + SYSTEM_COURIERS_MAX + \
     SYSTEM_NAMESPACES_MAX + POLICY_TOPICS_MAX)
#define POLICY_NAME_BYTES (TOPIC_FILTER_BYTES + 8u) // of a node: "namespace:" and 31, "topic:" and a filter
#define POLICY_EDGE_READ SYSTEM_FLOWS_MAX         // instead of a flow: a namespace is read
#define POLICY_EDGE_WRITE (SYSTEM_FLOWS_MAX + 1u) // it is written
#define POLICY_EDGES (SYSTEM_FLOWS_MAX + 2u)

struct policy_graph {
    const struct system_view *system;
    size_t topic_count;
    struct system_topic topics[POLICY_TOPICS_MAX]; // nodes are those whose filter no topic before has
};

// The graph of a system, which outlives it.
void policy_graph_init(struct policy_graph *graph, const struct system_view *system);

struct policy_set { // of nodes
    uint8_t has[POLICY_NODES_MAX];
};

struct policy_path {
    size_t count;                     // nodes; 0: there is no path
    uint16_t nodes[POLICY_NODES_MAX + 1];
    uint16_t edges[POLICY_NODES_MAX + 1]; // [i]: from nodes[i] to nodes[i + 1]; a flow or POLICY_EDGE_*
};

// Adds the node or nodes that a person calls `name`: "outside", a unikernel, "gateway:X", "service:X",
// "courier:X", "namespace:X", "topic:FILTER" (every topic that the filter meets). 0 if there is none.
int policy_set_add(const struct policy_graph *graph, struct policy_set *set, const char *name);

enum policy_kind policy_node_kind(uint16_t node, size_t *index);
// "mqtt", "gateway:mqtt", ...
void policy_node_text(const struct policy_graph *graph, uint16_t node, char *text, size_t capacity);
// "gateway:mqtt -wire_in-> mqtt -raw-> decode"
void policy_path_text(const struct policy_graph *graph, const struct policy_path *path, char *text,
                      size_t capacity);

// "gateway:mqtt -wire_in-> mqtt": step i of the path.
void policy_step_text(const struct policy_graph *graph, const struct policy_path *path, size_t step, char *text,
                      size_t capacity);

// A shortest path of at least one edge from a node of `from` to one of `to` that avoids `without`.
void policy_path_find(const struct policy_graph *graph, const struct policy_set *from,
                      const struct policy_set *to, const struct policy_set *without,
                      struct policy_path *path);

// Every edge that leads straight from a node of `from` to one of `to`.
void policy_edges_find(const struct policy_graph *graph, const struct policy_set *from, const struct policy_set *to,
                       uint8_t edges[POLICY_EDGES]);

// A cycle of flows that could wait for each other for ever once all of them are full.
// Replies, requests to host services and timers do not count: their slot is reserved beforehand.
// `skip`: unikernels whose cycles were reported. count 0: there is none; else the first node is also the last.
void policy_cycle_find(const struct policy_graph *graph, const struct policy_set *skip,
                       struct policy_path *path);

#endif
