// SPDX-License-Identifier: ISC
// Fuzz target: manifests. What is accepted has every name terminated, every index inside its table, every pair mutual,
// and schemas that the second checker (schema_oracle.h) accepts as well.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/manifest_sample.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/schema_oracle.h"

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    struct manifest_sample sample;
    if (index != 0)
        return 0;
    manifest_sample_make(&sample);
    memcpy(bytes, &sample, sizeof sample);
    return sizeof sample;
}

static void judge_names(const void *table, size_t count, size_t entry)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = (const char *)table + i * entry;
        must(oracle_is_word(name, MANIFEST_NAME_BYTES, ORACLE_LOWER, ORACLE_LOWER ORACLE_DIGITS "_-"));
        for (size_t j = 0; j < i; j++)
            must(strcmp(name, (const char *)table + j * entry) != 0);
    }
}

static void judge_flows(const struct manifest *manifest, const struct manifest_flow *flows, size_t count,
                        const struct manifest_flow *partners, size_t partner_count)
{
    judge_names(flows, count, sizeof *flows);
    for (size_t i = 0; i < count; i++) {
        must(flows[i].schema < manifest->header->schema_count && flows[i].kind <= MANIFEST_REPLY);
        must(memcmp(flows[i].schema_digest, manifest->schemas[flows[i].schema].header->digest, 32) == 0);
        must((flows[i].kind == MANIFEST_REQUEST) == (flows[i].pair != 0xffff));
        must(flows[i].pair == 0xffff ||
             (flows[i].pair < partner_count && partners[flows[i].pair].kind == MANIFEST_REPLY));
        must(flows == manifest->inputs ? flows[i].count_max == 0
                                       : flows[i].count_max >= 1 && flows[i].count_max <= MANIFEST_EFFECTS_MAX);
    }
}

static void judge_spaces(const struct manifest *manifest)
{
    judge_names(manifest->namespaces, manifest->header->namespace_count, sizeof *manifest->namespaces);
    for (size_t i = 0; i < manifest->header->namespace_count; i++) {
        const struct manifest_namespace *space = &manifest->namespaces[i];
        must(space->schema < manifest->header->schema_count && space->access >= 1 && space->access <= 3);
        must(space->key_count >= 1 && space->key_count <= 4 && space->index_count <= 4);
        const struct schema *schema = &manifest->schemas[space->schema];
        static uint8_t message[ABI_PAYLOAD_BYTES_MAX];
        uint8_t key[4 * ABI_PAYLOAD_BYTES_MAX + 64];
        for (unsigned j = 0; j < space->key_count; j++)
            must(space->key_fields[j] < schema->header->field_count);
        for (unsigned j = 0; j < space->index_count; j++)
            must(space->index_fields[j] < schema->header->field_count);
        (void)schema_key(schema, space->key_fields, space->key_count, message, schema->header->struct_bytes, key,
                         sizeof key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct oracle oracle;
    struct manifest manifest;
    if (manifest_open(&manifest, data, size) != STATUS_OK)
        return 0;
    const struct manifest_header *header = manifest.header;
    must(header->bytes == size && header->input_count >= 1 && header->input_count <= MANIFEST_FLOWS_MAX);
    must(memchr(header->release, 0, sizeof header->release) != NULL && header->deadline_ms != 0);
    must(header->arena_bytes % 4096 == 0 && header->arena_bytes - 1 < MANIFEST_ARENA_BYTES_MAX);
    must(header->stack_bytes % 4096 == 0 && header->stack_bytes - 1 < MANIFEST_STACK_BYTES_MAX);
    judge_names(header->name, 1, sizeof header->name);
    judge_flows(&manifest, manifest.inputs, header->input_count, manifest.outputs, header->output_count);
    judge_flows(&manifest, manifest.outputs, header->output_count, manifest.inputs, header->input_count);
    judge_names(manifest.refusals, header->refusal_count, sizeof *manifest.refusals);
    for (size_t i = 0; i < header->schema_count; i++)
        must(oracle_open(&oracle, (const uint8_t *)manifest.schemas[i].header, manifest.schemas[i].header->block_bytes));
    judge_spaces(&manifest);
    return 0;
}
