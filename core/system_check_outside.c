// SPDX-License-Identifier: ISC
// What a compiled system says of its outside: gateways, host services, couriers, and the flows that they name.
#include "core/system_check.h"

#include "core/manifest.h"
#include "core/schema_builtin.h"
#include "core/zero.h"

#include <string.h>

const char *system_check_gateway(const struct system_view *system, size_t index)
{
    const struct system_gateway *gateway = &system->gateways[index];
    if (!system_is_word(gateway->listen, sizeof gateway->listen) || gateway->connections_max == 0 ||
        gateway->output_bytes_max == 0 || gateway->slow_ms == 0)
        return "a gateway's address or limit is malformed";
    if (gateway->unikernel >= system->unikernel_count ||
        system->unikernels[gateway->unikernel].lifetime != LIFETIME_CONNECTION)
        return "a gateway's unikernel is not of lifetime connection";
    if (gateway->input_flow >= system->flow_count || gateway->output_flow >= system->flow_count ||
        !system_has_sender(&system->flows[gateway->input_flow], SYSTEM_GATEWAY, index, 0) ||
        !system_has_receiver(&system->flows[gateway->output_flow], SYSTEM_GATEWAY, index, 0))
        return "a gateway and its flows do not agree";
    return NULL;
}

int system_is_turning(const struct system_view *system, size_t service)
{
    return service < system->service_count && system->services[service].kind != SYSTEM_SERVICE_PASSWORD;
}

// Does the flow refuse what was played again?
static int has_order(const struct system_view *system, const struct system_flow *flow)
{
    const struct schema *schema = &system->schemas[flow->schema];
    for (size_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        if (check->kind == SYSTEM_CHECK_ORDER && strcmp(schema->fields[check->field].name, "serial") == 0)
            return !flow->is_observed;
    }
    return 0;
}

static const char *check_turning(const struct system_view *system, const struct system_service *service)
{
    const struct system_flow *in = &system->flows[service->request_flow], *out = &system->flows[service->reply_flow];
    const struct schema *from = &system->schemas[in->schema], *to = &system->schemas[out->schema];
    int is_good = 0;
    if (service->kind == SYSTEM_SERVICE_SEAL)
        is_good = schema_builtin_differs(to, "sealed/1") == NULL;
    else if (service->kind == SYSTEM_SERVICE_OPEN)
        is_good = schema_builtin_differs(from, "sealed/1") == NULL && has_order(system, in);
    else if (service->kind == SYSTEM_SERVICE_SIGN)
        is_good = schema_is_envelope(to, from);
    else
        is_good = schema_is_envelope(from, to) && has_order(system, in);
    return is_good ? NULL : "a service that seals or signs and the schemas of its flows do not agree";
}

const char *system_check_service(const struct system_view *system, size_t index)
{
    const struct system_service *service = &system->services[index];
    int is_turning = service->kind != SYSTEM_SERVICE_PASSWORD;
    if (service->kind < SYSTEM_SERVICE_PASSWORD || service->kind > SYSTEM_SERVICE_VERIFY || service->zero != 0 ||
        !system_is_path(service->path) ||
        (is_turning ? !system_is_name(service->channel) : !is_zero((const void *)service->channel, 0, sizeof service->channel)))
        return "a service's kind, path or channel is malformed";
    if (service->request_flow >= system->flow_count || service->reply_flow >= system->flow_count ||
        !system_has_receiver(&system->flows[service->request_flow], SYSTEM_SERVICE, index, 0) ||
        !system_has_sender(&system->flows[service->reply_flow], SYSTEM_SERVICE, index, 0) ||
        (!is_turning && system->flows[service->request_flow].pair != service->reply_flow))
        return "a service and its flows do not agree";
    return is_turning ? check_turning(system, service) : NULL;
}

static int is_empty(const char *text, size_t size) { return is_zero((const void *)text, 0, size); }

// What only a broker needs is zero without one.
static const char *check_broker(const struct system_courier *courier)
{
    int has_broker = courier->transport == SYSTEM_MQTT5, has_user = !is_empty(courier->user, sizeof courier->user);
    if (has_broker ? !system_is_word(courier->topic, sizeof courier->topic) || strpbrk(courier->topic, "+#$") != NULL
                   : !is_empty(courier->topic, sizeof courier->topic) || has_user)
        return "a courier's topic or user is malformed";
    if (has_user ? !system_is_word(courier->user, sizeof courier->user) || !system_is_path(courier->password)
                 : !is_empty(courier->password, sizeof courier->password))
        return "a courier's user and password file do not agree";
    if (!is_empty(courier->broker_authority, sizeof courier->broker_authority) && (!has_broker || !system_is_path(courier->broker_authority)))
        return "a courier's authority of the broker is malformed";
    return has_broker && courier->peer_count != 1 ? "a courier at a broker has one peer" : NULL;
}

const char *system_check_courier(const struct system_view *system, size_t index)
{
    const struct system_courier *courier = &system->couriers[index];
    if (!system_is_word(courier->address, sizeof courier->address) || courier->is_listening > 1 ||
        courier->transport < SYSTEM_TLS || courier->transport > SYSTEM_MQTT5 || courier->is_named > 1 ||
        !is_zero(courier->zero, 0, sizeof courier->zero) || strchr(courier->address, ':') == NULL ||
        (courier->resolver[0] != 0 ? !courier->is_named || !system_is_word(courier->resolver, sizeof courier->resolver)
                                   : !is_empty(courier->resolver, sizeof courier->resolver)))
        return "a courier's address or transport is malformed";
    if (!system_is_path(courier->certificate) || !system_is_path(courier->key) || !system_is_path(courier->authority))
        return "a courier's path is malformed";
    if (courier->peer_count == 0 || courier->peer_count > SYSTEM_PEERS_MAX ||
        (!courier->is_listening && courier->peer_count != 1))
        return "a courier has no peers or too many";
    for (size_t i = 0; i < SYSTEM_PEERS_MAX; i++) {
        const struct system_peer *peer = &courier->peers[i];
        if (i >= courier->peer_count ? !is_zero((const void *)peer, 0, sizeof *peer)
                                     : !system_is_word(peer->name, sizeof peer->name) ||
                                           peer->principal > system->principal_count ||
                                           !is_zero((const void *)peer->zero, 0, sizeof peer->zero))
            return "a courier's peer is malformed";
        for (size_t j = 0; j < i && i < courier->peer_count; j++)
            if (strcmp(peer->name, courier->peers[j].name) == 0)
                return "a courier has a peer twice";
    }
    return check_broker(courier);
}
