// SPDX-License-Identifier: ISC
// Fuzz target: image files. What is accepted must be what core/image.h promises to a tender that maps it.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/unit/image_sample.h"

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static struct sample sample;
    if (index != 0)
        return 0;
    sample_make(&sample);
    memcpy(bytes, sample.bytes, sample.size);
    return sample.size;
}

static void judge_segments(const struct image *image)
{
    uint64_t end = 0, begin = 0;
    int is_entry = 0;
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        must(segment->address % IMAGE_PAGE == 0 && segment->address >= end);
        end = (uint64_t)segment->address + segment->memory_bytes;
        must(segment->memory_bytes != 0 && segment->file_bytes <= segment->memory_bytes &&
             end <= image->span_bytes);
        must(segment->file_offset >= begin &&
             (uint64_t)segment->file_offset + segment->file_bytes <= image->size);
        begin = segment->file_offset + segment->file_bytes;
        const char *name;
        if (segment->kind == IMAGE_TEXT) {
            is_entry = image->entry >= segment->address && image->entry < end;
            must(image_forbidden(image->bytes + segment->file_offset, segment->file_bytes, 0, &name) ==
                 segment->file_bytes);
        }
        for (size_t j = 0; segment->kind == IMAGE_RELRO && j < image->relocation_count; j++)
            must(image->relocations[j] % 8 == 0 && image->relocations[j] >= segment->address &&
                 image->relocations[j] + 8 <= segment->address + segment->file_bytes);
    }
    must(is_entry && image->span_bytes <= IMAGE_SPAN_MAX && image->span_bytes % IMAGE_PAGE == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image image;
    const char *why = NULL;

    if (image_open(&image, data, size, &why) != STATUS_OK) {
        must(why != NULL && why[0] != 0);
        return 0;
    }
    judge_segments(&image);
    const struct manifest *manifest = &image.manifest;
    const struct manifest_header *header = manifest->header;
    must(memchr(header->name, 0, sizeof header->name) != NULL && header->name[0] != 0);
    must(header->input_count <= MANIFEST_FLOWS_MAX && header->output_count <= MANIFEST_FLOWS_MAX);
    for (size_t i = 0; i < header->input_count; i++)
        must(manifest->inputs[i].schema < header->schema_count);
    for (size_t i = 0; i < header->output_count; i++)
        must(manifest->outputs[i].schema < header->schema_count &&
             manifest->outputs[i].count_max <= MANIFEST_EFFECTS_MAX);
    for (size_t i = 0; i < header->namespace_count; i++) {
        const struct manifest_namespace *space = &manifest->namespaces[i];
        must(space->key_count >= 1 && space->key_count <= MANIFEST_KEY_FIELDS_MAX);
        for (size_t j = 0; j < space->key_count; j++)
            must(space->key_fields[j] < manifest->schemas[space->schema].header->field_count);
    }
    return 0;
}
