// SPDX-License-Identifier: ISC
// The manifest's bytes from its tables.
#include "cli/build/build_source.h"
#include "cli/report.h"

#include <stdlib.h>
#include <string.h>

void build_source_clean_up(struct build_source *source)
{
    for (size_t i = 0; i < MANIFEST_SCHEMAS_MAX; i++) {
        free(source->blocks[i]);
        free(source->schema_paths[i]);
    }
    for (size_t i = 0; i < source->source_count; i++)
        free(source->sources[i]);
    for (size_t i = 0; i < source->define_count; i++)
        free(source->defines[i]);
    memset(source, 0, sizeof *source);
}

static void part_add(uint8_t *bytes, size_t *size, const void *part, size_t part_bytes)
{
    if (*size + part_bytes <= MANIFEST_BYTES_MAX)
        memcpy(bytes + *size, part, part_bytes);
    *size += part_bytes;
}

size_t build_source_manifest(const struct build_source *source, uint8_t bytes[MANIFEST_BYTES_MAX])
{
    struct manifest_header header = source->header;
    size_t size = sizeof header;

    part_add(bytes, &size, source->inputs, header.input_count * sizeof *source->inputs);
    part_add(bytes, &size, source->outputs, header.output_count * sizeof *source->outputs);
    part_add(bytes, &size, source->namespaces, header.namespace_count * sizeof *source->namespaces);
    part_add(bytes, &size, source->refusals, header.refusal_count * sizeof *source->refusals);
    for (size_t i = 0; i < header.schema_count; i++)
        part_add(bytes, &size, source->blocks[i], source->schemas[i].header->block_bytes);
    if (size > MANIFEST_BYTES_MAX) {
        report_error(source->path, 0, "use fewer or smaller schemas",
                     "the manifest would be %zu bytes, at most %u are allowed", size,
                     MANIFEST_BYTES_MAX);
        return 0;
    }
    header.bytes = (uint32_t)size;
    memcpy(bytes, &header, sizeof header);
    return size;
}
