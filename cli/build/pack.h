// SPDX-License-Identifier: ISC
// From the linker's result to an image file (core/image.h).
#ifndef CRENEL_CLI_PACK_H
#define CRENEL_CLI_PACK_H

#include "core/image.h"

enum pack_part { PACK_RODATA, PACK_TEXT, PACK_RELRO, PACK_DATA, PACK_PARTS };

struct pack { // what is taken from the linked ELF file; bytes point into it
    struct {
        uint32_t address, memory_bytes;
        uint8_t *bytes;
    } parts[PACK_PARTS];
    uint32_t entry;
    uint32_t relocations[IMAGE_RELOCATIONS_MAX]; // rising
    size_t relocation_count;
    uint32_t application_text_bytes, application_data_bytes;
    uint32_t library_text_bytes, library_data_bytes;
};

// Takes the parts out of the bytes of a file linked with guest/image.ld and applies nothing but the
// addends of its relocations, in place. Refuses relocations outside RELRO and of other types; *why says what.
enum status pack_read(struct pack *pack, uint8_t *linked, size_t size, const char **why) MUST_USE;

// Writes the image: at most IMAGE_BYTES_MAX bytes to `image`. Returns its size, or 0 if it is larger.
size_t pack_write(const struct pack *pack, const uint8_t *manifest, size_t manifest_bytes,
                  uint8_t *image);

#endif
