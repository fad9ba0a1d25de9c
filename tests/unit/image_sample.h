// SPDX-License-Identifier: ISC
// A small image made by hand, independent of the builder.
#ifndef CRENEL_TESTS_IMAGE_SAMPLE_H
#define CRENEL_TESTS_IMAGE_SAMPLE_H

#include "abi/abi.h"
#include "core/image.h"

#include <elf.h>
#include <string.h>

// A small image by hand: rodata, text, relro with one relocation, data, manifest without flows but one input.
struct sample {
    _Alignas(8) uint8_t bytes[4096];
    size_t size;
};

enum { RODATA, TEXT, RELRO, DATA, MANIFEST, RELOCATIONS, HEADERS };

static inline Elf64_Ehdr *elf(struct sample *sample)
{
    return (Elf64_Ehdr *)(void *)sample->bytes;
}

static inline Elf64_Phdr *segment(struct sample *sample, size_t index)
{
    return (Elf64_Phdr *)(void *)(sample->bytes + sizeof(Elf64_Ehdr)) + index;
}

static inline struct manifest_header *manifest(struct sample *sample)
{
    return (struct manifest_header *)(void *)(sample->bytes + segment(sample, MANIFEST)->p_offset + 24);
}

static inline struct manifest_flow *input(struct sample *sample)
{
    return (struct manifest_flow *)(void *)(manifest(sample) + 1);
}

static inline struct schema_header *schema(struct sample *sample)
{
    return (struct schema_header *)(void *)(input(sample) + 1);
}

static inline size_t part_add(struct sample *sample, const void *bytes, size_t size, size_t alignment)
{
    size_t at = (sample->size + alignment - 1) & ~(alignment - 1);
    memcpy(sample->bytes + at, bytes, size);
    sample->size = at + size;
    return at;
}

static inline size_t note_add(struct sample *sample, uint32_t type, const void *bytes, size_t size)
{
    struct {
        uint32_t name_bytes, size, type;
        char name[12];
    } head = {7, (uint32_t)size, type, "CRENEL"};
    size_t at = part_add(sample, &head, sizeof head, 8);
    part_add(sample, bytes, size, 8);
    return at;
}

static inline void segment_add(struct sample *sample, size_t index, uint32_t flags, uint64_t address,
                        const void *bytes, size_t size, size_t memory_bytes)
{
    *segment(sample, index) = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = flags, .p_vaddr = address,
                                           .p_paddr = address, .p_filesz = size,
                                           .p_memsz = memory_bytes, .p_align = 16,
                                           .p_offset = part_add(sample, bytes, size, 16)};
}

static inline void manifest_make(struct sample *sample)
{
    struct {
        struct manifest_header header;
        struct manifest_flow input;
        struct schema_header schema;
        struct schema_field field;
    } m = {
        .header = {.magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION, .abi_version = ABI_VERSION,
                   .bytes = sizeof m, .name = "sample", .release = "1.0.0", .input_count = 1,
                   .schema_count = 1, .arena_bytes = 4096, .stack_bytes = 8192, .deadline_ms = 100},
        .input = {.name = "in", .pair = 0xffff},
        .schema = {.name = "one/1", .block_bytes = sizeof m.schema + sizeof m.field,
                   .field_count = 1, .struct_bytes = 8},
        .field = {.name = "value", .type = SCHEMA_U32, .minimum = 0, .maximum = 9},
    };
    size_t at = note_add(sample, IMAGE_NOTE_MANIFEST, &m, sizeof m);
    *segment(sample, MANIFEST) = (Elf64_Phdr){.p_type = PT_NOTE, .p_flags = PF_R, .p_offset = at,
                                              .p_filesz = 24 + sizeof m, .p_align = 8};
}

static inline void sample_make(struct sample *sample)
{
    static const uint8_t text[20] = {0xf3, 0x0f, 0x1e, 0xfa, 0x90, 0xc3};
    static const uint8_t words[16] = {8};
    static const uint32_t relocation = 0x2008;

    memset(sample, 0, sizeof *sample);
    *elf(sample) = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = 0x1004,
        .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = HEADERS};
    sample->size = sizeof(Elf64_Ehdr) + HEADERS * sizeof(Elf64_Phdr);
    segment_add(sample, RODATA, PF_R, 0, "constants", 9, 9);
    segment_add(sample, TEXT, PF_R | PF_X, 0x1000, text, sizeof text, sizeof text);
    segment_add(sample, RELRO, PF_R | PF_W | IMAGE_PF_RELRO, 0x2000, words, sizeof words, 16);
    segment_add(sample, DATA, PF_R | PF_W, 0x3000, "x", 1, 5000);
    size_t at = note_add(sample, IMAGE_NOTE_RELOCATIONS, &relocation, sizeof relocation);
    *segment(sample, RELOCATIONS) = (Elf64_Phdr){.p_type = PT_NOTE, .p_flags = PF_R,
                                                 .p_offset = at, .p_filesz = 28, .p_align = 8};
    manifest_make(sample);
}

#endif
