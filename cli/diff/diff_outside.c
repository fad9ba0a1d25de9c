// SPDX-License-Identifier: ISC
// What the outside may do in two versions: gateways, principals, topics, host services.
#include "cli/diff/diff.h"
#include "cli/policy/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *flow_name(const struct system_view *system, uint16_t flow)
{
    return flow == SYSTEM_NONE ? "none" : system->flows[flow].name;
}

static int is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0;
}

static void diff_gateway(const struct diff_entry *entry, const struct system_gateway *was, const struct system_gateway *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    const char *was_server = old->unikernels[was->unikernel].name, *is_server = new->unikernels[is->unikernel].name;
    if (strcmp(was->listen, is->listen) != 0)
        diff_add(entry, is_loopback(is->listen) ? DIFF_OTHER : DIFF_MORE, "listens on %s -> %s", was->listen, is->listen);
    if (strcmp(was_server, is_server) != 0)
        diff_add(entry, DIFF_MORE, "served by %s -> %s", was_server, is_server);
    if (strcmp(flow_name(old, was->input_flow), flow_name(new, is->input_flow)) != 0 ||
        strcmp(flow_name(old, was->output_flow), flow_name(new, is->output_flow)) != 0)
        diff_add(entry, DIFF_OTHER, "flows %s, %s -> %s, %s", flow_name(old, was->input_flow),
                 flow_name(old, was->output_flow), flow_name(new, is->input_flow), flow_name(new, is->output_flow));
    diff_fields(entry, TABLE_GATEWAY, was, is);
}

static void diff_gateways(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    const struct compile *source = diff->new->compile;
    for (size_t i = 0; i < new->gateway_count; i++) {
        const struct system_gateway *is = &new->gateways[i];
        struct diff_entry entry = {diff, "gateway", is->name, source != NULL ? source->gateway_nodes[i]->line : 0};
        int was = diff_find(old->gateways, sizeof *is, old->gateway_count, is->name);
        if (was < 0)
            diff_add(&entry, DIFF_MORE, "+ listens on %s, served by %s", is->listen, new->unikernels[is->unikernel].name);
        else
            diff_gateway(&entry, &old->gateways[was], is);
    }
    for (size_t i = 0; i < old->gateway_count; i++) {
        struct diff_entry entry = {diff, "gateway", old->gateways[i].name, 0};
        if (diff_find(new->gateways, sizeof *new->gateways, new->gateway_count, entry.name) < 0)
            diff_add(&entry, DIFF_LESS, "- removed");
    }
}

static void diff_services(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    const struct compile *source = diff->new->compile;
    for (size_t i = 0; i < new->service_count; i++) {
        const struct system_service *is = &new->services[i];
        struct diff_entry entry = {diff, "service", is->name, source != NULL ? source->service_nodes[i]->line : 0};
        int at = diff_find(old->services, sizeof *is, old->service_count, is->name);
        if (at < 0) {
            diff_add(&entry, DIFF_OTHER, "+ new"); // who may ask it, its request flow says
            continue;
        }
        const struct system_service *was = &old->services[at];
        if (strcmp(was->path, is->path) != 0)
            diff_add(&entry, DIFF_OTHER, "file %s -> %s", was->path, is->path);
        if (strcmp(was->channel, is->channel) != 0)
            diff_add(&entry, DIFF_MORE, "channel %s -> %s", was->channel, is->channel);
        diff_fields(&entry, TABLE_SERVICE, was, is);
    }
    for (size_t i = 0; i < old->service_count; i++) {
        struct diff_entry entry = {diff, "service", old->services[i].name, 0};
        if (diff_find(new->services, sizeof *new->services, new->service_count, entry.name) < 0)
            diff_add(&entry, DIFF_LESS, "- removed");
    }
}

static size_t principal_names(const struct system_view *system, const char *names[SYSTEM_PRINCIPALS_MAX])
{
    for (size_t i = 0; i < system->principal_count; i++)
        names[i] = system->principals[i].name;
    return system->principal_count;
}

// ---- Topics ----

static int is_same_topic(const struct system_view *system, const struct system_topic *topic, const struct system_view *other_system,
                         const struct system_topic *other)
{
    return topic->kind == other->kind && strcmp(topic->filter, other->filter) == 0 &&
           strcmp(system->unikernels[topic->unikernel].name, other_system->unikernels[other->unikernel].name) == 0;
}

static const struct system_topic *topic_find(const struct policy_graph *graph, const struct system_view *system,
                                      const struct system_topic *topic)
{
    for (size_t i = 0; i < graph->topic_count; i++)
        if (is_same_topic(system, topic, graph->system, &graph->topics[i]))
            return &graph->topics[i];
    return NULL;
}

static const char *const topic_kinds[] = {"publish", "publish0", "subscribe"};

static void diff_topic(const struct diff_entry *entry, const struct system_topic *was, const struct system_topic *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    char was_text[PRINCIPALS_BYTES], is_text[PRINCIPALS_BYTES];
    if (strcmp(flow_name(old, was->flow), flow_name(new, is->flow)) != 0)
        diff_add(entry, DIFF_MORE, "%s: flow %s -> %s", topic_kinds[is->kind], flow_name(old, was->flow), flow_name(new, is->flow));
    if (was->most != is->most)
        diff_add(entry, is->most > was->most ? DIFF_MORE : DIFF_LESS, "%s: most %u -> %u bytes", topic_kinds[is->kind], was->most, is->most);
    principals_text(old, was->principals, was_text, sizeof was_text);
    principals_text(new, is->principals, is_text, sizeof is_text);
    if (strcmp(was_text, is_text) == 0)
        return;
    int is_more = is->principals == UINT64_MAX;
    for (size_t i = 0; i < new->principal_count && !is_more && was->principals != UINT64_MAX; i++) {
        int at = diff_find(old->principals, sizeof *old->principals, old->principal_count, new->principals[i].name);
        is_more = (is->principals >> i & 1) != 0 && (at < 0 || (was->principals >> at & 1) == 0);
    }
    diff_add(entry, is_more ? DIFF_MORE : DIFF_LESS, "%s: principals %s -> %s", topic_kinds[is->kind], was_text, is_text);
}

static void diff_topics(struct diff *diff)
{
    const struct policy_graph *old = diff->old->graph, *new = diff->new->graph;
    char principals[512];
    for (size_t i = 0; i < new->topic_count; i++) {
        const struct system_topic *is = &new->topics[i], *was = topic_find(old, new->system, is);
        struct diff_entry entry = {diff, "topic", is->filter, 0};
        principals_text(new->system, is->principals, principals, sizeof principals);
        if (was != NULL)
            diff_topic(&entry, was, is);
        else
            diff_add(&entry, DIFF_MORE, "+ %s: %s, principals %s", topic_kinds[is->kind], flow_name(new->system, is->flow), principals);
    }
    for (size_t i = 0; i < old->topic_count; i++) {
        struct diff_entry entry = {diff, "topic", old->topics[i].filter, 0};
        if (topic_find(new, old->system, &old->topics[i]) == NULL)
            diff_add(&entry, DIFF_LESS, "- %s: %s", topic_kinds[old->topics[i].kind], flow_name(old->system, old->topics[i].flow));
    }
}

void diff_outside(struct diff *diff)
{
    const char *was[SYSTEM_PRINCIPALS_MAX] = {NULL}, *is[SYSTEM_PRINCIPALS_MAX] = {NULL};
    struct diff_entry entry = {diff, "principals", "", 0};
    diff_gateways(diff);
    diff_services(diff);
    diff_couriers(diff);
    size_t was_count = principal_names(&diff->old->view, was), is_count = principal_names(&diff->new->view, is);
    diff_names(&entry, "principal", was, was_count, is, is_count);
    diff_topics(diff);
}
