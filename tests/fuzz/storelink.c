// SPDX-License-Identifier: ISC
// Fuzz target: the store's end of its link to the router, packet after packet, on a real database. The link is a
// script in memory, and a commit is rolled back, so that one input is like any other.
//
// Input: steps: a kind and what it needs (step). What must hold: each COMMIT that was taken has its DONE, in order, and
// each READ its ANSWER, none before what it must not overtake; no more messages are pushed than there is credit for;
// after a packet that breaks the protocol nothing is taken any more.
#include "tests/fuzz/answer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "store/audit_rows.h"
#include "store/commit.h"
#include "tests/fuzz/sqlite_memory.h"
#include "tests/unit/store_fixture.h"

enum { HELLO, CREDIT, READ_GET, READ_RAW, COMMIT, COMMIT_CHANGED, RAW, PAUSE, KINDS };

static struct {
    struct take take;
    int is_running;
    uint64_t handle;
    uint64_t commits[512], reads[512]; // handles that wait for their answer, oldest first
    unsigned commit_count, commit_done, read_count, read_done;
    uint64_t credit[2][2]; // of receiver and flow
    uint64_t *consumed[512]; // whose credit a commit gives back, or NULL
} script;

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size);
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
enum status __wrap_store_commit(struct store *store);

static size_t make_commit(uint8_t *to, int is_changed)
{
    commit_new(++script.handle, take_byte(&script.take) % 3);
    unsigned parts = take_byte(&script.take);
    if (parts & 1)
        commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 0);
    if (parts & 2)
        commit_put(SPACE_MODELS, "a", "two");
    if (parts & 4)
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, "h1", "i1", "some value", 10);
    if (parts & 8)
        commit_add_send(FLOW_READING, UNIKERNEL_B, "key", "payload!", 8, 0);
    if (parts & 16)
        commit_add_state(FLOW_READING, "key", 77);
    if (parts & 32)
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
    if (parts & 64)
        commit_add_dead(REASON_RANGE, "range", "payload!", 8);
    head()->packet.size = (uint32_t)building.size;
    memcpy(to, building.bytes, building.size);
    for (unsigned i = take_byte(&script.take) % 4; is_changed && i > 0; i--)
        to[16 + take_number(&script.take, 2) % (building.size - 16)] ^= take_byte(&script.take);
    return building.size;
}

static size_t make_read(uint8_t *to, int is_raw)
{
    static struct builder builder;
    builder.size = 0;
    unsigned what = take_byte(&script.take);
    read_add(&builder, what & 1, (uint16_t)(1 + what / 2 % 3), what / 2 % 3 == 0 ? 1 : 9, "a", what & 8 ? "z" : "");
    size_t size = builder.size;
    memcpy(to, builder.bytes, size);
    if (is_raw)
        size = 16 + take_bytes(&script.take, to + 16, what);
    struct commit_packet packet = {(uint32_t)size, COMMIT_READ, 0, ++script.handle};
    memcpy(to, &packet, sizeof packet);
    return size;
}

// The commit that comes next in script.commits.
static void note_consumed(const uint8_t *bytes, size_t size)
{
    struct commit_header header = {0};
    memcpy(&header, bytes, size < sizeof header ? size : sizeof header);
    script.consumed[script.commit_count % 512] =
        header.consume != 0 && header.unikernel < 2 && header.flow < 2 ? &script.credit[header.unikernel][header.flow]
                                                                       : NULL;
}

static size_t make_small(uint8_t *to, unsigned kind)
{
    struct commit_packet packet = {0, 0, 0, 0};
    if (kind == HELLO) {
        struct commit_hello hello = {{sizeof hello, COMMIT_HELLO, 0, 0}, COMMIT_VERSION, 0, 1};
        memcpy(to, &hello, sizeof hello);
        memset(script.credit, 0, sizeof script.credit);
        return sizeof hello;
    }
    if (kind == CREDIT) {
        struct commit_credit credit = {{sizeof credit, COMMIT_CREDIT, 0, 0}, take_byte(&script.take) % 3,
                                       take_byte(&script.take) % 3, take_byte(&script.take)};
        memcpy(to, &credit, sizeof credit);
        if (credit.receiver < 2 && credit.flow < 2)
            script.credit[credit.receiver][credit.flow] += credit.count;
        return sizeof credit;
    }
    packet.kind = take_byte(&script.take) % 16;
    if (packet.kind == COMMIT_CREDIT)
        packet.kind = COMMIT_READY;
    if (packet.kind == COMMIT_READ)
        script.reads[script.read_count++ % 512] = 0;
    size_t size = 16 + take_bytes(&script.take, to + 16, take_byte(&script.take));
    packet.size = (uint32_t)(take_byte(&script.take) == 255 ? size + 1 : size);
    memcpy(to, &packet, sizeof packet);
    if (packet.kind == COMMIT_COMMIT) {
        note_consumed(to, size);
        script.commits[script.commit_count++ % 512] = 0;
    }
    return size;
}

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    (void)channel, (void)wait;
    unsigned kind = !script.is_running || script.take.left == 0 ? PAUSE : take_byte(&script.take) % KINDS;
    must(capacity == COMMIT_BYTES_MAX);
    switch (kind) {
    case PAUSE:
        return STATUS_AGAIN;
    case COMMIT:
    case COMMIT_CHANGED:
        *size = make_commit(bytes, kind == COMMIT_CHANGED);
        note_consumed(bytes, *size);
        script.commits[script.commit_count++ % 512] = script.handle;
        return STATUS_OK;
    case READ_GET:
    case READ_RAW:
        *size = make_read(bytes, kind == READ_RAW);
        script.reads[script.read_count++ % 512] = script.handle;
        return STATUS_OK;
    default:
        *size = make_small(bytes, kind);
        return STATUS_OK;
    }
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    static uint8_t bytes[COMMIT_BYTES_MAX];
    struct commit_packet packet;
    size_t size = 0;
    (void)channel;
    if (!script.is_running)
        return STATUS_OK;
    for (size_t i = 0; i < count; size += parts[i++].size) {
        must(size + parts[i].size <= sizeof bytes);
        if (parts[i].size != 0)
            memcpy(bytes + size, parts[i].bytes, parts[i].size);
    }
    memcpy(&packet, bytes, sizeof packet);
    must(packet.size == size && packet.zero == 0);
    if (packet.kind == COMMIT_DONE) {
        must(script.commit_done < script.commit_count);
        struct commit_done done;
        memcpy(&done, bytes, sizeof done);
        uint64_t *credit = script.consumed[script.commit_done % 512];
        if (credit != NULL && (done.result == COMMIT_OK || done.result == COMMIT_DUPLICATE))
            ++*credit;
        must(script.commits[script.commit_done++ % 512] == packet.handle);
    } else if (packet.kind == COMMIT_ANSWER) {
        must(script.read_done < script.read_count);
        must(script.reads[script.read_done++ % 512] == packet.handle);
        struct commit_answer answer;
        must(size >= sizeof answer);
        memcpy(&answer, bytes, sizeof answer);
        must(answer.answer_bytes <= size - sizeof answer);
        judge_answer(bytes + sizeof answer, answer.answer_bytes);
    } else if (packet.kind == COMMIT_OUTBOX) {
        struct commit_outbox outbox;
        memcpy(&outbox, bytes, sizeof outbox);
        must(outbox.send.receiver < 2 && outbox.send.flow < 2);
        must(script.credit[outbox.send.receiver][outbox.send.flow]-- > 0);
    } else {
        must(packet.kind == COMMIT_READY || packet.kind >= COMMIT_STATE);
    }
    return STATUS_OK;
}

enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size)
{
    return __wrap_channel_send_parts(channel, &(struct channel_part){record, size}, 1);
}

enum status __wrap_store_commit(struct store *store)
{
    audit_rows_settled(store);
    store_rollback(store);
    return STATUS_OK;
}

static void begin(void)
{
    static int is_open;
    if (is_open)
        return;
    is_open = 1;
    memset(&script, 0, sizeof script);
    must(sqlite_memory_use());
    fixture_begin();
    must(test_why == NULL);
    atexit(fixture_end);
    struct commit_done_facts done;
    commit_new(1, 0);
    commit_put(SPACE_MODELS, "a", "one");
    commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, "h1", "i1", "some value", 10);
    for (int i = 0; i < 8; i++)
        commit_add_send(i % 4 == 3 ? FLOW_ALARM : FLOW_READING, i % 2 == 0 ? UNIKERNEL_A : UNIKERNEL_B, "k",
                        "payload!", 8, i > 4 ? 1000 : 0);
    commit_add_state(FLOW_READING, "key", 5);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_ENTERED), 8);
    head()->packet.size = (uint32_t)building.size;
    must(store_begin(&fixture.store) == STATUS_OK);
    must(commit_apply(&fixture.store, building.bytes, building.size, 500, &done) == STATUS_OK);
    must(done.result == COMMIT_OK && sqlite3_exec(fixture.store.db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    fixture.store.is_in_transaction = 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const uint8_t seeds[][48] = {
        {HELLO, CREDIT, 0, 0, 5, COMMIT, 0, 0x7f, 0, READ_GET, 1, PAUSE, CREDIT, 1, 0, 9, PAUSE},
        {HELLO, READ_GET, 0, READ_GET, 3, READ_GET, 12, PAUSE, RAW, 5, 'a', 'b', 'c', 'd', 'e', 0, PAUSE},
        {HELLO, COMMIT, 0, 0x7f, 0, COMMIT, 0, 0x03, 0, READ_GET, 0, READ_RAW, 16, 0, PAUSE, COMMIT, 0, 8, 0},
        {HELLO, COMMIT_CHANGED, 1, 0x7f, 1, 30, 0, 1, READ_GET, 0, RAW, 5, 4, 1, 2, 3, 4, 0, PAUSE},
        {RAW, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8, 255},
    };
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    memcpy(bytes, seeds[index], sizeof seeds[0]);
    return sizeof seeds[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    router_link_init(&fixture.link, fixture.link.channel.fd);
    memset(&script, 0, sizeof script);
    script.take = (struct take){data, size};
    script.handle = 100;
    script.is_running = 1;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && script.take.left != 0)
        status = router_link_take(&fixture.link, &fixture.store, fixture.now_ms++);
    audit_rows_settled(&fixture.store);
    must(status == STATUS_OK || status == STATUS_MALFORMED || status == STATUS_VERSION);
    must(!fixture.store.is_in_transaction && fixture.link.batch_count == 0);
    if (status == STATUS_OK) // nobody waits
        must(script.commit_done == script.commit_count && script.read_done == script.read_count);
    else // a COMMIT that broke the protocol has no answer, READs that wait behind others have none either
        must(script.commit_count - script.commit_done <= 1);
    return 0;
}
