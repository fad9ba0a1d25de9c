// SPDX-License-Identifier: ISC
// Fuzz target: the four services at the ends of a channel, between a router and whoever makes messages; and key files.
//
// Input: a byte; 0xff: the text of a key file. Else steps: a message to seal or to sign, what was made of it to open or to verify,
// as it was or changed; any bytes as a message; raw records of the router. What must hold: one EFFECTS for each DELIVER that was
// taken; what it sends has the form of guest records and passes the schema of its flow; what opens is what was sealed,
// and what verifies is what was signed, for the number it was given, and nothing else is; what was not changed opens. A key file is
// 64 hexadecimal digits and perhaps a line's end.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "core/records.h"
#include "proto/builtin.h"
#include "seal/service.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

enum { SEAL, OPEN, SIGN, VERIFY, ENDS };
enum { NOTE, SEALED, SIGNED, SCHEMAS };
#define MADE 4u

struct block {
    struct schema_header header;
    struct schema_field fields[4];
};
static struct block blocks[SCHEMAS] = {
    {{.name = "note/1", .field_count = 2, .struct_bytes = 32, .is_cut = 1, .digest = {7}},
     {{.name = "number", .type = SCHEMA_U32, .maximum = 9},
      {.name = "text", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .offset = 4, .capacity = 20}}},
    {{.name = "sealed/1", .field_count = 2, .struct_bytes = 3088, .is_cut = 1},
     {{.name = "serial", .type = SCHEMA_U64, .maximum = -1}, {.name = "box", .type = SCHEMA_BYTES, .offset = 8, .capacity = 3072}}},
    {{.name = "authentic-note/1", .field_count = 4, .struct_bytes = 80, .is_cut = 1},
     {{.name = "number", .type = SCHEMA_U32, .maximum = 9},
      {.name = "text", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .offset = 4, .capacity = 20},
      {.name = "serial", .type = SCHEMA_U64, .offset = 32, .maximum = -1},
      {.name = "tag", .type = SCHEMA_BYTES, .offset = 40, .capacity = 32}}}};
static struct system_flow flows[SCHEMAS] = {{.schema = NOTE}, {.schema = SEALED}, {.schema = SIGNED}};
static struct system_service services[ENDS] = {
    {.kind = SYSTEM_SERVICE_SEAL, .request_flow = NOTE, .reply_flow = SEALED, .channel = "press"},
    {.kind = SYSTEM_SERVICE_OPEN, .request_flow = SEALED, .reply_flow = NOTE, .channel = "press"},
    {.kind = SYSTEM_SERVICE_SIGN, .request_flow = NOTE, .reply_flow = SIGNED, .channel = "press"},
    {.kind = SYSTEM_SERVICE_VERIFY, .request_flow = SIGNED, .reply_flow = NOTE, .channel = "press"}};
static struct system_view view = {.flows = flows, .services = services, .flow_count = SCHEMAS, .service_count = ENDS};
static struct service ends[ENDS], other;

struct message {
    uint8_t bytes[ABI_PAYLOAD_BYTES_MAX];
    size_t size;
};
static struct made { // by the seal or sign service
    struct message from, to;
} made[2][MADE];
static struct {
    unsigned made_count[2];
    uint8_t record[LINK_BYTES_MAX];
    size_t record_bytes;
    unsigned effects;
    uint64_t handle;
    int is_done;
    struct message answer;
    uint64_t random;
} world;

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size);
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
enum status __wrap_channel_flush(struct channel *channel);
void __wrap_randombytes_buf(void *bytes, size_t size);

void __wrap_randombytes_buf(void *bytes, size_t size) // the same again for the same input
{
    memset(bytes, 0, size);
    world.random++;
    memcpy(bytes, &world.random, size < sizeof world.random ? size : sizeof world.random);
}

enum status __wrap_channel_flush(struct channel *channel) { return channel->fd == -1 ? STATUS_OK : STATUS_CLOSED; }

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    (void)channel, (void)wait;
    must(world.record_bytes <= capacity);
    if (world.record_bytes == 0)
        return STATUS_AGAIN;
    memcpy(bytes, world.record, world.record_bytes);
    *size = world.record_bytes;
    world.record_bytes = 0;
    return STATUS_OK;
}

static void take_effects(const struct service *service, const uint8_t *record, size_t size)
{
    struct link_effects effects;
    struct records_verdict verdict;
    struct abi_send send;
    uint16_t field;
    must(size >= sizeof effects);
    memcpy(&effects, record, sizeof effects);
    must(effects.header.size == size && effects.header.kind == LINK_EFFECTS && effects.header.handle == world.handle);
    must(size == sizeof effects + effects.record_bytes && (effects.outcome == LINK_ENDED || effects.outcome == LINK_REFUSED));
    world.effects++;
    world.is_done = effects.outcome == LINK_ENDED;
    must(world.is_done || effects.record_bytes == 0);
    if (!world.is_done)
        return;
    must(records_judge(record + sizeof effects, effects.record_bytes, 0, &verdict) == STATUS_OK && verdict.kind == RECORDS_DONE);
    memcpy(&send, record + sizeof effects, sizeof send);
    must(send.record.kind == ABI_SEND && send.flow == 0 && send.context_bytes == 0);
    const uint8_t *payload = record + sizeof effects + sizeof send;
    must(schema_check(&view.schemas[flows[service->is->reply_flow].schema], payload, send.payload_bytes, &field) == REASON_DONE);
    memcpy(world.answer.bytes, payload, send.payload_bytes);
    world.answer.size = send.payload_bytes;
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    static _Alignas(8) uint8_t record[LINK_BYTES_MAX];
    size_t size = 0;
    for (size_t i = 0; i < count; size += parts[i++].size)
        memcpy(record + size, parts[i].bytes, parts[i].size);
    for (unsigned i = 0; i < ENDS; i++)
        if (channel == &ends[i].link.channel)
            take_effects(&ends[i], record, size);
    return STATUS_OK;
}

enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size)
{
    const struct channel_part part = {record, size};
    return __wrap_channel_send_parts(channel, &part, 1);
}

// 1: it was taken. What it came to is in world.
static int deliver(unsigned to, uint64_t number, const uint8_t *message, size_t size)
{
    struct link_deliver deliver = {.header = {0, LINK_DELIVER, 0, ++world.handle}, .number = number, .payload_bytes = (uint32_t)size};
    world.record_bytes = sizeof deliver + ABI_ALIGN8(size);
    deliver.header.size = (uint32_t)world.record_bytes;
    memset(world.record + world.record_bytes - 8, 0, 8);
    memcpy(world.record, &deliver, sizeof deliver);
    memcpy(world.record + sizeof deliver, message, size);
    world.effects = 0;
    enum status status = service_link_serve(&ends[to].link);
    must(status == STATUS_OK || status == STATUS_MALFORMED);
    must(world.effects == (status == STATUS_OK));
    return status == STATUS_OK;
}

static void make(unsigned kind, struct take *take)
{
    struct message note = {.size = 0};
    uint8_t number = take_byte(take) % 10, length = take_byte(take) % 21;
    note.bytes[0] = number;
    note.bytes[4] = length;
    for (unsigned i = 0; i < length; i++)
        note.bytes[6 + i] = (uint8_t)('a' + (number + i) % 26);
    note.size = ABI_ALIGN8(6u + length);
    must(deliver(kind, take_number(take, 2), note.bytes, note.size) && world.is_done);
    must(kind == SIGN || memmem(world.answer.bytes, world.answer.size, note.bytes + 6, length) == NULL || length < 8);
    struct made *place = &made[kind == SIGN][world.made_count[kind == SIGN]++ % MADE];
    place->from = note;
    place->to = world.answer;
}

// How much of a message counts: behind that are zeros up to a multiple of 8.
static size_t used_of(const struct made *one, unsigned is_signed) { return is_signed ? one->to.size - 6 : one->from.size + BUILTIN_SEALED_BYTES + BOX_MORE_BYTES; }

static void unmake(unsigned is_signed, struct take *take, unsigned changes)
{
    unsigned count = world.made_count[is_signed] < MADE ? world.made_count[is_signed] : MADE;
    if (count == 0)
        return;
    const struct made *one = &made[is_signed][take_byte(take) % count];
    struct message now = one->to;
    for (; changes > 0; changes--)
        now.bytes[take_byte(take) % used_of(one, is_signed)] ^= take_byte(take);
    int is_same = memcmp(now.bytes, one->to.bytes, now.size) == 0;
    int is_taken = deliver(is_signed ? VERIFY : OPEN, 1, now.bytes, now.size);
    must(is_taken || !is_same);
    if (!is_taken || !is_same) { // the router would not have let it pass, or it does not open
        must(!is_taken || !world.is_done);
        return;
    }
    must(world.is_done && world.answer.size == one->from.size && memcmp(world.answer.bytes, one->from.bytes, one->from.size) == 0);
}

static void key_file(const uint8_t *text, size_t size)
{
    int is_key = size == 64 || (size == 65 && text[64] == '\n');
    for (size_t i = 0; i < 64 && is_key; i++)
        is_key = isxdigit(text[i]) != 0;
    must((service_init(&other, &view, SEAL, (const char *)text, size, -1) == STATUS_OK) == is_key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    struct take take = {data, size};
    uint8_t bytes[256];
    if (view.schemas[0].header == NULL) {
        must(sodium_init() >= 0);
        for (unsigned i = 0; i < SCHEMAS; i++)
            view.schemas[i] = (struct schema){.header = &blocks[i].header, .fields = blocks[i].fields};
    }
    if (take_byte(&take) == 0xff) {
        key_file(take.at, take.left);
        return 0;
    }
    world.random = world.made_count[0] = world.made_count[1] = 0;
    for (unsigned i = 0; i < ENDS; i++)
        must(service_init(&ends[i], &view, i, key, sizeof key - 1, -1) == STATUS_OK);
    while (take.left != 0) {
        uint8_t what = take_byte(&take);
        switch (what % 8) {
        case 0:
        case 1:
            make(what % 8 == 0 ? SEAL : SIGN, &take);
            break;
        case 2:
        case 3:
            unmake(what % 2, &take, 0);
            break;
        case 4:
        case 5:
            unmake(what % 2, &take, 1 + (what >> 3) % 4u);
            break;
        case 6: { // nobody made it, so nothing comes of it but what is asked to be made
            unsigned to = what >> 3 & 3;
            memset(bytes, 0, sizeof bytes);
            size_t count = take_bytes(&take, bytes, take_byte(&take));
            if (deliver(to, 1, bytes, ABI_ALIGN8(count)))
                must(world.is_done == (to == SEAL || to == SIGN));
            break;
        }
        default: // a record of the router
            memset(world.record, 0, sizeof(struct link_deliver) + 64);
            world.record_bytes = take_bytes(&take, world.record, take_byte(&take) % (sizeof(struct link_deliver) + 64));
            if ((what & 8) != 0 && world.record_bytes >= sizeof(struct link_header)) { // its head at least is good
                struct link_header head = {(uint32_t)world.record_bytes, LINK_DELIVER, 0, ++world.handle};
                memcpy(world.record, &head, sizeof head);
            } else {
                memcpy(&world.handle, world.record + 8, sizeof world.handle);
            }
            world.effects = 0;
            must(service_link_serve(&ends[what >> 4 & 3].link) != STATUS_OK || world.effects <= 1);
        }
    }
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t script[] = {0, 0, 3, 9, 41, 0, 1, 5, 20, 42, 0, 2, 0, 3, 0, 4, 0, 8, 1, 5, 0, 33, 1, 4, 0, 2, 1};
    static const char key[] = "\xff" "000102030405060708090A0B0C0D0E0F101112131415161718191a1b1c1d1e1f\n";
    uint32_t state = index + 1;
    if (index >= 34)
        return 0;
    if (index >= 32) {
        memcpy(bytes, key, sizeof key - 1);
        return sizeof key - 1 - (index & 1);
    }
    memcpy(bytes, script, sizeof script);
    size_t size = sizeof script;
    for (unsigned i = 0; i < 3 * index; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[size++] = (uint8_t)(state >> 24);
    }
    return size;
}
