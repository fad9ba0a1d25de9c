// SPDX-License-Identifier: ISC
// Sealing, opening, signing and verifying: what comes out again, and what must not.
#include "proto/builtin.h"
#include "seal/service.h"
#include "tests/unit/test.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char key_text[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
static const char other_text[] = "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

// note/1: number u32, text string 20; its last text is cut
static struct {
    struct schema_header header;
    struct schema_field fields[2];
} block = {{.name = "note/1", .field_count = 2, .struct_bytes = 32, .is_cut = 1, .digest = {7}},
           {{.name = "number", .type = SCHEMA_U32, .maximum = 9},
            {.name = "text", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .offset = 4, .capacity = 20}}};

static struct system_flow flows[2] = {{.schema = 0}, {.schema = 0}};
static struct system_service services[4];
static struct system_view view = {.flows = flows, .services = services, .flow_count = 2, .service_count = 4};

enum { SEAL, OPEN, SIGN, VERIFY };
static struct service ends[4];

static void begin(int which, const char *text, const char *channel)
{
    services[which] = (struct system_service){.kind = (uint16_t)(SYSTEM_SERVICE_SEAL + which), .request_flow = 0, .reply_flow = 1};
    memcpy(services[which].channel, channel, strlen(channel));
    view.schemas[0] = (struct schema){.header = &block.header, .fields = block.fields};
    expect(service_init(&ends[which], &view, (uint32_t)which, text, strlen(text), -1) == STATUS_OK);
}

static void begin_all(void)
{
    for (int i = 0; i < 4; i++)
        begin(i, key_text, "press");
}

// A message with so much text; its size.
static size_t note(uint8_t message[32], unsigned length)
{
    memset(message, 0, 32);
    message[0] = 5;
    message[4] = (uint8_t)length;
    memset(message + 6, 'a', length);
    return (6 + length + 7) / 8 * 8;
}

TEST(what_is_sealed_opens_again_as_it_was)
{
    uint8_t message[32], sealed[ABI_PAYLOAD_BYTES_MAX], again[ABI_PAYLOAD_BYTES_MAX];
    begin_all();
    for (unsigned length = 0; length <= 20; length++) {
        size_t size = note(message, length);
        size_t made = service_turn(&ends[SEAL], 41, message, size, sealed);
        expect(made == (BUILTIN_SEALED_BYTES + size + BOX_MORE_BYTES + 7) / 8 * 8);
        expect(length < 8 || memmem(sealed, made, message + 6, 8) == NULL); // nothing of it can be read
        expect(service_turn(&ends[OPEN], 1, sealed, made, again) == size && memcmp(again, message, size) == 0);
    }
}

TEST(no_two_boxes_are_alike_and_each_start_is_an_epoch)
{
    uint8_t message[32], first[ABI_PAYLOAD_BYTES_MAX], second[ABI_PAYLOAD_BYTES_MAX], third[ABI_PAYLOAD_BYTES_MAX];
    begin_all();
    size_t size = note(message, 9), made = service_turn(&ends[SEAL], 1, message, size, first);
    (void)service_turn(&ends[SEAL], 1, message, size, second);
    begin(SEAL, key_text, "press");
    (void)service_turn(&ends[SEAL], 1, message, size, third);
    const size_t nonce = BUILTIN_SEALED_BYTES + BOX_SALT_BYTES;
    expect(memcmp(first + BUILTIN_SEALED_BYTES, second + BUILTIN_SEALED_BYTES, BOX_SALT_BYTES) == 0);
    expect(memcmp(first + BUILTIN_SEALED_BYTES, third + BUILTIN_SEALED_BYTES, BOX_SALT_BYTES) != 0);
    expect(memcmp(first + nonce, second + nonce, BOX_NONCE_BYTES) != 0);
    expect(service_turn(&ends[OPEN], 1, third, made, second) == size && service_turn(&ends[OPEN], 1, first, made, second) == size);
}

TEST(what_was_changed_does_not_open)
{
    uint8_t message[32], sealed[ABI_PAYLOAD_BYTES_MAX], again[ABI_PAYLOAD_BYTES_MAX];
    begin_all();
    size_t size = note(message, 20), made = service_turn(&ends[SEAL], 7, message, size, sealed);
    size_t used = BUILTIN_SEALED_BYTES + size + BOX_MORE_BYTES;
    for (size_t at = 0; at < used; at++)
        for (int bit = 0; bit < 8; bit++) { // the serial, the length, the salt, the nonce, the box
            sealed[at] ^= (uint8_t)(1 << bit);
            expect(service_turn(&ends[OPEN], 1, sealed, made, again) == 0);
            sealed[at] ^= (uint8_t)(1 << bit);
        }
    expect(service_turn(&ends[OPEN], 1, sealed, made, again) == size);
}

TEST(another_key_channel_or_schema_does_not_open)
{
    uint8_t message[32], sealed[ABI_PAYLOAD_BYTES_MAX], signature[ABI_PAYLOAD_BYTES_MAX], again[ABI_PAYLOAD_BYTES_MAX];
    begin_all();
    size_t size = note(message, 9);
    size_t made = service_turn(&ends[SEAL], 7, message, size, sealed), tagged = service_turn(&ends[SIGN], 7, message, size, signature);
    for (int i = 0; i < 3; i++) {
        block.header.digest[0] = i == 2 ? 8 : 7;
        begin(OPEN, i == 0 ? other_text : key_text, i == 1 ? "rig" : "press");
        begin(VERIFY, i == 0 ? other_text : key_text, i == 1 ? "rig" : "press");
        expect(service_turn(&ends[OPEN], 1, sealed, made, again) == 0);
        expect(service_turn(&ends[VERIFY], 1, signature, tagged, again) == 0);
    }
    block.header.digest[0] = 7;
    begin_all();
    expect(service_turn(&ends[OPEN], 1, sealed, made, again) == size && service_turn(&ends[VERIFY], 1, signature, tagged, again) == size);
}

TEST(what_is_signed_can_be_read_and_not_changed)
{
    uint8_t message[32], signature[ABI_PAYLOAD_BYTES_MAX], again[ABI_PAYLOAD_BYTES_MAX];
    begin_all();
    for (unsigned length = 0; length <= 20; length += 4) {
        size_t size = note(message, length), made = service_turn(&ends[SIGN], 77, message, size, signature);
        expect(made == 32 + sizeof(struct builtin_signature) && memcmp(signature, message, size) == 0 && signature[32] == 77);
        expect(service_turn(&ends[VERIFY], 1, signature, made, again) == size && memcmp(again, message, size) == 0);
        for (size_t at = 0; at < 32 + 8 + 2 + BOX_TAG_BYTES; at++)
            for (int bit = 0; bit < 8; bit++) {
                signature[at] ^= (uint8_t)(1 << bit);
                expect(service_turn(&ends[VERIFY], 1, signature, made, again) == 0);
                signature[at] ^= (uint8_t)(1 << bit);
            }
    }
}

TEST(key_files)
{
    struct box box;
    const uint8_t label[BOX_LABEL_BYTES] = {0};
    static const char *const bad[] = {"", "00", "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
                                      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\n",
                                      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0"};
    expect(box_init(&box, key_text, strlen(key_text), label) == STATUS_OK && box_init(&box, key_text, 64, label) == STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(box_init(&box, bad[i], strlen(bad[i]), label) == STATUS_MALFORMED);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(what_is_sealed_opens_again_as_it_was);
    RUN(no_two_boxes_are_alike_and_each_start_is_an_epoch);
    RUN(what_was_changed_does_not_open);
    RUN(another_key_channel_or_schema_does_not_open);
    RUN(what_is_signed_can_be_read_and_not_changed);
    RUN(key_files);
    TEST_END();
}
