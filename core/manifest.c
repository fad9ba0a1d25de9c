// SPDX-License-Identifier: ISC
// Reading manifests: accepts exactly what manifest.h describes.
#include "core/manifest.h"

#include "abi/abi.h"
#include "core/check.h"

#include <string.h>

#define NO_PAIR 0xffffu

static int is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// [a-z][a-z0-9_-]*, zero-terminated and zero-filled.
static int name_is_valid(const char *name, size_t capacity)
{
    size_t length = 0;

    while (length < capacity && name[length] != 0) {
        char c = name[length];
        if (!is_lower(c) && (length == 0 || (!is_digit(c) && c != '_' && c != '-')))
            return 0;
        length++;
    }
    if (length == 0 || length == capacity)
        return 0;
    for (size_t i = length; i < capacity; i++)
        if (name[i] != 0)
            return 0;
    return 1;
}

static int release_is_valid(const char *release, size_t capacity)
{
    size_t length = 0;

    while (length < capacity && release[length] != 0) {
        char c = release[length];
        if (!is_lower(c) && !is_digit(c) && c != '.' && c != '-' && c != '+')
            return 0;
        length++;
    }
    if (length == 0 || length == capacity)
        return 0;
    for (size_t i = length; i < capacity; i++)
        if (release[i] != 0)
            return 0;
    return 1;
}

// Names in a table of equal entries that begin with their name: valid and all different.
static int names_are_valid(const void *table, size_t count, size_t entry_bytes)
{
    const char *first = table;

    for (size_t i = 0; i < count; i++) {
        const char *name = first + i * entry_bytes;
        if (!name_is_valid(name, MANIFEST_NAME_BYTES))
            return 0;
        for (size_t j = 0; j < i; j++)
            if (memcmp(first + j * entry_bytes, name, MANIFEST_NAME_BYTES) == 0)
                return 0;
    }
    return 1;
}

static int pages_are_valid(uint32_t bytes, uint32_t most)
{
    return bytes != 0 && bytes % 4096u == 0 && bytes <= most;
}

static enum status header_check(const struct manifest_header *header, size_t size)
{
    if (header->magic != MANIFEST_MAGIC)
        return STATUS_MALFORMED;
    if (header->version != MANIFEST_VERSION || header->abi_version != ABI_VERSION)
        return STATUS_VERSION;
    if (header->bytes != size)
        return header->bytes > size ? STATUS_TRUNCATED : STATUS_MALFORMED;
    if (!name_is_valid(header->name, sizeof header->name) ||
        !release_is_valid(header->release, sizeof header->release))
        return STATUS_MALFORMED;
    if (header->lifetime > LIFETIME_RESIDENT || header->isolation > ISOLATION_ENCLAVE ||
        header->is_random > 1 || header->zero != 0 || header->zero2 != 0)
        return STATUS_MALFORMED;
    if (header->input_count > MANIFEST_FLOWS_MAX || header->output_count > MANIFEST_FLOWS_MAX ||
        header->namespace_count > MANIFEST_NAMESPACES_MAX ||
        header->refusal_count > MANIFEST_REFUSALS_MAX ||
        header->schema_count > MANIFEST_SCHEMAS_MAX || header->writes_max > MANIFEST_EFFECTS_MAX)
        return STATUS_TOO_LARGE;
    if (header->input_count == 0) // it could never run
        return STATUS_MALFORMED;
    if (!pages_are_valid(header->arena_bytes, MANIFEST_ARENA_BYTES_MAX) ||
        !pages_are_valid(header->stack_bytes, MANIFEST_STACK_BYTES_MAX) ||
        header->deadline_ms == 0 || header->deadline_ms > MANIFEST_DEADLINE_MS_MAX)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

static enum status schemas_open(struct manifest *manifest, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    for (size_t i = 0; i < manifest->header->schema_count; i++) {
        struct schema_header header;
        if (size - at < sizeof header)
            return STATUS_TRUNCATED;
        memcpy(&header, bytes + at, sizeof header);
        if (header.block_bytes % 8 != 0 || header.block_bytes < sizeof header)
            return STATUS_MALFORMED;
        if (header.block_bytes > size - at)
            return STATUS_TRUNCATED;
        enum status status = schema_open(&manifest->schemas[i], bytes + at, header.block_bytes);
        if (status != STATUS_OK)
            return status;
        for (size_t j = 0; j < i; j++)
            if (strcmp(manifest->schemas[j].header->name, manifest->schemas[i].header->name) == 0)
                return STATUS_MALFORMED;
        at += header.block_bytes;
    }
    return at == size ? STATUS_OK : STATUS_MALFORMED;
}

static int schema_is_known(const struct manifest *manifest, uint16_t schema, const uint8_t *digest)
{
    return schema < manifest->header->schema_count &&
           memcmp(manifest->schemas[schema].header->digest, digest, SCHEMA_DIGEST_BYTES) == 0;
}

// A request names a partner of kind REPLY in the other table; every reply has a request.
static int pairs_are_valid(const struct manifest_flow *flows, size_t count,
                           const struct manifest_flow *partners, size_t partner_count)
{
    for (size_t i = 0; i < count; i++) {
        if (flows[i].kind != MANIFEST_REQUEST) {
            if (flows[i].pair != NO_PAIR)
                return 0;
        } else if (flows[i].pair >= partner_count || partners[flows[i].pair].kind != MANIFEST_REPLY) {
            return 0;
        }
    }
    for (size_t i = 0; i < partner_count; i++) {
        if (partners[i].kind != MANIFEST_REPLY)
            continue;
        int is_asked = 0;
        for (size_t j = 0; j < count; j++)
            is_asked |= flows[j].kind == MANIFEST_REQUEST && flows[j].pair == i;
        if (!is_asked)
            return 0;
    }
    return 1;
}

static int flows_are_valid(const struct manifest *manifest)
{
    const struct manifest_header *header = manifest->header;

    for (size_t i = 0; i < (size_t)header->input_count + header->output_count; i++) {
        const struct manifest_flow *flow = &manifest->inputs[i]; // outputs lie right behind
        int is_output = i >= header->input_count;
        if (flow->kind > MANIFEST_REPLY ||
            !schema_is_known(manifest, flow->schema, flow->schema_digest))
            return 0;
        if (is_output ? flow->count_max == 0 || flow->count_max > MANIFEST_EFFECTS_MAX
                      : flow->count_max != 0)
            return 0;
    }
    return pairs_are_valid(manifest->inputs, header->input_count, manifest->outputs,
                           header->output_count) &&
           pairs_are_valid(manifest->outputs, header->output_count, manifest->inputs,
                           header->input_count);
}

static int fields_are_valid(const struct schema *schema, const uint16_t *fields, size_t count)
{
    for (size_t i = 0; i < MANIFEST_KEY_FIELDS_MAX; i++) {
        if (i >= count) {
            if (fields[i] != 0)
                return 0;
            continue;
        }
        if (fields[i] >= schema->header->field_count ||
            !schema_has_value(schema, fields[i]) ||
            (schema->fields[fields[i]].type == SCHEMA_BYTES && i + 1 < count))
            return 0;
        for (size_t j = 0; j < i; j++)
            if (fields[j] == fields[i])
                return 0;
    }
    return 1;
}

static int namespaces_are_valid(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->header->namespace_count; i++) {
        const struct manifest_namespace *namespace = &manifest->namespaces[i];
        if (!schema_is_known(manifest, namespace->schema, namespace->schema_digest))
            return 0;
        const struct schema *schema = &manifest->schemas[namespace->schema];
        if (namespace->access == 0 || namespace->access > 3 || namespace->key_count == 0 ||
            namespace->key_count > MANIFEST_KEY_FIELDS_MAX ||
            namespace->index_count > MANIFEST_KEY_FIELDS_MAX ||
            !fields_are_valid(schema, namespace->key_fields, namespace->key_count) ||
            !fields_are_valid(schema, namespace->index_fields, namespace->index_count))
            return 0;
    }
    return 1;
}

enum status manifest_open(struct manifest *manifest, const uint8_t *bytes, size_t size)
{
    struct manifest m = {0};

    check(((uintptr_t)bytes & 7u) == 0);
    if (size < sizeof *m.header)
        return STATUS_TRUNCATED;
    if (size > MANIFEST_BYTES_MAX)
        return STATUS_TOO_LARGE;
    m.header = (const struct manifest_header *)(const void *)bytes;
    enum status status = header_check(m.header, size);
    if (status != STATUS_OK)
        return status;

    size_t inputs_at = sizeof *m.header;
    size_t outputs_at = inputs_at + m.header->input_count * sizeof *m.inputs;
    size_t namespaces_at = outputs_at + m.header->output_count * sizeof *m.outputs;
    size_t refusals_at = namespaces_at + m.header->namespace_count * sizeof *m.namespaces;
    size_t schemas_at = refusals_at + m.header->refusal_count * sizeof *m.refusals;
    if (schemas_at > size)
        return STATUS_TRUNCATED;
    m.inputs = (const struct manifest_flow *)(const void *)(bytes + inputs_at);
    m.outputs = (const struct manifest_flow *)(const void *)(bytes + outputs_at);
    m.namespaces = (const struct manifest_namespace *)(const void *)(bytes + namespaces_at);
    m.refusals = (const struct manifest_refusal *)(const void *)(bytes + refusals_at);
    status = schemas_open(&m, bytes + schemas_at, size - schemas_at);
    if (status != STATUS_OK)
        return status;
    if (!names_are_valid(m.inputs, m.header->input_count, sizeof *m.inputs) ||
        !names_are_valid(m.outputs, m.header->output_count, sizeof *m.outputs) ||
        !names_are_valid(m.namespaces, m.header->namespace_count, sizeof *m.namespaces) ||
        !names_are_valid(m.refusals, m.header->refusal_count, sizeof *m.refusals) ||
        !flows_are_valid(&m) || !namespaces_are_valid(&m))
        return STATUS_MALFORMED;
    *manifest = m;
    return STATUS_OK;
}
