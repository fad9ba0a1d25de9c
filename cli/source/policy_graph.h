// SPDX-License-Identifier: ISC
// Who can influence whom in a compiled system: unikernels, gateways (the outside), services and
// namespaces are nodes; flows, reads and writes are edges.
//
// A path ends where it reaches the outside: what comes back in is a new input, which the flow from that
// gateway governs. Within a unikernel everything that comes in can influence everything that goes out.
#ifndef CRENEL_CLI_POLICY_GRAPH_H
#define CRENEL_CLI_POLICY_GRAPH_H

#include "core/system.h"

enum policy_kind { POLICY_UNIKERNEL, POLICY_GATEWAY, POLICY_SERVICE, POLICY_NAMESPACE };

#define POLICY_NODES_MAX                                                                           \
    (SYSTEM_UNIKERNELS_MAX + SYSTEM_GATEWAYS_MAX + SYSTEM_SERVICES_MAX + SYSTEM_NAMESPACES_MAX)
#define POLICY_EDGE_READ 0xfffeu  // instead of a flow: a namespace is read
#define POLICY_EDGE_WRITE 0xffffu // it is written

struct policy_set { // of nodes
    uint8_t has[POLICY_NODES_MAX];
};

struct policy_path {
    size_t count;                     // nodes; 0: there is no path
    uint16_t nodes[POLICY_NODES_MAX + 1];
    uint16_t edges[POLICY_NODES_MAX + 1]; // [i]: from nodes[i] to nodes[i + 1]; a flow or POLICY_EDGE_*
};

// Adds the node or nodes that a person calls `name`: "outside", a unikernel, "gateway:X", "service:X",
// "namespace:X". 0 if there is none.
int policy_set_add(const struct system_view *system, struct policy_set *set, const char *name);

enum policy_kind policy_node_kind(uint16_t node, size_t *index);
// "mqtt", "gateway:mqtt", ...
void policy_node_text(const struct system_view *system, uint16_t node, char *text, size_t capacity);
// "gateway:mqtt -wire_in-> mqtt -raw-> decode"
void policy_path_text(const struct system_view *system, const struct policy_path *path, char *text,
                      size_t capacity);

// A shortest path of at least one edge from a node of `from` to one of `to` that avoids `without`.
void policy_path_find(const struct system_view *system, const struct policy_set *from,
                      const struct policy_set *to, const struct policy_set *without,
                      struct policy_path *path);

// A cycle of flows that could wait for each other for ever once all of them are full.
// Replies, requests to host services and timers do not count: their slot is reserved beforehand.
// `skip`: unikernels whose cycles were reported. count 0: there is none; else the first node is also the last.
void policy_cycle_find(const struct system_view *system, const struct policy_set *skip,
                       struct policy_path *path);

#endif
