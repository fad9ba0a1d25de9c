// SPDX-License-Identifier: ISC
// The image file: a static position-independent ELF64, and the only reader of it.
//
// One file: ELF header; program headers; then the segments' bytes, each at a file offset that is a
// multiple of 16; then the relocation list and the manifest, both 8-byte aligned. No section headers.
// Program headers, in this order, each at most once:
//   PT_LOAD R      read-only data                      PT_LOAD R X    text, entry point inside
//   PT_LOAD R W    RELRO: read-only after relocation (p_flags R W plus IMAGE_PF_RELRO)
//   PT_LOAD R W    data and bss
//   PT_NOTE name "CRENEL" type 1: the manifest         PT_NOTE name "CRENEL" type 2: relocations
// Note layout is ELF's for 8-byte alignment: namesz 7, descsz, type, "CRENEL\0" and five more zero bytes,
// description at offset 24.
// Relocations: uint32_t addresses inside RELRO's file bytes, rising, multiples of 8; the tender adds
// the base to the 64-bit word there. Text has none and is as large in memory as in the file. p_align is
// 16 (notes: 8), p_paddr is p_vaddr, both 0 and p_memsz 0 in notes; nothing lies between the parts but
// zero bytes up to the next alignment, and the file ends with the last one. PT_LOAD addresses are multiples of 4096, rising, do not
// overlap, and end below IMAGE_SPAN_MAX; p_memsz >= p_filesz; no segment is both W and X.
// The digest of an image is SHA-256 of the whole file; its build id the first 8 bytes of that.
#ifndef CRENEL_CORE_IMAGE_H
#define CRENEL_CORE_IMAGE_H

#include "core/manifest.h"

#define IMAGE_BYTES_MAX (1024u * 1024u)
#define IMAGE_SPAN_MAX (1024u * 1024u) // of addresses
#define IMAGE_PAGE 4096u
#define IMAGE_PF_RELRO 0x00100000u // in PF_MASKOS
#define IMAGE_SEGMENTS_MAX 4u
#define IMAGE_NOTE_MANIFEST 1u
#define IMAGE_NOTE_RELOCATIONS 2u
#define IMAGE_RELOCATIONS_MAX 4096u

enum image_segment_kind { IMAGE_RODATA, IMAGE_TEXT, IMAGE_RELRO, IMAGE_DATA };

struct image_segment {
    enum image_segment_kind kind;
    uint32_t address;      // multiple of IMAGE_PAGE
    uint32_t memory_bytes; // of which the first file_bytes come from the file, the rest is zero
    uint32_t file_offset;
    uint32_t file_bytes;
};

struct image { // a view into the file's bytes; they outlive it
    const uint8_t *bytes;
    size_t size;
    uint32_t entry;
    uint32_t span_bytes; // end of the last segment, a multiple of IMAGE_PAGE
    size_t segment_count;
    struct image_segment segments[IMAGE_SEGMENTS_MAX];
    const uint32_t *relocations;
    size_t relocation_count;
    struct manifest manifest;
};

// Accepts or refuses an image file; *why then names the rule that it breaks. Also refuses
// executable bytes that hold, at any offset, an instruction that a process cannot be stopped from
// using (see image_forbidden). bytes is 8-byte aligned.
enum status image_open(struct image *image, const uint8_t *bytes, size_t size, const char **why) MUST_USE;

// NULL: it has none of that kind. An image that was accepted has text.
const struct image_segment *image_segment(const struct image *image, enum image_segment_kind kind);

// What a segment holds when the image lies at base: its bytes in the file, relocated. `to` has room for all of it, and
// is zero.
void image_load(const struct image *image, const struct image_segment *segment, uint64_t base, uint8_t *to);

// First offset >= from in text at which a forbidden instruction starts, or size. *name says which.
size_t image_forbidden(const uint8_t *text, size_t size, size_t from, const char **name);

#endif
