// SPDX-License-Identifier: ISC
// An image file around one guest: its code as text, and read-only data, RELRO and data for it to attack.
#include "tests/attack/attack.h"

#include "cli/build/pack.h"
#include "core/check.h"

#include <stdio.h>
#include <string.h>

static const struct {
    struct manifest_header header;
    struct manifest_flow input, output;
    struct schema_header schema;
    struct schema_field field;
} pattern = {
    .header = {.magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION, .abi_version = ABI_VERSION,
               .bytes = sizeof pattern, .release = "1.0.0", .input_count = 1, .output_count = 1,
               .schema_count = 1, .deadline_ms = 60000},
    .input = {.name = "in", .pair = 0xffff},
    .output = {.name = "out", .pair = 0xffff, .count_max = 1},
    .schema = {.name = "one/1", .block_bytes = sizeof pattern.schema + sizeof pattern.field, .field_count = 1,
               .struct_bytes = 8},
    .field = {.name = "value", .type = SCHEMA_U32, .maximum = 9},
};

size_t attack_image(const struct attack_guest *guest, const struct stage_options *options, uint8_t *bytes,
                    struct manifest_header *header)
{
    static uint8_t rodata[64], relro[16] = {IMAGE_RODATA_AT}, data[64];
    static uint8_t text[IMAGE_RELRO_AT - IMAGE_TEXT_AT];
    static struct pack pack;
    size_t size = (size_t)(guest->end - guest->begin);
    check(size <= sizeof text);
    memcpy(text, guest->begin, size);
    memset(rodata, 0xc3, sizeof rodata); // `ret`, should it be run
    memset(relro + 8, 0xc3, 8);          // behind the relocated word
    memset(data, 'd', sizeof data);
    pack = (struct pack){
        .parts = {[PACK_RODATA] = {IMAGE_RODATA_AT, sizeof rodata, rodata},
                  [PACK_TEXT] = {IMAGE_TEXT_AT, (uint32_t)size, text},
                  [PACK_RELRO] = {IMAGE_RELRO_AT, sizeof relro, relro},
                  [PACK_DATA] = {IMAGE_DATA_AT, IMAGE_DATA_BYTES, data}},
        .entry = IMAGE_TEXT_AT + (uint32_t)((const uint8_t *)guest->entry - guest->begin),
        .relocations = {IMAGE_RELRO_AT},
        .relocation_count = 1,
    };
    uint8_t manifest[sizeof pattern];
    *header = pattern.header;
    snprintf(header->name, sizeof header->name, "%s", guest->name);
    header->lifetime = options->lifetime;
    header->arena_bytes = options->arena_bytes != 0 ? options->arena_bytes : 8192;
    header->stack_bytes = options->stack_bytes != 0 ? options->stack_bytes : 8192;
    memcpy(manifest, &pattern, sizeof pattern);
    memcpy(manifest, header, sizeof *header);
    size = pack_write(&pack, manifest, sizeof manifest, bytes);
    check(size != 0);
    if (options->damage != NULL)
        options->damage(bytes, &size);
    return size;
}
