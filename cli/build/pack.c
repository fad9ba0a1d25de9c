// SPDX-License-Identifier: ISC
// The packer: reads the linked file by its sections and symbols, writes the image byte by byte.
//
// The linked file comes from our own linker run over the user's objects; offsets are checked all the
// same, so that a strange tool gives an error and not a wrong image.
#include "cli/build/pack.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

struct linked {
    uint8_t *bytes;
    size_t size;
    const Elf64_Ehdr *header;
    const Elf64_Shdr *sections;
    const char *names;
    size_t names_bytes;
};

static const void *range_at(const struct linked *linked, uint64_t offset, uint64_t size)
{
    if (offset > linked->size || size > linked->size - offset || offset % 8 != 0)
        return NULL;
    return linked->bytes + offset;
}

static int linked_open(struct linked *linked, uint8_t *bytes, size_t size)
{
    *linked = (struct linked){.bytes = bytes, .size = size};
    linked->header = range_at(linked, 0, sizeof *linked->header);
    if (linked->header == NULL || memcmp(linked->header->e_ident, ELFMAG, SELFMAG) != 0 ||
        linked->header->e_shentsize != sizeof(Elf64_Shdr))
        return 0;
    linked->sections = range_at(linked, linked->header->e_shoff,
                                linked->header->e_shnum * sizeof(Elf64_Shdr));
    if (linked->sections == NULL || linked->header->e_shstrndx >= linked->header->e_shnum)
        return 0;
    const Elf64_Shdr *names = &linked->sections[linked->header->e_shstrndx];
    if (names->sh_offset > size || names->sh_size > size - names->sh_offset ||
        names->sh_size == 0 || bytes[names->sh_offset + names->sh_size - 1] != 0)
        return 0;
    linked->names = (const char *)bytes + names->sh_offset;
    linked->names_bytes = names->sh_size;
    return 1;
}

static const Elf64_Shdr *section_find(const struct linked *linked, const char *name)
{
    for (size_t i = 0; i < linked->header->e_shnum; i++)
        if (linked->sections[i].sh_name < linked->names_bytes &&
            strcmp(linked->names + linked->sections[i].sh_name, name) == 0)
            return &linked->sections[i];
    return NULL;
}

static int parts_take(struct pack *pack, const struct linked *linked, const char **why)
{
    static const char *const names[PACK_PARTS] = {".rodata", ".text", ".relro", ".data"};

    for (size_t i = 0; i < PACK_PARTS; i++) {
        const Elf64_Shdr *section = section_find(linked, names[i]);
        if (section == NULL || section->sh_size == 0)
            continue;
        *why = "a section is larger than an image may be";
        if (section->sh_addr >= IMAGE_SPAN_MAX ||
            section->sh_size > IMAGE_SPAN_MAX - section->sh_addr)
            return 0;
        *why = "a section without bytes, or not on a page";
        if (section->sh_addr % IMAGE_PAGE != 0 || section->sh_offset > linked->size ||
            section->sh_size > linked->size - section->sh_offset)
            return 0;
        if (section->sh_type == SHT_NOBITS) { // nothing but bss
            pack->parts[i].bytes = NULL;
        } else {
            pack->parts[i].bytes = linked->bytes + section->sh_offset;
        }
        pack->parts[i].address = (uint32_t)section->sh_addr;
        pack->parts[i].memory_bytes = (uint32_t)section->sh_size;
    }
    *why = "no code";
    return pack->parts[PACK_TEXT].memory_bytes != 0;
}

static int compare_addresses(const void *a, const void *b)
{
    const uint32_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static int relocations_take(struct pack *pack, const struct linked *linked, const char **why)
{
    const Elf64_Shdr *section = section_find(linked, ".rela.dyn");

    if (section == NULL || section->sh_size == 0)
        return 1;
    const Elf64_Rela *list = range_at(linked, section->sh_offset, section->sh_size);
    size_t count = section->sh_size / sizeof *list;
    *why = "more than 4096 relocations (large tables of pointers)";
    if (list == NULL || count > IMAGE_RELOCATIONS_MAX)
        return 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t first = pack->parts[PACK_RELRO].address;
        uint64_t address = list[i].r_offset;
        *why = "a relocation other than R_X86_64_RELATIVE";
        if (ELF64_R_TYPE(list[i].r_info) != R_X86_64_RELATIVE)
            return 0;
        *why = "a pointer is initialised in writable data: make it const, or set it in init()";
        if (pack->parts[PACK_RELRO].bytes == NULL || address < first || address % 8 != 0 ||
            address - first + 8 > pack->parts[PACK_RELRO].memory_bytes)
            return 0;
        memcpy(pack->parts[PACK_RELRO].bytes + (address - first), &list[i].r_addend, 8);
        pack->relocations[pack->relocation_count++] = (uint32_t)address;
    }
    qsort(pack->relocations, pack->relocation_count, sizeof pack->relocations[0],
          compare_addresses);
    return 1;
}

static uint64_t symbol_value(const struct linked *linked, const char *name)
{
    const Elf64_Shdr *table = section_find(linked, ".symtab");
    const Elf64_Shdr *names = section_find(linked, ".strtab");

    if (table == NULL || names == NULL || names->sh_size == 0 ||
        names->sh_offset > linked->size || names->sh_size > linked->size - names->sh_offset ||
        linked->bytes[names->sh_offset + names->sh_size - 1] != 0)
        return 0;
    const Elf64_Sym *symbols = range_at(linked, table->sh_offset, table->sh_size);
    size_t count = symbols == NULL ? 0 : table->sh_size / sizeof *symbols;
    for (size_t i = 0; i < count; i++)
        if (symbols[i].st_name < names->sh_size &&
            strcmp((const char *)linked->bytes + names->sh_offset + symbols[i].st_name, name) == 0)
            return symbols[i].st_value;
    return 0;
}

static uint32_t distance(const struct linked *linked, const char *from, const char *to)
{
    return (uint32_t)(symbol_value(linked, to) - symbol_value(linked, from));
}

static void origins_measure(struct pack *pack, const struct linked *linked)
{
    static const char *const data[][3] = { // application, library, end
        {"image_application_rodata", "image_library_rodata", "image_end_rodata"},
        {"image_application_relro", "image_library_relro", "image_end_relro"},
        {"image_application_data", "image_library_data", "image_end_data"},
        {"image_application_bss", "image_library_bss", "image_end_bss"},
    };

    pack->application_text_bytes = distance(linked, "image_application_text", "image_library_text");
    pack->library_text_bytes = distance(linked, "image_library_text", "image_end_text");
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++) {
        pack->application_data_bytes += distance(linked, data[i][0], data[i][1]);
        pack->library_data_bytes += distance(linked, data[i][1], data[i][2]);
    }
}

enum status pack_read(struct pack *pack, uint8_t *bytes, size_t size, const char **why)
{
    struct linked linked;

    memset(pack, 0, sizeof *pack);
    *why = "the linker wrote no ELF file that can be read";
    if (!linked_open(&linked, bytes, size) || !parts_take(pack, &linked, why) ||
        !relocations_take(pack, &linked, why))
        return STATUS_MALFORMED;
    pack->entry = (uint32_t)linked.header->e_entry;
    origins_measure(pack, &linked);
    return STATUS_OK;
}

// Bytes of a part that must stand in the file: zero at the end comes for free, except in text.
static uint32_t file_bytes(const struct pack *pack, size_t part)
{
    uint32_t bytes = pack->parts[part].memory_bytes;

    if (part == PACK_TEXT)
        return bytes;
    if (pack->parts[part].bytes == NULL)
        return 0;
    while (bytes > 0 && pack->parts[part].bytes[bytes - 1] == 0)
        bytes--;
    if (part == PACK_RELRO && pack->relocation_count != 0) { // a relocation may lie on a zero word
        uint32_t last = pack->relocations[pack->relocation_count - 1] + 8 - pack->parts[part].address;
        bytes = bytes < last ? last : bytes;
    }
    return bytes;
}

struct writer {
    uint8_t *image;
    size_t size;
    Elf64_Phdr *headers;
    size_t header_count;
    int is_too_large;
};

// Appends at the next aligned offset; returns that offset.
static size_t bytes_append(struct writer *writer, const void *bytes, size_t size, size_t alignment)
{
    size_t at = (writer->size + alignment - 1) & ~(alignment - 1);

    if (at > IMAGE_BYTES_MAX || size > IMAGE_BYTES_MAX - at) {
        writer->is_too_large = 1;
        return 0;
    }
    if (size != 0)
        memcpy(writer->image + at, bytes, size);
    writer->size = at + size;
    return at;
}

static size_t note_append(struct writer *writer, uint32_t type, const void *bytes, size_t size)
{
    uint8_t head[24] = {0};
    uint32_t words[3] = {7, (uint32_t)size, type};

    memcpy(head, words, sizeof words);
    memcpy(head + sizeof words, "CRENEL", 7);
    size_t at = bytes_append(writer, head, sizeof head, 8);
    bytes_append(writer, bytes, size, 8);
    return at;
}

static void note_header(struct writer *writer, size_t at, size_t size)
{
    writer->headers[writer->header_count++] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_flags = PF_R, .p_offset = at, .p_filesz = 24 + size, .p_align = 8};
}

size_t pack_write(const struct pack *pack, const uint8_t *manifest, size_t manifest_bytes,
                  uint8_t *image)
{
    static const uint32_t flags[PACK_PARTS] = {PF_R, PF_R | PF_X, PF_R | PF_W | IMAGE_PF_RELRO,
                                               PF_R | PF_W};
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = pack->entry,
        .e_phoff = sizeof header, .e_ehsize = sizeof header, .e_phentsize = sizeof(Elf64_Phdr)};
    Elf64_Phdr headers[IMAGE_SEGMENTS_MAX + 2];
    struct writer writer = {.image = image, .headers = headers};

    memset(image, 0, IMAGE_BYTES_MAX);
    for (size_t i = 0; i < PACK_PARTS; i++)
        header.e_phnum = (uint16_t)(header.e_phnum + (pack->parts[i].memory_bytes != 0));
    header.e_phnum = (uint16_t)(header.e_phnum + (pack->relocation_count != 0) + 1);
    writer.size = sizeof header + header.e_phnum * sizeof headers[0];
    for (size_t i = 0; i < PACK_PARTS; i++) {
        if (pack->parts[i].memory_bytes == 0)
            continue;
        uint32_t bytes = file_bytes(pack, i);
        headers[writer.header_count++] = (Elf64_Phdr){
            .p_type = PT_LOAD, .p_flags = flags[i], .p_vaddr = pack->parts[i].address,
            .p_paddr = pack->parts[i].address, .p_filesz = bytes,
            .p_memsz = pack->parts[i].memory_bytes, .p_align = 16,
            .p_offset = bytes_append(&writer, pack->parts[i].bytes, bytes, 16)};
    }
    size_t list_bytes = pack->relocation_count * sizeof pack->relocations[0];
    size_t list_at = 0;
    if (list_bytes != 0)
        list_at = note_append(&writer, IMAGE_NOTE_RELOCATIONS, pack->relocations, list_bytes);
    note_header(&writer, note_append(&writer, IMAGE_NOTE_MANIFEST, manifest, manifest_bytes),
                manifest_bytes);
    if (list_bytes != 0)
        note_header(&writer, list_at, list_bytes);
    memcpy(image, &header, sizeof header);
    memcpy(image + sizeof header, headers, header.e_phnum * sizeof headers[0]);
    return writer.is_too_large ? 0 : writer.size;
}
