// SPDX-License-Identifier: ISC
// The flows of a system: ends, schema, and the checks that the router will make.
//
// A port takes one flow and gives one flow. Both ends' manifests carry the same schema digest and the same
// kind (plain, request, reply); a request's reply comes back on the port that its manifest names.
#include "cli/source/compile_state.h"

#include "core/schema_builtin.h"

#include <stdio.h>
#include <string.h>

struct end { // of a flow, as the source names it
    int kind; // enum system_endpoint, -1: was refused
    int index;
    int peer; // of a courier: that it names; -1: none
    char text[2 * SYSTEM_NAME_BYTES + 80];
};

static void courier_end(struct compile *compile, const struct yaml_node *node, struct end *end)
{
    char name[sizeof end->text];
    const char *text = end->text + strlen("courier:"), *slash = strchr(text, '/');
    snprintf(name, sizeof name, "%.*s", (int)(slash != NULL ? (size_t)(slash - text) : strlen(text)), text);
    end->index = compile_refer(compile, node, "courier", compile->couriers, sizeof compile->couriers[0], compile->courier_count, name);
    if (end->index < 0)
        return;
    const struct system_courier *courier = &compile->couriers[end->index];
    end->kind = SYSTEM_COURIER;
    for (int i = 0; slash != NULL && i < courier->peer_count; i++)
        if (strcmp(courier->peers[i].name, slash + 1) == 0)
            end->peer = i;
    if (slash != NULL && end->peer < 0)
        yaml_error(&compile->file, node, "write one of its `peers` behind the '/'", "courier '%s' has no peer '%s'", courier->name, slash + 1);
}

// "unikernel.port", "gateway:NAME", "service:NAME", "courier:NAME", "courier:NAME/PEER", "router:subscription", "router:receipts".
static struct end end_read(struct compile *compile, const struct yaml_node *node, const char *text)
{
    struct end end = {.kind = -1, .index = -1, .peer = -1};
    size_t length = strlen(text);
    if (length >= sizeof end.text) {
        yaml_error(&compile->file, node, "names have at most 31 characters", "bad end '%s'", text);
        return end;
    }
    memcpy(end.text, text, length + 1);
    if (strcmp(text, "router:subscription") == 0 || strcmp(text, "router:receipts") == 0) {
        end.kind = text[7] == 's' ? SYSTEM_SUBSCRIPTION : SYSTEM_RECEIPTS;
        end.index = 0;
    } else if (strncmp(text, "gateway:", 8) == 0) {
        end.index = compile_refer(compile, node, "gateway", compile->gateways,
                                  sizeof compile->gateways[0], compile->gateway_count, text + 8);
        end.kind = end.index < 0 ? -1 : SYSTEM_GATEWAY;
    } else if (strncmp(text, "service:", 8) == 0) {
        end.index = compile_refer(compile, node, "service", compile->services,
                                  sizeof compile->services[0], compile->service_count, text + 8);
        end.kind = end.index < 0 ? -1 : SYSTEM_SERVICE;
    } else if (strncmp(text, "courier:", 8) == 0) {
        courier_end(compile, node, &end);
    } else {
        const char *dot = strchr(text, '.');
        char name[sizeof end.text];
        if (dot == NULL) {
            yaml_error(&compile->file, node,
                       "write UNIKERNEL.PORT, gateway:NAME, service:NAME, courier:NAME or router:subscription",
                       "'%s' is not an end of a flow", text);
            return end;
        }
        snprintf(name, sizeof name, "%.*s", (int)(dot - text), text);
        end.index = compile_refer(compile, node, "unikernel", compile->unikernels,
                                  sizeof compile->unikernels[0], compile->unikernel_count, name);
        end.kind = end.index < 0 || !compile->sources[end.index].is_loaded ? -1 : SYSTEM_UNIKERNEL;
    }
    return end;
}

static const char *end_port(const struct end *end)
{
    return strchr(end->text, '.') + 1;
}

// The manifest's port of a unikernel's end, *at its index; NULL when it does not exist (reported).
static const struct manifest_flow *port_find(struct compile *compile, const struct yaml_node *node,
                                             const struct end *end, int is_output, int *at)
{
    const struct manifest *manifest = &compile->sources[end->index].image.manifest;
    const struct manifest_flow *ports = is_output ? manifest->outputs : manifest->inputs;
    char what[64 + SYSTEM_NAME_BYTES];
    snprintf(what, sizeof what, "%s of '%s' called", is_output ? "output" : "input",
             compile->unikernels[end->index].name);
    *at = compile_refer(compile, node, what, ports, sizeof *ports,
                        is_output ? manifest->header->output_count : manifest->header->input_count,
                        end_port(end));
    return *at < 0 ? NULL : &ports[*at];
}

static void bind(struct compile *compile, const struct yaml_node *node, const struct end *end,
                 uint16_t *slot, size_t flow)
{
    if (*slot == SYSTEM_NONE) {
        *slot = (uint16_t)flow;
        return;
    }
    char mend[128];
    snprintf(mend, sizeof mend, "a port has one flow: keep one of them (the other is in line %d)",
             compile->flow_nodes[*slot]->line);
    yaml_error(&compile->file, node, mend, "'%s' is already in flow '%s'", end->text,
               compile->flows[*slot].name);
}

// What is known of a flow while its ends are read.
struct reading {
    struct yaml_node *node;
    size_t index;
    struct system_flow *flow;
    struct end from;
    const struct schema *schema; // of the first end that has one
    char schema_end[sizeof((struct end *)0)->text];
    int kind; // enum manifest_flow_kind
};

// `receiver` NULL: the end is the sender.
static void schema_meet(struct compile *compile, struct reading *reading,
                        const struct yaml_node *node, const struct end *end,
                        const struct manifest_flow *port, struct system_receiver *receiver)
{
    const struct schema *schema = &compile->sources[end->index].image.manifest.schemas[port->schema];
    if (reading->schema == NULL) {
        reading->schema = schema;
        memcpy(reading->schema_end, end->text, sizeof reading->schema_end);
        return;
    }
    compile_receiver_schema(compile, node, reading->schema_end, reading->schema, end->text, schema, receiver);
}

// Is the end a unikernel, or a service that turns one's messages into others?
static int is_inside(const struct compile *compile, const struct end *end)
{
    return end->kind == SYSTEM_UNIKERNEL ||
           (end->kind == SYSTEM_SERVICE && compile_is_turning(compile, SYSTEM_SERVICE, (unsigned)end->index));
}

static void read_from(struct compile *compile, struct reading *reading)
{
    struct system_flow *flow = reading->flow;
    const struct yaml_node *node = yaml_child(&compile->file, reading->node, "from", YAML_SCALAR, 1);
    reading->from = (struct end){.kind = -1};
    reading->kind = -1;
    flow->count_max = 1;
    if (node == NULL)
        return;
    struct end *from = &reading->from;
    *from = end_read(compile, node, node->text);
    if (from->kind < 0)
        return;
    flow->sender_kind = (uint8_t)from->kind;
    flow->sender = (uint16_t)from->index;
    if (from->peer >= 0)
        yaml_error(&compile->file, node, "write courier:NAME, and `principals: [PEER]` for who may send it", "'%s' names a peer", from->text);
    if (from->kind == SYSTEM_SUBSCRIPTION)
        yaml_error(&compile->file, node, "use it under 'to'", "nothing comes from router:subscription");
    if (from->kind == SYSTEM_GATEWAY || from->kind == SYSTEM_RECEIPTS || from->kind == SYSTEM_COURIER)
        reading->kind = MANIFEST_PLAIN;
    if (from->kind == SYSTEM_SERVICE)
        reading->kind = is_inside(compile, from) ? MANIFEST_PLAIN : MANIFEST_REPLY;
    if (from->kind != SYSTEM_UNIKERNEL)
        return;
    int at;
    const struct manifest_flow *port = port_find(compile, node, from, 1, &at);
    if (port == NULL)
        return;
    flow->sender_port = (uint16_t)at;
    flow->count_max = port->count_max;
    reading->kind = port->kind;
    schema_meet(compile, reading, node, from, port, NULL);
    bind(compile, node, from, &compile->unikernels[from->index].outputs[at], reading->index);
}

static const char *kind_text(int kind)
{
    static const char *const texts[] = {"a plain message", "a request", "a reply"};
    return texts[kind >= 0 && kind <= 2 ? kind : 0];
}

static void read_receiver(struct compile *compile, struct reading *reading,
                          const struct yaml_node *node)
{
    struct yaml_file *file = &compile->file;
    struct system_flow *flow = reading->flow;
    if (node->kind != YAML_SCALAR) {
        yaml_error(file, node, "write to: [UNIKERNEL.PORT, ..]", "not an end of a flow");
        return;
    }
    struct end end = end_read(compile, node, node->text);
    if (end.kind < 0)
        return;
    if (end.kind == SYSTEM_RECEIPTS) {
        yaml_error(file, node, "use it under 'from'", "nothing goes to router:receipts");
        return;
    }
    struct system_receiver *receiver = &flow->receivers[flow->receiver_count++];
    *receiver = (struct system_receiver){.kind = (uint8_t)end.kind, .index = (uint16_t)end.index};
    int kind = end.kind == SYSTEM_SERVICE && !is_inside(compile, &end) ? MANIFEST_REQUEST : MANIFEST_PLAIN;
    if (end.kind == SYSTEM_COURIER && end.peer < 0 && compile->couriers[end.index].peer_count > 1)
        yaml_error(file, node, "name it: courier:NAME/PEER", "'%s' has several peers: nobody says to whom the flow '%s' goes",
                   end.text, flow->name);
    else if (end.kind == SYSTEM_COURIER)
        receiver->port = (uint16_t)(end.peer < 0 ? 0 : end.peer);
    int is_turned = is_inside(compile, &end) && reading->from.kind == SYSTEM_COURIER; // comes sealed or signed
    if (end.kind != SYSTEM_UNIKERNEL && reading->from.kind >= 0 && !is_inside(compile, &reading->from) && !is_turned)
        yaml_error(file, node, "put a unikernel between them", "'%s' cannot send to '%s'",
                   reading->from.text, end.text);
    if (end.kind == SYSTEM_UNIKERNEL) {
        int at;
        const struct manifest_flow *port = port_find(compile, node, &end, 0, &at);
        if (port == NULL)
            return;
        kind = port->kind;
        receiver->port = (uint16_t)at;
        schema_meet(compile, reading, node, &end, port, receiver);
        bind(compile, node, &end, &compile->unikernels[end.index].inputs[at], reading->index);
    }
    if (reading->kind >= 0 && reading->kind != kind)
        yaml_error(file, node, "connect requests with inputs that reply, and replies with their askers",
                   "'%s' sends %s, but '%s' takes %s", reading->from.text, kind_text(reading->kind),
                   end.text, kind_text(kind));
}

// May it receive a flow beside others?
static int can_share(const struct compile *compile, const struct system_receiver *receiver)
{
    return receiver->kind == SYSTEM_UNIKERNEL || receiver->kind == SYSTEM_COURIER ||
           compile_is_turning(compile, receiver->kind, receiver->index);
}

// Lifetime connection turns a flow into one copy for each connection that joined.
static void set_broadcast(struct compile *compile, struct reading *reading)
{
    struct system_flow *flow = reading->flow;
    for (size_t i = 0; i < flow->receiver_count; i++) {
        const struct system_receiver *receiver = &flow->receivers[i];
        int is_broadcast =
            receiver->kind == SYSTEM_UNIKERNEL &&
            compile->unikernels[receiver->index].lifetime == LIFETIME_CONNECTION &&
            flow->sender_kind != SYSTEM_GATEWAY && flow->sender_kind != SYSTEM_RECEIPTS &&
            reading->kind != MANIFEST_REPLY &&
            !(flow->sender_kind == SYSTEM_UNIKERNEL && flow->sender == receiver->index);
        if (i == 0)
            flow->is_broadcast = (uint8_t)is_broadcast;
        else if (flow->is_broadcast != is_broadcast || !can_share(compile, receiver) ||
                 !can_share(compile, &flow->receivers[0]))
            yaml_error(&compile->file, reading->node, "make a flow for each of them, from ports of their own",
                       "the receivers of flow '%s' are of different kinds", flow->name);
        if (is_broadcast && reading->kind == MANIFEST_REQUEST)
            yaml_error(&compile->file, reading->node, "ask a unikernel of another lifetime",
                       "a request to '%s', which lives as long as a connection",
                       compile->unikernels[receiver->index].name);
    }
    if (flow->receiver_count > 1 && reading->kind != MANIFEST_PLAIN && reading->kind >= 0)
        yaml_error(&compile->file, reading->node, "name one receiver", "%s has several receivers",
                   kind_text(reading->kind));
}

static void read_to(struct compile *compile, struct reading *reading)
{
    struct yaml_file *file = &compile->file;
    const struct yaml_node *to = yaml_child(file, reading->node, "to", YAML_SEQUENCE, 1);
    if (to == NULL)
        return;
    if (to->count == 0 || to->count > SYSTEM_RECEIVERS_MAX)
        yaml_error(file, to, "between 1 and 8", "%zu receivers", to->count);
    for (size_t i = 0; i < to->count && i < SYSTEM_RECEIVERS_MAX; i++)
        read_receiver(compile, reading, to->children[i]);
    set_broadcast(compile, reading);
}

// May its messages be left out after a time, or for newer ones?
static int may_end(const struct reading *reading)
{
    const struct system_flow *flow = reading->flow;
    for (size_t i = 0; i < flow->receiver_count; i++)
        if (flow->receivers[i].kind == reading->from.kind && flow->receivers[i].index == reading->from.index)
            return 0; // timers
    return reading->kind <= MANIFEST_PLAIN && reading->from.kind != SYSTEM_RECEIPTS;
}

static void read_rest(struct compile *compile, struct reading *reading)
{
    static const char *const kept[] = {"without-payload", "with-payload", "none"};
    struct yaml_file *file = &compile->file;
    struct system_flow *flow = reading->flow;
    struct yaml_node *durable = yaml_child(file, reading->node, "durable", YAML_MAPPING, 0);
    int is_turned = reading->from.kind == SYSTEM_SERVICE && is_inside(compile, &reading->from);
    int touches_host = reading->from.kind == SYSTEM_GATEWAY || (reading->from.kind == SYSTEM_SERVICE && !is_turned);
    int is_secret = touches_host, must_last = reading->from.kind == SYSTEM_COURIER || is_turned;
    for (size_t i = 0; i < flow->receiver_count; i++) {
        const struct system_receiver *to = &flow->receivers[i];
        int is_turning = compile_is_turning(compile, to->kind, to->index);
        touches_host |= !can_share(compile, to);
        must_last |= to->kind == SYSTEM_COURIER || is_turning;
        is_secret |= to->kind == SYSTEM_SERVICE && !is_turning;
    }
    if (durable != NULL) {
        compile_durable(compile, durable, flow, reading->schema, may_end(reading));
        if (touches_host)
            yaml_error(file, durable, "remove 'durable'; make the flow behind it durable",
                       "flow '%s' touches the host and cannot be durable", flow->name);
    }
    if (durable == NULL && must_last)
        yaml_error(file, reading->node, "add 'durable: {cap: N}': so many wait while the other end is not there",
                   "flow '%s' is at a courier or at a service that seals or signs, and must be durable", flow->name);
    // What comes from outside or goes to a service may hold passwords.
    int is_kept = yaml_choice(file, reading->node, "dead_letters", kept, 3, !is_secret);
    flow->is_payload_kept = is_kept == 1;
    flow->is_dead_counted = is_kept == 2;
    if (reading->kind == MANIFEST_REQUEST)
        flow->live_ms = (uint64_t)yaml_ms(file, reading->node, "deadline", 1, SYSTEM_LIVE_MS_MAX, 1, 0);
}

// The schema that an end of the host's own must carry.
static void check_builtin(struct compile *compile, struct reading *reading, unsigned kind, int is_from, unsigned index)
{
    int is_turning = compile_is_turning(compile, kind, index);
    static const char *const names[] = {"", "wire/1", "password-request/1", "subscription/1", "receipt/1", ""};
    const char *name = kind == SYSTEM_SERVICE && is_from ? "password-reply/1" : names[kind];
    if (*name == 0 || reading->schema == NULL || is_turning)
        return;
    const char *differs = schema_builtin_differs(reading->schema, name);
    char mend[128];
    snprintf(mend, sizeof mend, "use a port of schema %s, built with crenel's own file of it", name);
    if (differs != NULL)
        yaml_error(&compile->file, reading->node, mend, "flow '%s' must carry %s: %s",
                   reading->flow->name, name, differs);
    if (kind == SYSTEM_SUBSCRIPTION && reading->from.kind == SYSTEM_UNIKERNEL &&
        compile->unikernels[reading->from.index].lifetime != LIFETIME_CONNECTION)
        yaml_error(&compile->file, reading->node, "send it from a unikernel of lifetime connection",
                   "'%s' has no connections that could subscribe",
                   compile->unikernels[reading->from.index].name);
}

// Is an end of it a unikernel's port, which has a schema?
static int has_port(const struct yaml_node *flow)
{
    for (size_t i = 0; i < flow->count; i++) {
        const struct yaml_node *child = flow->children[i];
        int is_end = strcmp(child->key, "from") == 0 || strcmp(child->key, "to") == 0;
        if (is_end && child->kind == YAML_SCALAR && strchr(child->text, '.') != NULL)
            return 1;
        for (size_t j = 0; is_end && child->kind == YAML_SEQUENCE && j < child->count; j++)
            if (child->children[j]->kind == YAML_SCALAR && strchr(child->children[j]->text, '.') != NULL)
                return 1;
    }
    return 0;
}

static void read_ends(struct compile *compile, struct reading *reading)
{
    struct system_flow *flow = reading->flow;
    flow->pair = SYSTEM_NONE;
    flow->line = (uint32_t)reading->node->line;
    read_from(compile, reading);
    read_to(compile, reading);
    if (reading->schema == NULL && !has_port(reading->node) && reading->from.kind >= 0)
        reading->schema = compile_derived_schema(compile, reading->node, flow);
    if (reading->schema != NULL)
        flow->schema = compile_schema(compile, reading->node, reading->schema);
    compile->is_flow_read[reading->index] = reading->schema != NULL;
}

static void compile_flow(struct compile *compile, struct reading *reading)
{
    struct yaml_node *node = reading->node;
    struct system_flow *flow = reading->flow;
    read_rest(compile, reading);
    if (reading->kind >= 0)
        flow->kind = (uint8_t)reading->kind;
    if (reading->from.kind == SYSTEM_RECEIPTS) { // follow from messages that were checked, and paid for
        flow->key_field = SYSTEM_NONE;
        flow->check_first = (uint16_t)compile->check_count;
        flow->is_open = 1;
        flow->rate_per_second = flow->rate_burst = 1;
    } else {
        flow->principals = compile_principals(compile, node, &flow->is_open);
        compile_checks(compile, node, flow, reading->schema);
        compile_sealed(compile, node, flow, reading->schema);
    }
    if (reading->schema == NULL)
        return;
    if (reading->from.kind >= 0)
        check_builtin(compile, reading, (unsigned)reading->from.kind, 1, (unsigned)reading->from.index);
    for (size_t i = 0; i < flow->receiver_count; i++)
        check_builtin(compile, reading, flow->receivers[i].kind, 0, flow->receivers[i].index);
}

// ---- Requests and their replies ----

static void pair_flow(struct compile *compile, size_t index)
{
    struct system_flow *flow = &compile->flows[index];
    struct yaml_file *file = &compile->file;
    const struct yaml_node *node = compile->flow_nodes[index];
    if (flow->kind != SYSTEM_REQUEST || flow->sender_kind != SYSTEM_UNIKERNEL ||
        flow->receiver_count != 1 || !compile->sources[flow->sender].is_loaded)
        return;
    const struct manifest *asker = &compile->sources[flow->sender].image.manifest;
    const struct manifest_flow *port = &asker->inputs[asker->outputs[flow->sender_port].pair];
    const struct system_receiver *receiver = &flow->receivers[0];
    flow->pair = compile->unikernels[flow->sender].inputs[port - asker->inputs];
    if (flow->pair == SYSTEM_NONE) {
        char mend[192];
        snprintf(mend, sizeof mend, "add a flow to %s.%s", compile->unikernels[flow->sender].name, port->name);
        yaml_error(file, node, mend, "the reply to the request '%s' comes on no flow", flow->name);
        return;
    }
    const struct system_flow *reply = &compile->flows[flow->pair];
    int is_same_end = reply->sender_kind == receiver->kind && reply->sender == receiver->index;
    if (is_same_end && receiver->kind == SYSTEM_UNIKERNEL && compile->sources[receiver->index].is_loaded)
        is_same_end = compile->sources[receiver->index].image.manifest.inputs[receiver->port].pair ==
                      reply->sender_port;
    if (!is_same_end)
        yaml_error(file, node, "let request and reply name the same two ends",
                   "the reply to the request '%s' is to come on flow '%s', which is not its answer",
                   flow->name, reply->name);
}

void compile_flows(struct compile *compile)
{
    static struct reading readings[SYSTEM_FLOWS_MAX];
    struct yaml_node *mapping;
    compile->flow_count = compile_entries(compile, "flows", SYSTEM_FLOWS_MAX, &mapping);
    for (size_t i = 0; i < compile->flow_count; i++) {
        compile->flow_nodes[i] = mapping->children[i];
        compile_name(compile->flows[i].name, mapping->children[i]->key);
    }
    for (int has_no_port = 0; has_no_port <= 1; has_no_port++) // the others' schemas follow from theirs
        for (size_t i = 0; i < compile->flow_count; i++)
            if (mapping->children[i]->kind == YAML_MAPPING && has_port(mapping->children[i]) != has_no_port) {
                readings[i] = (struct reading){.node = mapping->children[i], .index = i, .flow = &compile->flows[i]};
                read_ends(compile, &readings[i]);
            }
    for (size_t i = 0; i < compile->flow_count; i++)
        if (mapping->children[i]->kind == YAML_MAPPING)
            compile_flow(compile, &readings[i]);
    for (size_t i = 0; i < compile->flow_count; i++)
        pair_flow(compile, i);
    compile_receipts(compile);
}
