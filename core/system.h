// SPDX-License-Identifier: ISC
// Reading the compiled system (proto/system.h): the one place that checks its bounds.
#ifndef CRENEL_CORE_SYSTEM_H
#define CRENEL_CORE_SYSTEM_H

#include "core/schema.h"
#include "proto/system.h"

struct system_view { // into bytes that were accepted; they outlive it
    const uint8_t *bytes;
    size_t size;
    const struct system_header *header;
    const struct system_unikernel *unikernels;
    const struct system_flow *flows;
    const struct system_namespace *namespaces;
    const struct system_principal *principals;
    const struct system_gateway *gateways;
    const struct system_service *services;
    const struct system_courier *couriers;
    const struct system_check *checks;
    const struct system_machine *machines;
    const char *never; // never_bytes of text, whole lines
    size_t never_bytes;
    size_t unikernel_count, flow_count, namespace_count, principal_count, gateway_count,
        service_count, courier_count, check_count, machine_count, schema_count;
    struct schema schemas[SYSTEM_SCHEMAS_MAX];
};

// Checks everything but the signature: *why then names what is wrong. bytes is 8-byte aligned.
enum status system_open(struct system_view *system, const uint8_t *bytes, size_t size,
                        const char **why) MUST_USE;

// Who may have messages waiting, in one row: unikernels, then services, then couriers. A place is an index into it.
size_t system_places(const struct system_view *system);
// SYSTEM_NONE: of a gateway or of the router's subscriptions.
uint16_t system_place(const struct system_view *system, const struct system_receiver *receiver);
const char *system_place_name(const struct system_view *system, size_t place);

// Port at which that place receives the flow (of a unikernel its input, else 0), or SYSTEM_NONE: it does not.
uint16_t system_port(const struct system_view *system, const struct system_flow *flow, uint16_t place);

// The flow of its receipts, or SYSTEM_NONE.
uint16_t system_receipts(const struct system_view *system, uint16_t unikernel);
// May messages of the flow make receipts, if its sender takes some? Durable ones that do not lead back, and requests
// with a deadline, of which each makes one that is not answered.
int system_has_receipts(const struct system_flow *flow);

// The messages that one event of its sender may put into the flow at most, one for each receiver.
uint64_t system_flow_need(const struct system_flow *flow);
// May the router keep messages of it (proto/commit.h: kept messages)? Plain ones from one unikernel to one other, or to
// those of its connections that joined, which the store neither ends nor delays.
int system_flow_is_keepable(const struct system_flow *flow);
// The most that one message of the flow takes in the store (proto/commit.h: COMMIT_ROW_BYTES).
uint64_t system_row_bytes(const struct schema *schema);

#endif
