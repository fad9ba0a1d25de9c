// SPDX-License-Identifier: ISC
// The tables of a compiled system agree with each other. Checks of flow state and machines: system_check_state.c.
//
// - Names are unique in their table. Flags are 0 or 1, reserved bytes and unused entries zero
//   (SYSTEM_NONE in the port tables).
// - A flow and its ends point at each other: the sender's port table holds this flow, and so does each
//   receiver's; a gateway's input_flow and output_flow, a service's request_flow and reply_flow likewise.
// - Several receivers are unikernels, couriers, or services that seal or sign. A flow is a broadcast exactly when its receivers are of
//   lifetime connection, it comes neither from a gateway nor from the receiver itself and it is no reply.
// - A request has one receiver, and its `pair` is a reply flow from that receiver back to the sender.
// - Flows at a gateway are volatile and carry wire/1; at a service, volatile requests and replies; each of these
//   and of the subscriptions has exactly the fields of its built-in schema. A service that seals or signs takes and sends
//   plain durable flows; what opens or verifies does it for serials that rise.
// - Flows at a courier are durable and plain; with several peers it sends nothing.
// - What may wait of a flow: system_check_spool.c.
// - A namespace's readers and writers are exactly the unikernels that have it in their table.
#include "core/system_check.h"

#include "abi/abi.h"
#include "core/manifest.h"
#include "core/schema_builtin.h"
#include "core/schema_version.h"
#include "core/zero.h"

#include <string.h>

// Printable ASCII without spaces, terminated, zero-filled, not empty.
int system_is_word(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return 0;
    return length != 0 && length < size && is_zero((const void *)text, length, size);
}

// UTF-8 is allowed in paths, control characters are not.
int system_is_path(const char path[SYSTEM_PATH_BYTES])
{
    size_t length = strnlen(path, SYSTEM_PATH_BYTES);
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)path[i] < 0x20 || path[i] == 0x7f)
            return 0;
    return path[0] == '/' && length < SYSTEM_PATH_BYTES &&
           is_zero((const void *)path, length, SYSTEM_PATH_BYTES);
}

int system_is_name(const char name[SYSTEM_NAME_BYTES])
{
    if (!system_is_word(name, SYSTEM_NAME_BYTES) || name[0] < 'a' || name[0] > 'z')
        return 0;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == 0;
}

// Every entry of each table begins with its name.
static int are_names_good(const void *table, size_t entry, size_t count)
{
    const char *names = table;
    for (size_t i = 0; i < count; i++) {
        if (!system_is_name(names + i * entry))
            return 0;
        for (size_t j = 0; j < i; j++)
            if (strcmp(names + i * entry, names + j * entry) == 0)
                return 0;
    }
    return 1;
}

static const char *check_header(const struct system_view *system)
{
    const struct system_header *header = system->header;
    if (!system_is_name(header->name) || !system_is_name(header->tenant))
        return "the system's name or tenant is malformed";
    if (header->is_best_effort > 1 || header->stop_on_audit_failure > 1 ||
        !is_zero(header->zero, 0, sizeof header->zero))
        return "a flag of the header is malformed";
    if (!are_names_good(system->unikernels, sizeof *system->unikernels, system->unikernel_count) ||
        !are_names_good(system->flows, sizeof *system->flows, system->flow_count) ||
        !are_names_good(system->namespaces, sizeof *system->namespaces, system->namespace_count) ||
        !are_names_good(system->principals, sizeof *system->principals, system->principal_count) ||
        !are_names_good(system->gateways, sizeof *system->gateways, system->gateway_count) ||
        !are_names_good(system->services, sizeof *system->services, system->service_count) ||
        !are_names_good(system->couriers, sizeof *system->couriers, system->courier_count))
        return "a name is malformed or used twice";
    return NULL;
}

// ---- Unikernels ----

int system_has_receiver(const struct system_flow *flow, unsigned kind, size_t index, size_t port)
{
    for (unsigned i = 0; i < flow->receiver_count && i < SYSTEM_RECEIVERS_MAX; i++)
        if (flow->receivers[i].kind == kind && flow->receivers[i].index == index &&
            flow->receivers[i].port == port)
            return 1;
    return 0;
}

int system_has_sender(const struct system_flow *flow, unsigned kind, size_t index, size_t port)
{
    return flow->sender_kind == kind && flow->sender == index && flow->sender_port == port;
}

static int are_ports_good(const struct system_view *system, size_t index)
{
    const struct system_unikernel *unikernel = &system->unikernels[index];
    if (unikernel->input_count > 32 || unikernel->output_count > 32)
        return 0;
    for (size_t port = 0; port < 32; port++) {
        uint16_t in = unikernel->inputs[port], out = unikernel->outputs[port];
        if (in != SYSTEM_NONE && (port >= unikernel->input_count || in >= system->flow_count ||
                                  !system_has_receiver(&system->flows[in], SYSTEM_UNIKERNEL, index, port)))
            return 0;
        if (out != SYSTEM_NONE && (port >= unikernel->output_count || out >= system->flow_count ||
                                   !system_has_sender(&system->flows[out], SYSTEM_UNIKERNEL, index, port)))
            return 0;
    }
    return 1;
}

// The unikernel's own table of namespaces; *bound gets a bit for each that it uses.
static int are_spaces_good(const struct system_view *system, const struct system_unikernel *unikernel,
                           uint64_t *bound)
{
    *bound = 0;
    if (unikernel->namespace_count > 8)
        return 0;
    for (size_t i = 0; i < 8; i++) {
        uint16_t space = unikernel->namespaces[i];
        if (space == SYSTEM_NONE)
            continue;
        if (i >= unikernel->namespace_count || space >= system->namespace_count ||
            (*bound >> space & 1) != 0)
            return 0;
        *bound |= UINT64_C(1) << space;
    }
    return 1;
}

static int are_limits_good(const struct system_unikernel *unikernel)
{
    return unikernel->memory_kib != 0 && unikernel->cpu_percent != 0 &&
           unikernel->deadline_ms != 0 && unikernel->deadline_ms <= MANIFEST_DEADLINE_MS_MAX &&
           unikernel->instances_max != 0 && unikernel->instances_max <= SYSTEM_INSTANCES_MAX &&
           unikernel->lifetime <= LIFETIME_RESIDENT &&
           unikernel->isolation <= ISOLATION_ENCLAVE &&
           unikernel->writes_max <= MANIFEST_EFFECTS_MAX;
}

static const char *check_unikernel(const struct system_view *system, size_t index)
{
    const struct system_unikernel *unikernel = &system->unikernels[index];
    const struct system_table *configuration = &system->header->configuration;
    if (!system_is_path(unikernel->image_path))
        return "a unikernel's image path is malformed";
    if (!are_limits_good(unikernel))
        return "a unikernel's limit is missing or malformed";
    if (unikernel->configuration_bytes > ABI_CONFIGURATION_BYTES_MAX ||
        unikernel->configuration_bytes > configuration->count ||
        unikernel->configuration_offset < configuration->offset ||
        unikernel->configuration_offset - configuration->offset >
            configuration->count - unikernel->configuration_bytes)
        return "a unikernel's configuration is out of place";
    if (!are_ports_good(system, index))
        return "a unikernel's port and its flow do not agree";
    uint64_t bound;
    if (!are_spaces_good(system, unikernel, &bound))
        return "a unikernel's namespace does not exist";
    for (size_t i = 0; i < system->namespace_count; i++) {
        uint32_t users = system->namespaces[i].readers | system->namespaces[i].writers;
        if ((users >> index & 1) != (bound >> i & 1))
            return "a namespace and its users do not agree";
    }
    if (unikernel->refusal_count > 16)
        return "a unikernel has too many refusals";
    for (size_t i = 0; i < 16; i++)
        if (i < unikernel->refusal_count ? !system_is_name(unikernel->refusals[i])
                                         : !is_zero((const void *)unikernel->refusals[i], 0, SYSTEM_NAME_BYTES))
            return "a refusal's name is malformed";
    return NULL;
}

// ---- Flows ----

static int carries(const struct system_view *system, const struct system_flow *flow, unsigned kind,
                   const char *name)
{
    return !flow->is_durable && flow->kind == kind &&
           schema_builtin_differs(&system->schemas[flow->schema], name) == NULL;
}

static int is_sender_good(const struct system_view *system, size_t index)
{
    const struct system_flow *flow = &system->flows[index];
    switch (flow->sender_kind) {
    case SYSTEM_UNIKERNEL:
        return flow->sender < system->unikernel_count && flow->sender_port < 32 &&
               system->unikernels[flow->sender].outputs[flow->sender_port] == index;
    case SYSTEM_GATEWAY:
        return flow->sender < system->gateway_count && flow->sender_port == 0 &&
               system->gateways[flow->sender].input_flow == index &&
               carries(system, flow, SYSTEM_PLAIN, "wire/1") &&
               flow->receiver_count == 1 && flow->receivers[0].kind == SYSTEM_UNIKERNEL &&
               flow->receivers[0].index == system->gateways[flow->sender].unikernel;
    case SYSTEM_SERVICE:
        return flow->sender < system->service_count && flow->sender_port == 0 &&
               system->services[flow->sender].reply_flow == index &&
               (system_is_turning(system, flow->sender)
                    ? flow->is_durable && flow->kind == SYSTEM_PLAIN && flow->count_max == 1
                    : carries(system, flow, SYSTEM_REPLY, "password-reply/1"));
    case SYSTEM_RECEIPTS: // the only one of a unikernel
        return flow->sender == 0 && flow->sender_port == 0 && flow->is_durable && flow->kind == SYSTEM_PLAIN &&
               flow->receiver_count == 1 && flow->receivers[0].kind == SYSTEM_UNIKERNEL && flow->is_open &&
               schema_builtin_differs(&system->schemas[flow->schema], "receipt/1") == NULL &&
               system_receipts(system, flow->receivers[0].index) == index;
    case SYSTEM_COURIER:
        return flow->sender < system->courier_count && flow->sender_port == 0 && flow->is_durable &&
               flow->kind == SYSTEM_PLAIN && flow->count_max == 1;
    default:
        return 0;
    }
}

// Only what the flow's schema extends can be cut to, and only unikernels take less than what was sent.
static int is_version_good(const struct system_view *system, const struct system_flow *flow,
                           const struct system_receiver *receiver)
{
    if (receiver->older_schema == 0)
        return 1;
    return receiver->kind == SYSTEM_UNIKERNEL && receiver->older_schema <= system->schema_count &&
           schema_extends(&system->schemas[flow->schema], &system->schemas[receiver->older_schema - 1u]);
}

static int has_sealed_field(const struct schema *schema)
{
    for (unsigned i = 0; i < schema->header->field_count; i++)
        if (schema->fields[i].type == SCHEMA_SEALED)
            return 1;
    return 0;
}

// Comes from a unikernel, or from a service that turns what one sent.
static int is_inside(const struct system_view *system, const struct system_flow *flow)
{
    return flow->sender_kind == SYSTEM_UNIKERNEL ||
           (flow->sender_kind == SYSTEM_SERVICE && system_is_turning(system, flow->sender));
}

static int is_receiver_good(const struct system_view *system, size_t index, size_t at)
{
    const struct system_flow *flow = &system->flows[index];
    const struct system_receiver *receiver = &flow->receivers[at];
    if (receiver->zero != 0 || !is_version_good(system, flow, receiver))
        return 0;
    if (receiver->kind == SYSTEM_UNIKERNEL)
        return receiver->index < system->unikernel_count && receiver->port < 32 &&
               system->unikernels[receiver->index].inputs[receiver->port] == index;
    if (receiver->kind == SYSTEM_COURIER)
        return receiver->index < system->courier_count && flow->is_durable && flow->kind == SYSTEM_PLAIN &&
               is_inside(system, flow) && receiver->port < system->couriers[receiver->index].peer_count;
    if (receiver->kind == SYSTEM_SERVICE && system_is_turning(system, receiver->index))
        return system->services[receiver->index].request_flow == index && receiver->port == 0 && flow->is_durable &&
               flow->kind == SYSTEM_PLAIN && (is_inside(system, flow) || flow->sender_kind == SYSTEM_COURIER);
    // The others take a flow for themselves, at their only port.
    if (flow->receiver_count != 1 || receiver->port != 0 || flow->is_durable ||
        flow->sender_kind != SYSTEM_UNIKERNEL)
        return 0;
    if (receiver->kind == SYSTEM_GATEWAY)
        return receiver->index < system->gateway_count &&
               system->gateways[receiver->index].output_flow == index &&
               carries(system, flow, SYSTEM_PLAIN, "wire/1") &&
               system->gateways[receiver->index].unikernel == flow->sender;
    if (receiver->kind == SYSTEM_SERVICE)
        return receiver->index < system->service_count &&
               system->services[receiver->index].request_flow == index &&
               carries(system, flow, SYSTEM_REQUEST, "password-request/1");
    return receiver->kind == SYSTEM_SUBSCRIPTION && receiver->index == 0 &&
           system->unikernels[flow->sender].lifetime == LIFETIME_CONNECTION &&
           carries(system, flow, SYSTEM_PLAIN, "subscription/1");
}

// Whether each receiver would get a copy for each connection that joined.
static int is_broadcast_good(const struct system_view *system, const struct system_flow *flow)
{
    for (size_t i = 0; i < flow->receiver_count; i++) {
        unsigned index = flow->receivers[i].index;
        int is_own = flow->sender_kind == SYSTEM_UNIKERNEL && flow->sender == index;
        int is_broadcast = flow->receivers[i].kind == SYSTEM_UNIKERNEL &&
                           system->unikernels[index].lifetime == LIFETIME_CONNECTION &&
                           flow->sender_kind != SYSTEM_GATEWAY && flow->sender_kind != SYSTEM_RECEIPTS &&
                           flow->kind != SYSTEM_REPLY && !is_own;
        if (is_broadcast != flow->is_broadcast || (is_broadcast && flow->kind == SYSTEM_REQUEST))
            return 0;
    }
    return 1;
}

static int is_pair_good(const struct system_view *system, const struct system_flow *flow)
{
    if (flow->kind != SYSTEM_REQUEST)
        return flow->kind <= SYSTEM_REPLY && flow->pair == SYSTEM_NONE;
    if (flow->pair >= system->flow_count || flow->receiver_count != 1 ||
        flow->sender_kind != SYSTEM_UNIKERNEL)
        return 0;
    const struct system_flow *reply = &system->flows[flow->pair];
    if (flow->live_ms != 0 && system_receipts(system, flow->sender) == SYSTEM_NONE)
        return 0; // nobody would learn of its deadline
    return reply->kind == SYSTEM_REPLY && reply->sender_kind == flow->receivers[0].kind &&
           reply->sender == flow->receivers[0].index && reply->receiver_count == 1 &&
           reply->receivers[0].kind == SYSTEM_UNIKERNEL &&
           reply->receivers[0].index == flow->sender;
}

static int is_key_good(const struct schema *schema, uint16_t field)
{
    return field < schema->header->field_count && schema_has_value(schema, field);
}

static int are_bounds_good(const struct system_view *system, const struct system_flow *flow)
{
    const struct schema *schema = &system->schemas[flow->schema];
    if (flow->key_field != SYSTEM_NONE && (!is_key_good(schema, flow->key_field) ||
                                           schema->fields[flow->key_field].capacity > SYSTEM_KEY_BYTES_MAX))
        return 0;
    if ((flow->cap != 0) != flow->is_durable || flow->rate_per_second == 0 || flow->rate_burst == 0 ||
        (flow->bytes_per_second == 0) != (flow->bytes_burst == 0) ||
        (flow->is_bytes_per_connection && flow->bytes_burst == 0))
        return 0;
    if (!system_check_spool(system, flow))
        return 0;
    uint64_t known = system->principal_count == 64 ? UINT64_MAX
                                                   : (UINT64_C(1) << system->principal_count) - 1;
    return (flow->principals & ~known) == 0 && (flow->principals == 0) == flow->is_open;
}

static const char *check_flow(const struct system_view *system, size_t index)
{
    const struct system_flow *flow = &system->flows[index];
    if (flow->is_durable > 1 || flow->is_broadcast > 1 || flow->is_payload_kept > 1 ||
        flow->is_rate_per_connection > 1 || flow->is_open > 1 || flow->is_observed > 1 ||
        flow->is_actuator > 1 || flow->is_bytes_per_connection > 1 || flow->is_newest_kept > 1 ||
        flow->is_dead_counted > 1 || (flow->is_dead_counted && flow->is_payload_kept) ||
        flow->zero != 0 || !is_zero(flow->zero2, 0, sizeof flow->zero2))
        return "a flag of a flow is malformed";
    if (flow->schema >= system->schema_count)
        return "a flow's schema does not exist";
    if (flow->is_sealed != has_sealed_field(&system->schemas[flow->schema]) || (flow->is_sealed && flow->is_actuator))
        return "a flow has a sealed field that is not allowed";
    if (flow->receiver_count == 0 || flow->receiver_count > SYSTEM_RECEIVERS_MAX)
        return "a flow has no receivers or too many";
    if (!is_sender_good(system, index))
        return "a flow's sender does not agree with it";
    for (size_t i = 0; i < SYSTEM_RECEIVERS_MAX; i++) {
        if (i >= flow->receiver_count) {
            if (!is_zero((const void *)&flow->receivers[i], 0, sizeof flow->receivers[i]))
                return "an unused receiver is not zero";
            continue;
        }
        if (!is_receiver_good(system, index, i))
            return "a flow's receiver does not agree with it";
        for (size_t j = 0; j < i; j++)
            if (memcmp(&flow->receivers[i], &flow->receivers[j], sizeof flow->receivers[i]) == 0)
                return "a flow has a receiver twice";
    }
    if (!is_broadcast_good(system, flow))
        return "a flow's broadcast flag does not agree with its receivers";
    if (!is_pair_good(system, flow))
        return "a request and its reply do not agree";
    if (flow->count_max == 0 || flow->count_max > MANIFEST_EFFECTS_MAX)
        return "a flow's count per event is malformed";
    if (!are_bounds_good(system, flow))
        return "a flow's key, caps, rate or principals are malformed";
    return system_check_flow_state(system, index);
}

// ---- The other tables ----

static int are_key_fields_good(const struct schema *schema, const uint16_t *fields, size_t count)
{
    if (count > SYSTEM_KEY_FIELDS_MAX)
        return 0;
    for (size_t i = 0; i < SYSTEM_KEY_FIELDS_MAX; i++) {
        if (i >= count) {
            if (fields[i] != 0)
                return 0;
            continue;
        }
        // A byte string may hold zeros, so only the end of the key ends it.
        if (!is_key_good(schema, fields[i]) ||
            (schema->fields[fields[i]].type == SCHEMA_BYTES && i + 1 != count))
            return 0;
        for (size_t j = 0; j < i; j++)
            if (fields[i] == fields[j])
                return 0;
    }
    return 1;
}

static const char *check_namespace(const struct system_view *system, size_t index)
{
    const struct system_namespace *space = &system->namespaces[index];
    uint64_t users = space->readers | space->writers;
    if (space->schema >= system->schema_count)
        return "a namespace's schema does not exist";
    if (space->key_count == 0 || space->zero != 0 || space->records_max == 0 ||
        !are_key_fields_good(&system->schemas[space->schema], space->key_fields, space->key_count) ||
        !are_key_fields_good(&system->schemas[space->schema], space->index_fields,
                             space->index_count))
        return "a namespace's key, index or size is malformed";
    if (users >> system->unikernel_count != 0)
        return "a namespace's reader or writer does not exist";
    return NULL;
}

const char *system_check(const struct system_view *system)
{
    const char *why = check_header(system);
    for (size_t i = 0; why == NULL && i < system->unikernel_count; i++)
        why = check_unikernel(system, i);
    for (size_t i = 0; why == NULL && i < system->flow_count; i++)
        why = check_flow(system, i);
    for (size_t i = 0; why == NULL && i < system->namespace_count; i++)
        why = check_namespace(system, i);
    for (size_t i = 0; why == NULL && i < system->gateway_count; i++)
        why = system_check_gateway(system, i);
    for (size_t i = 0; why == NULL && i < system->service_count; i++)
        why = system_check_service(system, i);
    for (size_t i = 0; why == NULL && i < system->courier_count; i++)
        why = system_check_courier(system, i);
    return why != NULL ? why : system_check_state(system);
}
