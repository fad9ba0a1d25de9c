// SPDX-License-Identifier: ISC
// Services that seal, open, sign and verify (docs/nodes.md), and the schemas of flows that no unikernel's port names:
// sealed/1, and the envelope of a schema (core/schema_builtin.h).
#include "cli/source/compile_state.h"

#include "cli/report.h"
#include "cli/source/schema_source.h"
#include "core/check.h"
#include "core/schema_builtin.h"
#include "core/system_check.h"
#include "proto/builtin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct schema_header header;
    struct schema_field fields[SCHEMA_FIELDS_MAX];
};

static struct schema_field field_make(const char *name, unsigned type, size_t offset, unsigned capacity, int64_t maximum)
{
    struct schema_field field = {.type = (uint8_t)type, .offset = (uint16_t)offset, .capacity = (uint16_t)capacity, .maximum = maximum};
    memcpy(field.name, name, strlen(name));
    return field;
}

// A schema of those parts, kept until the system is closed.
static const struct schema *schema_make(struct compile *compile, const struct block *block, const struct schema *of)
{
    size_t fields = block->header.field_count * sizeof block->fields[0], relations = 0, labels = 0;
    if (of != NULL) {
        relations = of->header->relation_count * sizeof of->relations[0];
        labels = of->header->label_count * sizeof of->labels[0];
    }
    size_t size = (sizeof block->header + fields + relations + labels + 7) & ~(size_t)7;
    uint8_t *bytes = calloc(1, size);
    struct schema *schema = &compile->made[compile->made_count];
    if (bytes == NULL || compile->made_count == COMPILE_MADE_MAX) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    compile->made_blocks[compile->made_count++] = bytes;
    struct schema_header header = block->header;
    header.block_bytes = (uint32_t)size;
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, block->fields, fields);
    if (of != NULL) {
        memcpy(bytes + sizeof header + fields, of->relations, relations);
        memcpy(bytes + sizeof header + fields + relations, of->labels, labels);
    }
    schema_digest(bytes, size, header.digest);
    memcpy(bytes, &header, sizeof header);
    check(schema_open(schema, bytes, size) == STATUS_OK);
    return schema;
}

static const struct schema *sealed_make(struct compile *compile)
{
    struct block block = {.header = {.name = "sealed/1", .field_count = 2, .is_cut = 1,
                                     .struct_bytes = (BUILTIN_SEALED_BYTES + BUILTIN_BOX_BYTES_MAX + 7) / 8 * 8}};
    block.fields[0] = field_make("serial", SCHEMA_U64, 0, 0, -1);
    block.fields[1] = field_make("box", SCHEMA_SEALED, 8, BUILTIN_BOX_BYTES_MAX, 0);
    return schema_make(compile, &block, NULL);
}

static const struct schema *envelope_make(struct compile *compile, const struct yaml_node *node, const struct schema *inner)
{
    const struct schema_header *header = inner->header;
    size_t count = header->field_count, end = header->struct_bytes;
    struct block block = {.header = {.field_count = (uint16_t)(count + 2), .relation_count = header->relation_count,
                                     .label_count = header->label_count, .is_cut = 1,
                                     .struct_bytes = (uint16_t)(end + sizeof(struct builtin_signature))}};
    if (strlen(header->name) + strlen(SCHEMA_ENVELOPE_PREFIX) >= sizeof block.header.name || count + 2 > SCHEMA_FIELDS_MAX ||
        end + sizeof(struct builtin_signature) > ABI_PAYLOAD_BYTES_MAX || schema_field_index(inner, "serial") >= 0 ||
        schema_field_index(inner, "tag") >= 0) {
        yaml_error(&compile->file, node, "a signed message has two fields more, 'serial' and 'tag', of 48 bytes, and a longer name",
                   "%s has no room for a signature", header->name);
        return NULL;
    }
    snprintf(block.header.name, sizeof block.header.name, SCHEMA_ENVELOPE_PREFIX "%.37s", header->name);
    memcpy(block.fields, inner->fields, count * sizeof inner->fields[0]);
    block.fields[count] = field_make("serial", SCHEMA_U64, end, 0, -1);
    block.fields[count + 1] = field_make("tag", SCHEMA_BYTES, end + 8, BUILTIN_TAG_BYTES, 0);
    return schema_make(compile, &block, inner);
}

int compile_is_turning(const struct compile *compile, unsigned kind, unsigned index)
{
    return kind == SYSTEM_SERVICE && compile->services[index].kind != SYSTEM_SERVICE_PASSWORD;
}

// The schema of the flow that the service names under that key, which has a port.
static const struct schema *schema_of(struct compile *compile, size_t service, const char *key)
{
    const char *name = yaml_text(&compile->file, compile->service_nodes[service], key, "");
    int flow = compile_find(compile->flows, sizeof compile->flows[0], compile->flow_count, name);
    return flow >= 0 && compile->is_flow_read[flow] ? &compile->schemas[compile->flows[flow].schema] : NULL;
}

const struct schema *compile_derived_schema(struct compile *compile, const struct yaml_node *node, const struct system_flow *flow)
{
    size_t service = SYSTEM_SERVICES_MAX;
    int is_from = flow->sender_kind == SYSTEM_SERVICE;
    if (is_from)
        service = flow->sender;
    for (size_t i = 0; i < flow->receiver_count && !is_from; i++)
        if (flow->receivers[i].kind == SYSTEM_SERVICE)
            service = flow->receivers[i].index;
    if (service >= compile->service_count)
        return NULL;
    unsigned kind = compile->services[service].kind;
    if ((kind == SYSTEM_SERVICE_SEAL && is_from) || (kind == SYSTEM_SERVICE_OPEN && !is_from))
        return sealed_make(compile);
    int is_signed = (kind == SYSTEM_SERVICE_SIGN && is_from) || (kind == SYSTEM_SERVICE_VERIFY && !is_from);
    const struct schema *inner = is_signed ? schema_of(compile, service, is_from ? "input" : "output") : NULL;
    if (inner == NULL)
        yaml_error(&compile->file, node, "let the message itself come from or go to a port of a unikernel",
                   "nothing says which schema flow '%s' carries", flow->name);
    return inner != NULL ? envelope_make(compile, node, inner) : NULL;
}

void compile_turning(struct compile *compile, struct yaml_node *node, struct system_service *service)
{
    struct yaml_file *file = &compile->file;
    const char *channel = yaml_text(file, node, "channel", NULL);
    compile_path(compile, node, "key", service->path);
    if (channel == NULL)
        return;
    compile_name(service->channel, channel);
    if (service->channel[0] == 0)
        yaml_error(file, node, "use a-z 0-9 _ -, a letter first, at most 31 characters", "bad channel '%s'", channel);
}

// Once all flows are known.
void compile_turning_check(struct compile *compile, size_t index)
{
    const struct system_service *service = &compile->services[index];
    struct yaml_node *node = compile->service_nodes[index];
    if (service->request_flow == SYSTEM_NONE || service->reply_flow == SYSTEM_NONE)
        return;
    const struct system_flow *in = &compile->flows[service->request_flow], *out = &compile->flows[service->reply_flow];
    const struct schema *from = &compile->schemas[in->schema], *to = &compile->schemas[out->schema];
    int is_opening = service->kind == SYSTEM_SERVICE_OPEN || service->kind == SYSTEM_SERVICE_VERIFY, has_order = 0;
    for (size_t i = 0; i < in->check_count && in->check_first + i < compile->check_count; i++)
        has_order |= compile->checks[in->check_first + i].kind == SYSTEM_CHECK_ORDER;
    if (is_opening && (!has_order || in->is_observed))
        yaml_error(&compile->file, compile->flow_nodes[service->request_flow], "add 'sequence: serial', or 'sequence: {field: serial, window: 64}'",
                   "nothing refuses what is played again on flow '%s' to '%s'", in->name, service->name);
    if (service->kind == SYSTEM_SERVICE_SEAL && from->header->struct_bytes + 56u > BUILTIN_BOX_BYTES_MAX)
        yaml_error(&compile->file, node, "at most 3016 bytes", "%s is too large to be sealed", from->header->name);
    if ((service->kind == SYSTEM_SERVICE_SIGN && !schema_is_envelope(to, from)) ||
        (service->kind == SYSTEM_SERVICE_VERIFY && !schema_is_envelope(from, to)) ||
        (service->kind == SYSTEM_SERVICE_SEAL && schema_builtin_differs(to, "sealed/1") != NULL) ||
        (service->kind == SYSTEM_SERVICE_OPEN && schema_builtin_differs(from, "sealed/1") != NULL))
        yaml_error(&compile->file, node, "a signed message has the message's fields, then 'serial' and 'tag'; a sealed one is sealed/1",
                   "'%s' cannot make %s of %s", service->name, to->header->name, from->header->name);
}
