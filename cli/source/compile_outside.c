// SPDX-License-Identifier: ISC
// What the outside may do: principals, gateways with their topics, host services.
//
// Topics become lines of the configuration of the unikernel that serves the gateway (docs/mqtt.md):
//   publish OUTPUT DURABLE MAXIMUM PRINCIPALS FILTER
//   publish0 OUTPUT DURABLE MAXIMUM PRINCIPALS FILTER
//   subscribe INPUT 0 0 PRINCIPALS FILTER
// OUTPUT and INPUT are the manifest indices of the ports in the named flow, PRINCIPALS a mask in hex.
#include "cli/source/compile_state.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER_BYTES_MAX 128u

// ---- Names and limits, before the flows are read ----

// "127.0.0.1:1883" or "[::1]:1883".
int compile_is_address(const char *text)
{
    char host[64];
    unsigned char bytes[16];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || strlen(text) >= 64 || colon == text)
        return 0;
    const char *digits = colon + 1;
    size_t length = strlen(digits);
    if (length == 0 || length > 5 || digits[strspn(digits, "0123456789")] != 0)
        return 0;
    long port = strtol(digits, NULL, 10);
    int is_v6 = text[0] == '[' && colon[-1] == ']' && colon - text > 2;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (is_v6 ? 2 : 0), text + is_v6);
    return port >= 1 && port <= 65535 && inet_pton(is_v6 ? AF_INET6 : AF_INET, host, bytes) == 1;
}

static void gateway_limits(struct compile *compile, struct yaml_node *node,
                           struct system_gateway *gateway)
{
    struct yaml_file *file = &compile->file;
    const char *listen = yaml_text(file, node, "listen", NULL);
    if (listen != NULL && compile_is_address(listen))
        memcpy(gateway->listen, listen, strlen(listen));
    else if (listen != NULL)
        yaml_error(file, node, "write for example 127.0.0.1:1883", "'listen: %s' is not an address with a port", listen);
    gateway->connections_max =
        (uint16_t)yaml_integer(file, node, "connections", 1, UINT16_MAX, 0, 0);
    gateway->output_bytes_max =
        (uint32_t)yaml_bytes(file, node, "output_bytes", 4096, 16 << 20, 1, 64 << 10);
    gateway->slow_ms = (uint32_t)yaml_ms(file, node, "slow", 100, 3600000, 1, 10000);
    const char *name = yaml_text(file, node, "unikernel", NULL);
    int index = name == NULL ? -1
                             : compile_refer(compile, node, "unikernel", compile->unikernels,
                                             sizeof compile->unikernels[0],
                                             compile->unikernel_count, name);
    if (index < 0)
        return;
    gateway->unikernel = (uint16_t)index;
    const struct system_unikernel *unikernel = &compile->unikernels[index];
    if (!compile->sources[index].is_loaded)
        return;
    if (unikernel->lifetime != LIFETIME_CONNECTION)
        yaml_error(file, node, "name a unikernel of lifetime connection", "'%s' cannot serve connections", name);
    if (gateway->connections_max > unikernel->instances_max)
        yaml_error(file, node, "each connection needs an instance of its own",
                   "%u connections, but '%s' has %u instances", gateway->connections_max, name,
                   unikernel->instances_max);
}

void compile_path(struct compile *compile, struct yaml_node *node, const char *key, char path[SYSTEM_PATH_BYTES])
{
    char whole[2 * PATH_MAX];
    const char *given = yaml_text(&compile->file, node, key, NULL);
    if (given == NULL)
        return;
    int length = given[0] == '/' ? snprintf(whole, sizeof whole, "%s", given)
                                 : snprintf(whole, sizeof whole, "%s/%s", compile->folder, given);
    if (length >= (int)SYSTEM_PATH_BYTES)
        yaml_error(&compile->file, node, "use a shorter path", "the path of '%s' is over %u bytes", given,
                   SYSTEM_PATH_BYTES - 1);
    else
        memcpy(path, whole, (size_t)length);
}

static void service_limits(struct compile *compile, struct yaml_node *node,
                           struct system_service *service)
{
    static const char *const kinds[] = {"password", "seal", "open", "sign", "verify"};
    struct yaml_file *file = &compile->file;
    service->kind = (uint16_t)(SYSTEM_SERVICE_PASSWORD + yaml_choice(file, node, "kind", kinds, 5, -1));
    if (service->kind == SYSTEM_SERVICE_PASSWORD)
        compile_path(compile, node, "file", service->path);
    else
        compile_turning(compile, node, service);
}

static void principals_read(struct compile *compile)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *list = yaml_child(file, file->root, "principals", YAML_SEQUENCE, 0);
    if (list != NULL && list->count > SYSTEM_PRINCIPALS_MAX)
        yaml_error(file, list, "at most 64 in one system", "%zu principals", list->count);
    for (size_t i = 0; list != NULL && i < list->count && i < SYSTEM_PRINCIPALS_MAX; i++) {
        const struct yaml_node *node = list->children[i];
        struct system_principal *principal = &compile->principals[compile->principal_count];
        compile_name(principal->name, node->kind == YAML_SCALAR ? node->text : "");
        if (principal->name[0] == 0 || strcmp(principal->name, "anyone") == 0)
            yaml_error(file, node, "use a-z 0-9 _ -, a letter first, at most 31 characters, not 'anyone'",
                       "bad principal '%s'", node->kind == YAML_SCALAR ? node->text : "");
        else if (compile_find(compile->principals, sizeof *principal, compile->principal_count,
                              principal->name) >= 0)
            yaml_error(file, node, "name it once", "principal '%s' is here twice", principal->name);
        else
            compile->principal_count++;
    }
}

void compile_outside_names(struct compile *compile)
{
    struct yaml_node *mapping;
    principals_read(compile);
    compile->gateway_count = compile_entries(compile, "gateways", SYSTEM_GATEWAYS_MAX, &mapping);
    for (size_t i = 0; i < compile->gateway_count; i++) {
        struct system_gateway *gateway = &compile->gateways[i];
        compile->gateway_nodes[i] = mapping->children[i];
        compile_name(gateway->name, mapping->children[i]->key);
        gateway->input_flow = gateway->output_flow = SYSTEM_NONE;
        gateway->unikernel = SYSTEM_NONE;
        if (mapping->children[i]->kind == YAML_MAPPING)
            gateway_limits(compile, mapping->children[i], gateway);
    }
    compile->service_count = compile_entries(compile, "services", SYSTEM_SERVICES_MAX, &mapping);
    for (size_t i = 0; i < compile->service_count; i++) {
        struct system_service *service = &compile->services[i];
        compile->service_nodes[i] = mapping->children[i];
        compile_name(service->name, mapping->children[i]->key);
        service->request_flow = service->reply_flow = SYSTEM_NONE;
        if (mapping->children[i]->kind == YAML_MAPPING)
            service_limits(compile, mapping->children[i], service);
    }
}

// ---- Flows that gateways and services name ----

static int flow_refer(struct compile *compile, struct yaml_node *node, const char *key, int is_required)
{
    const char *name = yaml_text(&compile->file, node, key, is_required ? NULL : "");
    if (name == NULL || *name == 0)
        return -1;
    return compile_refer(compile, node, "flow", compile->flows, sizeof compile->flows[0],
                         compile->flow_count, name);
}

// A flow named by the host's own endpoint begins or ends there and at the right unikernel.
static uint16_t flow_at(struct compile *compile, struct yaml_node *node, const char *key, int is_from,
                        unsigned kind, size_t index, uint16_t partner)
{
    int at = flow_refer(compile, node, key, 1);
    if (at < 0)
        return SYSTEM_NONE;
    const struct system_flow *flow = &compile->flows[at];
    int is_turning = compile_is_turning(compile, kind, (unsigned)index); // its messages may come from afar, go there, and be shared
    size_t to = 0;
    while (is_turning && to + 1 < flow->receiver_count && (flow->receivers[to].kind != kind || flow->receivers[to].index != index))
        to++;
    unsigned found_kind = is_from ? flow->sender_kind : flow->receivers[to].kind;
    unsigned found_index = is_from ? flow->sender : flow->receivers[to].index;
    unsigned other_kind = is_from ? flow->receivers[0].kind : flow->sender_kind;
    unsigned other_index = is_from ? flow->receivers[0].index : flow->sender;
    if (flow->receiver_count == 0)
        return SYSTEM_NONE; // its ends were refused and reported
    if (found_kind != kind || found_index != index || (flow->receiver_count != 1 && !is_turning))
        yaml_error(&compile->file, node, "name the flow that begins or ends here",
                   "'%s: %s' is not a flow %s '%s'", key, flow->name, is_from ? "from" : "to", node->key);
    else if ((other_kind != SYSTEM_UNIKERNEL && !is_turning) || (partner != SYSTEM_NONE && other_index != partner))
        yaml_error(&compile->file, node, "let its flows and its 'unikernel' agree",
                   "the other end of '%s: %s' is not the unikernel of '%s'", key, flow->name, node->key);
    return (uint16_t)at;
}

// Every flow that touches a gateway or service is the one that it names.
static void check_named(struct compile *compile)
{
    for (size_t i = 0; i < compile->flow_count; i++) {
        const struct system_flow *flow = &compile->flows[i];
        const char *what = NULL;
        if (flow->sender_kind == SYSTEM_GATEWAY && compile->gateways[flow->sender].input_flow != i)
            what = "input";
        if (flow->sender_kind == SYSTEM_SERVICE && compile->services[flow->sender].reply_flow != i)
            what = "reply";
        for (size_t j = 0; j < flow->receiver_count; j++) {
            const struct system_receiver *receiver = &flow->receivers[j];
            if (receiver->kind == SYSTEM_GATEWAY && compile->gateways[receiver->index].output_flow != i)
                what = "output";
            if (receiver->kind == SYSTEM_SERVICE && compile->services[receiver->index].request_flow != i)
                what = "request";
        }
        if (what != NULL)
            yaml_error(&compile->file, compile->flow_nodes[i], "a gateway or service has one flow each way, which it names",
                       "flow '%s' is not the '%s' of its gateway or service", flow->name, what);
    }
}

// ---- Topics ----

// MQTT 3.1.1, 4.7: '+' is a whole level, '#' the last one; printable here, so that a line is a line.
static int is_filter(const char *filter)
{
    size_t length = strlen(filter);
    if (length == 0 || length > FILTER_BYTES_MAX)
        return 0;
    for (size_t i = 0; i < length; i++) {
        int is_start = i == 0 || filter[i - 1] == '/';
        int is_end = filter[i + 1] == 0 || filter[i + 1] == '/';
        if ((uint8_t)filter[i] < 0x20 || filter[i] == 0x7f)
            return 0;
        if (filter[i] == '+' && !(is_start && is_end))
            return 0;
        if (filter[i] == '#' && !(is_start && filter[i + 1] == 0))
            return 0;
    }
    return 1;
}

struct topic {
    struct yaml_node *node;
    size_t unikernel;
    const char *filter;
    uint64_t principals;
    uint8_t is_open;
};

static void topic_publish(struct compile *compile, const struct topic *topic, const char *key)
{
    char line[256];
    struct yaml_file *file = &compile->file;
    int at = flow_refer(compile, topic->node, key, 0);
    if (at < 0)
        return;
    const struct system_flow *flow = &compile->flows[at];
    if (flow->receiver_count == 0 || flow->schema >= compile->schema_count)
        return; // reported
    if (flow->sender_kind != SYSTEM_UNIKERNEL || flow->sender != topic->unikernel) {
        yaml_error(file, topic->node, "name a flow from the unikernel that serves this gateway",
                   "'%s: %s' does not begin at '%s'", key, flow->name,
                   compile->unikernels[topic->unikernel].name);
        return;
    }
    const struct schema *schema = &compile->schemas[flow->schema];
    int field = schema_field_index(schema, "payload");
    if (field < 0 || schema->fields[field].type != SCHEMA_BYTES) {
        yaml_error(file, topic->node, "use a flow of schema publish/1",
                   "flow '%s' carries %s, which has no payload", flow->name, schema->header->name);
        return;
    }
    if (!flow->is_open && (topic->is_open || (topic->principals & ~flow->principals) != 0))
        yaml_error(file, topic->node, "name only principals of the flow, or add them there",
                   "this topic lets principals publish that flow '%s' (line %d) refuses", flow->name,
                   compile->flow_nodes[at]->line);
    unsigned most = schema->fields[field].capacity;
    most = (unsigned)yaml_bytes(file, topic->node, "most", 1, most, 1, most);
    snprintf(line, sizeof line, "%s %u %u %u %" PRIx64 " %s\n", key, flow->sender_port,
             flow->is_durable, most, topic->is_open ? UINT64_MAX : topic->principals, topic->filter);
    compile_configure(compile, topic->unikernel, topic->node, line);
}

static void topic_subscribe(struct compile *compile, const struct topic *topic)
{
    char line[256];
    int at = flow_refer(compile, topic->node, "subscribe", 0);
    if (at < 0)
        return;
    const struct system_flow *flow = &compile->flows[at];
    for (size_t i = 0; i < flow->receiver_count; i++) {
        const struct system_receiver *receiver = &flow->receivers[i];
        if (receiver->kind != SYSTEM_UNIKERNEL || receiver->index != topic->unikernel || !flow->is_broadcast)
            continue;
        snprintf(line, sizeof line, "subscribe %u 0 0 %" PRIx64 " %s\n", receiver->port,
                 topic->is_open ? UINT64_MAX : topic->principals, topic->filter);
        compile_configure(compile, topic->unikernel, topic->node, line);
        return;
    }
    if (flow->receiver_count != 0)
        yaml_error(&compile->file, topic->node, "name a flow from another unikernel to the one that serves this gateway",
                   "'subscribe: %s' brings no messages to '%s'", flow->name,
                   compile->unikernels[topic->unikernel].name);
}

static void topics_read(struct compile *compile, struct yaml_node *node, size_t unikernel)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *topics = yaml_child(file, node, "topics", YAML_SEQUENCE, 0);
    for (size_t i = 0; topics != NULL && i < topics->count; i++) {
        struct topic topic = {.node = topics->children[i], .unikernel = unikernel};
        if (topic.node->kind != YAML_MAPPING) {
            yaml_error(file, topic.node, "write {filter: .., publish: FLOW, principals: [..]}", "not a topic");
            continue;
        }
        int before = file->error_count;
        topic.filter = yaml_text(file, topic.node, "filter", NULL);
        if (topic.filter != NULL && !is_filter(topic.filter))
            yaml_error(file, topic.node, "'+' stands for a whole level, '#' for the rest; at most 128 bytes",
                       "'%s' is not a topic filter", topic.filter);
        topic.principals = compile_principals(compile, topic.node, &topic.is_open);
        if (yaml_text(file, topic.node, "publish", "")[0] == 0 &&
            yaml_text(file, topic.node, "publish0", "")[0] == 0 &&
            yaml_text(file, topic.node, "subscribe", "")[0] == 0)
            yaml_error(file, topic.node, "add 'publish: FLOW' or 'subscribe: FLOW'", "a topic that does nothing");
        if (file->error_count != before || unikernel >= compile->unikernel_count ||
            !compile->sources[unikernel].is_loaded) {
            flow_refer(compile, topic.node, "publish", 0);
            flow_refer(compile, topic.node, "publish0", 0);
            flow_refer(compile, topic.node, "subscribe", 0);
            continue;
        }
        topic_publish(compile, &topic, "publish");
        topic_publish(compile, &topic, "publish0");
        topic_subscribe(compile, &topic);
    }
}

void compile_outside(struct compile *compile)
{
    for (size_t i = 0; i < compile->gateway_count; i++) {
        struct yaml_node *node = compile->gateway_nodes[i];
        struct system_gateway *gateway = &compile->gateways[i];
        if (node->kind != YAML_MAPPING)
            continue;
        gateway->input_flow = flow_at(compile, node, "input", 1, SYSTEM_GATEWAY, i, gateway->unikernel);
        gateway->output_flow = flow_at(compile, node, "output", 0, SYSTEM_GATEWAY, i, gateway->unikernel);
        topics_read(compile, node, gateway->unikernel);
    }
    for (size_t i = 0; i < compile->service_count; i++) {
        struct yaml_node *node = compile->service_nodes[i];
        struct system_service *service = &compile->services[i];
        if (node->kind != YAML_MAPPING)
            continue;
        int is_turning = compile_is_turning(compile, SYSTEM_SERVICE, (unsigned)i);
        service->request_flow = flow_at(compile, node, is_turning ? "input" : "request", 0, SYSTEM_SERVICE, i, SYSTEM_NONE);
        service->reply_flow = flow_at(compile, node, is_turning ? "output" : "reply", 1, SYSTEM_SERVICE, i, SYSTEM_NONE);
        if (is_turning && compile->file.error_count == 0)
            compile_turning_check(compile, i);
    }
    check_named(compile);
}
