// SPDX-License-Identifier: ISC
// A manifest made by hand that has a bit of everything: two inputs, three outputs of which one is a request, a
// namespace with an index, refusals, two schemas. Independent of the builder.
#ifndef CRENEL_TESTS_MANIFEST_SAMPLE_H
#define CRENEL_TESTS_MANIFEST_SAMPLE_H

#include "abi/abi.h"
#include "core/manifest.h"

struct manifest_sample {
    struct manifest_header header;
    struct manifest_flow inputs[2], outputs[3];
    struct manifest_namespace namespaces[1];
    struct manifest_refusal refusals[2];
    struct {
        struct schema_header header;
        struct schema_field fields[3];
    } item;
    struct {
        struct schema_header header;
        struct schema_field fields[1];
    } text;
};

enum { SAMPLE_IN, SAMPLE_ANSWER };
enum { SAMPLE_OUT, SAMPLE_ASK, SAMPLE_TEXT };

// item/1: value u32 <= 1000, key u32, sequence u64; text/1: a string of at most 20 bytes.
static inline void manifest_sample_make(struct manifest_sample *sample)
{
    *sample = (struct manifest_sample){
        .header = {.magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION, .abi_version = ABI_VERSION,
                   .bytes = sizeof *sample, .security_version = 1, .name = "sample", .release = "1.0.0",
                   .lifetime = LIFETIME_RESIDENT, .is_random = 1, .input_count = 2, .output_count = 3,
                   .namespace_count = 1, .refusal_count = 2, .schema_count = 2, .writes_max = 2,
                   .arena_bytes = 4096, .stack_bytes = 8192, .deadline_ms = 100},
        .inputs = {{.name = "in", .pair = 0xffff},
                   {.name = "answer", .schema = 1, .kind = MANIFEST_REPLY, .pair = 0xffff}},
        .outputs = {{.name = "in", .pair = 0xffff, .count_max = 3}, // a timer comes back on the input of that name
                    {.name = "ask", .kind = MANIFEST_REQUEST, .pair = SAMPLE_ANSWER, .count_max = 1},
                    {.name = "text", .schema = 1, .pair = 0xffff, .count_max = 2}},
        .namespaces = {{.name = "models", .access = 3, .key_count = 1, .index_count = 2, .key_fields = {1},
                        .index_fields = {0, 2}}},
        .refusals = {{"malformed"}, {"too-late"}},
        .item = {.header = {.name = "item/1", .block_bytes = sizeof sample->item, .field_count = 3,
                            .struct_bytes = 16, .digest = {1}},
                 .fields = {{.name = "value", .type = SCHEMA_U32, .maximum = 1000},
                            {.name = "key", .type = SCHEMA_U32, .offset = 4, .maximum = UINT32_MAX},
                            {.name = "sequence", .type = SCHEMA_U64, .offset = 8, .maximum = -1}}},
        .text = {.header = {.name = "text/1", .block_bytes = sizeof sample->text, .field_count = 1,
                            .struct_bytes = 24, .is_cut = 1, .digest = {2}},
                 .fields = {{.name = "text", .type = SCHEMA_STRING, .capacity = 20}}},
    };
    for (int i = 0; i < 3; i++)
        sample->outputs[i].schema_digest[0] = (uint8_t)(sample->outputs[i].schema + 1);
    for (int i = 0; i < 2; i++)
        sample->inputs[i].schema_digest[0] = (uint8_t)(sample->inputs[i].schema + 1);
    sample->namespaces[0].schema_digest[0] = 1;
}

#endif
