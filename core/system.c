// SPDX-License-Identifier: ISC
// The one reader of compiled systems. Layout: proto/system.h.
//
// A file is accepted if and only if
// - magic, version and body_bytes are right and the reserved bytes of the signature block are zero;
// - every table begins where the one before it ends, rounded up to 8, the first right behind the
//   header, in the header's order; schema blocks follow the schemas table in the same way, then the
//   text of the `never` rules (whole lines) and the configuration bytes, and the file ends behind them, rounded up to 8. What rounding skips is zero;
// - no table is larger than its limit; every schema block is accepted by schema_open();
// - the tables agree with each other (system_check.c).
// So there is one file for one system, and no byte in it is outside a rule.
#include "core/system.h"

#include "core/manifest.h"
#include "core/system_check.h"
#include "proto/commit.h"

#include <string.h>

struct walk {
    const uint8_t *bytes;
    size_t size, end; // everything before `end` has its place
};

// Moves over the padding before the next part. NULL or what is wrong.
static int walk_align(struct walk *walk)
{
    size_t next = (walk->end + 7) & ~(size_t)7;
    if (next > walk->size)
        return 0;
    for (size_t i = walk->end; i < next; i++)
        if (walk->bytes[i] != 0)
            return 0;
    walk->end = next;
    return 1;
}

// The table that must begin here, or NULL.
static const void *walk_table(struct walk *walk, const struct system_table *table, size_t entry,
                              size_t count_max)
{
    if (!walk_align(walk) || table->offset != walk->end || table->count > count_max ||
        table->count > (walk->size - walk->end) / entry)
        return NULL;
    walk->end += table->count * entry;
    return walk->bytes + table->offset;
}

static const char *open_envelope(const uint8_t *bytes, size_t size)
{
    if (size < sizeof(struct system_signature) + sizeof(struct system_header))
        return "the file is too short";
    if (size > SYSTEM_BYTES_MAX)
        return "the file is too long";
    if ((uintptr_t)bytes % 8 != 0)
        return "the bytes are not aligned";
    const struct system_signature *signature = (const void *)bytes;
    if (signature->magic != SYSTEM_MAGIC)
        return "not a compiled system";
    if (signature->version != SYSTEM_VERSION)
        return "a version that this program does not speak";
    if (signature->body_bytes != size - sizeof *signature)
        return "the file does not have the length that it names";
    for (size_t i = 0; i < sizeof signature->zero; i++)
        if (signature->zero[i] != 0)
            return "reserved bytes of the signature block are not zero";
    return NULL;
}

static const char *open_schemas(struct system_view *system, struct walk *walk)
{
    const struct system_table *table = &system->header->schemas;
    const uint32_t *offsets = walk_table(walk, table, sizeof *offsets, SYSTEM_SCHEMAS_MAX);
    if (offsets == NULL)
        return "the table of schemas is out of place";
    for (size_t i = 0; i < table->count; i++) {
        struct schema_header header;
        if (!walk_align(walk) || offsets[i] != walk->end || walk->size - walk->end < sizeof header)
            return "a schema is out of place";
        memcpy(&header, walk->bytes + walk->end, sizeof header);
        if (header.block_bytes > walk->size - walk->end ||
            schema_open(&system->schemas[i], walk->bytes + walk->end, header.block_bytes) != STATUS_OK)
            return "a schema is malformed";
        walk->end += header.block_bytes;
    }
    system->schema_count = table->count;
    return NULL;
}

static const char *open_never(struct system_view *system, struct walk *walk)
{
    const struct system_table *table = &system->header->never;
    const char *text = walk_table(walk, table, 1, SYSTEM_NEVER_BYTES_MAX);
    if (text == NULL)
        return "the 'never' rules are out of place";
    for (size_t i = 0; i < table->count; i++)
        if (((uint8_t)text[i] < 0x20 && text[i] != '\t' && text[i] != '\n') || text[i] == 0x7f)
            return "the 'never' rules are malformed";
    if (table->count != 0 && text[table->count - 1] != '\n')
        return "the 'never' rules are malformed";
    system->never = text;
    system->never_bytes = table->count;
    return NULL;
}

static const char *open_tables(struct system_view *system)
{
    const struct system_header *header = system->header;
    struct walk walk = {system->bytes, system->size,
                        sizeof(struct system_signature) + sizeof *header};
    if ((system->unikernels = walk_table(&walk, &header->unikernels, sizeof *system->unikernels,
                                         SYSTEM_UNIKERNELS_MAX)) == NULL)
        return "the table of unikernels is out of place";
    if ((system->flows = walk_table(&walk, &header->flows, sizeof *system->flows,
                                    SYSTEM_FLOWS_MAX)) == NULL)
        return "the table of flows is out of place";
    if ((system->namespaces = walk_table(&walk, &header->namespaces, sizeof *system->namespaces,
                                         SYSTEM_NAMESPACES_MAX)) == NULL)
        return "the table of namespaces is out of place";
    if ((system->principals = walk_table(&walk, &header->principals, sizeof *system->principals,
                                         SYSTEM_PRINCIPALS_MAX)) == NULL)
        return "the table of principals is out of place";
    if ((system->gateways = walk_table(&walk, &header->gateways, sizeof *system->gateways,
                                       SYSTEM_GATEWAYS_MAX)) == NULL)
        return "the table of gateways is out of place";
    if ((system->services = walk_table(&walk, &header->services, sizeof *system->services,
                                       SYSTEM_SERVICES_MAX)) == NULL)
        return "the table of services is out of place";
    if ((system->checks = walk_table(&walk, &header->checks, sizeof *system->checks,
                                     SYSTEM_CHECKS_MAX)) == NULL)
        return "the table of checks is out of place";
    if ((system->machines = walk_table(&walk, &header->machines, sizeof *system->machines,
                                       SYSTEM_MACHINES_MAX)) == NULL)
        return "the table of machines is out of place";
    if ((system->couriers = walk_table(&walk, &header->couriers, sizeof *system->couriers,
                                       SYSTEM_COURIERS_MAX)) == NULL)
        return "the table of couriers is out of place";
    const char *why = open_schemas(system, &walk);
    if (why == NULL)
        why = open_never(system, &walk);
    if (why != NULL)
        return why;
    if (walk_table(&walk, &header->configuration, 1, SYSTEM_BYTES_MAX) == NULL)
        return "the configuration is out of place";
    if (!walk_align(&walk) || walk.end != system->size)
        return "bytes behind the end";
    return NULL;
}

enum status system_open(struct system_view *system, const uint8_t *bytes, size_t size,
                        const char **why)
{
    // The view is filled in place: it is large, and nobody may use it unless this succeeds.
    memset(system, 0, sizeof *system);
    *why = open_envelope(bytes, size);
    if (*why == NULL) {
        system->bytes = bytes;
        system->size = size;
        system->header = (const void *)(bytes + sizeof(struct system_signature));
        system->unikernel_count = system->header->unikernels.count;
        system->flow_count = system->header->flows.count;
        system->namespace_count = system->header->namespaces.count;
        system->principal_count = system->header->principals.count;
        system->gateway_count = system->header->gateways.count;
        system->service_count = system->header->services.count;
        system->check_count = system->header->checks.count;
        system->machine_count = system->header->machines.count;
        system->courier_count = system->header->couriers.count;
        *why = open_tables(system);
    }
    if (*why == NULL)
        *why = system_check(system);
    if (*why == NULL)
        return STATUS_OK;
    memset(system, 0, sizeof *system);
    return STATUS_MALFORMED;
}

size_t system_places(const struct system_view *system)
{
    return system->unikernel_count + system->service_count + system->courier_count;
}

uint16_t system_place(const struct system_view *system, const struct system_receiver *receiver)
{
    switch (receiver->kind) {
    case SYSTEM_UNIKERNEL:
        return receiver->index;
    case SYSTEM_SERVICE:
        return (uint16_t)(system->unikernel_count + receiver->index);
    case SYSTEM_COURIER:
        return (uint16_t)(system->unikernel_count + system->service_count + receiver->index);
    default:
        return SYSTEM_NONE;
    }
}

const char *system_place_name(const struct system_view *system, size_t place)
{
    size_t service = place - system->unikernel_count, courier = service - system->service_count;
    if (place < system->unikernel_count)
        return system->unikernels[place].name;
    return service < system->service_count ? system->services[service].name : system->couriers[courier].name;
}

uint16_t system_port(const struct system_view *system, const struct system_flow *flow, uint16_t place)
{
    for (uint16_t i = 0; i < flow->receiver_count; i++)
        if (system_place(system, &flow->receivers[i]) == place)
            return flow->receivers[i].port;
    return SYSTEM_NONE;
}

uint64_t system_flow_need(const struct system_flow *flow)
{
    return (uint64_t)flow->count_max * flow->receiver_count;
}

int system_flow_is_keepable(const struct system_flow *flow)
{
    return flow->is_durable && flow->kind == SYSTEM_PLAIN && flow->sender_kind == SYSTEM_UNIKERNEL &&
           flow->receiver_count == 1 && flow->receivers[0].kind == SYSTEM_UNIKERNEL && !flow->is_newest_kept &&
           flow->live_ms == 0;
}

uint64_t system_row_bytes(const struct schema *schema)
{
    return COMMIT_ROW_BYTES + ABI_ALIGN8((uint64_t)schema->header->struct_bytes) + SYSTEM_KEY_BYTES_MAX +
           ABI_CONTEXT_BYTES_MAX;
}

uint16_t system_receipts(const struct system_view *system, uint16_t unikernel)
{
    for (uint16_t i = 0; i < system->flow_count; i++)
        if (system->flows[i].sender_kind == SYSTEM_RECEIPTS && system->flows[i].receivers[0].index == unikernel)
            return i;
    return SYSTEM_NONE;
}

int system_has_receipts(const struct system_flow *flow)
{
    int is_self = flow->receivers[0].kind == SYSTEM_UNIKERNEL && flow->receivers[0].index == flow->sender;
    if (flow->sender_kind != SYSTEM_UNIKERNEL)
        return 0;
    return flow->kind == SYSTEM_REQUEST ? flow->live_ms != 0 : flow->kind == SYSTEM_PLAIN && flow->is_durable && !is_self;
}
