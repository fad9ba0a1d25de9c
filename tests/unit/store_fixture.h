// SPDX-License-Identifier: ISC
// A small system, a store in a folder of its own, and the router's end of its link.
#ifndef CRENEL_TESTS_STORE_FIXTURE_H
#define CRENEL_TESTS_STORE_FIXTURE_H

#include "store/router_link.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNIKERNEL_A, UNIKERNEL_B };
enum { FLOW_READING, FLOW_ALARM, FLOW_RECEIPT };
enum { SPACE_MODELS, SPACE_HOURS };

// reading/1: sensor u32, value i32
static struct {
    struct schema_header header;
    struct schema_field fields[2];
} fixture_schema = {
    {.name = "reading/1", .block_bytes = sizeof(struct schema_header) + 2 * sizeof(struct schema_field),
     .field_count = 2, .struct_bytes = 8},
    {{.name = "sensor", .type = SCHEMA_U32, .maximum = 4096},
     {.name = "value", .type = SCHEMA_I32, .offset = 4, .minimum = -1000, .maximum = 1000}}};

static struct system_header fixture_header = {.name = "test", .tenant = "plant"};
static struct system_unikernel fixture_unikernels[2] = {{.name = "decode"}, {.name = "detect"}};
static size_t fixture_flow_count = 2; // 3: with receipts for unikernel A
static struct system_flow fixture_flows[3] = {
    {.name = "reading", .is_durable = 1, .is_payload_kept = 1, .receiver_count = 2, .key_field = 0, .count_max = 1,
     .cap = 100000, .bytes_max = 1 << 30,
     .receivers = {{.index = UNIKERNEL_A}, {.index = UNIKERNEL_B}}},
    {.name = "alarm", .is_durable = 1, .receiver_count = 1, .key_field = SYSTEM_NONE, .count_max = 1,
     .cap = 100000, .bytes_max = 1 << 30,
     .receivers = {{.index = UNIKERNEL_B}}},
    {.name = "receipt", .sender_kind = SYSTEM_RECEIPTS, .is_durable = 1, .receiver_count = 1, .key_field = SYSTEM_NONE,
     .count_max = 1, .cap = 100000, .bytes_max = 1 << 30, .receivers = {{.index = UNIKERNEL_A}}}};
static struct system_namespace fixture_namespaces[2] = {
    {.name = "models", .key_count = 1, .records_max = 3},
    {.name = "hours", .key_count = 1, .index_count = 1, .records_max = 1000}};
static struct system_principal fixture_principals[2] = {{"press-7"}, {"rig-2"}};

static const struct system_courier *fixture_courier; // or NULL: there is none

static struct system_view fixture_system(void)
{
    struct system_view view = {.header = &fixture_header,
                               .unikernels = fixture_unikernels,
                               .flows = fixture_flows,
                               .namespaces = fixture_namespaces,
                               .principals = fixture_principals,
                               .couriers = fixture_courier,
                               .courier_count = fixture_courier != NULL,
                               .unikernel_count = 2,
                               .flow_count = fixture_flow_count,
                               .namespace_count = 2,
                               .principal_count = 2,
                               .schema_count = 1};
    view.schemas[0] = (struct schema){.header = &fixture_schema.header, .fields = fixture_schema.fields};
    return view;
}

struct fixture {
    char folder[64], path[96];
    struct system_view system;
    struct store_page page;
    struct store store;
    struct router_link link;
    struct channel router; // our end
    int64_t now_ms;
    int is_on_trial; // the next one that is opened
    _Alignas(8) uint8_t packet[COMMIT_BYTES_MAX]; // last one received
    uint8_t inbox[COMMIT_BYTES_MAX];
    size_t packet_bytes;
    const uint8_t *seen; // of the last ANSWER
    size_t seen_bytes, seen_count;
};

static struct fixture fixture; // too large for a stack

static struct commit_packet *receive(void)
{
    if (channel_receive(&fixture.router, fixture.packet, sizeof fixture.packet,
                        &fixture.packet_bytes, 0) != STATUS_OK)
        return NULL;
    return (struct commit_packet *)(void *)fixture.packet;
}

static enum status take(void)
{
    return router_link_take(&fixture.link, &fixture.store, fixture.now_ms);
}

static void say_hello(void)
{
    struct commit_hello hello = {{sizeof hello, COMMIT_HELLO, 0, 0}, COMMIT_VERSION, 0, 1};
    expect(channel_send(&fixture.router, &hello, sizeof hello) == STATUS_OK);
    expect(take() == STATUS_OK);
}

static enum status fixture_open(void)
{
    int ends[2];
    fixture.system = fixture_system();
    enum status status =
        store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page);
    fixture.store.is_on_trial = fixture.is_on_trial;
    if (status == STATUS_OK && !fixture.is_on_trial)
        status = store_confirm(&fixture.store);
    if (status != STATUS_OK)
        return status;
    if (channel_pair(ends) != STATUS_OK)
        return STATUS_SYSTEM;
    router_link_init(&fixture.link, ends[0]);
    channel_init(&fixture.router, ends[1], NULL, 0);
    channel_gather(&fixture.router, NULL, fixture.inbox, COMMIT_BYTES_MAX);
    return STATUS_OK;
}

static void fixture_close(void)
{
    store_close(&fixture.store);
    channel_close(&fixture.link.channel);
    channel_close(&fixture.router);
}

// A new folder and an open store that has answered HELLO (its answers dropped).
static void fixture_begin(void)
{
    memset(&fixture, 0, sizeof fixture);
    snprintf(fixture.folder, sizeof fixture.folder, "/tmp/crenel-store-XXXXXX");
    expect(mkdtemp(fixture.folder) != NULL);
    snprintf(fixture.path, sizeof fixture.path, "%s/store.db", fixture.folder);
    fixture.now_ms = 1000000;
    fixture.system = fixture_system();
    expect(fixture_open() == STATUS_OK);
    if (test_why != NULL)
        return;
    say_hello();
    while (receive() != NULL)
        ;
}

static void fixture_end(void)
{
    char path[128];
    fixture_close();
    static const char *const names[] = {"store.db", "store.db-wal", "store.db-journal", "copy.db", "copy.db-wal"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture.folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(fixture.folder);
}

// ---- Building COMMITs: sections must be added in the protocol's order ----
struct builder {
    _Alignas(8) uint8_t bytes[COMMIT_BYTES_MAX];
    size_t size;
};

static struct builder building;

static struct commit_header *head(void)
{
    return (struct commit_header *)(void *)building.bytes;
}

static void add(const void *bytes, size_t size)
{
    memset(building.bytes + building.size, 0, ABI_ALIGN8(size));
    if (size != 0)
        memcpy(building.bytes + building.size, bytes, size);
    building.size += ABI_ALIGN8(size);
}

static void commit_new(uint64_t handle, uint64_t consume)
{
    building.size = 0;
    struct commit_header header = {.packet = {.kind = COMMIT_COMMIT, .handle = handle},
                                   .consume = consume,
                                   .number = handle,
                                   .time_ms = 999,
                                   .unikernel = UNIKERNEL_A,
                                   .flow = FLOW_READING,
                                   .attempt = 1,
                                   .reason = REASON_DONE};
    add(&header, sizeof header);
}

static void commit_add_read(uint16_t space, uint16_t op, const char *key, uint64_t version)
{
    struct commit_read read = {space, op, (uint16_t)strlen(key), 0, version};
    add(&read, sizeof read);
    add(key, strlen(key));
    head()->read_count++;
}

static void commit_add_write(uint16_t space, uint16_t op, const char *key, const char *index_key,
                             const void *value, size_t value_bytes)
{
    struct commit_write write = {space, op, (uint16_t)strlen(key), (uint16_t)strlen(index_key),
                                 (uint32_t)value_bytes, 0};
    add(&write, sizeof write);
    add(key, strlen(key));
    add(index_key, strlen(index_key));
    add(value, value_bytes);
    head()->write_count++;
}

static void commit_put(uint16_t space, const char *key, const char *value)
{
    commit_add_write(space, ABI_WRITE_PUT, key, "", value, strlen(value));
}

static void commit_add_send(uint16_t flow, uint16_t receiver, const char *key, const void *payload,
                            size_t payload_bytes, int64_t due_ms)
{
    struct commit_send send = {.flow = flow,
                               .receiver = receiver,
                               .key_bytes = (uint16_t)strlen(key),
                               .payload_bytes = (uint32_t)payload_bytes,
                               .principal = 2,
                               .due_ms = due_ms};
    add(&send, sizeof send);
    add(key, strlen(key));
    add(payload, payload_bytes);
    head()->send_count++;
}

static void commit_add_state(uint16_t flow, const char *key, uint64_t sequence)
{
    struct commit_state state = {flow, (uint16_t)strlen(key), 16};
    struct {
        struct commit_part part;
        uint64_t sequence;
    } part = {{1, 8}, sequence};
    add(&state, sizeof state);
    add(key, strlen(key));
    add(&part, sizeof part);
    head()->state_count++;
}

static void commit_add_counter(uint32_t index, uint64_t value)
{
    struct commit_counter counter = {index, 0, value};
    add(&counter, sizeof counter);
    head()->counter_count++;
}

static void commit_add_dead(uint16_t reason, const char *text, const void *payload, size_t size)
{
    struct commit_dead dead = {reason, UNIKERNEL_A, FLOW_READING, (uint16_t)strlen(text), (uint32_t)size, 1, 0, 0};
    add(&dead, sizeof dead);
    add(text, strlen(text));
    add(payload, size);
    head()->dead_count = 1;
}

static void commit_send_it(void)
{
    head()->packet.size = (uint32_t)building.size;
    expect(channel_send(&fixture.router, building.bytes, building.size) == STATUS_OK);
}

// The next packet, expected to be the DONE of that handle; its result, or -1.
static int done_of(uint64_t handle)
{
    struct commit_done done;
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_DONE || packet->handle != handle)
        return -1;
    memcpy(&done, fixture.packet, sizeof done);
    return (int)done.result;
}

// Sends what was built, lets the store take it, gives the result.
static int commit_result_of(void)
{
    uint64_t handle = head()->packet.handle;
    commit_send_it();
    expect(take() == STATUS_OK);
    return done_of(handle);
}

static void give_credit(uint32_t receiver, uint32_t count)
{
    for (uint16_t flow = 0; flow < fixture.system.flow_count; flow++) { // as much for each flow
        struct commit_credit credit = {{sizeof credit, COMMIT_CREDIT, 0, 0}, (uint16_t)receiver, flow, count};
        expect(channel_send(&fixture.router, &credit, sizeof credit) == STATUS_OK);
    }
    expect(take() == STATUS_OK);
}

// ---- READs ----
static void read_add(struct builder *builder, uint16_t space, uint16_t op, uint16_t limit,
                     const char *from, const char *end)
{
    struct abi_read read = {.record = {.kind = ABI_READ},
                            .namespace_index = space,
                            .op = op,
                            .limit = limit,
                            .from_bytes = (uint16_t)strlen(from),
                            .end_bytes = (uint16_t)strlen(end)};
    read.record.size =
        (uint32_t)(sizeof read + ABI_ALIGN8(strlen(from)) + ABI_ALIGN8(strlen(end)));
    if (builder->size == 0)
        builder->size = sizeof(struct commit_packet);
    struct builder *kept = builder;
    memset(kept->bytes + kept->size, 0, read.record.size);
    memcpy(kept->bytes + kept->size, &read, sizeof read);
    memcpy(kept->bytes + kept->size + sizeof read, from, strlen(from));
    memcpy(kept->bytes + kept->size + sizeof read + ABI_ALIGN8(strlen(from)), end, strlen(end));
    kept->size += read.record.size;
}

static void read_send(struct builder *builder, uint64_t handle)
{
    struct commit_packet packet = {(uint32_t)builder->size, COMMIT_READ, 0, handle};
    memcpy(builder->bytes, &packet, sizeof packet);
    expect(channel_send(&fixture.router, builder->bytes, builder->size) == STATUS_OK);
}

struct item {
    uint16_t status;
    uint64_t version;
    char key[65], value[65]; // cut
};

// Receives an ANSWER of that handle; returns the number of items, -1 when it is none. What the COMMIT shall name
// (struct commit_read) is left in fixture.seen.
static int answer_items(uint64_t handle, struct item *items, int most)
{
    struct commit_packet *packet = receive();
    struct commit_answer head_of;
    struct abi_answer answer;
    if (packet == NULL || packet->kind != COMMIT_ANSWER || packet->handle != handle)
        return -1;
    memcpy(&head_of, fixture.packet, sizeof head_of);
    memcpy(&answer, fixture.packet + sizeof head_of, sizeof answer);
    if (answer.record.size != head_of.answer_bytes || answer.record.size > ABI_INPUT_BYTES ||
        head_of.answer_bytes > fixture.packet_bytes - sizeof head_of)
        return -1;
    fixture.seen = fixture.packet + sizeof head_of + head_of.answer_bytes;
    fixture.seen_bytes = fixture.packet_bytes - sizeof head_of - head_of.answer_bytes;
    fixture.seen_count = head_of.read_count;
    size_t at = sizeof head_of + sizeof answer;
    for (int i = 0; i < (int)answer.item_count && i < most; i++) {
        struct abi_item item;
        memcpy(&item, fixture.packet + at, sizeof item);
        items[i] = (struct item){.status = item.status, .version = item.version};
        at += sizeof item;
        memcpy(items[i].key, fixture.packet + at, item.key_bytes < 64 ? item.key_bytes : 64);
        at += ABI_ALIGN8((size_t)item.key_bytes);
        memcpy(items[i].value, fixture.packet + at, item.value_bytes < 64 ? item.value_bytes : 64);
        at += ABI_ALIGN8((size_t)item.value_bytes);
    }
    return (int)answer.item_count;
}

static int read_items(uint16_t space, uint16_t op, const char *from, const char *end,
                      struct item *items, int most)
{
    static struct builder builder;
    builder.size = 0;
    read_add(&builder, space, op, ABI_RANGE_ITEMS_MAX, from, end);
    read_send(&builder, 77);
    expect(take() == STATUS_OK);
    return answer_items(77, items, most);
}

// Version of a record, 0: absent.
static uint64_t version_of(uint16_t space, const char *key)
{
    struct item item = {0};
    expect(read_items(space, ABI_READ_GET, key, "", &item, 1) == 1);
    return item.version;
}

static int64_t scalar(const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(fixture.store.db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

// Not every test uses every part.
static inline void fixture_use_all(void)
{
    (void)version_of;
    (void)scalar;
    (void)commit_put;
    (void)commit_add_read;
    (void)commit_add_send;
    (void)commit_add_state;
    (void)commit_add_counter;
    (void)commit_add_dead;
    (void)commit_result_of;
    (void)give_credit;
    (void)fixture_begin;
    (void)fixture_end;
}

#endif
