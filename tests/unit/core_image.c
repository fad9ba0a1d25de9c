// SPDX-License-Identifier: ISC
// The image reader: takes a good image, refuses everything that image.h and manifest.h do not describe.
#include "tests/unit/image_sample.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static enum status open_sample(const struct sample *sample)
{
    struct image image;
    const char *why = NULL;
    enum status status = image_open(&image, sample->bytes, sample->size, &why);

    if (status != STATUS_OK && why == NULL)
        return STATUS_OK; // a refusal without a reason counts as none
    return status;
}

TEST(takes_a_good_image)
{
    struct sample sample;
    struct image image;
    const char *why = "";

    sample_make(&sample);
    expect(image_open(&image, sample.bytes, sample.size, &why) == STATUS_OK);
    expect(image.segment_count == 4 && image.entry == 0x1004);
    expect(image.span_bytes == 0x5000);
    expect(image.relocation_count == 1 && image.relocations[0] == 0x2008);
    expect(strcmp(image.manifest.header->name, "sample") == 0);
    expect(image.manifest.schemas[0].header->field_count == 1);
}

TEST(refuses_every_truncation)
{
    struct sample sample;

    sample_make(&sample);
    size_t whole = sample.size;
    for (size_t size = 0; size < whole; size++) {
        uint8_t *exact = aligned_alloc(8, (size + 8) & ~(size_t)7); // so that a sanitizer sees a read too far
        struct image image;
        const char *why = NULL;
        expect(exact != NULL);
        memcpy(exact, sample.bytes, size);
        expect(image_open(&image, exact, size, &why) != STATUS_OK && why != NULL);
        free(exact);
    }
    sample.size = whole + 1;
    expect(open_sample(&sample) != STATUS_OK);
}

// Any change to the ELF header, to a program header or to a note's head is refused (a free
// choice of entry point within text, and sizes that stay consistent, excepted).
TEST(refuses_mutated_headers)
{
    struct sample good, bad;

    sample_make(&good);
    for (size_t at = 0; at < sizeof(Elf64_Ehdr) + HEADERS * sizeof(Elf64_Phdr); at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bad = good;
            bad.bytes[at] ^= (uint8_t)(1u << bit);
            int is_entry = at == offsetof(Elf64_Ehdr, e_entry);
            Elf64_Phdr *first = segment(&bad, RODATA), *relro = segment(&bad, RELRO);
            uint8_t *byte = bad.bytes + at;
            int is_size = (byte >= (uint8_t *)&first->p_memsz && byte < (uint8_t *)(&first->p_memsz + 1)) ||
                          (byte >= (uint8_t *)&relro->p_memsz && byte < (uint8_t *)(&relro->p_memsz + 1)) ||
                          (byte >= (uint8_t *)&segment(&bad, DATA)->p_memsz &&
                           byte < (uint8_t *)(&segment(&bad, DATA)->p_memsz + 1)) ||
                          byte == (uint8_t *)&segment(&bad, DATA)->p_filesz;
            if (!is_entry && !is_size)
                expect(open_sample(&bad) != STATUS_OK);
        }
    }
}

TEST(survives_any_mutation)
{
    struct sample good, bad;
    struct image image;
    const char *why;
    uint32_t random = 1;

    sample_make(&good);
    for (unsigned round = 0; round < 20000; round++) {
        bad = good;
        for (unsigned i = 0; i < 3; i++) {
            random = random * 1664525u + 1013904223u;
            bad.bytes[(random >> 8) % good.size] = (uint8_t)(random >> 3);
        }
        if (image_open(&image, bad.bytes, bad.size, &why) == STATUS_OK)
            expect(image.span_bytes <= IMAGE_SPAN_MAX && image.manifest.header->input_count == 1);
    }
}

TEST(refuses_writable_code)
{
    struct sample sample;

    sample_make(&sample);
    segment(&sample, TEXT)->p_flags = PF_R | PF_W | PF_X;
    expect(open_sample(&sample) != STATUS_OK);
    sample_make(&sample);
    segment(&sample, DATA)->p_flags = PF_R | PF_W | PF_X;
    expect(open_sample(&sample) != STATUS_OK);
    sample_make(&sample);
    segment(&sample, DATA)->p_flags = PF_R | PF_X; // text twice
    expect(open_sample(&sample) != STATUS_OK);
}

TEST(refuses_overlap_and_far_addresses)
{
    struct sample sample;

    sample_make(&sample);
    segment(&sample, RODATA)->p_memsz = 0x1001; // reaches into text
    expect(open_sample(&sample) != STATUS_OK);
    sample_make(&sample);
    segment(&sample, DATA)->p_vaddr = segment(&sample, DATA)->p_paddr = 0x2000;
    expect(open_sample(&sample) != STATUS_OK);
    sample_make(&sample);
    segment(&sample, DATA)->p_memsz = IMAGE_SPAN_MAX;
    expect(open_sample(&sample) != STATUS_OK);
    sample_make(&sample);
    segment(&sample, DATA)->p_vaddr = segment(&sample, DATA)->p_paddr = 0xfffffffffffff000;
    expect(open_sample(&sample) != STATUS_OK);
}

TEST(refuses_bytes_between_the_parts)
{
    struct sample sample;

    sample_make(&sample);
    size_t end = segment(&sample, RODATA)->p_offset + segment(&sample, RODATA)->p_filesz;
    expect(end < segment(&sample, TEXT)->p_offset);
    sample.bytes[end] = 1;
    expect(open_sample(&sample) != STATUS_OK);
}

TEST(refuses_bad_relocations)
{
    static const uint32_t bad[] = {0x1008, 0x2004, 0x2010, 0x3000, 0, 0xfffffff8};
    struct sample sample;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sample_make(&sample);
        memcpy(sample.bytes + segment(&sample, RELOCATIONS)->p_offset + 24, &bad[i], 4);
        expect(open_sample(&sample) != STATUS_OK);
    }
}

TEST(refuses_foreign_files)
{
    static const char *const paths[] = {"/bin/true", "/proc/self/exe", "/etc/passwd", "Makefile"};
    static _Alignas(8) uint8_t bytes[IMAGE_BYTES_MAX + 1];

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct image image;
        const char *why = NULL;
        FILE *file = fopen(paths[i], "rb");
        size_t size = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
        if (file != NULL)
            fclose(file);
        expect(image_open(&image, bytes, size, &why) != STATUS_OK && why != NULL);
    }
}

TEST(refuses_forbidden_instructions)
{
    static const struct {
        uint8_t bytes[4];
        size_t size;
    } forbidden[] = {
        {{0x0f, 0x05}, 2}, {{0x0f, 0x34}, 2}, {{0x0f, 0x31}, 2}, {{0x0f, 0x07}, 2}, {{0x0f, 0x35}, 2},
        {{0x0f, 0xa2}, 2}, {{0x0f, 0x03}, 2}, {{0x0f, 0x33}, 2},
        {{0xd5, 0x80, 0x05}, 3}, {{0xd5, 0xff, 0xc7, 0xf0}, 4}, {{0xd5, 0x80, 0xae, 0x28}, 4},
        {{0x0f, 0x01, 0xf9}, 3}, {{0x0f, 0x01, 0xd0}, 3}, {{0x0f, 0x01, 0xee}, 3},
        {{0x0f, 0x01, 0xef}, 3}, {{0x0f, 0x01, 0xc1}, 3}, {{0x0f, 0x01, 0xd9}, 3},
        {{0x0f, 0x01, 0xd4}, 3}, {{0x0f, 0x01, 0xfd}, 3}, {{0x0f, 0x01, 0xfa}, 3},
        {{0x0f, 0x01, 0xfb}, 3}, {{0x0f, 0x01, 0x04}, 3}, {{0x0f, 0x01, 0x8f}, 3},
        {{0x0f, 0x01, 0x20}, 3}, {{0x0f, 0x01, 0xe7}, 3}, // sgdt, sidt, smsw
        {{0x0f, 0xc7, 0xf0}, 3}, {{0x0f, 0xc7, 0xff}, 3}, {{0xf3, 0x0f, 0xc7, 0xf8}, 4},
        {{0x0f, 0xc7, 0x64}, 3}, {{0x0f, 0xae, 0x20}, 3}, {{0x0f, 0xae, 0xaf}, 3}, // xsavec, xsave, xrstor
        {{0x0f, 0xae, 0x77}, 3}, {{0x66, 0x0f, 0xae, 0xf7}, 4}, // xsaveopt, tpause
        {{0xf3, 0x0f, 0xae, 0xc0}, 4}, {{0xf3, 0x0f, 0xae, 0xdf}, 4}, // rdfsbase, wrgsbase
        {{0x0f, 0xa7, 0xc0}, 3},
    };
    struct sample sample;
    const char *name = NULL;

    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        for (size_t at = 0; at + forbidden[i].size <= 20; at++) { // every offset
            sample_make(&sample);
            uint8_t *text = sample.bytes + segment(&sample, TEXT)->p_offset;
            memset(text, 0x90, 20);
            memcpy(text + at, forbidden[i].bytes, forbidden[i].size);
            expect(open_sample(&sample) == STATUS_DENIED);
            size_t prefix = forbidden[i].bytes[0] == 0xf3 || forbidden[i].bytes[0] == 0x66;
            expect(image_forbidden(text, 20, 0, &name) == at + prefix && name != NULL);
        }
    }
}

// Behind 0f each pair of bytes is refused or taken; a pair more or less is a mistake in the table.
TEST(refuses_so_many_pairs_and_no_more)
{
    static const unsigned wanted[256] = {
        [0x01] = 3 * 24 + 8 + 10, [0x03] = 256, [0x05] = 256, [0x07] = 256, [0x31] = 256, [0x33] = 256,
        [0x34] = 256, [0x35] = 256, [0xa2] = 256, [0xa7] = 1, [0xae] = 32 + 3 * 24 + 8, [0xc7] = 24 + 16,
    };
    const char *name;

    for (unsigned second = 0; second < 256; second++) {
        unsigned count = 0;
        for (unsigned third = 0; third < 256; third++) {
            const uint8_t text[3] = {0x0f, (uint8_t)second, (uint8_t)third};
            count += image_forbidden(text, sizeof text, 0, &name) == 0;
        }
        expect(count == wanted[second]);
    }
}

// Where the faults of a transaction go on decides: within reach, or any distance of 16 bits.
TEST(refuses_a_transaction_that_could_go_on)
{
    static const struct {
        uint8_t bytes[8];
        int is_refused;
    } cases[] = {
        {{0x90, 0xc7, 0xf8, 0x00, 0x10, 0x00, 0x00, 0x90}, 1}, {{0x90, 0xc7, 0xf8, 0x00, 0xf0, 0xff, 0xff, 0x90}, 1},
        {{0x90, 0xc7, 0xf8, 0xff, 0xff, 0x1f, 0x00, 0x90}, 1}, {{0x90, 0xc7, 0xf8, 0x00, 0x00, 0x20, 0x00, 0x90}, 0},
        {{0x83, 0xc7, 0xf8, 0x83, 0xff, 0x0b, 0x77, 0x10}, 0}, // add $-8, cmp, ja
        {{0x66, 0xc7, 0xf8, 0x83, 0xff, 0x0b, 0x77, 0x10}, 1}, {{0x66, 0x2e, 0xc7, 0xf8, 0x83, 0xff, 0x0b, 0x77}, 1},
        {{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc7, 0xf8}, 1}, {{0x90, 0x90, 0x90, 0xc7, 0xf8, 0x00, 0x00, 0x40}, 0},
    };
    const char *name;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect((image_forbidden(cases[i].bytes, 8, 0, &name) != 8) == cases[i].is_refused);
}

TEST(refuses_what_the_zero_bytes_behind_text_complete)
{
    static const uint8_t text[2] = {0x0f, 0x01}; // sgdt (%rax)
    const char *name;

    expect(image_forbidden(text, sizeof text, 0, &name) == 0);
}

TEST(takes_instructions_that_are_allowed)
{
    static const uint8_t allowed[] = {0x0f, 0xa3, 0xcd, 0x80, 0xec, 0x0f, 0x0b, 0x0f, 0xc7, 0x0f, 0x0f, 0x01, 0xc8,
                                      0xf3, 0x0f, 0x1e, 0xfa, 0xd5, 0x70, 0x05, 0x0f, 0xae, 0x10, 0x0f, 0xae, 0xe8,
                                      0xc7, 0xd5, 0x80, 0x0f};
    const char *name;

    expect(image_forbidden(allowed, sizeof allowed, 0, &name) == sizeof allowed);
    expect(image_forbidden(allowed, 0, 0, &name) == 0);
}

#define REFUSES_MANIFEST(change)                                                                   \
    do {                                                                                           \
        sample_make(&sample);                                                                      \
        change;                                                                                    \
        expect(open_sample(&sample) != STATUS_OK);                                                 \
    } while (0)

TEST(refuses_bad_manifests)
{
    struct sample sample;

    REFUSES_MANIFEST(manifest(&sample)->magic ^= 1);
    REFUSES_MANIFEST(manifest(&sample)->version++);
    REFUSES_MANIFEST(manifest(&sample)->abi_version++);
    REFUSES_MANIFEST(manifest(&sample)->bytes += 8);
    REFUSES_MANIFEST(manifest(&sample)->bytes -= 8);
    REFUSES_MANIFEST(manifest(&sample)->name[0] = 'A');
    REFUSES_MANIFEST(manifest(&sample)->name[0] = 0);
    REFUSES_MANIFEST(manifest(&sample)->name[10] = 'x'); // behind the end
    REFUSES_MANIFEST(memset(manifest(&sample)->name, 'a', MANIFEST_NAME_BYTES));
    REFUSES_MANIFEST(manifest(&sample)->release[0] = ' ');
    REFUSES_MANIFEST(manifest(&sample)->lifetime = 3);
    REFUSES_MANIFEST(manifest(&sample)->isolation = 4);
    REFUSES_MANIFEST(manifest(&sample)->is_random = 2);
    REFUSES_MANIFEST(manifest(&sample)->zero = 1);
    REFUSES_MANIFEST(manifest(&sample)->zero2 = 1);
    REFUSES_MANIFEST(manifest(&sample)->input_count = 0);
    REFUSES_MANIFEST(manifest(&sample)->input_count = 2);
    REFUSES_MANIFEST(manifest(&sample)->output_count = 1);
    REFUSES_MANIFEST(manifest(&sample)->namespace_count = 1);
    REFUSES_MANIFEST(manifest(&sample)->refusal_count = 0xffff);
    REFUSES_MANIFEST(manifest(&sample)->schema_count = 0);
    REFUSES_MANIFEST(manifest(&sample)->schema_count = 17);
    REFUSES_MANIFEST(manifest(&sample)->writes_max = 257);
    REFUSES_MANIFEST(manifest(&sample)->arena_bytes = 0);
    REFUSES_MANIFEST(manifest(&sample)->arena_bytes = 4097);
    REFUSES_MANIFEST(manifest(&sample)->stack_bytes = MANIFEST_STACK_BYTES_MAX + 4096);
    REFUSES_MANIFEST(manifest(&sample)->deadline_ms = 0);
    REFUSES_MANIFEST(input(&sample)->name[0] = '-');
    REFUSES_MANIFEST(input(&sample)->schema = 1);
    REFUSES_MANIFEST(input(&sample)->schema_digest[5] ^= 1);
    REFUSES_MANIFEST(input(&sample)->kind = MANIFEST_REQUEST);
    REFUSES_MANIFEST(input(&sample)->kind = MANIFEST_REPLY);
    REFUSES_MANIFEST(input(&sample)->kind = 3);
    REFUSES_MANIFEST(input(&sample)->pair = 0);
    REFUSES_MANIFEST(input(&sample)->count_max = 1);
    REFUSES_MANIFEST(schema(&sample)->block_bytes += 8);
    REFUSES_MANIFEST(schema(&sample)->block_bytes = 0);
    REFUSES_MANIFEST(schema(&sample)->block_bytes = 0xfffffff8);
    REFUSES_MANIFEST(schema(&sample)->field_count = 2);
    REFUSES_MANIFEST(schema(&sample)->struct_bytes = 16);
}

int main(void)
{
    RUN(takes_a_good_image);
    RUN(refuses_every_truncation);
    RUN(refuses_mutated_headers);
    RUN(survives_any_mutation);
    RUN(refuses_writable_code);
    RUN(refuses_overlap_and_far_addresses);
    RUN(refuses_bytes_between_the_parts);
    RUN(refuses_bad_relocations);
    RUN(refuses_foreign_files);
    RUN(refuses_forbidden_instructions);
    RUN(refuses_so_many_pairs_and_no_more);
    RUN(refuses_a_transaction_that_could_go_on);
    RUN(refuses_what_the_zero_bytes_behind_text_complete);
    RUN(takes_instructions_that_are_allowed);
    RUN(refuses_bad_manifests);
    TEST_END();
}
