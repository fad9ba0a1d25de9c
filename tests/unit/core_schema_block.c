// SPDX-License-Identifier: ISC
// Schema blocks that must be refused: cut, longer, badly laid out, with every bit changed.
#include "tests/unit/schema_block.h"
#include "tests/unit/test.h"

TEST(every_cut_or_longer_block_is_refused)
{
    start();
    add("a", SCHEMA_U32, 0, 0, 5);
    add_text("text", SCHEMA_BYTES, 4, 20, 0);
    size_t size = make(&block, 32, 1);
    for (size_t i = 0; i < size + 64; i++)
        expect((schema_open(&schema, (const uint8_t *)&block, i) == STATUS_OK) == (i == size));
}

TEST(layouts_that_are_refused)
{
    start();
    add("a", SCHEMA_U32, 0, 0, 5);
    add("b", SCHEMA_U8, 4, 0, 5);
    expect(opens(8, 0));
    expect(!opens(16, 0)); // longer than its fields
    expect(!opens(8, 1));  // not cut: the last field is an integer
    fields[1].offset = 12;
    expect(!opens(16, 0)); // a hole of 8
    fields[1].offset = 11;
    expect(opens(16, 0)); // a smaller one, as behind a record
    fields[1].offset = 2;
    expect(!opens(8, 0)); // an overlap
    fields[1].offset = 0xffff;
    expect(!opens(8, 0));
    fields[1].offset = 4;
    fields[1].maximum = 256;
    expect(!opens(8, 0)); // no u8
    fields[1].maximum = -1;
    expect(!opens(8, 0)); // below the minimum
    fields[1].maximum = 5;
    memcpy(fields[1].name, "a", 2);
    expect(!opens(8, 0)); // twice the same name
    fields[1].name[0] = 'A';
    expect(!opens(8, 0));
    memset(fields[1].name, 'b', sizeof fields[1].name);
    expect(!opens(8, 0)); // not terminated
    memset(fields[1].name, 0, sizeof fields[1].name);
    expect(!opens(8, 0));
    fields[1].name[0] = 'b';
    fields[1].name[5] = 'x';
    expect(!opens(8, 0)); // not zero-filled
    fields[1].name[5] = 0;
    expect(opens(8, 0));
    start();
    struct schema_field *state = add("state", SCHEMA_ENUM, 0, 0, 1);
    state->label_count = 2;
    label_count = 1;
    memcpy(labels[0].text, "ok", 2);
    expect(!opens(8, 0)); // a label that is not there
    label_count = 3;
    memcpy(labels[1].text, "no", 2);
    memcpy(labels[2].text, "so", 2);
    expect(!opens(8, 0)); // a label of nobody
    label_count = 2;
    expect(opens(8, 0));
    start();
    add_text("big", SCHEMA_BYTES, 0, 4095, 0);
    expect(!opens(4104, 1)); // over the largest payload
    fields[0].capacity = 4094;
    expect(opens(4096, 1));
    expect(!opens(4096, 0)); // has to be cut
}

// Whatever a changed block is, a checked message never reads outside and never makes the checker stop.
TEST(changed_blocks_are_refused_or_hold)
{
    static uint8_t message[8192];
    start();
    add("a", SCHEMA_I32, 0, -5, 5);
    struct schema_field *list = add("list", SCHEMA_ARRAY, 4, 0, 3);
    list->element = SCHEMA_U16;
    list->capacity = 4;
    struct schema_field *state = add("state", SCHEMA_ENUM, 14, 0, 0);
    state->label_count = 1;
    label_count = 1;
    memcpy(labels[0].text, "ok", 2);
    add_text("text", SCHEMA_STRING, 16, 20, SCHEMA_CLASS_UTF8);
    relations[0] = (struct schema_relation){0, 1, SCHEMA_LESS, 0};
    relation_count = 1;
    size_t size = make(&block, 40, 1);
    uint8_t *bytes = (uint8_t *)&block;
    expect(schema_open(&schema, bytes, size) == STATUS_OK);
    unsigned accepted = 0;
    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[at] ^= (uint8_t)(1u << bit);
            if (schema_open(&schema, bytes, size) == STATUS_OK) {
                accepted++;
                expect(schema.header->struct_bytes <= 4096);
                for (size_t length = 0; length <= 48; length += 8)
                    (void)verdict(message, length);
            }
            bytes[at] ^= (uint8_t)(1u << bit);
        }
    expect(accepted > 100 && accepted < size * 8 / 2); // digests, bounds and names may change
}

int main(void)
{
    RUN(every_cut_or_longer_block_is_refused);
    RUN(layouts_that_are_refused);
    RUN(changed_blocks_are_refused_or_hold);
    TEST_END();
}
