// SPDX-License-Identifier: ISC
// Reading image files: accepts exactly what image.h describes, so that each image has one encoding
// and no byte of it is without meaning.
#include "core/image.h"

#include "core/check.h"
#include "core/mechanism.h"

#include <elf.h>
#include <string.h>

#define REGION_BYTES 0x200000u // executable memory of an instance lies closer together
#define PREFIXES_MAX 14u       // of one instruction
#define NOTE_DESCRIPTION 24u // offset in a note of name "CRENEL" with 8-byte alignment

struct reader {
    const uint8_t *bytes;
    size_t size;
    size_t end; // of what is accounted for so far
    const char *why;
};

static enum status refuse(struct reader *reader, enum status status, const char *why)
{
    reader->why = why;
    return status;
}

static size_t align_up(size_t n, size_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

// Accounts for the next part of the file: it begins at the next aligned offset and only zero bytes lie before it.
static enum status part_take(struct reader *reader, uint64_t offset, uint64_t bytes,
                             size_t alignment)
{
    size_t begin = align_up(reader->end, alignment);

    if (offset > reader->size || bytes > reader->size - offset)
        return refuse(reader, STATUS_TRUNCATED, "a part lies outside the file");
    if (offset != begin)
        return refuse(reader, STATUS_MALFORMED, "a part of the file does not follow the one before it");
    for (size_t i = reader->end; i < begin; i++)
        if (reader->bytes[i] != 0)
            return refuse(reader, STATUS_MALFORMED, "bytes between the parts of the file");
    reader->end = (size_t)(offset + bytes);
    return STATUS_OK;
}

static enum status header_check(struct reader *reader, const Elf64_Ehdr *header)
{
    static const unsigned char identity[EI_NIDENT] = {
        ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT};

    if (memcmp(header->e_ident, identity, SELFMAG) != 0)
        return refuse(reader, STATUS_MALFORMED, "not an ELF file");
    if (memcmp(header->e_ident, identity, sizeof identity) != 0)
        return refuse(reader, STATUS_MALFORMED, "not a plain little-endian 64-bit ELF file");
    if (header->e_machine != EM_X86_64)
        return refuse(reader, STATUS_VERSION, "built for another processor than x86-64");
    if (header->e_type != ET_DYN || header->e_version != EV_CURRENT)
        return refuse(reader, STATUS_MALFORMED, "not a position-independent ELF file");
    if (header->e_phoff != sizeof *header || header->e_ehsize != sizeof *header ||
        header->e_phentsize != sizeof(Elf64_Phdr) || header->e_shoff != 0 ||
        header->e_shentsize != 0 || header->e_shnum != 0 || header->e_shstrndx != 0 ||
        header->e_flags != 0)
        return refuse(reader, STATUS_MALFORMED, "an ELF file, but not a Crenel image");
    if (header->e_phnum == 0 || header->e_phnum > IMAGE_SEGMENTS_MAX + 2)
        return refuse(reader, STATUS_MALFORMED, "wrong number of program headers");
    reader->end = sizeof *header + header->e_phnum * sizeof(Elf64_Phdr);
    if (reader->end > reader->size)
        return refuse(reader, STATUS_TRUNCATED, "the file ends within its program headers");
    return STATUS_OK;
}

static int segment_kind(uint32_t flags)
{
    switch (flags) {
    case PF_R: return IMAGE_RODATA;
    case PF_R | PF_X: return IMAGE_TEXT;
    case PF_R | PF_W | IMAGE_PF_RELRO: return IMAGE_RELRO;
    case PF_R | PF_W: return IMAGE_DATA;
    default: return -1;
    }
}

static enum status segment_take(struct reader *reader, struct image *image, const Elf64_Phdr *header)
{
    int kind = segment_kind(header->p_flags);

    if (kind < 0)
        return refuse(reader, STATUS_MALFORMED,
                      "segment permissions other than r, rx, rw or relro (writable code?)");
    if (image->segment_count == IMAGE_SEGMENTS_MAX ||
        (image->segment_count != 0 &&
         image->segments[image->segment_count - 1].kind >= (enum image_segment_kind)kind))
        return refuse(reader, STATUS_MALFORMED, "segments twice or out of order");
    if (header->p_vaddr % IMAGE_PAGE != 0 || header->p_paddr != header->p_vaddr ||
        header->p_align != 16)
        return refuse(reader, STATUS_MALFORMED, "segment address or alignment");
    if (header->p_vaddr >= IMAGE_SPAN_MAX || header->p_memsz == 0 ||
        header->p_memsz > IMAGE_SPAN_MAX - header->p_vaddr || header->p_filesz > header->p_memsz)
        return refuse(reader, STATUS_MALFORMED, "segment size");
    if (kind == IMAGE_TEXT && header->p_filesz != header->p_memsz)
        return refuse(reader, STATUS_MALFORMED, "text is larger in memory than in the file");
    if (header->p_vaddr < image->span_bytes)
        return refuse(reader, STATUS_MALFORMED, "segments overlap");
    enum status status = part_take(reader, header->p_offset, header->p_filesz, 16);
    if (status != STATUS_OK)
        return status;
    image->segments[image->segment_count++] = (struct image_segment){
        .kind = (enum image_segment_kind)kind,
        .address = (uint32_t)header->p_vaddr,
        .memory_bytes = (uint32_t)header->p_memsz,
        .file_offset = (uint32_t)header->p_offset,
        .file_bytes = (uint32_t)header->p_filesz,
    };
    image->span_bytes = (uint32_t)align_up((size_t)(header->p_vaddr + header->p_memsz), IMAGE_PAGE);
    return STATUS_OK;
}

// The description of a note of ours; the note fills its program header exactly.
static enum status note_take(struct reader *reader, const Elf64_Phdr *header, uint32_t type,
                             const uint8_t **description, size_t *size)
{
    static const char name[12] = "CRENEL";

    if (header->p_flags != PF_R || header->p_vaddr != 0 || header->p_paddr != 0 ||
        header->p_memsz != 0 || header->p_align != 8 || header->p_filesz < NOTE_DESCRIPTION)
        return refuse(reader, STATUS_MALFORMED, "note header");
    enum status status = part_take(reader, header->p_offset, header->p_filesz, 8);
    if (status != STATUS_OK)
        return status;
    const uint8_t *note = reader->bytes + header->p_offset;
    uint32_t words[3];
    memcpy(words, note, sizeof words);
    if (words[0] != 7 || words[1] != header->p_filesz - NOTE_DESCRIPTION || words[2] != type ||
        memcmp(note + sizeof words, name, sizeof name) != 0)
        return refuse(reader, STATUS_MALFORMED, "note of another name, type or size");
    *description = note + NOTE_DESCRIPTION;
    *size = words[1];
    return STATUS_OK;
}

const struct image_segment *image_segment(const struct image *image, enum image_segment_kind kind)
{
    for (size_t i = 0; i < image->segment_count; i++)
        if (image->segments[i].kind == kind)
            return &image->segments[i];
    return NULL;
}

static enum status relocations_check(struct reader *reader, struct image *image,
                                     const uint8_t *list, size_t size)
{
    const struct image_segment *relro = image_segment(image, IMAGE_RELRO);
    uint64_t lowest = relro == NULL ? 0 : relro->address;

    if (relro == NULL || size == 0 || size % 4 != 0 || size / 4 > IMAGE_RELOCATIONS_MAX)
        return refuse(reader, STATUS_MALFORMED, "relocation list");
    image->relocations = (const uint32_t *)(const void *)list;
    image->relocation_count = size / 4;
    for (size_t i = 0; i < image->relocation_count; i++) {
        uint32_t address = image->relocations[i];
        if (address % 8 != 0 || address < lowest ||
            (uint64_t)address + 8 > (uint64_t)relro->address + relro->file_bytes)
            return refuse(reader, STATUS_MALFORMED, "a relocation outside RELRO or out of order");
        lowest = (uint64_t)address + 8;
    }
    return STATUS_OK;
}

static enum status text_check(struct reader *reader, const struct image *image, uint64_t entry)
{
    const struct image_segment *text = image_segment(image, IMAGE_TEXT);
    const char *name;

    if (text == NULL)
        return refuse(reader, STATUS_MALFORMED, "no text segment");
    if (entry < text->address || entry >= (uint64_t)text->address + text->file_bytes)
        return refuse(reader, STATUS_MALFORMED, "entry point outside text");
    if (MECHANISM(IMAGE_SCAN) && image_forbidden(reader->bytes + text->file_offset, text->file_bytes, 0,
                                                 &name) != text->file_bytes)
        return refuse(reader, STATUS_DENIED, name);
    return STATUS_OK;
}

// The notes behind the segments: in the table manifest, then relocations; in the file the other way round.
static enum status notes_take(struct reader *reader, struct image *image, const Elf64_Phdr *notes,
                              size_t count)
{
    const uint8_t *description;
    size_t size;
    enum status status;

    if (count != 1 && count != 2)
        return refuse(reader, STATUS_MALFORMED, "no manifest");
    if (count == 2) {
        status = note_take(reader, &notes[1], IMAGE_NOTE_RELOCATIONS, &description, &size);
        if (status == STATUS_OK)
            status = relocations_check(reader, image, description, size);
        if (status != STATUS_OK)
            return status;
    }
    status = note_take(reader, &notes[0], IMAGE_NOTE_MANIFEST, &description, &size);
    if (status != STATUS_OK)
        return status;
    status = manifest_open(&image->manifest, description, size);
    if (status != STATUS_OK)
        return refuse(reader, status,
                      status == STATUS_VERSION ? "its manifest is of another version" : "its manifest is malformed");
    return STATUS_OK;
}

static enum status file_read(struct reader *reader, struct image *image)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)reader->bytes;

    if (reader->size < sizeof *header)
        return refuse(reader, STATUS_TRUNCATED, "shorter than an ELF header");
    if (reader->size > IMAGE_BYTES_MAX)
        return refuse(reader, STATUS_TOO_LARGE, "larger than 1 MiB");
    enum status status = header_check(reader, header);
    if (status != STATUS_OK)
        return status;

    const Elf64_Phdr *table = (const Elf64_Phdr *)(const void *)(reader->bytes + sizeof *header);
    size_t at = 0;
    for (; at < header->e_phnum && table[at].p_type == PT_LOAD; at++) {
        status = segment_take(reader, image, &table[at]);
        if (status != STATUS_OK)
            return status;
    }
    for (size_t i = at; i < header->e_phnum; i++)
        if (table[i].p_type != PT_NOTE)
            return refuse(reader, STATUS_MALFORMED, "a program header of another type");
    status = text_check(reader, image, header->e_entry);
    if (status != STATUS_OK)
        return status;
    image->entry = (uint32_t)header->e_entry;
    status = notes_take(reader, image, table + at, header->e_phnum - at);
    if (status != STATUS_OK)
        return status;
    if (reader->end != reader->size)
        return refuse(reader, STATUS_MALFORMED, "bytes behind the last part of the file");
    return STATUS_OK;
}

enum status image_open(struct image *image, const uint8_t *bytes, size_t size, const char **why)
{
    struct reader reader = {.bytes = bytes, .size = size};
    struct image result = {.bytes = bytes, .size = size};

    check(((uintptr_t)bytes & 7u) == 0);
    enum status status = file_read(&reader, &result);
    if (status == STATUS_OK)
        *image = result;
    else
        *why = reader.why;
    return status;
}

void image_load(const struct image *image, const struct image_segment *segment, uint64_t base, uint8_t *to)
{
    memcpy(to, image->bytes + segment->file_offset, segment->file_bytes);
    for (size_t i = 0; segment->kind == IMAGE_RELRO && i < image->relocation_count; i++) {
        uint8_t *word = to + (image->relocations[i] - segment->address);
        uint64_t value;
        memcpy(&value, word, sizeof value);
        value += base;
        memcpy(word, &value, sizeof value);
    }
}

// What text may not hold, by the second opcode byte (behind 0f, or what stands for it) and the byte behind that. A row
// with an operand in memory means that byte as a ModRM byte with the register field given and any memory form.
// docs/hardening.md says for each instruction that is missing here what stops it at run time.
static const struct forbidden {
    uint8_t opcode, third, mask;
    uint8_t is_memory; // ModRM names memory: third is below 0xc0
    const char *name;
} forbidden[] = {
    {0x01, 0x00, 0x38, 1, "holds the instruction sgdt"}, // where the kernel's table lies, another for each CPU
    {0x01, 0x08, 0x38, 1, "holds the instruction sidt"},
    {0x01, 0x20, 0x38, 1, "holds the instruction smsw"},
    {0x01, 0xe0, 0xf8, 0, "holds the instruction smsw"},
    {0x01, 0xc1, 0xff, 0, "holds the instruction vmcall"},
    {0x01, 0xd0, 0xff, 0, "holds the instruction xgetbv"},
    {0x01, 0xd4, 0xff, 0, "holds the instruction vmfunc"},
    {0x01, 0xd9, 0xff, 0, "holds the instruction vmmcall"},
    {0x01, 0xee, 0xff, 0, "holds the instruction rdpkru"},
    {0x01, 0xef, 0xff, 0, "holds the instruction wrpkru"},
    {0x01, 0xf9, 0xff, 0, "holds the instruction rdtscp"},
    {0x01, 0xfa, 0xfe, 0, "holds the instruction monitorx or mwaitx"}, // a wait that is timed
    {0x01, 0xfd, 0xff, 0, "holds the instruction rdpru"},
    {0x03, 0x00, 0x00, 0, "holds the instruction lsl"}, // of the segment in which Linux keeps the CPU's number
    {0x05, 0x00, 0x00, 0, "holds the instruction syscall"},
    {0x07, 0x00, 0x00, 0, "holds the instruction sysret"},
    {0x31, 0x00, 0x00, 0, "holds the instruction rdtsc"},
    {0x33, 0x00, 0x00, 0, "holds the instruction rdpmc"},
    {0x34, 0x00, 0x00, 0, "holds the instruction sysenter"},
    {0x35, 0x00, 0x00, 0, "holds the instruction sysexit"},
    {0xa2, 0x00, 0x00, 0, "holds the instruction cpuid"}, // faulting it costs more than a fork
    {0xa7, 0xc0, 0xff, 0, "holds the instruction xstore"}, // random numbers on Zhaoxin processors
    {0xae, 0xc0, 0xe0, 0, "holds the instruction rdfsbase, rdgsbase, wrfsbase or wrgsbase"},
    {0xae, 0x20, 0x38, 1, "holds the instruction xsave"},
    {0xae, 0x28, 0x38, 1, "holds the instruction xrstor"}, // wrpkru by another name
    {0xae, 0x30, 0x38, 1, "holds the instruction xsaveopt"},
    {0xae, 0xf0, 0xf8, 0, "holds the instruction umonitor, umwait, tpause or mfence"}, // tpause compares with the clock
    {0xc7, 0x20, 0x38, 1, "holds the instruction xsavec"},
    {0xc7, 0xf0, 0xf8, 0, "holds the instruction rdrand or senduipi"},
    {0xc7, 0xf8, 0xf8, 0, "holds the instruction rdseed or rdpid"},
};

// at[0] is 0f or what stands for it. Bytes behind the end of text are zero in memory.
static const char *forbidden_name(const uint8_t *at, size_t left)
{
    uint8_t second = left > 1 ? at[1] : 0, third = left > 2 ? at[2] : 0;

    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        const struct forbidden *row = &forbidden[i];
        if (second == row->opcode && (third & row->mask) == row->third && (!row->is_memory || third < 0xc0))
            return row->name;
    }
    return NULL;
}

// xbegin, whose faults are reported to nobody: c7 f8 and the distance to where they go on. If that is nowhere near, it
// is a fault as any other, and the bytes are an innocent `add $-8`. With the prefix 66 the distance has 16 bits.
static int is_transaction(const uint8_t *text, size_t size, size_t at)
{
    uint8_t bytes[4] = {0};
    int32_t distance;

    if (at + 1 >= size || text[at] != 0xc7 || text[at + 1] != 0xf8)
        return 0;
    size_t left = size - at - 2, before = at < PREFIXES_MAX ? at : PREFIXES_MAX;
    memcpy(bytes, text + at + 2, left < sizeof bytes ? left : sizeof bytes);
    memcpy(&distance, bytes, sizeof distance);
    return (distance > -(int32_t)REGION_BYTES && distance < (int32_t)REGION_BYTES) ||
           memchr(text + at - before, 0x66, before) != NULL;
}

size_t image_forbidden(const uint8_t *text, size_t size, size_t from, const char **name)
{
    for (size_t i = from; i + 1 < size; i++) {
        const char *found = NULL;
        if (text[i] == 0x0f)
            found = forbidden_name(text + i, size - i);
        else if (text[i] == 0xd5 && (text[i + 1] & 0x80) != 0) // APX: the prefix REX2 in place of 0f
            found = forbidden_name(text + i + 1, size - i - 1);
        else if (is_transaction(text, size, i))
            found = "holds the instruction xbegin";
        if (found != NULL) {
            *name = found;
            return i;
        }
    }
    return size;
}
